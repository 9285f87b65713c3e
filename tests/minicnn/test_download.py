"""Downloads against a server on the loopback that does everything wrong that servers do."""

import contextlib
import hashlib
import http.server
import os
import threading

import pytest

from minicnn.datasets import cifar10, download, mnist, mnist_family, storage

GOOD = bytes(range(256)) * 400
SHA256 = hashlib.sha256(GOOD).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Paths: what goes wrong with the file behind them."""

    def do_GET(self):
        kind, name = self.path.strip("/").split("/")
        self.server.asked.append((kind, name))
        content = self.server.files.get(name, GOOD)
        if kind == "forbidden":
            return self.send_error(403)
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", f"/good/{name}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if kind == "loop":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if kind == "file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            return self.end_headers()
        if kind == "garbage":
            return self.wfile.write(b"\x00\x01\x02 no HTTP at all\r\n\r\n")
        self.send_response(200)
        length = {"html": 40, "silent": None, "endless": None}.get(kind, len(content))
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if kind == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if kind in ("half", "silent", "stall"):
            content = content[:len(content) // 2]
        if kind == "html":
            content = b"<html>Please log in to this network</html>"[:40]
        with contextlib.suppress(OSError):
            self.wfile.write(content)
            if kind == "stall":
                self.server.release.wait(5)
            while kind == "endless" and not self.server.release.is_set():
                self.wfile.write(content)
        return None

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = server.block_on_close = False
    server.asked, server.files, server.release = [], {}, threading.Event()
    server.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server, path, *kinds):
    urls = [f"{server.base}/{kind}/data.bin" if "://" not in kind else kind for kind in kinds]
    download.fetch(urls, path, len(GOOD), SHA256, progress=False)


@pytest.mark.parametrize("kind", ["good", "redirect"])
def test_the_file_arrives_whole(server, tmp_path, kind, capsys):
    path = tmp_path / "new folder" / "data.bin"
    fetch(server, path, kind)
    assert path.read_bytes() == GOOD and os.listdir(path.parent) == ["data.bin"]


BAD = {
    "forbidden": "the server answers 403 Forbidden",
    "wrong": "wrong bytes: the SHA-256",
    "half": "sent 51200|connection broke after 51,200",
    "silent": "the server sent 51200",
    "endless": "the server sent more",
    "html": "announces 40 bytes",
    "loop": "the server answers 302",
    "file": "the server answers 302|not allowed",
    "garbage": "no connection",
    "http://127.0.0.1:9/closed": "no connection",
    "no-such-scheme://x/y": "no connection",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_address_is_passed_over(server, tmp_path, kind):
    fetch(server, tmp_path / "data.bin", kind, "good")
    assert (tmp_path / "data.bin").read_bytes() == GOOD and os.listdir(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("kind", BAD)
def test_when_all_fail_each_reason_is_told_and_nothing_is_left(server, tmp_path, kind):
    with pytest.raises(ConnectionError, match=BAD[kind]) as error:
        fetch(server, tmp_path / "data.bin", kind, "forbidden")
    assert kind in str(error.value) and "403" in str(error.value)
    assert os.listdir(tmp_path) == []


def test_a_server_that_falls_silent_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with pytest.raises(ConnectionError, match="connection broke after"):
        fetch(server, tmp_path / "data.bin", "stall")
    assert os.listdir(tmp_path) == []


def test_an_existing_file_survives_a_failed_download(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"old")
    with pytest.raises(ConnectionError):
        fetch(server, tmp_path / "data.bin", "wrong")
    assert (tmp_path / "data.bin").read_bytes() == b"old"


def test_the_disk_is_not_the_networks_fault(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file") as error:
        fetch(server, tmp_path / "file" / "data.bin", "good", "good")
    assert not isinstance(error.value, ConnectionError)


def test_the_family_takes_mirrors_in_turn_and_fetches_only_what_is_missing(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    files = {}
    for part, name in mnist_family.PARTS.items():
        server.files[f"{name}.gz"] = part.encode() * 100
        data = server.files[f"{name}.gz"]
        files[part] = (len(data), hashlib.sha256(data).hexdigest(), "")
    bases = (f"{server.base}/forbidden/", f"{server.base}/redirect/")
    family = mnist_family.Family("mnist", mnist.SET.folders, bases, files)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"mine")
    family.fetch(tmp_path)
    assert family.find(tmp_path).state == "complete"
    assert (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").read_bytes() == b"x_train" * 100
    assert (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes() == b"mine"
    assert "t10k-labels-idx1-ubyte.gz" not in {name for _, name in server.asked}
    assert capsys.readouterr().err.count("Downloading") == 3


def test_cifar_is_fetched_unpacked_and_the_archive_removed(server, tmp_path, monkeypatch):
    from .test_datasets import records, write_archive

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    contents = {name: records(10, seed).tobytes() for seed, name in enumerate(cifar10.FILES)}
    write_archive(tmp_path / "made.tar.gz", contents)
    server.files[cifar10.ARCHIVE] = data = (tmp_path / "made.tar.gz").read_bytes()
    monkeypatch.setattr(cifar10, "FILE_SIZE", 10 * cifar10.RECORD)
    monkeypatch.setattr(cifar10, "FILES", {name: hashlib.md5(data).hexdigest() for name, data in contents.items()})
    monkeypatch.setattr(cifar10, "SIZE", len(data))
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(cifar10, "URLS", (f"{server.base}/good/{cifar10.ARCHIVE}",))
    with pytest.warns(UserWarning, match="only a part"):
        (x_train, _), _ = cifar10.load_data(tmp_path / "data")
    assert len(x_train) == 50 and os.listdir(tmp_path / "data") == [cifar10.FOLDER]
    assert storage.data_directory(tmp_path / "data") == tmp_path / "data"
