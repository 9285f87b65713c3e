"""The documents' network trained beside PyTorch: same initial weights, same batches, the same losses step for step.

In float64 the two curves agree to rounding error. In float32 they cannot, with Adam: rounding flips a relu or a pooling
winner sooner or later, and from there the curves part (PyTorch's own float32 and float64 curves do). So Adam is
compared in float64, and float32 with the small steps of document 1's optimizer, which stay together longer.
"""

import numpy as np
import pytest

from minicnn import convert, datasets, optimizers, zoo


def batches(steps, dtype):
    """The digits, each pixel enlarged to 3x3 and framed to MNIST's 28x28."""
    data = datasets.load("digits")
    images = np.zeros((len(data.x_train), 28, 28, 1), dtype)
    images[:, 2:26, 2:26] = data.x_train.repeat(3, axis=1).repeat(3, axis=2)
    for step in range(steps):
        rows = np.arange(32 * step, 32 * step + 32) % len(images)
        yield images[rows], data.y_train[rows]


def both_curves(steps, dtype, make_optimizer, make_torch_optimizer, backend):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    twin = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(),
                         nn.Linear(64, 10)).to(getattr(torch, dtype))
    model = zoo.mnist_cnn(dtype=dtype, backend=backend)
    model.compile(make_optimizer())
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in
                          convert.to_torch(model, twin.state_dict()).items()})
    optimizer = make_torch_optimizer(torch, twin.parameters())
    ours, theirs = [], []
    for x, labels in batches(steps, dtype):
        ours.append(model.train_on_batch(x, labels))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(twin(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())),
                                           torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())
    return np.array(ours), np.array(theirs)


@pytest.mark.parametrize("steps", [15, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ["im2col", pytest.param("cpu", marks=pytest.mark.slow)])
def test_adam_in_float64(steps, backend):
    ours, theirs = both_curves(steps, "float64", lambda: optimizers.Adam(0.001),
                               lambda torch, parameters: torch.optim.Adam(parameters, 0.001, eps=1e-7), backend)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert steps < 200 or theirs[-20:].mean() < theirs[:20].mean() / 3


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["im2col", "cpu"])
def test_sgd_in_float32(backend):
    ours, theirs = both_curves(200, "float32", lambda: optimizers.SGD(0.001, momentum=0.9),
                               lambda torch, parameters: torch.optim.SGD(parameters, 0.001, momentum=0.9), backend)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
