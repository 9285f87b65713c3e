"""Pictures of a gradient check: error against step size, V-shaped when all is well, and where the errors lie."""

from __future__ import annotations

import numpy as np

from minicnn.figures import COLOURS, STRENGTH, new_figure, save
from minicnn.gradcheck import numeric
from minicnn.gradcheck.calls import call, evaluator, solve
from minicnn.gradcheck.operations import OPERATIONS

#: Operations whose curves are drawn for a back-end: a linear one, whose error only falls as the step grows, and others.
SHOWN = ("conv2d", "sigmoid", "tanh", "softmax", "batch_norm", "softmax_cross_entropy")


def sweep(backend, name, seed=0, dtype="float64", coordinates=12):
    """Median error of an operation's first gradient for every step: ``(steps, errors)``."""
    operation = OPERATIONS[name]
    item = next((one for one in solve(name, seed, dtype) if one.case.name == "all varied"), solve(name, seed, dtype)[1])
    outcome = call(backend, operation, operation.forward, item.available())
    if operation.backward:
        outcome = call(backend, operation, operation.backward, item.available(outcome.results))
    x = item.case.arguments[operation.inputs[0]]
    indices = numeric.choose_coordinates(x.shape, coordinates, np.random.default_rng([seed, 41]))
    with np.errstate(all="ignore"):
        return numeric.step_sweep(evaluator(backend, operation, item.case.arguments, operation.inputs[0]), x,
                                  np.asarray(item.dy, np.float64), indices, outcome.results[operation.gradients[0]])


def plot_backends(backends, path, seed=0, dtype="float64"):
    """Write a picture with one panel of V-curves for each back-end."""
    figure, axes = new_figure(4.4 * len(backends), 3.8, 1, len(backends), sharey=True)
    for axis, (name, backend) in zip(axes[0], backends, strict=True):
        for colour, operation in zip(COLOURS, SHOWN, strict=True):
            _curve(axis, *sweep(backend, operation, seed, dtype), f"{operation}", colour)
        _frame(axis, name, dtype)
    axes[0, 0].set_ylabel("relative error (median)")
    axes[0, -1].legend(fontsize=7, frameon=False)
    save(figure, path)


def plot_file(report, path):
    """Write a picture for a graded file: for each function with gradients its V-curves and its wrong results' maps."""
    functions = [function for function in report.functions
                 if any(result.sweep or result.map for result in function.results)]
    if not functions:
        raise ValueError("plot: there is nothing to draw, because no gradient was graded and no result is wrong")
    wrong = max(sum(bool(result.map) for result in function.results) for function in functions)
    figure, axes = new_figure(4.4 + 3.0 * wrong, 3.3 * len(functions), len(functions), 1 + wrong)
    for row, function in zip(axes, functions, strict=True):
        drawn = [result for result in function.results if result.sweep]
        for colour, result in zip(COLOURS, drawn):
            _curve(row[0], *map(np.array, result.sweep), result.name, colour)
        if drawn:
            _frame(row[0], function.function, "float64")
            row[0].set_ylabel("relative error (median)")
            row[0].legend(fontsize=8, frameon=False)
        else:
            row[0].set_axis_off()
        maps = [result for result in function.results if result.map]
        for axis, result in zip(row[1:], maps):
            _map(figure, axis, function, result)
        for axis in row[1 + len(maps):]:
            axis.set_axis_off()
    save(figure, path)


def _curve(axis, steps, errors, label, colour):
    errors = np.clip(np.nan_to_num(np.asarray(errors, float), nan=np.nan, posinf=10.0), 1e-16, 10.0)
    axis.loglog(steps, errors, marker="o", markersize=3, linewidth=1.5, color=colour, label=label)


def _frame(axis, title, dtype):
    axis.axhspan(1e-17, numeric.GOOD[dtype], color="#009E73", alpha=0.10, linewidth=0)
    axis.axhspan(numeric.GOOD[dtype], numeric.SUSPECT[dtype], color="#E69F00", alpha=0.10, linewidth=0)
    axis.axvline(numeric.STEP[dtype], color="#888888", linewidth=0.8, linestyle=":")
    axis.set(title=title, xlabel="step h", ylim=(1e-16, 20))
    axis.grid(alpha=0.2)


def _map(figure, axis, function, result):
    values = np.log10(np.clip(np.array(result.map, float), 1e-16, 10.0))
    drawn = axis.imshow(values, cmap=STRENGTH, vmin=-16, vmax=1)
    axis.set(title=f"{function.function}, {result.name}\n{result.case.partition(':')[0]}",
             xticks=range(values.shape[1]), yticks=range(values.shape[0]))
    axis.title.set_fontsize(9)
    axis.tick_params(labelsize=6)
    figure.colorbar(drawn, ax=axis, label="log10 of the relative error", shrink=0.8)
