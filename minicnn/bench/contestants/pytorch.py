"""PyTorch, in its default layout (NCHW) or in channels_last, which is the faster one on most CPUs; or on a GPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from minicnn.bench.contestants import base
from minicnn.bench.works import NETWORKS


def mnist_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 3 * 3, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )


def cifar_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 6 * 6, 128), nn.ReLU(),
        nn.Linear(128, 10),
    )


MODELS = {"mnist_cnn": mnist_cnn, "cifar_cnn": cifar_cnn}


class Contestant(base.Contestant):
    """The explicit training loop of PyTorch's own tutorials; eager mode, which is what they show.

    On a GPU (``device="cuda"``), ``tf32`` lets matrix products and convolutions round their inputs to ten bits.
    """

    def __init__(self, threads, channels_last, device="cpu", tf32=False):
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no GPU")
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        self.device = device
        self.finish = (lambda last: torch.cuda.synchronize()) if device == "cuda" else None
        self.format = torch.channels_last if channels_last else torch.contiguous_format

    def versions(self):
        return {"PyTorch": torch.__version__, "instructions": torch.backends.cpu.get_cpu_capability()}

    def model(self, network, weights):
        model = MODELS[network]()
        load_weights(model, weights)
        return model.to(self.device, memory_format=self.format)

    def images(self, x):
        """(N, H, W, C) as (N, C, H, W) in the contestant's memory format."""
        return torch.from_numpy(x).permute(0, 3, 1, 2).to(self.device).contiguous(memory_format=self.format)

    def training(self, network, weights, x, y):
        model = self.model(network, weights)
        model.train()
        loss_fn = nn.CrossEntropyLoss()
        spec = NETWORKS[network]
        given = spec.hyperparameters
        if spec.optimizer == "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=given["learning_rate"], eps=given["epsilon"])
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=given["learning_rate"], momentum=given["momentum"])

        def step(x, y):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.item() if self.device == "cpu" else loss  # a GPU need not be waited for in every step

        batches = [(self.images(images), torch.from_numpy(labels).to(self.device)) for images, labels in zip(x, y)]
        return base.Job(base.cycle(step, batches),
                        lambda: {"losses": [float(step(*batches[0])) for _ in range(base.CHECK_STEPS)]}, self.finish)

    def inference(self, network, weights, x, y):
        model = self.model(network, weights)
        model.eval()

        @torch.inference_mode()
        def predict(x):
            return model(x).cpu().numpy()

        batches = [(self.images(images),) for images in x]
        return base.Job(base.cycle(predict, batches), lambda: {"logits": predict(*batches[0])})

    def operation(self, operation, arrays, options):
        if not operation.startswith("conv2d"):
            raise base.Unsupported
        padding = options["padding"]
        if padding[0][0] != padding[0][1] or padding[1][0] != padding[1][1]:
            raise base.Unsupported
        pads, stride = [padding[0][0], padding[1][0]], [options["stride"]] * 2
        x, w = self.images(arrays["x"]), self.kernel(arrays["w"])
        if operation == "conv2d_forward":
            b = torch.from_numpy(arrays["b"]).to(self.device)
            return self.job(lambda: (functional.conv2d(x, w, b, stride, pads),), ["y"])
        dy = self.images(arrays["dy"])
        wanted = [True, False, False] if operation == "conv2d_dx" else [False, True, True]

        def backward():  # what autograd calls for F.conv2d
            return torch.ops.aten.convolution_backward(dy, x, w, [w.shape[0]], stride, pads, [1, 1], False, [0, 0], 1,
                                                       wanted)

        return self.job(backward, ["dx", "dw", "db"])

    def kernel(self, w):
        """(KH, KW, C, O) as (O, C, KH, KW)."""
        return torch.from_numpy(w).permute(3, 2, 0, 1).to(self.device).contiguous(memory_format=self.format)

    def job(self, call, names):
        axes = {"y": (0, 2, 3, 1), "dx": (0, 2, 3, 1), "dw": (2, 3, 1, 0), "db": (0,)}
        call = torch.inference_mode()(call)
        return base.Job(call, lambda: {name: found.permute(axes[name]).cpu().numpy()
                                       for name, found in zip(names, call()) if found is not None}, self.finish)


@torch.no_grad()
def load_weights(model, weights):
    """Take over MiniCNN's weights: kernels (KH, KW, C, O), dense weights (I, O), images flattened as (H, W, C)."""
    channels, flattened = None, False
    weights = iter(weights)
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(torch.from_numpy(next(weights).transpose(3, 2, 0, 1)))
            layer.bias.copy_(torch.from_numpy(next(weights)))
            channels = layer.out_channels
        elif isinstance(layer, nn.Flatten):
            flattened = True
        elif isinstance(layer, nn.Linear):
            w = next(weights)
            if flattened:  # PyTorch's rows are ordered (C, H, W)
                side = round((w.shape[0] // channels) ** 0.5)
                w = w.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(w.shape)
                flattened = False
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(w.T)))
            layer.bias.copy_(torch.from_numpy(next(weights)))
