"""The bug zoo: planted bugs, each one replaced piece of text in a correct solution, and whether they are found.

    python -m tests.minicnn.bug_zoo --seeds 20

prints the table: every bug, in how many seeds it was caught, in how many it was named, and as what.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import types
from dataclasses import dataclass

from minicnn.gradcheck.grade import grade_function

SOLUTIONS = pathlib.Path(__file__).parent / "solutions"


@dataclass(frozen=True)
class Bug:
    """One planted bug: ``old`` in the function's text becomes ``new``; ``cause`` is the key it should be named by."""

    name: str
    function: str
    old: str
    new: str
    cause: str | None
    style: str = "windows"
    shows_for: str = ""


def _bugs(function, *bugs, style="windows"):
    return [Bug(name, function, old, new, cause, style, *rest) for name, old, new, cause, *rest in bugs]


BUGS = [
    *_bugs(
        "conv2d_forward",
        ("kernel flipped", "window * w[:, :, :, o]", "window * w[::-1, ::-1, :, o]", "kernel flipped"),
        ("bias forgotten", "y = y + b", "y = y", "bias forgotten"),
        ("bias added for each channel", "y = y + b", "y = y + x.shape[3] * b", "bias in the loop", "several channels"),
        ("first channel only", "np.sum(window * w[:, :, :, o])", "np.sum(window[:, :, 0] * w[:, :, 0, o])",
         "first channel only", "several channels"),
        ("stride of the columns for the rows", "i * sh:i * sh + kh", "i * sw:i * sw + kh", "one stride for both",
         "unequal strides"),
        ("top and bottom padding exchanged", "(top, bottom), (left, right), (0, 0)",
         "(bottom, top), (left, right), (0, 0)", "bottom for top (rows)", "asymmetric padding"),
        ("one output size for both axes", "(width - kw) // sw + 1", "(height - kh) // sh + 1",
         "square output size", "non-square images"),
        ("last column not computed", "for j in range(ow):", "for j in range(ow - 1):", "last one left out"),
        ("computed in float32", "np.zeros((images, oh, ow, outputs), x.dtype)",
         "np.zeros((images, oh, ow, outputs), np.float32)", "float32"),
        ("first image for all", "padded[image, i * sh", "padded[0, i * sh", "first image for all", "batch > 1"),
        ("padded with the edge", "np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))",
         "np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), mode='edge')", "padded with the edge", "padding"),
        ("last kernel of several forgotten", "for o in range(outputs):", "for o in range(outputs - 1):",
         "last one left out", "several kernels"),
        ("one element forgotten", "    if b is not None:", "    y[-1, -1, -1, -1] = 0\n    if b is not None:",
         "one element",
         "a single element"),
    ),
    *_bugs(
        "conv2d_backward",
        ("kernel not flipped", "dpadded[image, rows, columns] += w[:, :, :, o]",
         "dpadded[image, rows, columns] += w[::-1, ::-1, :, o]", "kernel not flipped"),
        ("kernel transposed", "dpadded[image, rows, columns] += w[:, :, :, o]",
         "dpadded[image, rows, columns] += w.swapaxes(0, 1)[:, :, :, o]", "kernel transposed"),
        ("= instead of +=", "dpadded[image, rows, columns] += w[:, :, :, o] * dy[image, i, j, o]",
         "dpadded[image, rows, columns] = w @ dy[image, i, j]", "overwrites"),
        ("padding not cut off above", "dpadded[:, top:top + height", "dpadded[:, 0:height", "padding not subtracted "
                                                                                            "(rows)", "padding"),
        ("cut at the bottom's padding", "dpadded[:, top:top + height", "dpadded[:, bottom:bottom + height",
         "bottom for top (rows)", "asymmetric padding"),
        ("x not padded for dw", "dw[:, :, :, o] += padded[image, rows, columns]",
         "dw[:, :, :, o] += np.pad(x, ((0, 0), (0, top + bottom), (0, left + right), (0, 0)))[image, rows, columns]",
         "padding not subtracted", "padding"),
        ("batch mean of dw", "    dx = dpadded", "    dw /= images\n    dx = dpadded",
         "factor N", "batch > 1"),
        ("last image only for dw", "        for i in range(dy.shape[1]):",
         "        dw[:] = 0\n        for i in range(dy.shape[1]):", "last image only", "batch > 1"),
        ("bias mean instead of sum", "    dx = dpadded", "    db /= dy.shape[1] * dy.shape[2]\n    dx = dpadded",
         "factor OH*OW"),
        ("first output channel only for dx", "+= w[:, :, :, o] * dy[image, i, j, o]",
         "+= (o == 0) * w[:, :, :, o] * dy[image, i, j, o]", "first output channel only", "several kernels"),
        ("a constant factor of 2", "    dx = dpadded", "    dw *= 2\n    dx = dpadded", "constant factor"),
        ("corner element of dw wrong", "    dx = dpadded", "    dw[0, 0, 0, 0] *= 1.001\n    dx = dpadded",
         "one element",
         "a single element"),
        ("returns dx padded", "dpadded[:, top:top + height, left:left + width].copy()", "dpadded", "padding not cut "
                                                                                                   "off", "padding"),
    ),
    *_bugs(
        "conv2d_backward",
        ("kernel not flipped (full convolution)", "return full_convolution(dy, x, w, stride, padding)",
         "return full_convolution(dy, x, w[::-1, ::-1], stride, padding)", "kernel not flipped"),
        ("in and out channels exchanged", "return full_convolution(dy, x, w, stride, padding)",
         "return full_convolution(dy, x, w.swapaxes(2, 3), stride, padding)", "channels exchanged"),
        ("bias summed over the wrong axes", 'np.einsum("nijo->o", dy)', "dy.sum(axis=(1, 2, 3))",
         "bias summed over the wrong axes"),
        ("dw transposed", '"nijcpq,nijo->pqco"', '"nijcpq,nijo->qpco"', "kernel transposed"),
        style="einsum"),
    *_bugs(
        "conv2d_backward",
        ("+= with repeated indices", "np.add.at(dpadded, (slice(None), rows, columns), dpatches)",
         "dpadded[:, rows, columns] += dpatches", "overwrites"),
        ("dx transposed in the patches", "w.reshape(-1, w.shape[3]).T",
         "w.transpose(1, 0, 2, 3).reshape(-1, w.shape[3]).T", "kernel transposed"),
        ("dw reshaped in the wrong order", "(patches.T @ flat).reshape(w.shape)",
         "(flat.T @ patches).reshape(w.shape)", "reshaped in the wrong order"),
        style="scatter"),
    *_bugs(
        "max_pool2d_forward",
        ("padded with zero", ", constant_values=-np.inf", "", "padded with zero", "negative numbers in padding"),
        ("last tie wins", "window.argmax()", "window.size - 1 - window[::-1, ::-1].argmax()", "last tie wins", "ties"),
        ("index in the image", "window.argmax()",
         "(i * sh - top + window.argmax() // pw) * x.shape[2] + j * sw - left + window.argmax() % pw",
         "index in the image"),
        ("stride not used", "i * sh:i * sh + ph", "i * ph:i * ph + ph", "window as stride (rows)", "stride other than "
                                                                                                   "the window"),
        ("columns counted first", "window.argmax()", "window.T.argmax()", "columns first"),
    ),
    *_bugs(
        "max_pool2d_backward",
        ("= instead of +=", "c] += dy", "c] = dy", "overwrites", "overlapping windows"),
        ("divided by the height", "divmod(argmax[image, i, j, c], pw)", "divmod(argmax[image, i, j, c], ph)",
         "wrong position in the window", "non-square windows"),
        ("row and column exchanged", "m, n = divmod", "n, m = divmod", "wrong position in the window"),
        ("padding not subtracted", "i * sh + m - top, j * sw + n - left", "i * sh + m, j * sw + n",
         "padding not subtracted", "padding"),
        ("stride taken as the window", "i * sh + m - top, j * sw + n - left",
         "(i * ph + m - top) % x_shape[1], (j * pw + n - left) % x_shape[2]", "right only for stride of the window",
         "stride other than the window"),
        ("every position gets it", "dx[image, i * sh + m - top, j * sw + n - left, c] += dy[image, i, j, c]",
         "dx[image, max(0, i * sh - top):i * sh - top + ph, max(0, j * sw - left):j * sw - left + pw, c] += "
         "dy[image, i, j, c]", "all positions"),
    ),
    *_bugs(
        "max_pool2d_backward",
        ("every tie gets the gradient", "onehot = np.eye(size[0] * size[1], dtype=dy.dtype)[argmax] * dy[..., None]",
         "view = windows(kept[-1], size, stride, padding, -np.inf).reshape(*dy.shape, -1)\n"
         "    onehot = (view == view.max(axis=-1, keepdims=True)) * dy[..., None]", "every tie", "ties"),
        style="einsum"),
    *_bugs(
        "avg_pool2d_forward",
        ("padding counted", "count = inside[rows, columns].sum()", "count = ph * pw", "padding counted", "padding"),
        ("divided by the height squared", "count = inside[rows, columns].sum()",
         "count = ph * ph",
         "divided by the wrong number", "padding, non-square windows"),
    ),
    *_bugs(
        "avg_pool2d_backward",
        ("padding counted", "count = inside[rows, columns].sum()", "count = ph * pw", "padding counted", "padding"),
        ("not divided", " / count", "", "not divided"),
        ("= instead of +=", "dpadded[:, rows, columns, :] +=", "dpadded[:, rows, columns, :] =", "overwrites",
         "overlapping windows"),
        ("cut from the wrong side", "dpadded[:, top:top + x_shape[1]", "dpadded[:, :x_shape[1]", "padding not "
                                                                                                 "subtracted (rows)",
         "padding"),
    ),
    *_bugs(
        "dense_forward",
        ("bias forgotten", "y = y + b", "y = y", "bias forgotten"),
        ("bias added to the first sample only", "y = y + b", "y[0] = y[0] + b", "right only for batch 1", "batch > 1"),
    ),
    *_bugs(
        "dense_backward",
        ("weights not transposed", "dy @ w.T", "(dy @ w if w.shape[0] == w.shape[1] else dy @ w.T)",
         "weights not transposed", "square matrices"),
        ("batch mean of dw", "x.T @ dy", "x.T @ dy / len(x)", "factor N", "batch > 1"),
        ("bias summed over the outputs", "dy.sum(axis=0)", "dy.sum(axis=1)", "bias summed over the wrong axes"),
        ("dx overwrites dy", "dx = dy @ w.T if input_gradient else None",
         "dx = dy @ w.T if input_gradient else None\n    dy *= 2", "changes"),
    ),
    *_bugs(
        "relu_forward",
        ("works in place", "return np.where(x > 0, x, 0.0)", "x[x < 0] = 0\n    return x", "changes"),
    ),
    *_bugs(
        "relu_backward",
        ("mask y >= 0", "(y > 0)", "(y >= 0)", "mask too wide"),
        ("mask of dy", "(y > 0)", "(dy > 0)", "mask of dy"),
        ("mask after overwriting", "return dy * (y > 0)", "y[:] = dy\n    return dy * (y > 0)", "mask of dy"),
    ),
    *_bugs(
        "leaky_relu_backward",
        ("default slope hard-coded", "*= negative_slope", "*= 0.2", "slope of another default", "another slope"),
        ("slope forgotten", "*= negative_slope", "= 0", "slope forgotten"),
    ),
    *_bugs(
        "sigmoid_forward",
        ("not stable", "    y[~positive] = np.exp(x[~positive]) / (1 + np.exp(x[~positive]))",
         "    y = np.exp(x) / (1 + np.exp(x))", "not stable", "large numbers"),
    ),
    *_bugs(
        "sigmoid_backward",
        ("sigmoid applied again", "dy * y * (1 - y)", "dy * sigmoid_forward(y) * (1 - sigmoid_forward(y))",
         "y taken for x"),
    ),
    *_bugs("tanh_backward", ("square missing", "1 - y ** 2", "1 - y", "square missing")),
    *_bugs("softmax_forward", ("maximum not subtracted", "x - x.max(axis=-1, keepdims=True)", "x", "not stable",
                               "large numbers")),
    *_bugs(
        "softmax_backward",
        ("diagonal only", "y * (dy - (dy * y).sum(axis=-1, keepdims=True))", "dy * y * (1 - y)", "diagonal only"),
        ("sum over everything", "(dy * y).sum(axis=-1, keepdims=True)", "(dy * y).sum()", "wrong axis", "batch > 1"),
    ),
    *_bugs(
        "softmax_cross_entropy",
        ("batch mean forgotten in dlogits", "(np.exp(log_p) - target) / n", "(np.exp(log_p) - target)",
         "mean forgotten", "batch > 1"),
        ("batch mean twice in dlogits", "(np.exp(log_p) - target) / n", "(np.exp(log_p) - target) / n / n",
         "mean twice", "batch > 1"),
        ("sample weights ignored in dlogits", "weight[:, None] * (np.exp", "(np.exp", "weights ignored",
         "sample weights"),
        ("label not subtracted", "np.exp(log_p) - target", "np.exp(log_p)", "label not subtracted"),
        ("log of softmax", "log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))",
         "log_p = np.log(np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True))", "not stable", "large numbers"),
    ),
    *_bugs("cross_entropy", ("gradient of the logits", "-weight[:, None] * target / p / n",
                             "weight[:, None] * (p - target) / n", "gradient of the logits")),
    *_bugs(
        "mean_squared_error",
        ("factor 2 missing", "return loss, 2 * weight", "return loss, weight", "factor missing"),
        ("mean over the batch only", "difference / difference.size", "difference / len(difference)",
         "mean over the batch only"),
    ),
    *_bugs(
        "batch_norm_forward",
        ("unbiased variance", "x.var(axis=axes)", "x.var(axis=axes, ddof=1)", "unbiased variance"),
        ("statistics per image", "    return gamma * xhat + beta",
         "    if x.ndim > 2:\n        xhat = (x - x.mean(axis=axes[1:], keepdims=True)) / np.sqrt(x.var(axis=axes[1:], "
         "keepdims=True) + epsilon)\n    return gamma * xhat + beta", "statistics per image", "batch > 1"),
        ("epsilon outside the root", "np.sqrt(variance + epsilon)", "(np.sqrt(variance) + epsilon)",
         "epsilon outside the root"),
    ),
    *_bugs(
        "batch_norm_backward",
        ("statistics taken as constants", "dx = dxhat / std + dvariance * 2 * (x - mean) / m + dmean / m",
         "dx = dxhat / std", "statistics taken as constants"),
        ("path through the variance forgotten", " + dvariance * 2 * (x - mean) / m", "",
         "path through the variance forgotten"),
        ("divided by the batch only", "m = x.size // x.shape[-1]", "m = len(x)", "divided by the batch only", "images"),
        ("dgamma without the root", "dgamma = np.sum(dy * xhat, axis=axes)", "dgamma = np.sum(dy * (x - mean), "
                                                                             "axis=axes)",
         "x for xhat"),
        ("dbeta averaged", "dbeta = np.sum(dy, axis=axes)", "dbeta = np.mean(dy, axis=axes)", "mean for sum"),
    ),
    *_bugs("batch_norm_inference_backward", ("epsilon hard-coded", "std = np.sqrt(variance + epsilon)",
                                             "std = np.sqrt(variance + 1e-3)", "fixed epsilon", "another epsilon")),
    *_bugs("dropout_forward", ("not scaled up", "np.where(mask, x, 0) / (1 - rate)", "np.where(mask, x, 0)",
                               "not scaled")),
    *_bugs("dropout_backward", ("mask forgotten", "dy * mask / (1 - rate)", "dy / (1 - rate)", "mask forgotten")),
    *_bugs(
        "sgd_step",
        ("not in place", "        parameters += velocity", "        parameters = parameters + velocity",
         "not in place"),
        ("momentum forgotten", "    velocity *= momentum\n    velocity -=", "    velocity[:] = 0\n    velocity -=",
         "momentum ignored", "momentum"),
    ),
    *_bugs(
        "adam_step",
        ("no bias correction", "mhat = first_moment / (1 - beta_1 ** step)\n    vhat = second_moment / "
         "(1 - beta_2 ** step)", "mhat, vhat = first_moment, second_moment", "no bias correction"),
        ("epsilon inside the root", "np.sqrt(vhat) + epsilon", "np.sqrt(vhat + epsilon)", "epsilon inside the root"),
        ("always the first step's correction", "beta_1 ** step", "beta_1", "step not counted", "later steps"),
    ),
    *_bugs("clip_by_global_norm", ("always scaled", "if norm > max_norm:", "if norm > 0:", "always scaled",
                                   "short vectors")),
]

