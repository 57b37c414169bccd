"""Twins of softmax and log_softmax, forward and backward.

Invariant: the maximum is taken out before exp, so no finite input overflows.
"""

import numpy as np


def softmax(x, axis):
    """exp(x - max) / sum exp(x - max) along `axis`."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_backward(g, y, axis):
    """y (g - sum(g y)), where y is the softmax."""
    return y * (g - (g * y).sum(axis=axis, keepdims=True))


def log_softmax(x, axis):
    """x - max - log sum exp(x - max) along `axis`."""
    shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def log_softmax_backward(g, y, axis):
    """g - exp(y) sum(g), where y is the log_softmax."""
    return g - np.exp(y) * g.sum(axis=axis, keepdims=True)
