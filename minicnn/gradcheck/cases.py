"""Inputs to check a function with: one plain case, one case for each thing that may vary, and some where all does.

A bug that needs a non-square image to show is found by the case that varies just that, and since every other case
comes out right, the report can say so. The sizes are small, because a student's loops are slow, and random within
bounds, so that another seed is another test.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kernels import NO_PADDING, checks


@dataclass
class Case:
    """Arguments of an operation's forward function by name, and what makes the case special."""

    name: str
    arguments: dict = field(repr=False)

    def describe(self):
        """``x (2, 7, 5, 3), w (3, 2, 3, 4), stride (2, 1)``: what a reader needs to build the case again."""
        words = []
        for name, value in self.arguments.items():
            if isinstance(value, np.ndarray):
                words.append(f"{name} {value.shape}")
            elif value is not None:
                words.append(f"{name} {value}")
        return ", ".join(words)


def normal(rng, shape, dtype):
    """Standard normal numbers."""
    return rng.standard_normal(shape).astype(dtype)


def spaced(rng, shape, dtype):
    """Distinct numbers in random order, at least 2.4 / size apart and away from zero: no kink within reach."""
    size = int(np.prod(shape))
    places = rng.permutation(size) - size / 2 + 0.5 + rng.uniform(-0.1, 0.1, size)
    return (places * (3.0 / size)).reshape(shape).astype(dtype)


def tied(rng, shape, dtype):
    """Few distinct numbers, so that most pooling windows hold a tie."""
    return rng.choice(np.array([-1.0, 0.5, 1.25]), shape).astype(dtype)


def one_if_equal(pair):
    """A pair of equal numbers as that number, as the layers pass it: a function that knows no pairs is right so far."""
    return pair[0] if pair[0] == pair[1] else pair


def conv2d_cases(rng, dtype):
    """Convolutions; see ``_window_variations``."""
    cases = []
    for name, (n, h, w, c, o), window, stride, padding in _window_variations(rng):
        arguments = {"x": normal(rng, (n, h, w, c), dtype), "w": normal(rng, (*window, c, o), dtype),
                     "b": normal(rng, (o,), dtype), "stride": one_if_equal(stride), "padding": padding}
        cases.append(Case(name, arguments))
    without = dict(cases[0].arguments, b=None)
    return [*cases, Case("no bias", without)]


def max_pool2d_cases(rng, dtype):
    """Poolings of distinct numbers, of ties, and of negative numbers in padding."""
    cases = _pool_cases(rng, dtype)
    general = cases[-1].arguments
    ties = dict(general, x=tied(rng, general["x"].shape, dtype))
    negative = dict(general, x=-np.abs(spaced(rng, general["x"].shape, dtype)))
    plain = dict(cases[0].arguments, x=tied(rng, cases[0].arguments["x"].shape, dtype))
    return [*cases, Case("ties", plain), Case("all varied with ties", ties), Case("negative numbers", negative)]


def avg_pool2d_cases(rng, dtype):
    """Poolings; see ``_window_variations``."""
    return _pool_cases(rng, dtype)


def _pool_cases(rng, dtype):
    cases = []
    for name, (n, h, w, c, _), window, stride, padding in _window_variations(rng, pool=True):
        cases.append(Case(name, {"x": spaced(rng, (n, h, w, c), dtype), "pool_size": one_if_equal(window),
                                 "stride": one_if_equal(stride), "padding": padding}))
    arguments = dict(cases[0].arguments, stride=None)
    return [cases[0], Case("default stride", arguments), *cases[1:]]


