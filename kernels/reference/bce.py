"""Twins of the binary cross-entropy of logits, forward and backward.

`reduction` is 0 for none, 1 for mean, 2 for sum.  Invariant: no exponential overflows.
"""

import numpy as np


def bce_with_logits(x, y, reduction):
    """max(x, 0) - x y + log(1 + exp(-|x|)), as it is, its mean or its sum."""
    loss = np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))
    if reduction:
        loss = loss.sum(dtype=np.float64)
        if reduction == 1:
            with np.errstate(invalid="ignore", divide="ignore"):
                loss = loss / x.size
    return np.asarray(loss, x.dtype)


def bce_with_logits_backward(g, x, y, reduction):
    """sigmoid(x) - y times the cotangent: the gradient of x."""
    e = np.exp(-np.abs(x))
    sigmoid = np.where(x > 0, 1, e) / (1 + e)
    scale = 1.0 / x.size if reduction == 1 and x.size else 1.0
    return np.asarray(g * ((sigmoid - y) * x.dtype.type(scale)), x.dtype)
