"""For test suites: strategies for valid cases, and assertions that say where and why something is wrong.

A class's test file can look like this (it is run as one of MiniCNN's own tests)::

    from hypothesis import given
    from kernels import im2col as homework
    from minicnn import testing

    def test_everything_that_is_defined():
        testing.assert_matches_reference(homework)

    @given(testing.convolutions())
    def test_gradients(case):
        forward = lambda x, w, b: homework.conv2d_forward(x, w, b, case["stride"], case["padding"])
        backward = lambda dy, x, w, b: homework.conv2d_backward(dy, x, w, case["stride"], case["padding"])
        testing.assert_gradients(forward, backward, case["x"], case["w"], case["b"])

``hypothesis`` is needed for the strategies only (``pip install '.[test]'``).
"""

from __future__ import annotations

import itertools

import numpy as np

from minicnn.backends import defined_functions
from minicnn.gradcheck import numeric, pictures
from minicnn.gradcheck.grade import grade_function
from minicnn.gradcheck.report import function_report
from minicnn.gradcheck.report import number as number_words

__all__ = ["assert_adjoint", "assert_gradients", "assert_matches_reference", "convolutions", "poolings"]


def convolutions(dtypes=("float64",), largest=5):
    """Strategy: a valid convolution as ``{"x", "w", "b", "stride", "padding"}``, ``b`` an array.

    Parameters
    ----------
    dtypes : sequence of str
        Types to choose from.
    largest : int
        Height and width are at most ``largest + 2``; batch, channels and kernels stay below 4.
    """
    from hypothesis import strategies as st

    @st.composite
    def case(draw):
        height, width, window, stride, padding = draw(_windows(st, largest, padding_below_window=False))
        n, c, o = (draw(st.integers(1, 3)) for _ in range(3))
        rng, dtype = _numbers(draw, st, dtypes)
        return {"x": rng.standard_normal((n, height, width, c)).astype(dtype),
                "w": rng.standard_normal((*window, c, o)).astype(dtype),
                "b": rng.standard_normal(o).astype(dtype), "stride": stride, "padding": padding}
    return case()


def poolings(dtypes=("float64",), largest=5):
    """Strategy: a valid pooling as ``{"x", "pool_size", "stride", "padding"}``; the numbers of ``x`` are distinct."""
    from hypothesis import strategies as st

    @st.composite
    def case(draw):
        height, width, window, stride, padding = draw(_windows(st, largest, padding_below_window=True))
        shape = (draw(st.integers(1, 3)), height, width, draw(st.integers(1, 3)))
        rng, dtype = _numbers(draw, st, dtypes)
        x = rng.permutation(int(np.prod(shape))).reshape(shape) * 0.05 - 1.0
        return {"x": x.astype(dtype), "pool_size": window, "stride": stride, "padding": padding}
    return case()


def _windows(st, largest, padding_below_window):
    """Strategy: height, width, window, stride and padding that fit together."""
    @st.composite
    def windows(draw):
        sizes, pads, window = [], [], []
        for _ in range(2):
            window.append(draw(st.integers(1, 3)))
            most = window[-1] - 1 if padding_below_window else 2
            pads.append((draw(st.integers(0, most)), draw(st.integers(0, most))))
            sizes.append(draw(st.integers(max(1, window[-1] - sum(pads[-1])), largest + 2)))
        stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        return *sizes, tuple(window), stride, tuple(pads)
    return windows()


def _numbers(draw, st, dtypes):
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.sampled_from(list(dtypes)))


def assert_matches_reference(module, functions=None, seeds=(0, 1)):
    """Every function of the contract that ``module`` defines gives the reference's results, and right gradients.

    Parameters
    ----------
    module : module
        A whole back-end or part of one.
    functions : list of str, optional
        Only these; one that the module lacks fails.
    seeds : iterable of int
        Each is another set of shapes and numbers.

    Raises
    ------
    AssertionError
        With the report that ``minicnn gradcheck`` would print.
    """
    names = defined_functions(module) if functions is None else list(functions)
    if not names:
        raise AssertionError(f"{module.__name__} defines none of the functions of kernels.CONTRACT")
    for function, seed in itertools.product(names, seeds):
        report = grade_function(module, function, seed, getattr(module, "__file__", None))
        if not report.ok:
            raise AssertionError(f"(seed {seed})\n{function_report(report)}")


