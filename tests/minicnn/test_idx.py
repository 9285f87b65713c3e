"""The IDX format: every type, both forms, and headers that lie."""

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minicnn.datasets.idx import TYPES, header_bytes, read_idx


def idx_bytes(array):
    code = {np.dtype(name).newbyteorder("="): name for name in TYPES.values()}[array.dtype]
    return header_bytes(array) + array.astype(code).tobytes()


arrays = hnp.arrays(st.sampled_from([np.dtype(name).newbyteorder("=") for name in TYPES.values()]),
                    hnp.array_shapes(max_dims=4, max_side=4))


@settings(deadline=None, max_examples=50)
@given(array=arrays, zipped=st.booleans())
def test_round_trip(tmp_path_factory, array, zipped):
    path = tmp_path_factory.getbasetemp() / "round_trip"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    result = read_idx(path)
    assert result.dtype == array.dtype and result.flags.writeable
    np.testing.assert_array_equal(result, array)


def test_a_file_written_by_hand(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes([0, 0, 11, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 255, 254]))
    assert read_idx(path).tolist() == [[7, -2]]


@pytest.mark.parametrize("data, message", [
    (b"", "ends after 0 of 4"),
    (b"\x00\x00\x08", "ends after 3 of 4"),
    (b"\x00\x01\x08\x01\x00\x00\x00\x00", "begins with the bytes 00 01 08 01"),
    (b"\x00\x00\x07\x01\x00\x00\x00\x00", "begins with"),
    (b"\x00\x00\x08\x00", "begins with"),
    (b"\x00\x00\x08\x02\x00\x00\x00\x01", "ends after 4 of 8"),
    (b"\x00\x00\x08\x01\x00\x00\x00\x03ab", "ends after 2 of 3"),
    (b"\x00\x00\x08\x01\x00\x00\x00\x01ab", "longer than the 0 bytes"),
    (b"\x00\x00\x08\x03" + b"\xff" * 12, "the limit is"),
    (b"\x00\x00\x08\xff" + b"\x00" * 1020, "dim"),
    (b"\x1f\x8bno gzip", "damaged"),
    (gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x03abc")[:-9], "damaged"),
])
def test_bad_files_are_refused_with_their_name(tmp_path, data, message):
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        read_idx(path)


def test_a_gzip_bomb_and_a_lying_header_cost_no_memory(tmp_path):
    honest = b"\x00\x00\x08\x01\x00\x00\x00\x03abc"
    (tmp_path / "bomb").write_bytes(gzip.compress(honest + bytes(1 << 27), 9))
    (tmp_path / "liar").write_bytes(gzip.compress(b"\x00\x00\x08\x01" + (1 << 30).to_bytes(4, "big") + b"abc"))
    tracemalloc.start()
    for name in ("bomb", "liar"):
        with pytest.raises(ValueError, match=name):
            read_idx(tmp_path / name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
