"""One optimizer step, in place, on flat vectors: all parameters of a model are one vector, their gradients another.

Weight decay is decoupled from the gradient in both optimizers (Loshchilov & Hutter 2019): before the step proper, the
parameters shrink by the factor ``1 - learning_rate * weight_decay``. Adding ``weight_decay * parameters`` to the
gradient instead, which is L2 regularization, would be averaged into momentum and rescaled by Adam.
"""

from __future__ import annotations

import math

import numpy as np

from .. import checks


@np.errstate(over="ignore", invalid="ignore")
def sgd_step(parameters, gradients, velocity, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    """Stochastic gradient descent with momentum, in place.

        parameters *= 1 - learning_rate weight_decay
        velocity    = momentum velocity - learning_rate gradients
        parameters += velocity                                              (Polyak's momentum)
        parameters += momentum velocity - learning_rate gradients           (with Nesterov's, in its stead)

    This is Keras' convention, with the learning rate inside the velocity. (PyTorch keeps it outside: velocity =
    momentum velocity + gradients, parameters -= learning_rate velocity. The two agree while the learning rate stays
    the same.) Without momentum it is ``parameters -= learning_rate gradients``.

    Nesterov's variant (Nesterov 1983; in this form Sutskever et al. 2013, Bengio et al. 2013) takes the gradient's
    step from where the momentum is about to carry the parameters.

    Parameters
    ----------
    parameters, velocity : ndarray (P,)
        Changed in place. ``velocity`` starts as zeros; it is kept up to date without momentum as well.
    gradients : ndarray (P,)
        Left alone.
    learning_rate, momentum, weight_decay : float
    nesterov : bool

    Raises
    ------
    TypeError, ValueError
        For vectors of another type or shape, or that cannot be changed in place; for numbers out of range. Nothing
        is changed then.
    """
    checks.flat_vectors(parameters=parameters, gradients=gradients, velocity=velocity)
    learning_rate, momentum, weight_decay = checks.hyperparameters(
        learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay)
    if weight_decay > 0:
        parameters *= 1 - learning_rate * weight_decay
    velocity[:] = momentum * velocity - learning_rate * gradients
    if nesterov:
        parameters += momentum * velocity - learning_rate * gradients
    else:
        parameters += velocity


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def adam_step(parameters, gradients, first_moment, second_moment, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999,
              epsilon=1e-7, weight_decay=0.0):
    """Adam (Kingma & Ba 2015, algorithm 1), in place; with weight decay it is AdamW.

        m = beta_1 m + (1 - beta_1) gradients
        v = beta_2 v + (1 - beta_2) gradients^2
        mhat = m / (1 - beta_1^step),   vhat = v / (1 - beta_2^step)
        parameters -= learning_rate mhat / (sqrt(vhat) + epsilon)

    m and v are running means of the gradient and of its square that start at 0; the divisions undo the pull towards
    that 0 in the first steps. So the first step moves every parameter by nearly the learning rate, whatever the size
    of its gradient. (Keras puts epsilon beside sqrt(v) instead of sqrt(vhat), the paper's "epsilon hat"; only where
    the gradient is tiny can that be seen.)

    Parameters
    ----------
    parameters, first_moment, second_moment : ndarray (P,)
        Changed in place. The moments m and v start as zeros.
    gradients : ndarray (P,)
        Left alone.
    step : int
        Number of this step, counted from 1.
    learning_rate, beta_1, beta_2, epsilon, weight_decay : float
        ``epsilon`` has Keras' default; the paper's is 1e-8.

    Raises
    ------
    TypeError, ValueError
        For vectors of another type or shape, or that cannot be changed in place; for numbers out of range. Nothing
        is changed then.
    """
    checks.flat_vectors(parameters=parameters, gradients=gradients, first_moment=first_moment,
                        second_moment=second_moment)
    step = checks.integer("step", step, 1)
    learning_rate, beta_1, beta_2, epsilon, weight_decay = checks.hyperparameters(
        learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, weight_decay=weight_decay)
    if weight_decay > 0:
        parameters *= 1 - learning_rate * weight_decay
    first_moment[:] = beta_1 * first_moment + (1 - beta_1) * gradients
    second_moment[:] = beta_2 * second_moment + (1 - beta_2) * gradients**2
    mhat = first_moment / (1 - beta_1**step)
    vhat = second_moment / (1 - beta_2**step)
    parameters -= learning_rate * mhat / (np.sqrt(vhat) + epsilon)


@np.errstate(over="ignore", invalid="ignore")
def clip_by_global_norm(gradients, max_norm):
    """Shorten the gradient vector to ``max_norm`` if it is longer, in place (Pascanu, Mikolov & Bengio 2013).

        norm = sqrt(sum gradients^2),   gradients *= max_norm / norm   if norm > max_norm

    The direction stays, which clipping every element by itself would not do.

    Parameters
    ----------
    gradients : ndarray (P,)
        Changed in place. Left alone if its norm is NaN or infinite: there is no direction left to keep.
    max_norm : float

    Returns
    -------
    norm : float
        Before clipping; summed in float64, since the squares of float32 numbers above 1e19 overflow.

    Raises
    ------
    TypeError, ValueError
        For a vector that cannot be changed in place, or a ``max_norm`` that is negative or not finite.
    """
    checks.flat_vector("gradients", gradients)
    max_norm, = checks.hyperparameters(max_norm=max_norm)
    norm = math.sqrt(np.sum(np.square(gradients, dtype=np.float64)))
    if max_norm < norm < math.inf:
        gradients *= max_norm / norm
    return norm
