"""Weights to and from PyTorch and Keras: round trips, and the same outputs and gradients where those are installed."""

import numpy as np
import pytest

from minicnn import convert, layers, losses, zoo
from minicnn.models import Sequential

RNG = np.random.default_rng(0)


def with_everything(dtype="float64"):
    return Sequential([
        layers.Input((7, 6, 3)), layers.Conv2D(4, (3, 2), padding="same", activation="relu"),
        layers.BatchNormalization(epsilon=1e-5, momentum=0.9), layers.MaxPooling2D(2),
        layers.Conv2D(5, 2, use_bias=False, activation="tanh"), layers.Flatten(),
        layers.BatchNormalization(epsilon=1e-5, momentum=0.9), layers.Dropout(0.5), layers.Dense(6, activation="relu"),
        layers.Dense(3),
    ], dtype=dtype, seed=1)


def disturbed(model):
    """A model whose weights are all different numbers, running statistics included."""
    model.set_weights([RNG.uniform(0.5, 1.5, array.shape) * np.where(array == 0, 0.3, 1) for array in
                       model.get_weights()])
    return model


def test_round_trips():
    model = disturbed(with_everything())
    for there, back in ((convert.to_torch, convert.from_torch), (convert.to_keras, convert.from_keras)):
        other = with_everything()
        back(other, there(model))
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights()))


def test_layouts_and_names():
    arrays = convert.to_torch(zoo.cifar_cnn())
    assert {name: array.shape for name, array in arrays.items()} == {
        "conv2d.weight": (32, 3, 3, 3), "conv2d.bias": (32,), "conv2d_1.weight": (64, 32, 3, 3), "conv2d_1.bias": (64,),
        "dense.weight": (128, 64 * 6 * 6), "dense.bias": (128,), "dense_1.weight": (10, 128), "dense_1.bias": (10,)}
    names = ["a.weight", "a.num_batches_tracked", *"bcdefgh"]
    assert list(convert.to_torch(zoo.cifar_cnn(), names)) == ["a.weight", *"bcdefgh"]


def test_the_first_dense_layer_sees_channels_first():
    """By hand: input (row, column, channel) of PyTorch's flat order stands at c*H*W + i*W + j."""
    model = Sequential([layers.Input((2, 3, 4)), layers.Flatten(), layers.Dense(5)], dtype="float64")
    weight = convert.to_torch(model)["dense.weight"]
    for i, j, c in np.ndindex(2, 3, 4):
        assert np.array_equal(weight[:, c * 6 + i * 3 + j], model.layers[1].w[(i * 3 + j) * 4 + c])


def test_what_does_not_fit_changes_nothing():
    model = zoo.digits_cnn()
    before, state = model.get_weights(), convert.to_torch(model)
    with pytest.raises(ValueError, match=r"expected 8 arrays \(conv2d/w"):
        convert.from_torch(model, list(state.values())[:-1])
    state["dense.weight"] = state["dense.weight"].T
    with pytest.raises(ValueError, match=r"expected shape \(64, 512\) for dense/w, in PyTorch's layout"):
        convert.from_torch(model, state)
    with pytest.raises(ValueError, match="expected 8 arrays"):
        convert.from_keras(model, model.get_weights()[1:])
    with pytest.raises(ValueError, match="expected 8 names"):
        convert.to_torch(model, ["a"])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def torch_twin():
    nn = pytest.importorskip("torch").nn
    return nn.Sequential(
        nn.ZeroPad2d((0, 1, 1, 1)), nn.Conv2d(3, 4, (3, 2)), nn.ReLU(), nn.BatchNorm2d(4), nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.BatchNorm1d(20), nn.Dropout(0.0), nn.Linear(20, 6),
        nn.ReLU(), nn.Linear(6, 3)).double()