def _window_variations(rng, pool=False):
    """Yield ``name, (N, H, W, C, O), window, stride, padding`` for sliding windows."""
    k = 2 if pool else int(rng.integers(2, 4))
    steps = k if pool else 1
    size = 3 * k if pool else k + int(rng.integers(2, 4))
    more, less = size + int(rng.integers(1, 3)) * steps, size - steps
    yield "plain", (1, size, size, 1, 1), (k, k), (steps,) * 2, NO_PADDING
    yield "several images", (3, size, size, 1, 1), (k, k), (steps,) * 2, NO_PADDING
    yield "wide image", (1, less, more, 1, 1), (k, k), (steps,) * 2, NO_PADDING
    yield "tall image", (1, more, less, 1, 1), (k, k), (steps,) * 2, NO_PADDING
    yield "several channels", (1, size, size, 3, 1), (k, k), (steps,) * 2, NO_PADDING
    if not pool:
        yield "several kernels", (1, size, size, 1, 4), (k, k), (1, 1), NO_PADDING
    wide = (2, 3) if rng.integers(2) else (3, 2)
    yield "window not square", (1, 2 * wide[0] + (wide[0] if pool else 1), 2 * wide[1] + (wide[1] if pool else 2), 1,
                                1), wide, wide if pool else (1, 1), NO_PADDING
    stride = 1 if pool else 2
    fit = k + stride * int(rng.integers(1, 3))
    yield "overlapping windows" if pool else "stride 2", (1, fit, fit, 1, 1), (k, k), (stride, stride), NO_PADDING
    uneven = (1, 2) if rng.integers(2) else (2, 1)
    yield "two strides", (1, k + 3 * uneven[0], k + 2 * uneven[1], 1, 1), (k, k), uneven, NO_PADDING
    yield "pixels left over", (1, k + 2 * 2 + 1, k + 2 * 1 + 1, 1, 1), (k, k), (2, 2), NO_PADDING
    yield "stride beyond the window", (1, 2 * k + 3, 2 * k + 2, 1, 1), (k, k), (k + 1, k + 1), NO_PADDING
    yield "padding", (1, size, size, 1, 1), (k, k), (steps,) * 2, ((1, 1), (1, 1))
    yield "padding 0 and 1", (1, size + steps - 1, size + steps - 1, 1, 1), (k, k), (steps,) * 2, ((0, 1), (0, 1))
    yield "padding 1 and 0", (1, size + steps - 1, size + steps - 1, 1, 1), (k, k), (steps,) * 2, ((1, 0), (1, 0))
    yield "padding above and below", (1, size, size, 1, 1), (k, k), (steps,) * 2, ((1, 1), (0, 0))
    # all sizes alike: a transposed or wrongly reduced array keeps its shape here, so only its numbers betray it
    yield "all sizes alike", (3, 5, 5, 3, 3), (3, 3), (1, 1), NO_PADDING
    kh, kw = ((2, 3) if rng.integers(2) else (3, 2))
    n, c = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    vertical = tuple(int(pad) for pad in rng.permutation([0, 1]))
    horizontal = (kw - 1, 0) if rng.integers(2) else (0, kw - 1)
    yield ("all varied", (n, 6 + int(rng.integers(0, 2)), 4 + int(rng.integers(0, 2)), c, c + 1), (kh, kw),
           (2, 1) if rng.integers(2) else (1, 2), (vertical, horizontal))
    yield "all varied again", (2, 4, 7, 3, 2), (kw, kh), (2, 1), ((1, 0), (0, 1))


def dense_cases(rng, dtype):
    """Dense layers."""
    i, o = int(rng.integers(3, 6)), int(rng.integers(6, 9))
    cases = []
    for name, (n, inputs, outputs) in {"plain": (1, 4, 4), "several samples": (5, 4, 4), "more outputs": (1, i, o),
                                       "more inputs": (1, o, i), "all sizes alike": (4, 4, 4),
                                       "all varied": (3, i, o), "all varied again": (2, o, i)}.items():
        cases.append(Case(name, {"x": normal(rng, (n, inputs), dtype), "w": normal(rng, (inputs, outputs), dtype),
                                 "b": normal(rng, (outputs,), dtype)}))
    return [*cases, Case("no bias", dict(cases[-1].arguments, b=None))]


def elementwise_cases(rng, dtype):
    """Arrays of one, two and four dimensions, all numbers away from the kink at zero."""
    shapes = {"row": (1, 6), "vector": (7,), "matrix": (4, 5), "square": (5, 5), "images": (2, 3, 4, 3)}
    return [Case(name, {"x": spaced(rng, shape, dtype)}) for name, shape in shapes.items()]


def leaky_relu_cases(rng, dtype):
    """As ``elementwise_cases``, with the default slope and with others."""
    cases = elementwise_cases(rng, dtype)
    cases = [Case(case.name, dict(case.arguments, negative_slope=0.2)) for case in cases]
    x = spaced(rng, (4, 5), dtype)
    return cases + [Case(f"slope {slope}", {"x": x, "negative_slope": slope}) for slope in (0.01, 0.0, 0.6)]


def saturating_cases(rng, dtype):
    """As ``elementwise_cases``, with numbers so large that ``exp`` overflows."""
    large = spaced(rng, (4, 5), dtype) * dtype(800)
    return [*elementwise_cases(rng, dtype), Case("large numbers", {"x": large})]


