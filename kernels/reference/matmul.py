"""Twins of the matrix products.  Dtypes stay: float32 operands give a float32 product."""

import numpy as np


def matmul(x, y):
    """x @ y with NumPy's rules for batch axes and 1-d operands."""
    return np.asarray(np.matmul(x, y))


def linear(x, weight, bias):
    """x @ weight.T + bias; bias may be None."""
    out = np.matmul(x, weight.T)
    return out if bias is None else out + bias


def linear_backward_weight(g, x, with_bias):
    """(dweight (n, k), dbias (n)) = (g^T x, sum of g over rows), dbias empty unless wanted."""
    return g.T @ x, g.sum(axis=0) if with_bias else np.empty(0, g.dtype)
