"""Lesson 7: optimizers. One step downhill, on all parameters of a model at once, which are one flat vector.

These functions return nothing: they change their arguments in place. (parameters -= step changes the array;
parameters = parameters - step would only make a new one that nobody sees.)

Check your work with:  minicnn gradcheck optimizers.py
"""

import numpy as np  # noqa: F401


def sgd_step(parameters, gradients, velocity, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    """Stochastic gradient descent with momentum.

        parameters *= 1 - learning_rate * weight_decay
        velocity    = momentum * velocity - learning_rate * gradients
        parameters += velocity                                              without Nesterov's variant
        parameters += momentum * velocity - learning_rate * gradients       with it

    parameters, gradients, velocity : (P,); parameters and velocity change, gradients must not
    """
    raise NotImplementedError


def adam_step(parameters, gradients, first_moment, second_moment, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999,
              epsilon=1e-7, weight_decay=0.0):
    """Adam: every parameter has a step size of its own.

        parameters *= 1 - learning_rate * weight_decay
        first_moment  m = beta_1 * m + (1 - beta_1) * gradients
        second_moment v = beta_2 * v + (1 - beta_2) * gradients**2
        mhat = m / (1 - beta_1**step)        vhat = v / (1 - beta_2**step)
        parameters -= learning_rate * mhat / (sqrt(vhat) + epsilon)

    all vectors : (P,); gradients must not change        step : 1 for the first step, 2 for the second, ...
    """
    raise NotImplementedError
