"""Optimizers: how a gradient changes the parameters. One kernel call on the model's flat vector.

Formulas: ``kernels/reference/optimizers.py``. Hyperparameters bear Keras' names and defaults.
"""

from __future__ import annotations

from kernels import checks


class Optimizer:
    """Base class.

    Parameters
    ----------
    learning_rate : float
        Step size; may be set again at any time, between two steps.
    weight_decay : float
        Share ``learning_rate * weight_decay`` of the parameters that each step takes off them ("decoupled" decay).
    global_clipnorm : float, optional
        Gradients whose Euclidean norm over all parameters is larger are scaled down to it.

    Attributes
    ----------
    state : dict of str to array
        The optimizer's memory, flat vectors as long as the parameters.
    iterations : int
        Steps taken.
    """

    state_names = ()

    def __init__(self, learning_rate, weight_decay=0.0, global_clipnorm=None):
        self.learning_rate = learning_rate
        (self.weight_decay,) = checks.hyperparameters(weight_decay=weight_decay)
        if global_clipnorm is not None:
            (global_clipnorm,) = checks.hyperparameters(global_clipnorm=global_clipnorm)
        self.global_clipnorm = global_clipnorm
        self.model = None
        self.state = {}

    @property
    def learning_rate(self):
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        (self._learning_rate,) = checks.hyperparameters(learning_rate=value)

    @property
    def iterations(self):
        return 0 if self.model is None else self.model.step

    def bind(self, model):
        """Work on ``model``'s parameters from now on, with fresh state; a model calls this when it is compiled."""
        if self.model is not None and self.model is not model:
            raise ValueError(f"optimizer: this {type(self).__name__} already belongs to another model; make a new one")
        self.model = model
        model.step = 0
        self.state = {name: model.ops.zeros(model.parameters.shape, model.dtype) for name in self.state_names}

    def step(self):
        """Change the model's parameters by its gradients, in place."""
        model = self.model
        if model is None:
            raise RuntimeError("optimizer.step: the optimizer belongs to no model yet; call model.compile(optimizer) "
                               "or optimizer.bind(model) first")
        if self.global_clipnorm is not None:
            model.ops.clip_by_global_norm(model.gradients, self.global_clipnorm)
        self.update(model.ops, model.parameters, model.gradients)
        model.step += 1

    def update(self, ops, parameters, gradients):
        """One step of the algorithm."""
        raise NotImplementedError

    def get_config(self):
        """The constructor's arguments as JSON can hold them."""
        return {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay,
                "global_clipnorm": self.global_clipnorm}


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum or Nesterov's momentum.

        velocity = momentum * velocity - learning_rate * gradient
        parameter = parameter + velocity
        parameter = parameter + momentum * velocity - learning_rate * gradient        (Nesterov, instead)
    """

    state_names = ("velocity",)

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=0.0, global_clipnorm=None):
        super().__init__(learning_rate, weight_decay, global_clipnorm)
        (self.momentum,) = checks.hyperparameters(momentum=momentum)
        self.nesterov = bool(nesterov)

    def update(self, ops, parameters, gradients):
        ops.sgd_step(parameters, gradients, self.state["velocity"], self.learning_rate, self.momentum, self.nesterov,
                     self.weight_decay)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adam(Optimizer):
    """Adam: a step for each parameter, scaled by running means of the gradient and of its square.

    Source: D. Kingma and J. Ba, ICLR 2015, Algorithm 1; with ``weight_decay`` it is AdamW (I. Loshchilov and F. Hutter,
    ICLR 2019).
    """

    state_names = ("first_moment", "second_moment")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=0.0,
                 global_clipnorm=None):
        super().__init__(learning_rate, weight_decay, global_clipnorm)
        self.beta_1, self.beta_2, self.epsilon = checks.hyperparameters(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)

    def update(self, ops, parameters, gradients):
        ops.adam_step(parameters, gradients, self.state["first_moment"], self.state["second_moment"],
                      self.iterations + 1, self.learning_rate, self.beta_1, self.beta_2, self.epsilon,
                      self.weight_decay)

    def get_config(self):
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


OPTIMIZERS = {"sgd": SGD, "adam": Adam}


def get(optimizer):
    """An optimizer object from an object or a name ("sgd", "adam")."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    name = optimizer.lower() if isinstance(optimizer, str) else optimizer
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer: unknown name {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}, or pass an "
                         "object such as minicnn.optimizers.Adam(learning_rate=0.001)")
    return OPTIMIZERS[name]()
