"""Calls are remembered by the kinds of their arguments, and nothing that differs in more than its numbers is missed."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import values

from kernels import NO_PADDING, cpu, im2col
from kernels.cpu import calls, threads


@pytest.fixture
def prepared():
    """``Calls`` of arrays that are made contiguous, and the list of what was prepared."""
    done = []

    def prepare(arrays, settings):
        done.append(settings)
        return tuple(array if array is None else np.require(array, np.float64, "CAW") for array in arrays), len(done)

    return calls.Calls(prepare), done


def test_arguments_of_one_kind_are_prepared_once(prepared):
    known, done = prepared
    for seed in range(3):
        arrays = values(seed, (3, 4)), None, values(seed, (5,))
        found, call = known.find(arrays, (2, NO_PADDING))
        assert all(a is b for a, b in zip(found, arrays)) and call == 1
    assert done == [(2, NO_PADDING)]


@pytest.mark.parametrize("arrays, settings", [
    ((np.zeros((4, 3)), None), (1,)), ((np.zeros(12), None), (1,)), ((np.zeros((3, 4)), np.zeros(1)), (1,)),
    ((None, np.zeros((3, 4))), (1,)), ((np.zeros((3, 4), np.float32), None), (1,)),
    ((np.zeros((3, 4), ">f8"), None), (1,)), ((np.zeros((3, 4), np.int64), None), (1,)),
    ((np.zeros((3, 4), order="F"), None), (1,)), ((np.zeros((3, 8))[:, ::2], None), (1,)),
    ((np.broadcast_to(np.float64(0), (3, 4)), None), (1,)), ((np.zeros((3, 4)).view(np.memmap), None), (1,)),
    ((np.zeros((3, 4)).tolist(), None), (1,)), ((np.zeros(97, np.uint8)[1:].view(float).reshape(3, 4), None), (1,)),
    ((np.zeros((3, 4)), None), (True,)), ((np.zeros((3, 4)), None), (1.0,)), ((np.zeros((3, 4)), None), ([1],)),
    ((np.zeros((3, 4)), None), (np.int64(1),)), ((np.zeros((3, 4)), None), ("1",))], ids=repr)
def test_arguments_of_another_kind_are_prepared_anew(prepared, arrays, settings):
    known, done = prepared
    known.find((np.zeros((3, 4)), None), (1,))
    found, call = known.find(arrays, settings)
    assert call == len(done) == 2
    assert all(array is None or (array.flags.carray and array.dtype == np.float64) for array in found)


def test_what_had_to_be_changed_is_changed_every_time(prepared):
    known, _ = prepared
    for _ in range(3):
        (found,), _ = known.find((np.zeros((3, 4), np.float32),))
        assert found.dtype == np.float64


def test_settings_that_can_change_are_looked_at_every_time(prepared):
    known, done = prepared
    setting = [1, 2]
    for settings in ((setting,), ((setting, 1),), ({1: 2},)):
        done.clear()
        known.find((np.zeros(2),), settings)
        known.find((np.zeros(2),), settings)
        assert len(done) == 2


def test_threads_count(prepared, monkeypatch):
    known, done = prepared
    for number in (1, 2, 1, 2):
        monkeypatch.setattr(threads, "_threads", number)
        known.find((np.zeros(2),))
    assert len(done) == 2


def test_only_so_many_are_kept(prepared, monkeypatch):
    known, _ = prepared
    monkeypatch.setattr(calls, "MOST_KEPT", 10)
    for size in range(25):
        known.find((np.zeros(size),))
        assert len(known.known) <= 10


def test_an_error_is_raised_every_time():
    x, w = values(1, (2, 5, 4, 3)), values(2, (3, 3, 3, 2))
    for padding in (NO_PADDING, ((1, 1), (1, 1))):
        cpu.conv2d_forward(x, w, None, 1, padding)
    for _ in range(3):
        with pytest.raises(TypeError, match="stride: expected an integer, got True"):
            cpu.conv2d_forward(x, w, None, True)
        with pytest.raises(TypeError, match="padding top: expected an integer, got True"):
            cpu.conv2d_forward(x, w, None, 1, ((True, 1), (1, 1)))


def test_padding_in_lists_is_read_every_time():
    x, w, padding = values(1, (2, 5, 4, 3)), values(2, (3, 3, 3, 2)), [[0, 0], [0, 0]]
    for pads in (0, 1, 2):
        padding[0][0] = pads
        np.testing.assert_allclose(cpu.conv2d_forward(x, w, None, 1, padding),
                                   im2col.conv2d_forward(x, w, None, 1, padding), atol=1e-12)


@pytest.mark.parametrize("input_gradient", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 32])  # dw from winners that are picked, or dw and dx from winners alone
@pytest.mark.parametrize("pool_size, wrong", [((2, 2), 4), ((2, 2), 255), ((3, 2), 6), ((17, 16), 272), ((17, 16), -1)])
def test_an_argmax_is_looked_at_every_time(channels, input_gradient, pool_size, wrong):
    x, w = values(1, (2, 36, 34, channels)), values(2, (3, 3, channels, 8))
    y, argmax = cpu.conv2d_relu_max_pool2d_forward(x, w, None, 1, NO_PADDING, pool_size)
    dy, out = values(3, y.shape), (np.full(w.shape, 8.5), np.full(8, 8.5))
    cpu.conv2d_relu_max_pool2d_backward(dy, y, argmax, x, w, 1, NO_PADDING, pool_size, input_gradient)
    for place in ((0, 0, 0, 0), (1, -1, -1, 7)):
        changed = argmax.copy()
        changed[place] = wrong
        with pytest.raises(ValueError, match=r"argmax: expected indices inside the \d+x\d+ window, got "):
            cpu.conv2d_relu_max_pool2d_backward(dy, y, changed, x, w, 1, NO_PADDING, pool_size, input_gradient, out)
        assert (out[0] == 8.5).all() and (out[1] == 8.5).all()


def test_labels_are_looked_at_every_time():
    logits, labels = values(1, (6, 5)), np.array([0, 1, 2, 3, 4, 0])
    cpu.softmax_cross_entropy(logits, labels)
    for wrong in (-1, 5):
        for place in (0, 5):
            changed = labels.copy()
            changed[place] = wrong
            with pytest.raises(ValueError, match="labels: expected class numbers 0 to 4 for 5 logits, got "):
                cpu.softmax_cross_entropy(logits, changed)
