"""Lesson 2: the rectified linear unit, what makes a network more than one linear map.

    y = max(x, 0), element by element

Check your work with:  minicnn gradcheck relu.py
"""

import numpy as np  # noqa: F401


def relu_forward(x):
    """The formula above, for an array of any shape. Make a new array: x must stay as it is."""
    raise NotImplementedError


def relu_backward(dy, y):
    """Gradient of a loss with respect to x, from dy, its gradient with respect to y.

    The derivative of max(x, 0) is 1 where x > 0 and 0 where x < 0. You are given y, not x; that is enough. (At x = 0
    there is no derivative; take 0.)

    dy, y : any shape, the same for both
    Returns dx : the same shape
    """
    raise NotImplementedError
