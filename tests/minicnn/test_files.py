"""Writing in one step, and reading within bounds."""

import gzip
import os
import stat

import pytest

from minicnn.files import atomic_write, human_size, open_maybe_gzip, read_at_most, read_exactly


def test_the_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    with atomic_write(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["a.bin"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"ne")
        raise error
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_leftovers_of_killed_writes_go_after_an_hour(tmp_path):
    fresh, stale, other = (tmp_path / name for name in (".a.bin.1.part", ".a.bin.2.part", ".b.bin.3.part"))
    for path in (fresh, stale, other):
        path.write_bytes(b"")
    for path in (stale, other):
        os.utime(path, (0, 0))
    with atomic_write(tmp_path / "a.bin"):
        pass
    assert fresh.exists() and other.exists() and not stale.exists()


def test_bad_targets_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"), atomic_write(tmp_path / "none" / "a"):
        pass
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path):
        pass


def test_bounded_reading(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    with open(path, "rb") as file:
        assert read_exactly(file, 2) == b"12" and read_at_most(file, 3) == b"345"
    with open(path, "rb") as file, pytest.raises(EOFError, match="5 of 6"):
        read_exactly(file, 6)
    with open(path, "rb") as file, pytest.raises(ValueError, match="4 bytes"):
        read_at_most(file, 4)


@pytest.mark.parametrize("cut", [None, -1, 12])
def test_gzip_is_told_from_the_bytes(tmp_path, cut):
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b"12345" * 100)[:cut])
    if cut is None:
        with open_maybe_gzip(path) as file:
            assert file.read() == b"12345" * 100
    else:
        with pytest.raises(ValueError, match=str(path)), open_maybe_gzip(path) as file:
            file.read()


def test_human_size():
    assert [human_size(size) for size in (512, 11594722, 170052171)] == ["512 bytes", "11.6 MB", "170.1 MB"]
