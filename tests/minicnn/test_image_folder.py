"""Folders of one's own pictures: what is found, how it is read and split, and what is refused."""

import os

import numpy as np
import pytest
from PIL import Image

from minicnn import datasets
from minicnn.datasets import image_folder, read_picture


def save(path, color=(255, 0, 0), size=(20, 10), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    for index in range(10):
        save(root / "red" / f"{index}.png", (25 * index, 0, 0))
        save(root / "blue" / "deeper" / f"{index}.JPG", (0, 0, 25 * index))
    for index in range(3):
        save(root / "grey" / f"{index}.bmp", 80 * index, mode="L")
    (root / "red" / "notes.txt").write_text("not a picture")
    (root / ".hidden").mkdir()
    return root


def test_a_folder_becomes_a_data_set(pictures):
    data = image_folder(pictures, image_size=(6, 8))
    assert data.name == "pictures" and data.class_names == ("blue", "grey", "red")
    assert data.x_train.shape == (18, 6, 8, 3) and data.x_test.shape == (5, 6, 8, 3)
    assert data.x_train.dtype == np.float32 and data.x_train.min() >= 0 and data.x_train.max() <= 1
    assert np.bincount(data.y_train).tolist() == [8, 2, 8] and np.bincount(data.y_test).tolist() == [2, 1, 2]
    reds = np.concatenate([data.x_train[data.y_train == 2], data.x_test[data.y_test == 2]])
    assert sorted(np.round(reds[:, 0, 0, 0] * 255).astype(int).tolist()) == [25 * i for i in range(10)]
    assert not reds[..., 1:].any() and data.preprocessing["image_size"] == [6, 8]


def test_the_split_is_a_function_of_the_seed(pictures):
    one, same, other = (image_folder(pictures, 4, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.x_test, same.x_test) and not np.array_equal(one.x_test, other.x_test)
    whole = image_folder(pictures, 4, test_share=0.0)
    assert len(whole.x_train) == 23 and whole.x_test.shape == (0, 4, 4, 3)
    half = image_folder(pictures, 4, test_share=0.99)
    assert np.bincount(half.y_train).tolist() == [1, 1, 1]  # a class keeps a picture to train with


def test_a_split_that_is_made_already(pictures):
    for kind in ("train", "val"):
        (pictures.parent / "made" / kind).mkdir(parents=True)
    os.rename(pictures / "red", pictures.parent / "made" / "train" / "red")
    os.rename(pictures / "blue", pictures.parent / "made" / "train" / "blue")
    save(pictures.parent / "made" / "val" / "red" / "x.png")
    data = image_folder(pictures.parent / "made", 4)
    assert len(data.x_train) == 20 and data.y_test.tolist() == [1]
    save(pictures.parent / "made" / "val" / "green" / "x.png")
    with pytest.raises(ValueError, match="class 'green' has no folder"):
        image_folder(pictures.parent / "made", 4)


def test_grayscale_and_load_by_path(pictures):
    data = datasets.load(str(pictures), image_size=4, color="grayscale")
    assert data.image_shape == (4, 4, 1)
    with pytest.raises(ValueError, match="digits only"):
        datasets.load(str(pictures), split="writers")


def test_pictures_are_covered_and_cropped_around_the_centre(tmp_path):
    """A wide picture of three squares, red, green, blue: only the middle one is left."""
    picture = Image.new("RGB", (30, 10), (0, 255, 0))
    picture.paste((255, 0, 0), (0, 0, 10, 10))
    picture.paste((0, 0, 255), (20, 0, 30, 10))
    picture.save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png", 10), np.tile(np.float32([0, 1, 0]), (10, 10, 1)))
    assert np.allclose(read_picture(tmp_path / "a.png", 5), np.tile(np.float32([0, 1, 0]), (5, 5, 1)), atol=0.5)


def test_orientation_transparency_and_depth(tmp_path):
    picture = Image.new("RGB", (10, 10))
    picture.paste((255, 255, 255), (0, 0, 10, 5))  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    picture.save(tmp_path / "turned.png", exif=exif)
    assert read_picture(tmp_path / "turned.png", 10, "grayscale")[:5].max() == 0
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.all(read_picture(tmp_path / "clear.png", 4) == 1)
    Image.new("P", (4, 4), 0).save(tmp_path / "palette.png", transparency=0)
    assert np.all(read_picture(tmp_path / "palette.png", 4, "grayscale") == 1)
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(tmp_path / "deep.png")
    assert np.allclose(read_picture(tmp_path / "deep.png", 4, "grayscale"), 0.5, atol=0.01)
    Image.new("1", (4, 4), 1).save(tmp_path / "bits.png")
    assert np.all(read_picture(tmp_path / "bits.png", 4) == 1)


def test_unreadable_files_stop_or_are_reported(pictures):
    (pictures / "red" / "text.png").write_text("no picture")
    good = (pictures / "red" / "1.png").read_bytes()
    (pictures / "blue" / "cut.png").write_bytes(good[:len(good) // 2])
    with pytest.raises(ValueError, match=r"cannot be read.*skip_unreadable=True"):
        image_folder(pictures, 4)
    with pytest.warns(UserWarning, match="left out 2 files"):
        data = image_folder(pictures, 4, skip_unreadable=True)
    assert len(data.x_train) + len(data.x_test) == 23 and len(data.notes) == 2
    assert "text.png: not a picture" in "\n".join(data.notes)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    save(tmp_path / "big.png", size=(1000, 1000))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    with pytest.raises(ValueError, match=r"big\.png: cannot be read"):
        read_picture(tmp_path / "big.png", 4)


def test_damaged_pictures_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    for suffix in ("png", "jpg", "gif", "bmp", "tif", "webp"):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(tmp_path / f"a.{suffix}")
        data = (tmp_path / f"a.{suffix}").read_bytes()
        for _ in range(10):
            changed = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                changed[place] = rng.integers(256)
            (tmp_path / f"b.{suffix}").write_bytes(changed[:rng.integers(1, len(data) + 1)])
            try:
                picture = read_picture(tmp_path / f"b.{suffix}", 8)
            except ValueError as error:
                assert f"b.{suffix}" in str(error)
            else:
                assert picture.shape == (8, 8, 3) and np.isfinite(picture).all()


@pytest.mark.parametrize("options, message", [
    ({"image_size": 0}, "image_size"), ({"image_size": (3, 4, 5)}, "image_size"), ({"image_size": 10**6}, "image_size"),
    ({"image_size": 2.5}, "image_size"), ({"color": "cmyk"}, "rgb, grayscale"), ({"test_share": 1.0}, "test_share"),
])
def test_bad_options(pictures, options, message):
    with pytest.raises(ValueError, match=message):
        image_folder(pictures, **options)


def test_bad_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        image_folder(tmp_path / "none")
    with pytest.raises(ValueError, match="one sub-folder for each class"):
        image_folder(tmp_path)
    save(tmp_path / "a" / "1.png")
    with pytest.raises(ValueError, match="at least two classes"):
        image_folder(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=r"b: no pictures"):
        image_folder(tmp_path)
    with pytest.raises(NotADirectoryError):
        image_folder(tmp_path / "a" / "1.png")


def test_functions_of_the_package_are_functions():
    assert datasets.image_folder is image_folder and datasets.read_picture is read_picture