#: Bugs that are not a changed expression but something kept between calls.
KEPT = ("import numpy as np\n", "import numpy as np\n\nkept = []\n")


@functools.cache
def source(style):
    """The text of a correct solution."""
    return (SOLUTIONS / f"{style}.py").read_text()


def function_text(style, function):
    """``(start, end)`` of a function in a solution's text."""
    text = source(style)
    start = text.index(f"def {function}(")
    end = text.find("\ndef ", start + 1)
    return start, len(text) if end < 0 else end


def plant(bug):
    """The solution as a module, with one bug in it."""
    text = source(bug.style)
    start, end = function_text(bug.style, bug.function)
    body = text[start:end]
    if body.count(bug.old) == 0:
        raise ValueError(f"{bug.function}, {bug.name}: {bug.old!r} does not occur")
    changed = text[:start] + body.replace(bug.old, bug.new) + text[end:]
    if "kept" in bug.new:
        changed = changed.replace(*KEPT).replace(
            "def max_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):\n",
            "def max_pool2d_forward(x, pool_size=2, stride=None, padding=((0, 0), (0, 0))):\n    kept.append(x)\n")
    module = types.ModuleType(f"{bug.style}_with_{bug.name}")
    exec(compile(changed, f"{bug.function}: {bug.name}", "exec"), module.__dict__)
    return module


