"""Augmentation layers: what each may do to a picture, its gradient, and that a resumed run draws the same."""

import numpy as np
import pytest

from minicnn import augmentation, layers
from minicnn.models import Sequential

SHAPE = (6, 5, 2)
MAKERS = {
    "flip": lambda: layers.RandomFlip(),
    "flip horizontal": lambda: layers.RandomFlip("horizontal"),
    "flip vertical": lambda: layers.RandomFlip("vertical"),
    "translation reflect": lambda: layers.RandomTranslation(0.4, 0.5),
    "translation nearest": lambda: layers.RandomTranslation(0.4, 0.5, "nearest"),
    "translation constant": lambda: layers.RandomTranslation(1.0, 0.5, "constant"),
    "crop": lambda: layers.RandomCrop(3, 4),
    "rotation reflect": lambda: layers.RandomRotation(0.3),
    "rotation nearest": lambda: layers.RandomRotation(1.0, "nearest"),
    "rotation constant": lambda: layers.RandomRotation(0.1, "constant"),
}


def built(layer, seed=0, shape=SHAPE):
    model = Sequential([layers.Input(shape), layer], dtype="float64", seed=seed)
    model.build()
    return model


def pictures(count=64, shape=SHAPE):
    return np.random.default_rng(1).normal(size=(count, *shape))


@pytest.mark.parametrize("kind", MAKERS)
def test_backward_is_the_adjoint_of_forward(kind):
    model, x = built(MAKERS[kind]()), pictures()
    y = model.forward(x, training=True)
    dy = np.random.default_rng(2).normal(size=y.shape)
    dx = model.backward(dy, input_gradient=True)
    assert dx.shape == x.shape
    np.testing.assert_allclose(np.vdot(dx, x), np.vdot(dy, y), rtol=1e-12)
    # Linear: the identity above, for every x, is the gradient; a second x makes sure that it is not one number's luck.
    x2 = pictures()[::-1].copy()
    np.testing.assert_allclose(np.vdot(dx, x2), np.vdot(dy, model.forward(x2, training=True)), rtol=1e-12)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_draw_depends_on_seed_and_step_alone(kind):
    model, x = built(MAKERS[kind]()), pictures()
    first = model.forward(x, training=True)
    assert np.array_equal(first, model.forward(x, training=True))
    model.step = 7
    assert not np.array_equal(first, model.forward(x, training=True))
    model.step = 0
    assert np.array_equal(first, built(MAKERS[kind]()).forward(x, training=True))
    assert not np.array_equal(first, built(MAKERS[kind](), seed=1).forward(x, training=True))


@pytest.mark.parametrize("kind", MAKERS)
def test_inference_leaves_pictures_alone(kind):
    model, x = built(MAKERS[kind]()), pictures(3)
    y = model.forward(x, training=False)
    assert np.array_equal(y, x[:, 1:4, 0:4] if kind == "crop" else x)
    dx = model.backward(y, input_gradient=True)
    np.testing.assert_allclose(np.vdot(dx, x), np.vdot(y, y), rtol=1e-12)


@pytest.mark.parametrize("kind", MAKERS)
def test_config_and_input_survive(kind):
    layer, x = MAKERS[kind](), pictures().astype(np.float32)
    before = x.copy()
    model = Sequential([layers.Input(SHAPE), layer])
    again = Sequential.from_config(model.get_config())
    y = model.forward(x, training=True)
    assert y.dtype == np.float32 and np.array_equal(x, before) and not np.shares_memory(x, y)
    assert np.array_equal(y, again.forward(x, training=True))


def test_flips_are_the_four_mirror_images():
    x = pictures()
    y = built(layers.RandomFlip()).forward(x, training=True)
    seen = set()
    for before, after in zip(x, y):
        match = [i for i, image in enumerate([before, before[::-1], before[:, ::-1], before[::-1, ::-1]])
                 if np.array_equal(image, after)]
        seen.update(match)
        assert len(match) == 1
    assert seen == {0, 1, 2, 3}
    for mode, allowed in (("horizontal", lambda a: a[:, ::-1]), ("vertical", lambda a: a[::-1])):
        y = built(layers.RandomFlip(mode)).forward(x, training=True)
        flipped = [not np.array_equal(a, b) for a, b in zip(x, y)]
        assert 16 < sum(flipped) < 48
        assert all(np.array_equal(allowed(a) if f else a, b) for a, b, f in zip(x, y, flipped))


