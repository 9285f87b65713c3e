"""Mistakes in optimizer steps. ``truth`` is the vector after the step."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.causes.engine import Cause


def sgd(c, velocity=None, decay=True, look_ahead=None, rate=None):
    """Parameters after a step of SGD with some ingredients replaced."""
    rate = c.learning_rate if rate is None else rate
    parameters = c.parameters * (1 - rate * c.weight_decay) if decay else c.parameters
    velocity = c.momentum * c.velocity - rate * c.gradients if velocity is None else velocity
    if c.nesterov if look_ahead is None else look_ahead:
        return parameters + c.momentum * velocity - rate * c.gradients
    return parameters + velocity


def adam(c, m=None, v=None, correct=(True, True), step=None, decay=True, root=None):
    """Parameters after a step of Adam with some ingredients replaced."""
    m, v = first_moment(c) if m is None else m, second_moment(c) if v is None else v
    step = c.step if step is None else step
    mhat = m / (1 - c.beta_1**step) if correct[0] else m
    vhat = v / (1 - c.beta_2**step) if correct[1] else v
    parameters = c.parameters * (1 - c.learning_rate * c.weight_decay) if decay else c.parameters
    return parameters - c.learning_rate * mhat / (np.sqrt(vhat) + c.epsilon if root is None else root(vhat, c.epsilon))


def first_moment(c, beta=None):
    """``m`` after the step."""
    beta = c.beta_1 if beta is None else beta
    return beta * c.first_moment + (1 - beta) * c.gradients


def second_moment(c, beta=None, power=2):
    """``v`` after the step."""
    beta = c.beta_2 if beta is None else beta
    return beta * c.second_moment + (1 - beta) * c.gradients**power


def unchanged(name, text=None):
    """The vector as it was: the step made a new array instead of changing this one."""
    return Cause("not in place", text or f"{name} is not changed: the step works in place, so write {name} += ... or "
                 f"{name}[:] = ..., because {name} = ... only makes a new array under that name",
                 lambda c: getattr(c, name))


_ONLY_DECAYED = Cause("not in place", "only the weight decay reaches parameters: the step itself works on another "
                                      "array, because parameters = ... makes a new one; write parameters += ...",
                      lambda c: c.parameters * (1 - c.learning_rate * c.weight_decay))

CAUSES = {
    ("sgd_step", "parameters"): [
        unchanged("parameters"),
        _ONLY_DECAYED,
        Cause("not in place", f"{_ONLY_DECAYED.text} (with nesterov it is right)",
              lambda c: c.truth if c.nesterov else _ONLY_DECAYED.predict(c)),
        Cause("wrong sign", "the step goes uphill: subtract learning_rate * gradients",
              lambda c: sgd(c, c.momentum * c.velocity + c.learning_rate * c.gradients,
                            look_ahead=False) if not c.nesterov else None),
        Cause("momentum ignored", "momentum is not used: velocity = momentum * velocity - learning_rate * gradients",
              lambda c: sgd(c, -c.learning_rate * c.gradients, look_ahead=False)),
        Cause("nesterov ignored", "nesterov is not used: with it, parameters += momentum * velocity - learning_rate * "
              "gradients", lambda c: sgd(c, look_ahead=False)),
        Cause("nesterov always", "Nesterov's form is used although nesterov is False",
              lambda c: sgd(c, look_ahead=True)),
        Cause("weight decay ignored", "weight_decay is not used: parameters *= 1 - learning_rate * weight_decay comes "
                                      "first",
              lambda c: sgd(c, decay=False)),
        Cause("weight decay in the gradient", "weight_decay * parameters is added to the gradient: here it is "
                                              "decoupled, parameters *= 1 - learning_rate * weight_decay",
              lambda c: coupled_sgd(c)),
        Cause("weight decay without learning rate", "the parameters shrink by weight_decay: multiply it with the "
                                                    "learning "
              "rate", lambda c: sgd(c, decay=False) - c.weight_decay * c.parameters),
        Cause("learning rate outside", "the velocity holds the gradient without the learning rate: velocity = momentum "
                                       "* velocity - learning_rate * gradients (Keras' convention)",
              lambda c: sgd(c, decay=True, velocity=-c.learning_rate * (c.momentum * c.velocity + c.gradients))),
    ],
    ("sgd_step", "velocity"): [
        unchanged("velocity"),
        Cause("wrong sign", "the sign is wrong: velocity = momentum * velocity - learning_rate * gradients",
              lambda c: c.momentum * c.velocity + c.learning_rate * c.gradients),
        Cause("learning rate outside", "the learning rate is missing: velocity = momentum * velocity - learning_rate * "
              "gradients (Keras' convention)", lambda c: c.momentum * c.velocity + c.gradients),
        Cause("learning rate outside", "the learning rate is missing: velocity = momentum * velocity - learning_rate * "
              "gradients", lambda c: c.momentum * c.velocity - c.gradients),
        Cause("momentum ignored", "momentum is not used: velocity = momentum * velocity - learning_rate * gradients",
              lambda c: -c.learning_rate * c.gradients),
        Cause("damped", "the gradient is multiplied with 1 - momentum: velocity = momentum * velocity - learning_rate "
                        "* "
              "gradients", lambda c: c.momentum * c.velocity - (1 - c.momentum) * c.learning_rate * c.gradients),
    ],
    ("adam_step", "parameters"): [
        unchanged("parameters"),
        _ONLY_DECAYED,
        Cause("no bias correction", "the bias correction is missing: divide m by 1 - beta_1**step and v by "
              "1 - beta_2**step", lambda c: adam(c, correct=(False, False))),
        Cause("half a bias correction", "only the second moment is corrected: divide m by 1 - beta_1**step as well",
              lambda c: adam(c, correct=(False, True))),
        Cause("half a bias correction", "only the first moment is corrected: divide v by 1 - beta_2**step as well",
              lambda c: adam(c, correct=(True, False))),
        Cause("step not counted", "the bias correction is always that of the first step: use beta**step",
              lambda c: adam(c, step=1)),
        Cause("step not counted", "the first moment's bias correction is always that of the first step: use "
                                  "beta_1**step",
              lambda c: adam(c, m=first_moment(c) * (1 - c.beta_1**c.step) / (1 - c.beta_1))),
        Cause("step not counted", "the second moment's bias correction is always that of the first step: use "
                                  "beta_2**step",
              lambda c: adam(c, v=second_moment(c) * (1 - c.beta_2**c.step) / (1 - c.beta_2))),
        Cause("step counted from zero", "the bias correction is one step ahead: step counts from 1 already",
              lambda c: adam(c, step=c.step + 1)),
        Cause("step counted from zero", "the bias correction is one step behind: step counts from 1 already",
              lambda c: adam(c, step=c.step - 1) if c.step > 1 else None),
        Cause("epsilon inside the root", "epsilon is added inside the root: sqrt(vhat) + epsilon",
              lambda c: adam(c, root=lambda v, epsilon: np.sqrt(v + epsilon))),
        Cause("epsilon ignored", "epsilon is not used: sqrt(vhat) + epsilon",
              lambda c: adam(c, root=lambda v, epsilon: np.sqrt(v))),
        Cause("root forgotten", "divided by vhat: divide by its root, sqrt(vhat) + epsilon",
              lambda c: adam(c, root=lambda v, epsilon: v + epsilon)),
        Cause("weight decay ignored", "weight_decay is not used: parameters *= 1 - learning_rate * weight_decay comes "
                                      "first",
              lambda c: adam(c, decay=False)),
        Cause("wrong sign", "the step goes uphill: subtract it",
              lambda c: 2 * c.parameters * (1 - c.learning_rate * c.weight_decay) - c.truth),
        Cause("betas exchanged", "beta_1 and beta_2 are exchanged",
              lambda c: exchanged_adam(c)),
        Cause("square forgotten", "v collects the gradients: it is a mean of their squares",
              lambda c: adam(c, v=second_moment(c, power=1))),
        Cause("first moment ignored", "the gradient itself is used: use the corrected first moment m",
              lambda c: adam(c, m=c.gradients, correct=(False, True))),
    ],
    ("adam_step", "first_moment"): [
        unchanged("first_moment"),
        Cause("betas exchanged", "beta_2 is used: m has beta_1", lambda c: first_moment(c, c.beta_2)),
        Cause("damping forgotten", "the factor 1 - beta_1 is missing",
              lambda c: c.beta_1 * c.first_moment + c.gradients),
        Cause("corrected in place", "the corrected mhat is stored: keep m itself, correct a copy",
              lambda c: c.truth / (1 - c.beta_1**c.step)),
        Cause("weights exchanged", "beta_1 and 1 - beta_1 are exchanged", lambda c: first_moment(c, 1 - c.beta_1)),
    ],
    ("adam_step", "second_moment"): [
        unchanged("second_moment"),
        Cause("betas exchanged", "beta_1 is used: v has beta_2", lambda c: second_moment(c, c.beta_1)),
        Cause("square forgotten", "the gradients are not squared", lambda c: second_moment(c, power=1)),
        Cause("damping forgotten", "the factor 1 - beta_2 is missing",
              lambda c: c.beta_2 * c.second_moment + c.gradients**2),
        Cause("corrected in place", "the corrected vhat is stored: keep v itself, correct a copy",
              lambda c: c.truth / (1 - c.beta_2**c.step)),
        Cause("weights exchanged", "beta_2 and 1 - beta_2 are exchanged", lambda c: second_moment(c, 1 - c.beta_2)),
    ],
    ("clip_by_global_norm", "norm"): [
        Cause("root forgotten", "this is the squared norm: take its root", lambda c: np.sum(c.gradients**2)),
        Cause("clipped norm", "this is the norm after clipping: return the norm before",
              lambda c: min(c.truth, c.max_norm)),
        Cause("other norm", "this is the sum of absolute values: the norm is sqrt(sum(gradients**2))",
              lambda c: np.sum(np.abs(c.gradients))),
        Cause("other norm", "this is the largest absolute value: the norm is sqrt(sum(gradients**2))",
              lambda c: np.max(np.abs(c.gradients))),
    ],
    ("clip_by_global_norm", "gradients"): [
        unchanged("gradients"),
        Cause("always scaled", "gradients that are short enough are stretched: leave them alone if norm <= max_norm",
              lambda c: c.gradients * c.max_norm / np.linalg.norm(c.gradients)),
        Cause("clipped one by one", "every element is clipped by itself, which turns the vector: scale all of them by "
              "max_norm / norm", lambda c: np.clip(c.gradients, -c.max_norm, c.max_norm)),
        Cause("normalized", "the vector gets length 1: scale it to max_norm",
              lambda c: c.gradients / np.linalg.norm(c.gradients)
              if np.linalg.norm(c.gradients) > c.max_norm else c.gradients),
        Cause("root forgotten", "the squared norm is used: take its root",
              lambda c: c.gradients * min(1.0, c.max_norm / np.sum(c.gradients**2))),
    ],
}


def coupled_sgd(c):
    """Weight decay added to the gradient."""
    gradients = c.gradients + c.weight_decay * c.parameters
    velocity = c.momentum * c.velocity - c.learning_rate * gradients
    step = c.momentum * velocity - c.learning_rate * gradients if c.nesterov else velocity
    return c.parameters + step


def exchanged_adam(c):
    """``beta_1`` and ``beta_2`` taken for each other everywhere."""
    m, v = first_moment(c, c.beta_2), second_moment(c, c.beta_1)
    mhat, vhat = m / (1 - c.beta_2**c.step), v / (1 - c.beta_1**c.step)
    return c.parameters * (1 - c.learning_rate * c.weight_decay) - c.learning_rate * mhat / (np.sqrt(vhat) + c.epsilon)
