"""Show on one sheet what a network sees in a picture.

The sheet holds the classes' probabilities, saliency, occlusion, Grad-CAM, the first layer's filters, and feature maps.

MODEL is a model's file or the folder of a run of minicnn train. PICTURE is a file, or an image of a data set's test
part such as digits:12.

Examples:
  minicnn explain runs/digits-20260101-120000 digits:12
  minicnn explain model.npz holiday.jpg --class cat --out holiday-cat.png
  minicnn explain model.npz digit.jpg --invert     a dark digit on white paper, for a network that knows white on black
"""

from __future__ import annotations

import difflib
from pathlib import Path

from minicnn.cli import positive


def add_arguments(parser):
    add_model_and_picture(parser)
    parser.add_argument("--patch", type=positive, help="side of the square that covers parts of the picture, in pixels "
                                                       "(default: a sixth of the picture, at least 3)")
    parser.add_argument("--out", type=Path, help="the sheet's file: .png, .pdf or .svg (default: PICTURE-explained.png "
                                                 "in this folder)")


def add_model_and_picture(parser):
    """What explain and animate share."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model's file, or the folder of a run")
    parser.add_argument("picture", metavar="PICTURE", help="a file, or DATASET:NUMBER")
    parser.add_argument("--class", dest="class_name", metavar="CLASS",
                        help="the class whose score is explained, by name or number (default: the predicted one)")
    parser.add_argument("--invert", action="store_true", help="exchange dark and bright first")
    parser.add_argument("--backend", help="reference, im2col, cpu, cuda, or a Python file of your own")


def run(arguments):
    from minicnn import plots

    model, picture, names, number = load(arguments)
    out = output_file(arguments, "-explained.png", (".png", ".pdf", ".svg"))
    patch = arguments.patch or min(max(3, min(picture.shape[:2]) // 6), *picture.shape[:2])
    value = (model.preprocessing or {}).get("border")
    figure = plots.explanation_sheet(model, picture, number, names, patch=patch,
                                     value=value if isinstance(value, (int, float)) else 0.0,
                                     title=f"{arguments.picture}, {model.name}")
    plots.save(figure, out)
    print(f"written: {out}")
    return 0


def load(arguments):
    """``model, picture, class names, class number or None``."""
    import minicnn
    from minicnn.cli import runs

    model = minicnn.load_model(runs.find_model(arguments.model), backend=arguments.backend, compile=False)
    names = model.class_names or tuple(str(label) for label in range(model.output_shape[-1]))
    picture = read(arguments.picture, model, arguments.invert)
    return model, picture, names, class_number(arguments.class_name, names)


def read(source, model, invert):
    """A picture as the model is fed with: from a file, or ``digits:12``."""
    from minicnn import datasets
    from minicnn.cli.predict import picture_form, warn_if_inverted

    size, color = picture_form(model)
    name, _, number = source.rpartition(":")
    if name in datasets.NAMES and number.isdecimal():
        images = datasets.load(name).x_test
        if int(number) >= len(images):
            raise ValueError(f"{source}: {name} has {len(images):,} test images, 0 to {len(images) - 1}")
        if images.shape[1:] != model.input_shape:
            raise ValueError(f"{source}: its images have shape {images.shape[1:]}, the model takes {model.input_shape}")
        picture = images[int(number)]
    else:
        picture = datasets.read_picture(source, size, color)
    picture = 1 - picture if invert else picture
    warn_if_inverted(picture, model.preprocessing or {}, source, invert)
    return picture


def class_number(word, names):
    """A class's number from its name or number; None stays None."""
    if word is None:
        return None
    if word in names:
        return names.index(word)
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    near = difflib.get_close_matches(word, names, n=1)
    raise ValueError(f"--class: the model knows no class {word!r}{f' (is {near[0]} meant?)' if near else ''}; it knows "
                     f"{', '.join(names[:20])}{' ...' if len(names) > 20 else ''}")


def output_file(arguments, ending, kinds):
    """Where the result goes; its ending is checked before any work is done."""
    if arguments.out is None:
        return Path(Path(arguments.picture).stem.replace(":", "-") + ending)
    if arguments.out.suffix.lower() not in kinds:
        raise ValueError(f"--out: expected a name that ends in {', '.join(kinds)}, got {str(arguments.out)!r}")
    return arguments.out
