"""Where the files of data sets lie: folders to look in, and what is found there."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..files import human_size


def data_directory(data_dir=None):
    """The folder that holds the data sets: ``data_dir``, else ``MINICNN_DATA_DIR``, else the user's cache folder."""
    if data_dir is None:
        data_dir = os.environ.get("MINICNN_DATA_DIR") or _user_cache() / "minicnn" / "datasets"
    return Path(data_dir).expanduser()


def _user_cache():
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def keras_directory():
    """The folder in which Keras keeps the data sets that it has downloaded."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser() / "datasets"


def search_folders(data_dir, *names):
    """The folders to look for a data set in, best first.

    Each of ``names`` (such as ``"mnist"`` or ``"MNIST/raw"``, where torchvision puts it) is looked for in the data
    directory, then in Keras' own. The data directory itself counts too when it bears the set's name.
    """
    root = data_directory(data_dir)
    folders = [base / name for base in (root, keras_directory()) for name in names]
    own = {Path(name).parts[0].lower() for name in names}
    if root.name.lower().replace("_", "-") in own:
        folders += [root, root / "raw"]
    return [folder for folder in folders if folder.is_dir()]


@dataclass
class Found:
    """What is there of a data set: ``files`` by their part's name, ``missing`` parts, a note for the reader."""

    files: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)
    note: str = ""

    @property
    def state(self):
        """``"complete"``, ``"partial"`` or ``"missing"``."""
        return "missing" if not self.files else "partial" if self.missing else "complete"

    @property
    def size(self):
        """Bytes on disk."""
        return sum(path.stat().st_size for path in set(self.files.values()))

    @property
    def folder(self):
        """The folder of the first file, or None."""
        return next(iter(self.files.values())).parent if self.files else None


def by_hand(name, addresses, folder, reason=""):
    """The text of the error for files that are neither here nor to be had: what to fetch, and where to put it."""
    lines = [f"{name}: the data set is not on this machine and could not be downloaded.", *([reason] if reason else []),
             "Fetch by hand, from any machine that can:"]
    lines += [f"  {address}  ({human_size(size)})" for address, size in addresses]
    lines += [f"and put the files, as they are, into {folder}",
              "(or name a folder that has them: MINICNN_DATA_DIR, --data-dir or data_dir=)."]
    return "\n".join(lines)
