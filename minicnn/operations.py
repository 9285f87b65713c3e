"""A back-end as the layers see it.

A back-end offers bare operations. A layer wants "convolution, then relu" in one call, and does not care whether the
back-end does the two in one pass over memory (a *fused* function) or one after the other. That choice is made here,
once, so that ``Conv2D`` and ``Dense`` show one forward and one backward call.
"""

from __future__ import annotations

from kernels import ARRAYS, CONTRACT, arrays

#: Activations by name. Each backward pass needs only ``dy`` and the output ``y``.
ACTIVATIONS = ("linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax")


class Operations:
    """Every function of ``kernels.CONTRACT`` and ``kernels.ARRAYS``, and activations attached to conv2d and dense.

    Parameters
    ----------
    backend : module
        A complete back-end, from ``minicnn.backends.resolve_backend``.
    """

    def __init__(self, backend):
        self.backend = backend
        self.name = backend.__name__.rpartition(".")[2]
        for name in CONTRACT:
            if not hasattr(type(self), name):
                setattr(self, name, getattr(backend, name))
        self.takes_out = getattr(backend, "TAKES_OUT", False)
        #: Whether a convolution with relu and the max-pooling behind it can be one call (``minicnn/fusing.py``).
        self.pools_convolutions = all(hasattr(backend, f"conv2d_relu_max_pool2d_{way}")
                                      for way in ("forward", "backward"))
        for name in ARRAYS:
            setattr(self, name, getattr(backend, name, None) or getattr(arrays, name))

    def conv2d_relu_max_pool2d_forward(self, *arguments):
        """``y, argmax``: the fused function of a back-end that ``pools_convolutions``."""
        return self.backend.conv2d_relu_max_pool2d_forward(*arguments)

    def conv2d_relu_max_pool2d_backward(self, *arguments, out=None):
        """``dx`` (or None), ``dw``, ``db``: the fused function of a back-end that ``pools_convolutions``."""
        return self.backend.conv2d_relu_max_pool2d_backward(*arguments, **self._out(out))

    def _out(self, out):
        """Where the layer wants dw and db, as an argument for back-ends that write them there (``kernels.OUT``)."""
        return {"out": out} if self.takes_out else {}

    def _fused(self, function, activation):
        return getattr(self.backend, function, None) if activation == "relu" else None

    def conv2d_forward(self, x, w, b, stride, padding, activation="linear"):
        """``activation(conv2d(x, w) + b)``."""
        if fused := self._fused("conv2d_relu_forward", activation):
            return fused(x, w, b, stride, padding)
        return self.activate(activation, self.backend.conv2d_forward(x, w, b, stride, padding))

    def conv2d_backward(self, dy, y, x, w, stride, padding, activation="linear", input_gradient=True, out=None):
        """``dx`` (or None), ``dw``, ``db`` of ``conv2d_forward`` with the same activation; ``y`` is its result."""
        if y is None:
            raise RuntimeError("backward: the latest forward pass took this convolution and the pooling behind it in "
                               "one step; call the model's backward, or every layer's forward and then its backward")
        if fused := self._fused("conv2d_relu_backward", activation):
            return fused(dy, y, x, w, stride, padding, input_gradient, **self._out(out))
        dy = self.activate_backward(activation, dy, y)
        return self.backend.conv2d_backward(dy, x, w, stride, padding, input_gradient, **self._out(out))

    def dense_forward(self, x, w, b, activation="linear"):
        """``activation(x w + b)``."""
        if fused := self._fused("dense_relu_forward", activation):
            return fused(x, w, b)
        return self.activate(activation, self.backend.dense_forward(x, w, b))

    def dense_backward(self, dy, y, x, w, activation="linear", input_gradient=True, out=None):
        """``dx`` (or None), ``dw``, ``db`` of ``dense_forward`` with the same activation; ``y`` is its result."""
        if fused := self._fused("dense_relu_backward", activation):
            return fused(dy, y, x, w, input_gradient, **self._out(out))
        dy = self.activate_backward(activation, dy, y)
        return self.backend.dense_backward(dy, x, w, input_gradient, **self._out(out))

    def activate(self, activation, x):
        """The activation of that name; "linear" gives ``x`` itself."""
        return x if activation == "linear" else getattr(self.backend, f"{activation}_forward")(x)

    def activate_backward(self, activation, dy, y):
        """The gradient of ``activate``'s input, from the gradient ``dy`` of its output ``y``."""
        return dy if activation == "linear" else getattr(self.backend, f"{activation}_backward")(dy, y)
