"""The commands explain and animate: from a model's file and a picture to one file."""

import numpy as np
import pytest
from PIL import Image

from minicnn import zoo
from minicnn.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model = zoo.digits_cnn(backend="im2col")
    model.build()
    model.class_names = tuple("0123456789")
    model.preprocessing = {"image_size": [8, 8], "color": "grayscale", "scale": 1 / 16, "border": 0.05}
    model.save(folder / "model.npz")
    return folder


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "digit.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 120, (40, 30), dtype=np.uint8)).save(path)
    return path


def run(*words):
    return main([*map(str, words), "--backend", "im2col"])


def test_explain_writes_a_sheet(model, picture, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert run("explain", model, picture, "--out", out, "--class", "7") == 0
    assert str(out) in capsys.readouterr().out
    with Image.open(out) as sheet:
        assert sheet.width > 800 and sheet.height > 500


def test_explain_takes_an_image_of_a_data_set(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("explain", model / "model.npz", "digits:12", "--patch", 2) == 0
    assert (tmp_path / "digits-12-explained.png").is_file()


def test_animate_writes_what_is_asked_for(model, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("animate", model, picture, "--layer", "2", "--frames", 4) == 0
    with Image.open(tmp_path / "digit-max_pooling2d.gif") as image:
        assert image.n_frames == 8
    assert run("animate", model, "digits:0", "--passes", "forward", "--frames", 2, "--out", "a.html") == 0
    assert (tmp_path / "a.html").read_text().count("data:image/png") == 2


@pytest.mark.parametrize(("words", "message"), [
    (("explain", "digits:400"), "has 360 test images"),
    (("explain", "nothing.png"), "nothing.png"),
    (("explain", "digits:1", "--class", "seven"), "knows no class 'seven'"),
    (("explain", "digits:1", "--out", "x.gif"), "ends in .png, .pdf, .svg"),
    (("explain", "digits:1", "--patch", "9"), "patch: expected 1 to 8"),
    (("animate", "digits:1", "--layer", "6"), "a window slides in"),
    (("animate", "digits:1", "--layer", "conv"), "has no layer 'conv'"),
    (("animate", "digits:1", "--channel", "99"), "channel: expected a number from 0 to 15"),
    (("animate", "digits:1", "--out", "x.mp4"), "ends in .gif, .png, .html"),
])
def test_bad_input(model, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    command, *rest = words
    assert run(command, model, *rest) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
