"""List the data sets: what is on this machine, what is missing, how large it is, and where it is looked for.

Training downloads what it needs by itself; --download does it beforehand.

Examples:
  minicnn data
  minicnn data --download mnist fashion-mnist
  minicnn data --data-dir /data/pictures
"""

from __future__ import annotations

import importlib
from pathlib import Path


def add_arguments(parser):
    from minicnn import datasets

    parser.add_argument("--download", nargs="+", metavar="NAME", choices=list(datasets.NAMES),
                        help=f"fetch these first: {', '.join(name for name in datasets.NAMES if name != 'digits')}")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets lie and downloads go (default: "
                                                                     "MINICNN_DATA_DIR, else the user's cache folder)")


def run(arguments):
    from minicnn import datasets
    from minicnn.datasets import storage

    for name in arguments.download or []:
        source = source_of(name)
        if name == "digits" or source.counts(source.find(arguments.data_dir)) == source.PUBLISHED:
            print(f"{name}: here already")
        else:
            source.fetch(arguments.data_dir)
            print(f"{name}: downloaded")
    print(f"data directory: {storage.data_directory(arguments.data_dir)}")
    rows = [row(name, arguments.data_dir) for name in datasets.NAMES]
    widths = [max(len(cells[column]) for cells in rows) for column in range(3)]
    for *cells, note in rows:
        print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths)) + f"  {note}")
    return 0


def source_of(name):
    """What finds and fetches a data set: its module, or for MNIST's family the module's ``SET``."""
    from minicnn import datasets

    module = importlib.import_module(f"minicnn.datasets.{datasets.NAMES[name]}")
    return getattr(module, "SET", module)


def row(name, data_dir):
    """Name, state, size and a note."""
    from minicnn.files import human_size

    source = source_of(name)
    if name == "digits":
        return name, "complete", human_size(Path(source.__file__).with_name("digits.npz").stat().st_size), (
            "part of MiniCNN")
    found = source.find(data_dir)
    if found.state == "missing":
        return name, "missing", human_size(source.download_size()), found.note or "to download"
    try:
        counts = source.counts(found)
    except (ValueError, OSError) as error:
        return name, "damaged", human_size(found.size), str(error)
    if counts == source.PUBLISHED:
        return name, "complete", human_size(found.size), str(found.folder)
    have, whole = (f"{train:,} + {test:,}" for train, test in (counts, source.PUBLISHED))
    note = f"{found.folder}: {have} of {whole} images"
    return name, "partial", human_size(found.size), "; ".join(filter(None, [note, found.note]))