def loss_cases(rng, dtype, name, smoothing):
    """Batches of scores and labels, weights and label smoothing included; ``name`` is the scores' argument."""
    def case(title, n, k, scale=1.0, weight=False, label_smoothing=0.0):
        scores = normal(rng, (n, k), dtype) * dtype(scale)
        arguments = {name: scores}
        if smoothing:
            arguments["labels"] = rng.integers(0, k, n)
            if name == "probabilities":
                scores = np.exp(0.5 * scores.astype(np.float64))
                arguments[name] = (scores / scores.sum(axis=1, keepdims=True)).astype(dtype)
        else:
            arguments["targets"] = normal(rng, (n, k), dtype)
        arguments["sample_weight"] = rng.uniform(0.2, 2.0, n).astype(dtype) if weight else None
        if smoothing:
            arguments["label_smoothing"] = label_smoothing
        return Case(title, arguments)

    n, k = int(rng.integers(3, 6)), int(rng.integers(6, 9))
    cases = [case("one sample", 1, k), case("several samples", n, k), case("all sizes alike", 4, 4),
             case("more samples than classes", k, 3), case("sample weights", n, k, weight=True)]
    if smoothing:
        cases.append(case("label smoothing", n, k, label_smoothing=0.1))
        cases.append(case("weights and smoothing", n, k, weight=True, label_smoothing=0.3))
        if name == "logits":
            cases.append(case("large logits", n, k, scale=1500.0))
            # the label is the least likely class: its probability underflows to 0, its logarithm need not
            cases[-1].arguments["labels"][0] = np.argmin(cases[-1].arguments["logits"][0])
    return cases


def batch_norm_cases(rng, dtype, inference=False):
    """Rows and images, several epsilons; in inference with statistics that are not the batch's own."""
    shapes = {"plain": (6, 2), "one channel": (5, 1), "all sizes alike": (4, 4, 4, 4), "images": (2, 3, 2, 3),
              "wide images": (3, 2, 5, 2), "small epsilon": (6, 3), "large epsilon": (5, 2, 3)}
    cases = []
    for name, shape in shapes.items():
        channels = shape[-1]
        epsilon = {"small epsilon": 1e-6, "large epsilon": 0.5}.get(name, 1e-3)
        arguments = {"x": normal(rng, shape, dtype) * dtype(1.5) + normal(rng, (channels,), dtype),
                     "gamma": normal(rng, (channels,), dtype) + dtype(2), "beta": normal(rng, (channels,), dtype)}
        if inference:
            arguments["mean"] = normal(rng, (channels,), dtype)
            arguments["variance"] = rng.uniform(0.5, 3.0, channels).astype(dtype)
        cases.append(Case(name, dict(arguments, epsilon=epsilon)))
    return cases


def dropout_cases(rng, dtype):
    """Several rates, rate 0 among them."""
    shapes = {"plain": (4, 5), "images": (2, 4, 3, 2), "vector": (30,), "rate 0": (3, 4)}
    rates = {"plain": 0.5, "images": 0.3, "vector": 0.8, "rate 0": 0.0}
    return [Case(name, {"x": normal(rng, shape, dtype), "rate": rates[name], "seed": int(rng.integers(1 << 40))})
            for name, shape in shapes.items()]


def sgd_cases(rng, dtype):
    """Plain, with momentum, Nesterov's, with weight decay, and all of them."""
    def case(name, **options):
        arguments = {key: normal(rng, (11,), dtype) for key in ("parameters", "gradients", "velocity")}
        return Case(name, {**arguments, "learning_rate": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0,
                           **options})
    return [case("plain"), case("momentum", momentum=0.9), case("nesterov", momentum=0.8, nesterov=True),
            case("weight decay", weight_decay=0.2),
            case("all varied", learning_rate=0.03, momentum=0.7, nesterov=True, weight_decay=0.5)]


def adam_cases(rng, dtype):
    """First and later steps, default and other constants, and weight decay."""
    def case(name, **options):
        first = options.get("step", 1) == 1
        arguments = {key: normal(rng, (11,), dtype) for key in ("parameters", "gradients")}
        arguments["first_moment"] = np.zeros(11, dtype) if first else normal(rng, (11,), dtype)
        arguments["second_moment"] = np.zeros(11, dtype) if first else rng.uniform(0.1, 2.0, 11).astype(dtype)
        return Case(name, {**arguments, "step": 1, "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999,
                           "epsilon": 1e-7, "weight_decay": 0.0, **options})
    return [case("first step"), case("step 3", step=3), case("step 200", step=200),
            case("other betas", step=4, beta_1=0.6, beta_2=0.8), case("large epsilon", step=2, epsilon=0.3),
            case("weight decay", step=2, learning_rate=0.05, weight_decay=0.4)]


def clip_cases(rng, dtype):
    """Vectors longer and shorter than the limit."""
    long, short = normal(rng, (9,), dtype) * dtype(3), normal(rng, (9,), dtype) * dtype(0.01)
    cases = (("too long", long, 1.0), ("short", short, 1.0), ("another limit", long[:5].copy(), 2.5))
    return [Case(name, {"gradients": vector, "max_norm": limit}) for name, vector, limit in cases]


def output_shape(arguments):
    """``(OH, OW)`` of the convolution or pooling with these arguments."""
    window = arguments["w"].shape[:2] if "w" in arguments else checks.pair("pool_size", arguments["pool_size"])
    stride = window if arguments["stride"] is None else checks.pair("stride", arguments["stride"])
    return checks.windows(arguments["x"].shape, window, stride, arguments["padding"])
