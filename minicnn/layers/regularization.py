"""Layers that act differently in training: dropout and batch normalization."""

from __future__ import annotations

import numpy as np

from minicnn.layers.base import Layer


class Dropout(Layer):
    """In training, set a random share ``rate`` of the inputs to zero and divide the others by ``1 - rate``.

    Source: N. Srivastava et al., JMLR 15 (2014), in the "inverted" form: nothing is scaled at inference. The mask
    depends on the model's seed, the layer and the number of optimizer steps (``RandomStream``).
    """

    def __init__(self, rate, name=None, input_shape=None):
        super().__init__(name, input_shape)
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.floating)):
            raise TypeError(f"rate: expected a number in [0, 1), got {rate!r}")
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate: expected a number in [0, 1), got {rate}")
        self.rate = float(rate)

    def forward(self, x, training=False):
        self.mask = None
        if not training or self.rate == 0.0:
            return x
        y, self.mask = self.ops.dropout_forward(x, self.rate, self.stream.seed_for(self.index))
        return y

    def backward(self, dy):
        return dy if self.mask is None else self.ops.dropout_backward(dy, self.mask, self.rate)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


class BatchNormalization(Layer):
    """Normalize each channel to mean 0 and variance 1 over the batch, then scale by ``gamma`` and shift by ``beta``.

        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

    In training, mean and variance are those of the batch (over every axis but the last), and the running statistics
    move towards them: ``running = momentum * running + (1 - momentum) * batch``. At inference the running statistics
    are used. Source: S. Ioffe and C. Szegedy, ICML 2015. Formulas: ``kernels/reference/normalization.py``.

    Parameters
    ----------
    momentum : float
        How slowly the running statistics move.
    epsilon : float
        Keeps the division finite for a channel that is constant.
    """

    def __init__(self, momentum=0.99, epsilon=1e-3, name=None, input_shape=None):
        super().__init__(name, input_shape)
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum: expected a number in [0, 1], got {momentum!r}")
        if not epsilon >= 0.0:
            raise ValueError(f"epsilon: expected a number of at least 0, got {epsilon!r}")
        self.momentum, self.epsilon = float(momentum), float(epsilon)

    def create_parameters(self, input_shape):
        channels = input_shape[-1:]
        self.add_parameter("gamma", channels, "ones")
        self.add_parameter("beta", channels, "zeros")
        self.add_state("running_mean", channels, "zeros")
        self.add_state("running_variance", channels, "ones")

    def forward(self, x, training=False):
        self.x, self.training = x, training
        if training:
            y, self.mean, self.variance = self.ops.batch_norm_forward(x, self.gamma, self.beta, self.epsilon)
            self.ops.update_average(self.state["running_mean"], self.mean, self.momentum)
            self.ops.update_average(self.state["running_variance"], self.variance, self.momentum)
            return y
        self.mean, self.variance = self.state["running_mean"], self.state["running_variance"]
        return self.ops.batch_norm_inference_forward(x, self.gamma, self.beta, self.mean, self.variance, self.epsilon)

    def backward(self, dy):
        backward = self.ops.batch_norm_backward if self.training else self.ops.batch_norm_inference_backward
        dx, dgamma, dbeta = backward(dy, self.x, self.gamma, self.mean, self.variance, self.epsilon)
        self.set_gradients(gamma=dgamma, beta=dbeta)
        return dx

    def multiply_adds(self):
        return int(np.prod(self.input_shape))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}