def assert_gradients(forward, backward, *inputs, kinks=None, names=None, seed=0):
    """A backward function is the gradient of a forward function, by central differences at every element.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> y``, an array or one number.
    backward : callable
        ``backward(dy, *inputs)`` returns a gradient for each input, or for the first ones (None: not checked).
    *inputs : ndarray
        float64 arrays (float32 works, with wider tolerances).
    kinks : callable, optional
        ``kinks(*inputs)`` returns an array that tells on which side of every kink the inputs lie (a relu's mask, a
        pooling's argmax). Where it changes within the step, the element is skipped.
    names : sequence of str, optional
        The inputs' names in messages; by default x0, x1, ...
    seed : int
        Chooses ``dy``.

    Raises
    ------
    AssertionError
        Naming the worst element, both numbers, and where the errors lie.
    """
    y = np.asarray(forward(*[array.copy() for array in inputs]))
    dy = np.random.default_rng(seed).standard_normal(y.shape).astype(inputs[0].dtype)
    gradients = backward(dy.copy(), *[array.copy() for array in inputs])
    gradients = gradients if isinstance(gradients, (tuple, list)) else (gradients,)
    for place, gradient in enumerate(gradients[:len(inputs)]):
        if gradient is None:
            continue
        name = f"d{names[place]}" if names else f"dx{place}"
        x = inputs[place]
        if np.shape(gradient) != x.shape:
            raise AssertionError(f"{name} has shape {np.shape(gradient)}; expected {x.shape}")

        def evaluate(value, place=place):
            given = [value if other == place else array.copy() for other, array in enumerate(inputs)]
            return forward(*given), kinks(*given) if kinks else None

        found = numeric.numeric_gradient(evaluate, x, np.asarray(dy, np.float64), np.arange(x.size), analytic=gradient)
        if x.size and not found.checked:
            raise AssertionError(f"{name}: every element lies at a kink, so nothing could be checked")
        _raise_if_wrong(name, x, gradient, found)


def _raise_if_wrong(name, x, gradient, found):
    error = found.errors(gradient, numeric.FLOOR[x.dtype.name]).reshape(x.shape)
    limit = numeric.GOOD[x.dtype.name]
    if error.size and not error.max() < limit:
        worst = tuple(int(place) for place in np.unravel_index(int(np.argmax(error)), x.shape))
        raise AssertionError("\n".join([
            f"{name}: {pictures.describe(name, ~(error < limit))}",
            f"{pictures.coordinate(name, worst)} is {number_words(float(gradient[worst]))}, finite differences give "
            f"{number_words(float(found.values.reshape(x.shape)[worst]))} (relative error {error[worst]:.1e}; "
            f"{found.checked} elements checked, {found.skipped} at kinks)",
            *pictures.picture(name, ~(error < limit))]))


def assert_adjoint(forward, backward, x, seed=0):
    """``<forward(x), dy> = <x, backward(dy)>`` to rounding error, for a ``forward`` that is linear in ``x``.

    No step, no tolerance to argue about: the identity checks every element at once. (``forward`` must be without bias.)

    Raises
    ------
    AssertionError
        With both inner products.
    """
    y = np.asarray(forward(x.copy()))
    dy = np.random.default_rng(seed).standard_normal(y.shape).astype(x.dtype)
    dx = np.asarray(backward(dy.copy()))
    if dx.shape != x.shape:
        raise AssertionError(f"backward(dy) has shape {dx.shape}; expected {x.shape}, the shape of x")
    error = numeric.adjoint_error((y, dy), (x, dx))
    if not error < numeric.GOOD_EXACT[x.dtype.name]:
        left, right = float(np.sum(np.float64(y) * dy)), float(np.sum(np.float64(x) * dx))
        raise AssertionError(f"<forward(x), dy> = {left:.12g}, but <x, backward(dy)> = {right:.12g} (error "
                             f"{error:.1e}): backward is not the transpose of forward, or forward is not linear (has "
                             "it a bias?)")
