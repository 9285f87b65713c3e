"""Exercises to hand out: one skeleton file for each lesson, which ``minicnn gradcheck`` grades.

The files beside this one are what a student gets: the formula, the shapes, and ``raise NotImplementedError``. The model
solutions are the reference back-end, ``kernels/reference``.
"""

from __future__ import annotations

import pathlib

#: The lessons in order: file name without ``.py``, and what it is about.
LESSONS = {
    "dense": "the dense layer: every output looks at every input",
    "relu": "the rectified linear unit",
    "softmax_cross_entropy": "from scores to probabilities to a loss",
    "conv2d": "convolution, forward and backward",
    "pooling": "max-pooling and average-pooling",
    "batch_normalization": "normalizing over the batch, and the three paths back",
    "optimizers": "SGD with momentum, and Adam",
}

README = """# Exercises: a convolutional network, function by function

Each file here is a lesson. It holds functions with their formula and their shapes; you write the bodies.

{lessons}

Check a lesson, in this folder, with

    minicnn gradcheck dense.py

The report says for each function whether it is right. If not, it shows where the errors lie, one wrong number beside
the right one, and often names the likely cause. Nothing is lost by checking early: what you have not written yet is
passed over, and a function that is right for the simple cases is told so.

Arrays are NumPy's, in the type that is given; make new ones with `np.zeros(shape, x.dtype)`. Never change an argument
(the optimizers of lesson 7 are the exception: they work in place). A gradient is named for what it belongs to: `dy` is
the gradient of the loss with respect to `y`, and comes in; `dx`, `dw`, `db` go out.

When a lesson is right, take the `#` away from its line in `my_backend.py`, and let a network learn with your functions:

    minicnn train --backend my_backend.py

Stuck? MiniCNN's own solutions stand in its folder `kernels/reference`, each with the derivation of its formula.
"""


def write(folder):
    """Write the skeletons, ``my_backend.py`` and ``README.md`` to ``folder``; files that exist are left alone.

    Returns
    -------
    written, kept : list of str
        File names.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; name a folder to write the exercises to")
    folder.mkdir(parents=True, exist_ok=True)
    here = pathlib.Path(__file__).parent
    texts = {f"{name}.py": (here / f"{name}.py").read_text(encoding="utf-8").replace("  # noqa: F401", "")
             for name in (*LESSONS, "my_backend")}
    rows = [f"{number}. `{name}.py`: {about}" for number, (name, about) in enumerate(LESSONS.items(), start=1)]
    texts["README.md"] = README.format(lessons="\n".join(rows))
    written, kept = [], []
    for name, text in texts.items():
        try:
            with open(folder / name, "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            kept.append(name)
        else:
            written.append(name)
    return written, kept