@pytest.mark.parametrize("fill_mode, numpy_mode", [("constant", "constant"), ("nearest", "edge"),
                                                   ("reflect", "symmetric")])
def test_translations_are_windows_of_the_padded_picture(fill_mode, numpy_mode):
    x = pictures(200)
    y = built(layers.RandomTranslation(2 / 6, 1 / 5, fill_mode)).forward(x, training=True)
    seen = set()
    for before, after in zip(x, y):
        padded = np.pad(before, ((2, 2), (1, 1), (0, 0)), mode=numpy_mode)
        match = [(i, j) for i in range(5) for j in range(3) if np.array_equal(padded[i:i + 6, j:j + 5], after)]
        assert len(match) == 1
        seen.update(match)
    assert len(seen) == 15


def test_crops_are_windows():
    x = pictures(200)
    y = built(layers.RandomCrop(3, 4)).forward(x, training=True)
    seen = set()
    for before, after in zip(x, y):
        match = [(i, j) for i in range(4) for j in range(2) if np.array_equal(before[i:i + 3, j:j + 4], after)]
        assert len(match) == 1
        seen.update(match)
    assert len(seen) == 8


class FixedAngle(np.random.Generator):
    """A generator whose uniform numbers are all the same."""

    def uniform(self, low, high, size):
        return np.full(size, self.value)


def test_rotations_by_known_angles():
    x = pictures(2, (5, 5, 3))
    layer = layers.RandomRotation(0.25)
    built(layer, shape=(5, 5, 3))
    rng = FixedAngle(np.random.PCG64(0))
    for value, turned in ((1.0, np.rot90(x, -1, (1, 2))), (-1.0, np.rot90(x, 1, (1, 2))), (0.0, x)):
        rng.value = value
        n = np.arange(2)[:, None, None]
        y = sum(x[n, rows, columns] * weights[..., None] for rows, columns, weights in layer.draw(rng, 2))
        np.testing.assert_allclose(y, turned, atol=1e-12)


def test_rotation_keeps_what_does_not_depend_on_the_angle():
    yy, xx = np.mgrid[-10:11, -10:11]
    disc = np.exp(-(yy**2 + xx**2) / 20.0)[None, :, :, None] * np.ones((8, 1, 1, 1))
    y = built(layers.RandomRotation(1.0), shape=(21, 21, 1)).forward(disc, training=True)
    inside = yy**2 + xx**2 < 100
    assert np.abs(y - disc)[:, inside].max() < 0.02 < np.abs(y - disc).max()


def test_bad_arguments():
    for make, message in [
        (lambda: layers.RandomFlip("sideways"), "horizontal"),
        (lambda: layers.RandomTranslation(1.5, 0), "height_factor"),
        (lambda: layers.RandomTranslation(0, True), "width_factor"),
        (lambda: layers.RandomRotation(float("nan")), "factor"),
        (lambda: layers.RandomRotation(0.1, "wrap"), "reflect"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(ValueError, match="cannot cut 7x4 out of pictures of 6x5"):
        built(layers.RandomCrop(7, 4))
    with pytest.raises(ValueError, match=r"RandomFlip expects images"):
        Sequential([layers.Input((4,)), layers.RandomFlip()]).build()


def test_words():
    made = augmentation.from_words("flip shift=4, rotate=15 crop=24", (32, 32, 3))
    assert [layer.kind for layer in made] == ["RandomFlip", "RandomTranslation", "RandomRotation", "RandomCrop"]
    assert made[1].height_factor == 0.125 and made[2].factor == 15 / 360 and made[3].height == 24
    assert augmentation.from_words(["crop=8", "shift"], (32, 16, 1))[1].width_factor == 0.25
    assert augmentation.from_words("", (8, 8, 1)) == []


@pytest.mark.parametrize("words, message", [
    ("flp", r"is flip meant\?"), ("flip=1", "takes no number"), ("crop", "needs a number"), ("crop=40", "from 1 to 32"),
    ("crop=2.5", "expected a size"), ("shift=-1", "at least 0"), ("shift=x", "at least 0"), ("shift=33", "more than"),
    ("rotate=nan", "at least 0"),
])
def test_bad_words(words, message):
    with pytest.raises(ValueError, match=message):
        augmentation.from_words(words, (32, 32, 3))
