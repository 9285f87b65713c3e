"""A window that slides over a picture: convolution and pooling, forward and backward, as a moving picture.

``animate_convolution`` shows one layer of a model at work on a picture of one's own; ``animate_window`` shows bare
arrays, without a model. Both return an ``Animation``, which a notebook shows and ``save`` writes as GIF, as animated
PNG, or as an HTML page with a slider. What is drawn in each frame stands in ``minicnn/scenes.py``.
"""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np

from minicnn import canvas, scenes
from minicnn.layers import AveragePooling2D, Conv2D, MaxPooling2D

UNCHANGED = 0  # palette entry of the pixels that are as in the frame before: transparent
NO_COLOUR = (255, 0, 255)  # what stands there; no colour of the canvas, since Pillow compares frames by their colours


class Animation:
    """Frames of equal size, and how long each is shown.

    Parameters
    ----------
    frames : list of array (H, W, 3)
        uint8; the file will show each pixel in the nearest of the canvas' colours.
    milliseconds : int
        For one frame; the last stays three times as long.
    """

    def __init__(self, frames, milliseconds=140):
        if not frames:
            raise ValueError("frames: expected at least one")
        self.palette, self.frames = with_palette(frames)
        self.milliseconds = milliseconds

    def __len__(self):
        return len(self.frames)

    def frame(self, number):
        """One frame as a Pillow image."""
        return self._image(self.frames[number])

    def save(self, path):
        """Write a self-contained file; its ending says which: ``.gif``, ``.png`` (animated) or ``.html`` (a slider)."""
        path = Path(path)
        kinds = {".gif": self.gif, ".png": self.png, ".html": lambda: self.html(path.stem).encode()}
        if path.suffix.lower() not in kinds:
            raise ValueError(f"path: expected a name that ends in .gif, .png or .html, got {str(path)!r}")
        path.write_bytes(kinds[path.suffix.lower()]())

    def gif(self):
        """The file's bytes as GIF."""
        first, *others = self._changes()
        return self._encode(first, others, "GIF", transparency=UNCHANGED, disposal=1, optimize=False)

    def png(self):
        """The file's bytes as animated PNG. A program that knows no animation shows the last frame, which is whole."""
        return self._encode(self.frame(-1), self._changes(), "PNG", transparency=UNCHANGED, disposal=0, blend=1,
                            default_image=True)

    _repr_png_ = png  # for notebooks: browsers play it, other viewers show the still

    def html(self, title):
        """A page with the frames, a slider, and buttons to step and play."""
        pictures = []
        for number in range(len(self)):
            buffer = io.BytesIO()
            self.frame(number).save(buffer, "PNG", optimize=True)
            pictures.append("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
        listed = ",\n".join(f'"{picture}"' for picture in pictures)
        return (_PAGE.replace("TITLE", html.escape(title)).replace("LAST", str(len(pictures) - 1))
                .replace("MILLISECONDS", str(self.milliseconds)).replace("FRAMES", listed))

    def _image(self, indices):
        from PIL import Image

        image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
        image.putpalette(self.palette.tobytes())
        return image

    def _changes(self):
        """The first frame, then of each frame only what differs from the one before."""
        changes = [self.frames[0]]
        changes += [np.where(new == old, np.uint8(UNCHANGED), new) for old, new in zip(self.frames, self.frames[1:])]
        return [self._image(indices) for indices in changes]

    def _encode(self, first, others, kind, **options):
        durations = [self.milliseconds] * (len(self) - 1) + [3 * self.milliseconds]
        buffer = io.BytesIO()
        first.save(buffer, kind, save_all=True, append_images=others, duration=durations, loop=0, **options)
        return buffer.getvalue()


def with_palette(frames):
    """The canvas' colours ``(K + 1, 3)`` with number 0 kept free, and the frames as numbers of colours (H, W) uint8.

    A table with one entry for each of 32 x 32 x 32 coarse colours knows the nearest one.
    """
    colours = canvas.palette()
    levels = np.arange(32) * 255 // 31
    coarse = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    distances = (colours.astype(np.float32)**2).sum(axis=1) - 2 * coarse @ colours.T.astype(np.float32)
    nearest = (distances.argmin(axis=1) + 1).astype(np.uint8)  # |coarse|^2 is left out: it is the same for all colours
    numbered = []
    for frame in frames:
        red, green, blue = np.moveaxis(frame >> 3, 2, 0).astype(np.int32)
        numbered.append(nearest[(red * 32 + green) * 32 + blue])
    return np.concatenate([np.uint8([NO_COLOUR]), colours]), numbered


def animate_window(x, w, b=0.0, stride=1, padding=0, dy=None, max_frames=80):
    """The sum behind each output pixel of a convolution of one channel, ``y[i, j] = sum of x[window] * w + b``.

    Parameters
    ----------
    x : array (H, W)
    w : array (KH, KW)
    b : float
    stride, padding : int
    dy : array (OH, OW), optional
        Show the backward pass instead: each ``dy[i, j]`` adds ``dy[i, j] * w`` to its window of ``dx``.
    max_frames : int
        Larger pictures move on by several pixels a frame.

    Returns
    -------
    Animation
    """
    x, w = np.asarray(x, float), np.asarray(w, float)
    window = scenes.Window(w.shape, (stride, stride), ((padding, padding), (padding, padding)))
    scene = (scenes.convolution(x, w, b, window) if dy is None else
             scenes.convolution_backward(np.asarray(dy, float)[..., None], w[..., None], x.shape, window))
    return Animation(list(scene.frames(max_frames)))


def animate_convolution(model, picture, layer=None, channel=None, input_channel=None, class_number=None,
                        passes=("forward", "backward"), path=None, max_frames=64):
    """A layer of a model at work on a picture: the window forward, then the gradients backward.

    Forward, the window slides over one input channel, and one output channel fills up; the sums are the layer's real
    ones, over all its input channels. Backward, ``dy`` is the gradient of a class's score, and ``dx`` of the input
    channel gathers what comes to it through all output channels.

    Parameters
    ----------
    model : Sequential
        A built model.
    picture : array (H, W, C)
        As the model is fed with.
    layer : str, int or Layer, optional
        A convolution or pooling layer; by default the first convolution.
    channel, input_channel : int, optional
        Which of the layer's output and input channels are shown. By default those that say most: the output channel
        with the largest mean, and the input channel that contributes most to it.
    class_number : int, optional
        Whose score's gradient goes backward; by default that of the class that the model predicts.
    passes : tuple of str
        "forward", "backward" or both.
    path : path, optional
        Where to write it; see ``Animation.save``.
    max_frames : int
        For each pass; larger pictures move on by several pixels a frame.

    Returns
    -------
    Animation

    Raises
    ------
    ValueError
        For a layer without a window, and for numbers out of range.
    """
    layer = find_window_layer(model, layer)
    if not passes or set(passes) - {"forward", "backward"}:
        raise ValueError(f"passes: expected ('forward',), ('backward',) or both, got {passes!r}")
    view = scenes.LayerView(model, layer, np.asarray(picture), channel, input_channel, class_number)
    frames = []
    for name in ("forward", "backward"):
        if name in passes:
            frames += view.scene(name).frames(max_frames)
    animation = Animation(frames)
    if path is not None:
        animation.save(path)
    return animation


def find_window_layer(model, layer=None):
    """A convolution or pooling layer of the model by name, number or itself; by default the first convolution."""
    from minicnn import explain

    layer = explain.find_layer(model, layer, lambda layers: [each for each in layers if isinstance(each, Conv2D)][:1])
    if not isinstance(layer, (Conv2D, MaxPooling2D, AveragePooling2D)):
        raise ValueError(f"layer: {layer.name!r} is a {layer.kind}; a window slides in Conv2D, MaxPooling2D and "
                         "AveragePooling2D only")
    return layer


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>TITLE</title>
<style>body{font:16px sans-serif;text-align:center;margin:2em}img{max-width:100%}input{width:60%}</style></head>
<body><img id="picture" alt="frame"><br>
<button id="play">play</button> <button id="back">&#9664;</button>
<input id="place" type="range" min="0" max="LAST" value="0"> <button id="next">&#9654;</button> <span id="text"></span>
<script>
const frames = [FRAMES];
const place = document.getElementById("place"), picture = document.getElementById("picture");
let timer = null;
function show(i) {
  place.value = Math.max(0, Math.min(frames.length - 1, i));
  picture.src = frames[place.value];
  document.getElementById("text").textContent = (+place.value + 1) + " / " + frames.length;
}
function pause() { clearInterval(timer); timer = null; document.getElementById("play").textContent = "play"; }
document.getElementById("play").onclick = () => {
  if (timer) return pause();
  document.getElementById("play").textContent = "pause";
  timer = setInterval(() => show((+place.value + 1) % frames.length), MILLISECONDS);
};
document.getElementById("back").onclick = () => { pause(); show(+place.value - 1); };
document.getElementById("next").onclick = () => { pause(); show(+place.value + 1); };
place.oninput = () => { pause(); show(+place.value); };
show(0);
</script></body></html>
"""
