"""``minicnn.explain`` and ``minicnn.controls`` do what they claim, on networks whose right answer is known."""

import numpy as np
import pytest

from minicnn import Input, Sequential, controls, explain
from minicnn.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPooling2D,
)


def linear_model(rng, shape=(5, 6, 2), classes=3):
    model = Sequential([Input(shape), Flatten(), Dense(classes)], dtype="float64")
    model.build()
    model.set_weights([rng.standard_normal(w.shape) for w in model.get_weights()])
    return model


def small_cnn(softmax=False, dtype="float64", seed=3):
    model = Sequential([Input((8, 8, 2)), Conv2D(4, 3, padding="same", activation="relu"), BatchNormalization(),
                        MaxPooling2D(2), Conv2D(5, 3, activation="tanh"), Flatten(), Dropout(0.5),
                        Dense(3, activation="softmax" if softmax else None)], dtype=dtype, seed=seed)
    model.build()
    return model


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_feature_maps_are_each_layers_output(rng):
    model = small_cnn()
    x = rng.standard_normal((2, 8, 8, 2))
    maps = explain.feature_maps(model, x)
    assert list(maps) == [layer.name for layer in model.layers]
    for layer in model.layers:
        assert maps[layer.name].shape == (2, *layer.output_shape)
    assert np.array_equal(maps["dense"], model.predict(x))
    assert np.array_equal(maps["dropout"], maps["flatten"])
    again = maps["conv2d"].copy()
    model.predict(-x)  # the result is the caller's own
    assert np.array_equal(maps["conv2d"], again)


@pytest.mark.parametrize("classes", [None, 1, [2, 0]])
def test_saliency_equals_finite_differences(rng, classes):
    model = small_cnn()
    x = rng.standard_normal((2, 8, 8, 2))
    chosen = np.broadcast_to(model.predict(x).argmax(axis=1) if classes is None else classes, 2)
    gradient = explain.saliency(model, x, classes)
    assert gradient.shape == x.shape
    h = 1e-6
    for image, i, j, c in [(0, 0, 0, 0), (0, 7, 7, 1), (1, 3, 4, 0), (1, 0, 7, 1), (0, 5, 2, 1)]:
        above, below = x.copy(), x.copy()
        above[image, i, j, c] += h
        below[image, i, j, c] -= h
        slope = (model.predict(above) - model.predict(below))[image, chosen[image]] / (2 * h)
        assert gradient[image, i, j, c] == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_saliency_of_a_linear_model_is_its_weights(rng):
    model = linear_model(rng)
    x = rng.standard_normal((4, 5, 6, 2))
    w = model.layers[1].w.reshape(5, 6, 2, 3)
    np.testing.assert_allclose(explain.saliency(model, x, 2), np.broadcast_to(w[..., 2], x.shape), rtol=1e-12)


def test_occlusion_of_a_linear_model_is_known(rng):
    model = linear_model(rng)
    x = rng.standard_normal((4, 5, 6, 2))
    w = model.layers[1].w.reshape(5, 6, 2, 3)[..., 1]
    parts = (x * w).sum(axis=3)
    np.testing.assert_allclose(explain.occlusion(model, x, 1, patch=1), parts, rtol=1e-9, atol=1e-11)
    value = 0.25
    parts = ((x - value) * w).sum(axis=3)
    expected, count = np.zeros((4, 5, 6)), np.zeros((5, 6))
    for i in (0, 2, 3):  # patch 2, stride 2 on 5 rows: the last patch is moved back to end at the border
        for j in (0, 2, 4):
            expected[:, i:i + 2, j:j + 2] += parts[:, i:i + 2, j:j + 2].sum(axis=(1, 2))[:, None, None]
            count[i:i + 2, j:j + 2] += 1
    found = explain.occlusion(model, x, 1, patch=2, stride=2, value=value)
    np.testing.assert_allclose(found, expected / count, rtol=1e-9, atol=1e-11)


def planted(rng, count, size=12):
    """Noise; in every second picture a bright 3x3 patch: ``x, labels, rows and columns of the patches``."""
    x = rng.uniform(0, 0.4, (count, size, size, 1)).astype(np.float32)
    labels = np.arange(count) % 2
    places = rng.integers(1, size - 4, (count, 2))
    for image in np.flatnonzero(labels):
        i, j = places[image]
        x[image, i:i + 3, j:j + 3] = 0.9
    return x, labels, places


