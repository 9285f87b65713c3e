"""Say what is in pictures: the most likely classes with their probabilities.

MODEL is a model's file or the folder of a run of minicnn train. A picture in any format that Pillow reads is scaled and
cropped to the size that the network was trained with.

Examples:
  minicnn predict runs/my_pictures-20260101-120000 holiday.jpg
  minicnn predict model.npz *.png --top 1
  minicnn predict model.npz digit.jpg --invert     a dark digit on white paper, for a network that knows white on black
  minicnn predict model.npz *.png --json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from minicnn.cli import positive


def add_arguments(parser):
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model's file, or the folder of a run")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE", help="files to look at")
    parser.add_argument("--top", type=positive, default=3, metavar="N", help="how many classes to name (default: 3)")
    parser.add_argument("--invert", action="store_true", help="exchange dark and bright first")
    parser.add_argument("--backend", help="reference, im2col, cpu, cuda, or a Python file of your own")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")


def run(arguments):
    import minicnn
    from minicnn.cli import runs
    from minicnn.datasets import read_picture

    model = minicnn.load_model(runs.find_model(arguments.model), backend=arguments.backend, compile=False)
    size, color = picture_form(model)
    names = model.class_names or tuple(str(label) for label in range(model.output_shape[-1]))
    answers, failures = [], 0
    for path in arguments.pictures:
        try:
            picture = read_picture(path, size, color)
        except (OSError, ValueError) as error:
            failures += 1
            answers.append({"picture": str(path), "error": str(error)})
            print(f"minicnn predict: {error}", file=sys.stderr)
            continue
        picture = 1 - picture if arguments.invert else picture
        warn_if_inverted(picture, model.preprocessing or {}, path, arguments.invert)
        probabilities = runs.probabilities(model, picture[None])[0]
        best = (-probabilities).argsort(kind="stable")[:arguments.top]
        answers.append({"picture": str(path), "classes": [{"name": names[label], "probability": float(
            probabilities[label])} for label in best.tolist()]})
        if not arguments.json:
            ranking = "  ".join(f"{entry['name']} {entry['probability']:.1%}" for entry in answers[-1]["classes"])
            print(f"{path}: {ranking}")
    if arguments.json:
        print(json.dumps(answers, indent=2, ensure_ascii=False))
    return 2 if failures else 0


def picture_form(model):
    """``(height, width), color`` of the pictures that the model takes."""
    if len(model.input_shape) != 3 or model.input_shape[2] not in (1, 3):
        raise ValueError(f"the model takes inputs of shape {model.input_shape}, which are no pictures")
    h, w, channels = model.input_shape
    return (h, w), "rgb" if channels == 3 else "grayscale"


def warn_if_inverted(picture, preprocessing, path, inverted):
    """A hint when the picture's border is bright where that of the training images was dark, or the other way round."""
    import numpy as np

    expected = preprocessing.get("border")
    if not isinstance(expected, (int, float)):
        return
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]]).mean()
    if abs(border - expected) > 0.5:
        found, wanted = ("bright", "dark") if border > expected else ("dark", "bright")
        advice = "try without --invert" if inverted else "try --invert"
        print(f"{path}: its border is {found}, that of the training images was {wanted}: {advice}", file=sys.stderr)
