"""Animations: the files are what was drawn, and what was drawn is what the layer computes."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from minicnn import Input, Sequential, animation, canvas, explain, plots, scenes
from minicnn.layers import AveragePooling2D, Conv2D, Dense, Flatten, MaxPooling2D


@pytest.fixture(scope="module")
def model():
    model = Sequential([Input((7, 6, 2)), Conv2D(3, 3, strides=2, padding="same", activation="relu"),
                        Conv2D(2, (2, 1), padding=1), MaxPooling2D(2, strides=1), AveragePooling2D(2, padding=1),
                        Flatten(), Dense(3)], dtype="float64", seed=2)
    model.build()
    for array in model.named_weights().values():
        array += 0.05
    return model


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(5).uniform(0, 1, (7, 6, 2))


def finish(scene, max_frames=1000):
    frames = list(scene.frames(max_frames))
    return frames, {panel.title: panel for panel in scene.panels}


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_the_last_frame_holds_the_layers_output_and_input_gradient(model, picture, layer):
    each = model.layers[layer]
    out = explain.feature_maps(model, picture[None])[each.name][0]
    dx = explain.score_gradient(model, picture[None], 1, layer)[1][0]
    for channel in range(out.shape[2]):
        view = scenes.LayerView(model, each, picture, channel, None, 1)
        frames, _ = finish(scene := view.scene("forward"), 2)
        assert len(frames) == 2
        np.testing.assert_allclose(scene.panels[-1].values, out[..., channel], rtol=1e-12)
        _, _ = finish(scene := view.scene("backward"), 2)
        (top, bottom), (left, right) = view.window.padding
        shown = scene.panels[0].values
        inside = shown[top:shown.shape[0] - bottom, left:shown.shape[1] - right]
        np.testing.assert_allclose(inside, dx[..., view.input_channel], rtol=1e-9, atol=1e-14)
        assert np.isnan(shown).sum() == shown.size - inside.size


def test_the_caption_is_the_sum_of_the_window():
    x, w = np.arange(12.0).reshape(3, 4), np.array([[1.0, -1.0], [0.5, 2.0]])
    scene = scenes.convolution(x, w, 0.25, scenes.Window((2, 2), (1, 1), ((0, 0), (0, 0))))
    captions = []
    for _ in scene.frames(100):
        captions.append(scene.caption)
    window = x[1:3, 2:4]
    total = (window * w).sum()
    assert captions[1 * 3 + 2].endswith(f"= {total:.0f} + 0.25 = {total + 0.25:.1f}  = y[1, 2]")
    first = x[0:2, 0:2]
    assert f"= {canvas.short((first * w).sum())} + 0.25" in captions[0]


def test_few_frames_of_a_large_picture_still_work_through_all_of_it():
    x = np.random.default_rng(0).uniform(0, 1, (20, 30))
    window = scenes.Window((2, 2), (2, 2), ((0, 0), (0, 0)))
    y = x.reshape(10, 2, 15, 2).mean(axis=(1, 3))
    scene = scenes.pooling(x, y, window)
    frames, _ = finish(scene, 12)
    assert len(frames) == 12
    np.testing.assert_array_equal(scene.panels[-1].values, y)


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_files_play_what_was_drawn(kind):
    moving = animation.animate_window(np.eye(4)[:3], [[1, 0], [0, -1]], b=0.5)
    image = Image.open(io.BytesIO(moving.gif() if kind == "GIF" else moving.png()))
    assert image.format == kind and image.n_frames == len(moving) + (kind == "PNG")
    played = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    drawn = [np.array(moving.frame(number).convert("RGB")) for number in range(len(moving))]
    if kind == "PNG":  # first comes the still, for programs that know no animation
        np.testing.assert_array_equal(played.pop(0), drawn[-1])
    for one, other in zip(played, drawn, strict=True):
        np.testing.assert_array_equal(one, other)


def test_colours_hardly_change_by_the_palette():
    scene = scenes.convolution(np.eye(4), np.eye(2), 0, scenes.Window((2, 2), (1, 1), ((0, 0), (0, 0))))
    frames = list(scene.frames(100))
    moving = animation.Animation(frames)
    for number, drawn in enumerate(frames):
        shown = np.array(moving.frame(number).convert("RGB")).astype(int)
        assert np.abs(shown - drawn).mean() < 2


def test_cells_have_the_colour_of_their_number():
    panel = canvas.Panel((0, 0, 40), [[-2, 0], [np.nan, 2]], "x")
    (blue, white), (nothing, red) = panel.colours().astype(int)
    assert blue[2] > blue[0] + 50 and red[0] > red[2] + 50
    assert white.min() > 235 and tuple(nothing) == canvas.BORDER


def test_html_is_one_page_with_all_frames(tmp_path):
    moving = animation.animate_window(np.eye(3), np.eye(2))
    moving.save(tmp_path / "a <b>.html")
    page = (tmp_path / "a <b>.html").read_text()
    assert page.count("data:image/png;base64,") == len(moving) == 4
    assert "<title>a &lt;b&gt;</title>" in page and "http" not in page


@pytest.mark.parametrize(("number", "text"), [(0.001, "0"), (-0.004, "0"), (3.0, "3"), (-0.256, "-0.26"),
                                              (12.34, "12.3"), (1234.5, "1.23e+03"), (np.inf, "inf")])
def test_numbers_are_short(number, text):
    assert canvas.short(number) == text


def test_defaults_show_the_channel_that_says_most(model, picture):
    view = scenes.LayerView(model, model.layers[0], picture, None, None, None)
    out = explain.feature_maps(model, picture[None])
    assert view.channel == out["conv2d"][0].mean(axis=(0, 1)).argmax()
    assert view.class_number == out["dense"][0].argmax()


def test_animate_convolution_writes_a_file(model, picture, tmp_path):
    moving = plots.animate_convolution(model, picture, "conv2d_1", passes=("backward",), max_frames=5,
                                       path=tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as image:
        assert image.n_frames == len(moving)
    both = plots.animate_convolution(model, picture, max_frames=3)
    assert len(both) == 6


@pytest.mark.parametrize(("options", "message"), [
    ({"layer": "dense"}, "'dense' is a Dense; a window slides in"),
    ({"layer": "conv"}, "has no layer 'conv'"),
    ({"layer": 0, "channel": 3}, "channel: expected a number from 0 to 2"),
    ({"layer": 0, "input_channel": -1}, "input_channel: expected a number from 0 to 1"),
    ({"layer": 2, "channel": 0, "input_channel": 1}, "pooling works on each channel by itself"),
    ({"layer": 0, "class_number": 9}, "classes: expected numbers from 0 to 2"),
    ({"layer": 0, "passes": ("sideways",)}, "passes: expected"),
    ({"layer": 0, "path": "x.mp4"}, "ends in .gif, .png or .html"),
])
def test_bad_input(model, picture, options, message):
    with pytest.raises(ValueError, match=message):
        plots.animate_convolution(model, picture, **options)


def test_bad_picture(model):
    with pytest.raises(ValueError, match="picture: expected shape"):
        plots.animate_convolution(model, np.zeros((7, 6)))
