"""Losses: ``loss, dlogits = loss_fn(logits, labels)``.

A loss is called with what the model returned and what it should have returned, and gives the mean over the batch and
its gradient, which ``model.backward`` takes. Formulas: ``kernels/reference/loss.py``.
"""

from __future__ import annotations

from kernels import checks
from minicnn.operations import Operations


class Loss:
    """Base class: holds the back-end's operations, which ``Sequential.compile`` sets."""

    name = "loss"

    def __init__(self):
        self._ops = None

    @property
    def ops(self):
        """The operations; outside a model those of the default back-end."""
        if self._ops is None:
            from minicnn.backends import resolve_backend
            self._ops = Operations(resolve_backend())
        return self._ops

    @ops.setter
    def ops(self, ops):
        self._ops = ops

    def __call__(self, predictions, targets, sample_weight=None):
        """Return the mean loss over the batch and its gradient with respect to ``predictions``."""
        raise NotImplementedError

    def get_config(self):
        """The constructor's arguments as JSON can hold them."""
        return {}


class SparseCategoricalCrossentropy(Loss):
    """Cross-entropy for labels that are class numbers, "sparse" as opposed to one-hot rows.

    For logits ``z`` of shape ``(N, K)`` and labels ``t``:

        loss = mean over n of  log(sum over k of exp(z[n, k])) - z[n, t[n]]

    Parameters
    ----------
    from_logits : bool
        True (the default here; Keras defaults to False): the model ends in bare logits, and softmax is part of the
        loss, where it costs no accuracy. False: the model ends in a softmax of its own, and the loss takes the
        logarithm of its probabilities.
    label_smoothing : float
        s in [0, 1): the target becomes ``(1 - s) * onehot + s / K`` (C. Szegedy et al., CVPR 2016).
    """

    name = "sparse_categorical_crossentropy"

    def __init__(self, from_logits=True, label_smoothing=0.0):
        super().__init__()
        self.from_logits = bool(from_logits)
        self.label_smoothing = checks.fraction("label_smoothing", label_smoothing)

    def __call__(self, predictions, targets, sample_weight=None):
        function = self.ops.softmax_cross_entropy if self.from_logits else self.ops.cross_entropy
        return function(predictions, targets, sample_weight, self.label_smoothing)

    def get_config(self):
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class MeanSquaredError(Loss):
    """``mean over n and k of (y[n, k] - target[n, k])**2``, for targets of the predictions' shape."""

    name = "mean_squared_error"

    def __call__(self, predictions, targets, sample_weight=None):
        return self.ops.mean_squared_error(predictions, targets, sample_weight)


LOSSES = {loss.name: loss for loss in (SparseCategoricalCrossentropy, MeanSquaredError)}


def get(loss):
    """A loss object from an object or a name."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if loss not in LOSSES:
        raise ValueError(f"loss: unknown name {loss!r}; choose one of {', '.join(LOSSES)}, or pass a loss object such "
                         "as minicnn.losses.SparseCategoricalCrossentropy(from_logits=True)")
    return LOSSES[loss]()


def ends_in_softmax(model):
    """Whether the model's last step is a softmax."""
    return bool(model.layers) and getattr(model.layers[-1], "activation", None) == "softmax"


def check_output(loss, model):
    """Check that a cross-entropy gets what it is told it gets: logits, or probabilities."""
    if loss.name != "sparse_categorical_crossentropy" or not model.layers:
        return
    last = model.layers[-1].name
    if loss.from_logits and ends_in_softmax(model):
        raise ValueError(
            f"the model ends in a softmax (layer {last!r}), and the loss, told from_logits=True, applies softmax "
            "itself.\n  Softmax twice squeezes every prediction into probabilities of at most e/(e + K - 1), about "
            "0.23 for 10 classes, and makes gradients small: such a model trains, badly.\n  Two ways out: take the "
            f"softmax off the layer {last!r} (best: the loss then works on logits, which is exact), or tell the loss "
            "that it gets probabilities: SparseCategoricalCrossentropy(from_logits=False)")
    if not loss.from_logits and not ends_in_softmax(model):
        raise ValueError(
            f"the loss, told from_logits=False, expects probabilities, but the model's last layer {last!r} does not "
            "end in a softmax.\n  Two ways out: SparseCategoricalCrossentropy(from_logits=True) (best), or "
            "activation='softmax' on the last layer")
    if model.built and len(model.output_shape) != 1:
        raise ValueError(f"the loss expects one row of class scores for each example, but the model's last layer "
                         f"{last!r} makes {model.output_shape}; put Flatten() and Dense(classes) at its end")
