"""MiniCNN itself, with one of its back-ends."""

from __future__ import annotations

import numpy as np

from minicnn import backends, losses, optimizers, zoo
from minicnn._version import __version__
from minicnn.bench.contestants import base
from minicnn.bench.works import NETWORKS
from minicnn.operations import Operations


class Contestant(base.Contestant):
    """``backend`` is what ``Sequential(backend=...)`` takes. The number of threads is set by the environment."""

    def __init__(self, threads, backend, dtype="float32"):
        self.backend, self.dtype = backend, dtype
        self.ops = Operations(backends.resolve_backend(backend))
        wait = getattr(self.ops.backend, "synchronize", None)  # a device computes on after the call has returned
        self.finish = (lambda last: wait()) if wait else None

    def versions(self):
        simd = getattr(self.ops.backend, "simd", None)
        return {"MiniCNN": __version__, "back-end": self.ops.name, "NumPy": np.__version__,
                **({"vectors": f"{simd.BITS} bits"} if simd else {})}

    def model(self, network, weights):
        """The network with these weights, compiled for training."""
        spec = NETWORKS[network]
        model = getattr(zoo, spec.builder)(**spec.arguments, backend=self.backend, dtype=self.dtype)
        optimizer = optimizers.Adam(**spec.hyperparameters) if spec.optimizer == "adam" else (
            optimizers.SGD(**spec.hyperparameters))
        model.compile(optimizer, losses.SparseCategoricalCrossentropy(from_logits=True))
        model.set_weights(weights)
        return model

    def training(self, network, weights, x, y):
        model = self.model(network, weights)
        batches = [tuple(map(self.ops.asarray, batch)) for batch in zip(x, y)]

        def step(x, y):
            logits = model.forward(x, training=True)
            loss, dlogits = model.loss(logits, y)
            model.backward(dlogits)
            model.optimizer.step()
            return loss

        return base.Job(base.cycle(step, batches),
                        lambda: {"losses": [float(step(*batches[0])) for _ in range(base.CHECK_STEPS)]}, self.finish)

    def inference(self, network, weights, x, y):
        model = self.model(network, weights)
        batches = [(self.ops.asarray(images),) for images in x]
        return base.Job(base.cycle(model.predict_on_batch, batches),
                        lambda: {"logits": model.predict_on_batch(*batches[0])})

    def operation(self, operation, arrays, options):
        arrays = {name: self.ops.asarray(array.astype(self.dtype) if array.dtype.kind == "f" else array)
                  for name, array in arrays.items()}
        pass_of = {"conv2d_dx": self.conv2d_dx, "conv2d_dw": self.conv2d_dw,
                   "dense_dx": self.dense_dx, "dense_dw": self.dense_dw}
        if operation in pass_of:
            return pass_of[operation](**arrays, **options)
        if operation in PREPARED:
            return self.job(*PREPARED[operation](self.ops.backend, **arrays, **options))
        function = getattr(self.ops.backend, operation)
        if operation in IN_PLACE:
            return self.job(lambda: (function(**arrays, **options), arrays["parameters"])[1:], ["parameters"])
        return self.job(lambda: function(**arrays, **options), RESULTS[operation])

    def job(self, call, names):
        """A job from a call of the back-end and its results' names; results without a name are not compared."""
        def result():
            found = call()
            return {name: np.array(self.ops.to_numpy(array))
                    for name, array in zip(names, found if isinstance(found, tuple) else (found,))}
        return base.Job(call, result, self.finish)

    # The contract gives dx together with dw and db, or dw and db alone. So dx costs what both cost, less the others.

    def conv2d_dw(self, x, w, dy, **options):
        function = self.ops.backend.conv2d_backward
        return self.job(lambda: function(dy, x, w, input_gradient=False, **options)[1:], ["dw", "db"])

    def conv2d_dx(self, x, w, dy, **options):
        function = self.ops.backend.conv2d_backward
        both = self.job(lambda: function(dy, x, w, **options), ["dx"])
        return base.Difference(both, self.conv2d_dw(x, w, dy, **options), both.result)

    def dense_dw(self, x, w, dy):
        function = self.ops.backend.dense_backward
        return self.job(lambda: function(dy, x, w, input_gradient=False)[1:], ["dw", "db"])

    def dense_dx(self, x, w, dy):
        function = self.ops.backend.dense_backward
        both = self.job(lambda: function(dy, x, w), ["dx"])
        return base.Difference(both, self.dense_dw(x, w, dy), both.result)


# Names of the results of the contract's functions, in their order. The argmax of max-pooling is for the same
# back-end's backward pass alone, and a dropout mask likewise: they are not compared.
RESULTS = {
    "conv2d_forward": ["y"], "dense_forward": ["y"], "max_pool2d_forward": ["y"], "avg_pool2d_forward": ["y"],
    "avg_pool2d_backward": ["dx"], "relu_forward": ["y"], "relu_backward": ["dx"], "leaky_relu_forward": ["y"],
    "leaky_relu_backward": ["dx"], "sigmoid_forward": ["y"], "sigmoid_backward": ["dx"], "tanh_forward": ["y"],
    "tanh_backward": ["dx"], "softmax_forward": ["y"], "softmax_backward": ["dx"],
    "softmax_cross_entropy": ["loss", "dlogits"], "batch_norm_forward": ["y", "mean", "variance"],
    "dropout_forward": ["y"],
}

IN_PLACE = ("sgd_step", "adam_step")


def max_pool2d_backward(kernels, x, dy, **options):
    """Needs the argmax that this back-end's forward pass kept."""
    _, argmax = kernels.max_pool2d_forward(x, **options)
    return lambda: kernels.max_pool2d_backward(dy, argmax, x.shape, **options), ["dx"]


def batch_norm_backward(kernels, x, dy, gamma, beta):
    """Needs the statistics of the forward pass."""
    _, mean, variance = kernels.batch_norm_forward(x, gamma, beta)
    return lambda: kernels.batch_norm_backward(dy, x, gamma, mean, variance), ["dx", "dgamma", "dbeta"]


def dropout_backward(kernels, x, dy, rate, seed):
    """Needs the mask that this back-end's forward pass made."""
    _, mask = kernels.dropout_forward(x, rate, seed)
    return lambda: kernels.dropout_backward(dy, mask, rate), ["dx"]


#: Backward passes that take something which only a forward pass gives.
PREPARED = {function.__name__: function for function in (max_pool2d_backward, batch_norm_backward, dropout_backward)}
