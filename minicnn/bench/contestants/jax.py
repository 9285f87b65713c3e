"""JAX: pure functions, ``jit`` and ``value_and_grad``, images as (N, H, W, C)."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from minicnn.bench.contestants import base
from minicnn.bench.works import NETWORKS


def conv2d(x, w, b, padding):
    return lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")) + b


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def mnist_cnn(parameters, x):
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5 = parameters
    x = max_pool(jax.nn.relu(conv2d(x, w1, b1, "VALID")))
    x = max_pool(jax.nn.relu(conv2d(x, w2, b2, "VALID")))
    x = jax.nn.relu(conv2d(x, w3, b3, "VALID"))
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(x @ w4 + b4)
    return x @ w5 + b5


def cifar_cnn(parameters, x):
    w1, b1, w2, b2, w3, b3, w4, b4 = parameters
    x = max_pool(jax.nn.relu(conv2d(x, w1, b1, "SAME")))
    x = max_pool(jax.nn.relu(conv2d(x, w2, b2, "SAME")))
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(x @ w3 + b3)
    return x @ w4 + b4


MODELS = {"mnist_cnn": mnist_cnn, "cifar_cnn": cifar_cnn}


def loss_fn(model, parameters, x, y):
    log_probabilities = jax.nn.log_softmax(model(parameters, x))
    return -jnp.mean(jnp.take_along_axis(log_probabilities, y[:, None], axis=1))


def sgd(parameters, gradients, state, learning_rate, momentum):
    velocity = jax.tree.map(lambda v, g: momentum * v - learning_rate * g, state, gradients)
    return jax.tree.map(jnp.add, parameters, velocity), velocity


def adam(parameters, gradients, state, learning_rate, epsilon, beta_1=0.9, beta_2=0.999):
    step, m, v = state
    step = step + 1
    m = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, v, gradients)
    rate = learning_rate / (1 - beta_1 ** step)
    scale = 1 / (1 - beta_2 ** step)
    parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(scale * v) + epsilon), parameters, m, v)
    return parameters, (step, m, v)


class Contestant(base.Contestant):
    """One compiled function a training step. JAX has no setting for its threads: the worker's CPUs bound them."""

    def __init__(self, threads):
        pass

    def versions(self):
        return {"JAX": jax.__version__}

    def training(self, network, weights, x, y):
        model, spec = MODELS[network], NETWORKS[network]
        update = partial(adam if spec.optimizer == "adam" else sgd, **spec.hyperparameters)

        @jax.jit
        def train_step(parameters, state, x, y):
            loss, gradients = jax.value_and_grad(partial(loss_fn, model))(parameters, x, y)
            parameters, state = update(parameters, gradients, state)
            return parameters, state, loss

        parameters = [jnp.asarray(w) for w in weights]
        zeros = [jnp.zeros_like(w) for w in parameters]
        state = (jnp.float32(0), zeros, zeros) if spec.optimizer == "adam" else zeros

        def step(x, y):
            nonlocal parameters, state
            parameters, state, loss = train_step(parameters, state, x, y)
            return loss

        batches = list(zip(x, y.astype(np.int32)))
        return base.Job(base.cycle(step, batches),
                        lambda: {"losses": [float(step(*batches[0])) for _ in range(base.CHECK_STEPS)]},
                        finish=jax.block_until_ready)

    def inference(self, network, weights, x, y):
        model = jax.jit(MODELS[network])
        parameters = [jnp.asarray(w) for w in weights]

        def predict(x):
            return np.asarray(model(parameters, x))

        return base.Job(base.cycle(predict, zip(x)), lambda: {"logits": predict(x[0])})
