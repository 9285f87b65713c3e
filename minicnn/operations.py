"""A back-end as the layers see it.

A back-end offers bare operations. A layer wants "convolution, then relu" in one call, and does not care whether the
back-end does the two in one pass over memory (a *fused* function) or one after the other. That choice is made here,
once, so that ``Conv2D`` and ``Dense`` show one forward and one backward call.
"""

from __future__ import annotations

from kernels import ARRAYS, CONTRACT, FUSED, OUT, arrays

#: Activations by name. Each backward pass needs only ``dy`` and the output ``y``.
ACTIVATIONS = ("linear", "relu", "leaky_relu", "sigmoid", "tanh", "softmax")


class Operations:
    """Every function of ``kernels.CONTRACT`` and ``kernels.ARRAYS``, and activations attached to conv2d and dense.

    Also those of ``kernels.FUSED``, None where the back-end has none.

    Parameters
    ----------
    backend : module
        A complete back-end, from ``minicnn.backends.resolve_backend``.
    """

    def __init__(self, backend):
        self.backend = backend
        self.name = backend.__name__.rpartition(".")[2]
        self._functions = {name: self._function(name) for name in (*CONTRACT, *FUSED)}
        for name, function in self._functions.items():
            if not hasattr(type(self), name):  # four have a method here that adds an activation
                setattr(self, name, function)
        #: Whether a convolution with relu and the max-pooling behind it can be one call (``minicnn/fusing.py``).
        self.pools_convolutions = bool(self.conv2d_relu_max_pool2d_forward and self.conv2d_relu_max_pool2d_backward)
        for name in ARRAYS:
            setattr(self, name, getattr(backend, name, None) or getattr(arrays, name))

    def _function(self, name):
        """The back-end's function; those in ``kernels.OUT`` take ``out`` even where the back-end makes nothing of it.
        """
        function = getattr(self.backend, name, None)
        if function is None or name not in OUT or getattr(self.backend, "TAKES_OUT", False):
            return function
        return lambda *arguments, out=None: function(*arguments)

    def conv2d_forward(self, x, w, b, stride, padding, activation="linear"):
        """``activation(conv2d(x, w) + b)``."""
        if activation == "relu" and self.conv2d_relu_forward:
            return self.conv2d_relu_forward(x, w, b, stride, padding)
        return self.activate(activation, self._functions["conv2d_forward"](x, w, b, stride, padding))

    def conv2d_backward(self, dy, y, x, w, stride, padding, activation="linear", input_gradient=True, out=None):
        """``dx`` (or None), ``dw``, ``db`` of ``conv2d_forward`` with the same activation; ``y`` is its result."""
        if y is None:
            raise RuntimeError("backward: the latest forward pass took this convolution and the pooling behind it in "
                               "one step; call the model's backward, or every layer's forward and then its backward")
        if activation == "relu" and self.conv2d_relu_backward:
            return self.conv2d_relu_backward(dy, y, x, w, stride, padding, input_gradient, out=out)
        dy = self.activate_backward(activation, dy, y)
        return self._functions["conv2d_backward"](dy, x, w, stride, padding, input_gradient, out=out)

    def dense_forward(self, x, w, b, activation="linear"):
        """``activation(x w + b)``."""
        if activation == "relu" and self.dense_relu_forward:
            return self.dense_relu_forward(x, w, b)
        return self.activate(activation, self._functions["dense_forward"](x, w, b))

    def dense_backward(self, dy, y, x, w, activation="linear", input_gradient=True, out=None):
        """``dx`` (or None), ``dw``, ``db`` of ``dense_forward`` with the same activation; ``y`` is its result."""
        if activation == "relu" and self.dense_relu_backward:
            return self.dense_relu_backward(dy, y, x, w, input_gradient, out=out)
        dy = self.activate_backward(activation, dy, y)
        return self._functions["dense_backward"](dy, x, w, input_gradient, out=out)

    def activate(self, activation, x):
        """The activation of that name; "linear" gives ``x`` itself."""
        return x if activation == "linear" else getattr(self.backend, f"{activation}_forward")(x)

    def activate_backward(self, activation, dy, y):
        """The gradient of ``activate``'s input, from the gradient ``dy`` of its output ``y``."""
        return dy if activation == "linear" else getattr(self.backend, f"{activation}_backward")(dy, y)
