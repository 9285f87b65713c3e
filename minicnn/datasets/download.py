"""Fetching a published file: several addresses in turn, and only the right bytes are kept."""

from __future__ import annotations

import hashlib
import http.client
import sys
import urllib.error
import urllib.request
from pathlib import Path

from ..files import atomic_write, human_size

#: Seconds without a byte after which an address is given up.
TIMEOUT = 20


class BadAnswer(Exception):
    """An address that does not deliver the file: the next one is tried."""


def fetch(urls, path, size, sha256, progress=True):
    """Download a file from the first address that has it.

    Parameters
    ----------
    urls : sequence of str
        Addresses of the same file, tried in this order.
    path : path
        Where the file goes (its folder is made). It appears there when it is whole and its checksum is right, and
        otherwise not at all.
    size : int
        Its length in bytes: a longer answer is broken off, so that a wrong one cannot fill the disk.
    sha256 : str
        Its SHA-256 checksum, hexadecimal.
    progress : bool
        Whether to show a bar on a terminal, or one line where the output is none.

    Raises
    ------
    ConnectionError
        When no address delivers; the message tells of each what went wrong there.
    OSError
        When the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        try:
            with _open(url) as response, atomic_write(path) as file:
                _copy(response, file, url, size, sha256, progress)
            return
        except BadAnswer as error:
            failures.append(f"  {url}: {error}")
    raise ConnectionError("\n".join(failures))


def _open(url):
    request = urllib.request.Request(url, headers={"User-Agent": "minicnn", "Accept-Encoding": "identity"})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        raise BadAnswer(f"the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise BadAnswer(f"no connection: {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BadAnswer(f"no connection: {error or type(error).__name__}") from None


def _copy(response, file, url, size, sha256, progress):
    from tqdm import tqdm

    announced = response.headers.get("Content-Length")
    if announced is not None and announced.strip() != str(size):
        raise BadAnswer(f"the server announces {announced} bytes, the file has {size}")
    checksum, received = hashlib.sha256(), 0
    if progress and not sys.stderr.isatty():
        print(f"Downloading {url} ({human_size(size)})", file=sys.stderr, flush=True)
    with tqdm(total=size, unit="B", unit_scale=True, desc=Path(url).name, leave=False, file=sys.stderr,
              disable=not (progress and sys.stderr.isatty())) as bar:
        while received <= size:
            try:
                piece = response.read(1 << 16)
            except (OSError, http.client.HTTPException) as error:
                raise BadAnswer(f"the connection broke after {received:,} bytes: {error}") from None
            if not piece:
                break
            received += len(piece)
            checksum.update(piece)
            bar.update(len(piece))
            file.write(piece)
    if received != size:
        raise BadAnswer(f"the file has {size:,} bytes, the server sent {'more' if received > size else received}")
    if checksum.hexdigest() != sha256:
        raise BadAnswer(f"wrong bytes: the SHA-256 checksum is {checksum.hexdigest()}, expected {sha256}")
