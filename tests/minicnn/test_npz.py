"""The bounded reader of ``.npz`` files: what NumPy writes is read; what lies about its size is refused unread."""

import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from minicnn.npz import read_npz

ARRAYS = {
    "a": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "text": np.array("ein Wort"),
    "scalar": np.array(True),
    "empty": np.zeros((0, 5), np.uint8),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **ARRAYS)
    arrays = read_npz(path)
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array) and arrays[name].dtype == array.dtype.newbyteorder("=")
        assert arrays[name].flags.writeable
    assert list(read_npz(path, names=["f", "nothing"])) == ["f"]


def archive_of(path, content, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def npy_header(shape, descr="<f4", version=(1, 0)):
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    (np.lib.format.write_array_header_1_0 if version == (1, 0) else np.lib.format.write_array_header_2_0)(file, header)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10**15,), (5,), (3,), (-4,), (2**40, 2**40, 0, 7)])
def test_a_shape_that_the_data_contradict(tmp_path, shape):
    path = archive_of(tmp_path / "a.npz", {"a.npy": npy_header(shape) + bytes(16)})
    with pytest.raises(ValueError, match=r"a\.npz: .*a\.npy"):
        read_npz(path)


def test_objects_are_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.savez(tmp_path / "a.npz", a=np.array([1, None], object))
    with pytest.raises(ValueError, match="expected numbers or text"):
        read_npz(tmp_path / "a.npz")
    path = archive_of(tmp_path / "b.npz", {"a.npy": npy_header((1,), "|O") + pickle.dumps(Trap())})
    with pytest.raises(ValueError):
        read_npz(path)


@pytest.mark.parametrize("content", [
    {"a.npy": b""}, {"a.npy": b"\x93NUMPY\x09\x00"}, {"a.npy": b"\x93NUMPY\x01\x00\xff\xff{"}, {"a.npy": b"PK"},
    {"a.npy": b"\x93NUMPY\x01\x00\x04\x00{}  "}, {"readme.txt": b"hello"},
    {"a.npy": npy_header((1,), "<U0")}, {"a.npy": npy_header((1,), [("x", "<f4")]) + bytes(4)},
])
def test_members_that_are_no_arrays(tmp_path, content):
    with pytest.raises(ValueError, match=r"a\.npz"):
        read_npz(archive_of(tmp_path / "a.npz", content))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"hello" * 100])
def test_not_a_zip_file(tmp_path, data):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"not an \.npz file, or a damaged one"):
        read_npz(path)


def test_other_compressions_and_double_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="method 12"):
        read_npz(archive_of(tmp_path / "a.npz", {"a.npy": npy_header((1,)) + bytes(4)}, zipfile.ZIP_BZIP2))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("a.npy", npy_header((1,)) + bytes(4))
    with pytest.raises(ValueError, match="twice"):
        read_npz(tmp_path / "b.npz")


def test_a_bomb_costs_no_memory(tmp_path):
    size = 1 << 26
    path = archive_of(tmp_path / "a.npz", {"a.npy": npy_header((size,), "|u1") + bytes(size)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < size / 500
    tracemalloc.start()
    with pytest.raises(ValueError, match="at most 1,000,000 are accepted"):
        read_npz(path, limit=1000000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1000000
    assert len(read_npz(path)["a"]) == size


def test_a_directory_that_claims_more_than_deflate_can_hold(tmp_path):
    path = archive_of(tmp_path / "a.npz", {"a.npy": npy_header((10**9,), "|u1") + bytes(100)}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        old = archive.infolist()[0].file_size
    new = old - 100 + 10**9
    path.write_bytes(data.replace(old.to_bytes(4, "little"), new.to_bytes(4, "little")))
    with pytest.raises(ValueError, match=r"declares 1,000,000,\d+ bytes in"):
        read_npz(path)
