"""Show a layer at work on a picture: the window slides, the output fills, the gradients flow back.

MODEL is a model's file or the folder of a run of minicnn train. PICTURE is a file, or an image of a data set's test
part such as digits:12. The result is one self-contained file: a GIF, an animated PNG, or a page with a slider (.html).

Examples:
  minicnn animate runs/digits-20260101-120000 digits:12
  minicnn animate model.npz digits:12 --layer 2 --out pooling.html
  minicnn animate model.npz digit.jpg --layer conv2d_1 --channel 5 --passes backward
"""

from __future__ import annotations

from pathlib import Path

from minicnn.cli import at_least_zero, positive
from minicnn.cli.explain import add_model_and_picture, load, output_file


def add_arguments(parser):
    add_model_and_picture(parser)
    parser.add_argument("--layer", metavar="N", help="a convolution or pooling layer, by its name or its number from 0 "
                                                     "(default: the first convolution)")
    parser.add_argument("--channel", type=at_least_zero, help="output channel to show (default: the strongest)")
    parser.add_argument("--input-channel", type=at_least_zero, help="input channel to show (default: the one that "
                                                                    "contributes most)")
    parser.add_argument("--passes", choices=("both", "forward", "backward"), default="both", help="(default: both)")
    parser.add_argument("--frames", type=positive, default=64, help="at most so many for each pass (default: 64)")
    parser.add_argument("--out", type=Path, help="the file: .gif, .png or .html (default: PICTURE-LAYER.gif in this "
                                                 "folder)")


def run(arguments):
    from minicnn import animation

    output_file(arguments, ".gif", (".gif", ".png", ".html"))
    model, picture, _, number = load(arguments)
    layer = animation.find_window_layer(model, int(arguments.layer) if (arguments.layer or "").isdecimal() else
                                        arguments.layer)
    out = output_file(arguments, f"-{layer.name}.gif", (".gif", ".png", ".html"))
    passes = ("forward", "backward") if arguments.passes == "both" else (arguments.passes,)
    frames = animation.animate_convolution(model, picture, layer, arguments.channel, arguments.input_channel, number,
                                           passes, out, arguments.frames)
    print(f"written: {out} ({len(frames)} frames of layer {layer.name})")
    return 0