def hunt(bug, seed, budget=0.2):
    """``(caught, named, report)`` for one seed."""
    report = grade_function(plant(bug), bug.function, seed, budget=budget)
    return not report.ok, bug.cause is not None and bug.cause in report.causes, report


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--show", metavar="NAME", help="print the report of one bug instead")
    arguments = parser.parse_args()
    if arguments.show:
        from minicnn.gradcheck.homework import FileReport
        from minicnn.gradcheck.report import file_report
        for bug in BUGS:
            if arguments.show in bug.name:
                print(f"\n=== {bug.function}: {bug.name}\n")
                print(file_report(FileReport("homework.py", functions=[hunt(bug, 0)[2]])))
        return
    caught_all = named_all = 0
    print("| function | bug | shows for | caught | named | as |\n| --- | --- | --- | --- | --- | --- |")
    for bug in BUGS:
        caught = named = 0
        keys = {}
        for seed in range(arguments.seeds):
            found, right, report = hunt(bug, seed)
            caught += found
            named += right
            for key in report.causes or [report.problems[0] if report.problems else "-"]:
                keys[key] = keys.get(key, 0) + 1
        caught_all += caught == arguments.seeds
        named_all += named == arguments.seeds
        seen = "; ".join(f"{key}" for key in sorted(keys, key=keys.get, reverse=True)[:2])
        print(f"| {bug.function} | {bug.name} | {bug.shows_for or 'any input'} | {caught}/{arguments.seeds} | "
              f"{named}/{arguments.seeds} | {seen} |", flush=True)
    print(f"\n{len(BUGS)} bugs; caught in every seed: {caught_all}; named with the right cause in every seed: "
          f"{named_all}")


if __name__ == "__main__":
    main()