@pytest.fixture(scope="module")
def patch_task():
    rng = np.random.default_rng(11)
    return planted(rng, 200), planted(rng, 60)


def patch_model():
    model = Sequential([Input((12, 12, 1)), Conv2D(6, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(2)])
    model.compile("adam", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def patch_finder(patch_task):
    (x, labels, _), _ = patch_task
    model = patch_model()
    model.optimizer.learning_rate = 0.01
    model.fit(x, labels, epochs=15, verbose=0)
    return model


def test_occlusion_finds_a_planted_patch(patch_task, patch_finder):
    _, (x, labels, places) = patch_task
    assert patch_finder.evaluate(x, labels)[1] >= 0.95
    with_patch = labels == 1
    maps = explain.occlusion(patch_finder, x[with_patch], 1, patch=3, value=0.2)
    hits = 0
    for found, (i, j) in zip(maps, places[with_patch]):
        row, column = np.unravel_index(found.argmax(), found.shape)
        hits += i <= row < i + 3 and j <= column < j + 3
    assert hits >= 0.9 * len(maps), f"{hits} of {len(maps)}"


def test_grad_cam_finds_a_planted_patch(patch_task, patch_finder):
    _, (x, labels, places) = patch_task
    with_patch = labels == 1
    maps = explain.grad_cam(patch_finder, x[with_patch], 1)
    assert maps.shape == (with_patch.sum(), 10, 10)
    near = 0
    for found, (i, j) in zip(maps, places[with_patch]):
        row, column = np.unravel_index(found.argmax(), found.shape)  # output (r, c) sees pixels r..r+2, c..c+2
        near += abs(row - i) <= 2 and abs(column - j) <= 2
    assert near >= 0.9 * len(maps), f"{near} of {len(maps)}"


def test_grad_cam_known_answer(rng):
    """The dense layer's weights are the gradient of a score with respect to the features: everything can be written."""
    model = Sequential([Input((7, 6, 2)), Conv2D(4, 3, activation="relu"), Flatten(), Dense(3)], dtype="float64")
    model.build()
    x = rng.standard_normal((3, 7, 6, 2))
    features = explain.feature_maps(model, x)["conv2d"]
    alpha = model.layers[2].w.reshape(5, 4, 4, 3).mean(axis=(0, 1))  # (O, classes)
    for k in range(3):
        expected = np.maximum(features @ alpha[:, k], 0)
        np.testing.assert_allclose(explain.grad_cam(model, x, k), expected, rtol=1e-10, atol=1e-12)


def test_grad_cam_with_global_average_pooling_is_cam(rng):
    """B. Zhou et al., CVPR 2016: there the map is the features weighted with the dense layer's own weights."""
    model = Sequential([Input((6, 6, 1)), Conv2D(3, 3), AveragePooling2D(4), Flatten(), Dense(2)], dtype="float64")
    model.build()
    x = rng.standard_normal((2, 6, 6, 1))
    features = explain.feature_maps(model, x)["conv2d"]
    w = model.layers[3].w
    expected = np.maximum(features @ w[:, 1], 0) / 16  # the mean over 4x4 pixels gives each a sixteenth
    np.testing.assert_allclose(explain.grad_cam(model, x, 1, "conv2d"), expected, rtol=1e-10, atol=1e-14)


def test_a_softmax_at_the_end_is_left_out(rng):
    plain, soft = small_cnn(), small_cnn(softmax=True)
    soft.set_weights(plain.get_weights())
    x = rng.standard_normal((2, 8, 8, 2))
    for function in (explain.saliency, explain.occlusion, explain.grad_cam):
        np.testing.assert_array_equal(function(soft, x, 1), function(plain, x, 1))
    assert soft.layers[-1].activation == "softmax"
    np.testing.assert_allclose(soft.predict(x).sum(axis=1), 1)
    last = Sequential([Input((4,)), Dense(3), Activation("softmax")], dtype="float64")
    np.testing.assert_allclose(explain.saliency(last, np.ones((1, 4)), 0)[0], last.layers[0].w[:, 0])


def test_nothing_is_changed(rng):
    model = small_cnn(dtype="float32")
    model.compile("adam")
    x = rng.standard_normal((6, 8, 8, 2)).astype(np.float32)
    model.train_on_batch(x, np.arange(6) % 3)
    before = [model.gradients.copy(), *model.get_weights()]
    given = x.copy()
    for function in (explain.saliency, explain.occlusion, explain.grad_cam, explain.feature_maps, explain.features):
        function(model, x)
    explain.nearest_neighbours(model, x, x)
    for old, new in zip(before, [model.gradients, *model.get_weights()]):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(x, given)
    assert [layer.input_gradient for layer in model.layers] == [False] + [True] * 6


def test_nothing_is_changed_when_it_fails(rng):
    model = small_cnn(softmax=True)
    with pytest.raises(ValueError, match="classes"):
        explain.saliency(model, rng.standard_normal((2, 8, 8, 2)), 3)
    assert model.layers[-1].activation == "softmax" and not model.layers[0].input_gradient


def test_nearest_neighbours(rng):
    model = linear_model(rng)
    gallery = rng.standard_normal((20, 5, 6, 2))
    x = gallery[[4, 9]] + 1e-6
    indices, distances = explain.nearest_neighbours(model, x, gallery, count=3, layer="dense")
    assert list(indices[:, 0]) == [4, 9]
    rows, own = model.predict(gallery), model.predict(x)
    expected = np.linalg.norm(own[:, None] - rows[None], axis=2)
    np.testing.assert_array_equal(indices, np.argsort(expected, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :3], rtol=1e-9)
    assert explain.features(model, x).shape == (2, 60)  # the layer before the last: Flatten


def test_layers_are_found_by_name_number_and_themselves():
    model = small_cnn()
    for layer in ("conv2d_1", 3, -4, model.layers[3]):
        assert explain.find_layer(model, layer, list) is model.layers[3]


@pytest.mark.parametrize(("call", "message"), [
    (lambda m, x: explain.grad_cam(m, x, layer="conv"), "has no layer 'conv'; it has conv2d, "),
    (lambda m, x: explain.grad_cam(m, x, layer=7), "number from 0 to 6"),
    (lambda m, x: explain.grad_cam(m, x, layer="dense"), "take one before the Flatten"),
    (lambda m, x: explain.occlusion(m, x, patch=9), "patch: expected 1 to 8"),
    (lambda m, x: explain.occlusion(m, x, patch=2, stride=3), "stride: expected 1 to 2"),
    (lambda m, x: explain.saliency(m, x, 1.5), "classes: expected a class number"),
    (lambda m, x: explain.saliency(m, x, [0, 1, 2]), "or 2 of them"),
    (lambda m, x: explain.saliency(m, x[:, :5]), "expected|shape"),
    (lambda m, x: explain.nearest_neighbours(m, x, x, count=3), "count: expected 1 to 2"),
    (lambda m, x: controls.Freeze(), "at least one layer"),
])
def test_bad_input(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(small_cnn(), rng.standard_normal((2, 8, 8, 2)))


def test_grad_cam_needs_a_convolution(rng):
    with pytest.raises(ValueError, match="the model has none of the kind"):
        explain.grad_cam(linear_model(rng), rng.standard_normal((1, 5, 6, 2)))


def test_frozen_layers_stay_as_they_are(patch_task):
    from minicnn.optimizers import SGD, Adam
    (x, labels, _), _ = patch_task
    for optimizer in (Adam(0.01, weight_decay=0.1), SGD(0.05, momentum=0.9, weight_decay=0.1)):
        model = Sequential([Input((12, 12, 1)), Conv2D(6, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(2)])
        model.compile(optimizer)
        first = {name: array.copy() for name, array in model.named_weights().items()}
        model.fit(x, labels, epochs=2, verbose=0, callbacks=[controls.Freeze("conv2d")])
        for name, array in model.named_weights().items():
            assert np.array_equal(first[name], array) == name.startswith("conv2d/"), name


def test_shuffled_labels_leave_nothing_to_learn(patch_task):
    (x, labels, _), (x_test, labels_test, _) = patch_task
    dealt = controls.shuffled_labels(labels, seed=1)
    assert np.array_equal(np.bincount(dealt), np.bincount(labels))
    assert np.array_equal(dealt, controls.shuffled_labels(labels, seed=1))
    assert 0.3 < np.mean(dealt == labels) < 0.7
    assert not np.array_equal(dealt, controls.shuffled_labels(labels, seed=2))
    model = patch_model()
    model.optimizer.learning_rate = 0.01
    model.fit(x, dealt, epochs=15, verbose=0)
    assert 0.25 < model.evaluate(x_test, labels_test)[1] < 0.75