@pytest.mark.parametrize("direction", ["from", "to"])
def test_outputs_and_gradients_agree_with_pytorch(direction):
    torch = pytest.importorskip("torch")
    twin, model = torch_twin(), with_everything()
    model.layers[6].rate = 0.0
    if direction == "from":
        convert.from_torch(model, twin.state_dict())
    else:
        arrays = convert.to_torch(disturbed(model), twin.state_dict())
        missing = twin.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, strict=False)
        assert not missing.unexpected_keys and all("num_batches" in name for name in missing.missing_keys)
    x, labels = RNG.normal(size=(8, 7, 6, 3)), RNG.integers(0, 3, 8)
    x_torch = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    for training in (False, True):
        twin.train(training)
        twin.zero_grad()
        x_torch.grad = None
        y_torch = twin(x_torch)
        loss_torch = torch.nn.functional.cross_entropy(y_torch, torch.from_numpy(labels))
        loss_torch.backward()
        y = model.forward(x, training=training)
        loss, dy = losses.SparseCategoricalCrossentropy()(y, labels)
        dx = model.backward(dy, input_gradient=True)
        np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(loss, loss_torch.item(), rtol=1e-12)
        np.testing.assert_allclose(dx.transpose(0, 3, 1, 2), x_torch.grad.numpy(), rtol=1e-8, atol=1e-12)
        gradients = convert.to_torch(model, [name for name, _ in twin.named_parameters()], gradients=True)
        for name, parameter in twin.named_parameters():
            np.testing.assert_allclose(gradients[name], parameter.grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=name)


DOCUMENTS = {"mnist": (zoo.mnist_cnn, (28, 28, 1), "valid"), "cifar": (zoo.cifar_cnn, (24, 24, 3), "same")}


@pytest.mark.parametrize("which", DOCUMENTS)
def test_the_documents_networks_agree_with_pytorch(which):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    make, shape, _ = DOCUMENTS[which]
    if which == "mnist":
        twin = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
                             nn.MaxPool2d(2), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64),
                             nn.ReLU(), nn.Linear(64, 10)).double()
    else:
        twin = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                             nn.Linear(64 * 6 * 6, 128), nn.ReLU(), nn.Linear(128, 10)).double()
    model = make(dtype="float64")
    convert.from_torch(model, twin.state_dict())
    x, labels = RNG.uniform(size=(4, *shape)), RNG.integers(0, 10, 4)
    loss_torch = nn.functional.cross_entropy(twin(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())),
                                             torch.from_numpy(labels))
    loss_torch.backward()
    loss, dlogits = losses.SparseCategoricalCrossentropy()(model.forward(x, training=True), labels)
    model.backward(dlogits)
    np.testing.assert_allclose(loss, loss_torch.item(), rtol=1e-12)
    gradients = convert.to_torch(model, [name for name, _ in twin.named_parameters()], gradients=True)
    for name, parameter in twin.named_parameters():
        np.testing.assert_allclose(gradients[name], parameter.grad.numpy(), rtol=1e-8, atol=1e-13, err_msg=name)


@pytest.mark.slow  # importing TensorFlow is
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("which", DOCUMENTS)
def test_the_documents_networks_agree_with_keras(which):
    tf = pytest.importorskip("tensorflow")
    make, shape, padding = DOCUMENTS[which]
    kl = tf.keras.layers
    stack = [tf.keras.Input(shape), kl.Conv2D(32, 3, padding=padding, activation="relu"), kl.MaxPooling2D(2),
             kl.Conv2D(64, 3, padding=padding, activation="relu"), kl.MaxPooling2D(2)]
    if which == "mnist":
        stack += [kl.Conv2D(64, 3, activation="relu")]
    stack += [kl.Flatten(), kl.Dense(64 if which == "mnist" else 128, activation="relu")]
    twin = tf.keras.Sequential([*stack, kl.Dense(10)])
    model = make()
    convert.from_keras(model, twin.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(convert.to_keras(model), twin.get_weights()))
    x, labels = RNG.uniform(size=(4, *shape)).astype(np.float32), RNG.integers(0, 10, 4)
    with tf.GradientTape() as tape:
        logits = twin(x, training=True)
        loss_keras = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    expected = tape.gradient(loss_keras, twin.trainable_variables)
    y = model.forward(x, training=True)
    loss, dlogits = losses.SparseCategoricalCrossentropy()(y, labels)
    model.backward(dlogits)
    np.testing.assert_allclose(y, logits.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loss, float(loss_keras), rtol=1e-5)
    for ours, theirs in zip(convert.to_keras(model, gradients=True), expected):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-6)
