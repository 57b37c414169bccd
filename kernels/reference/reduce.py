"""Twins of the reductions.

`axes` is a bit set: bit d is on where axis d is reduced.  Invariant: float32 is summed in float64
and rounded once, so a twin is at least as exact as its kernel.
"""

import numpy as np


def _tuple(x, axes):
    return tuple(d for d in range(x.ndim) if axes >> d & 1)


def _wide(x):
    """The dtype that sums of `x` are kept in."""
    return np.float64 if x.dtype.kind == "f" else np.int64


def _narrow(total, x):
    return np.asarray(total, x.dtype if x.dtype.kind == "f" else np.int64)


def _count(x, axes):
    return int(np.prod([x.shape[d] for d in _tuple(x, axes)], dtype=np.int64))


def sum(x, axes, keepdims):
    return _narrow(np.sum(x, _tuple(x, axes), _wide(x), keepdims=bool(keepdims)), x)


def sum_to(x, *shape):
    """Sum over the axes that broadcasting `shape` to x.shape would repeat."""
    extra = x.ndim - len(shape)
    axes = tuple(d for d in range(x.ndim)
                 if d < extra or (shape[d - extra] == 1 and x.shape[d] != 1))
    return _narrow(np.sum(x, axes, _wide(x), keepdims=True).reshape(shape), x)


def mean(x, axes, keepdims):
    total = np.sum(x, _tuple(x, axes), np.float64, keepdims=bool(keepdims))
    return np.asarray(np.divide(total, _count(x, axes)), x.dtype)


def var(x, axes, keepdims, correction):
    """sum (x - mean)^2 / (n - correction); NaN where nothing is left to divide by."""
    centred = x.astype(np.float64)
    n = _count(x, axes)
    centred = centred - np.divide(np.sum(centred, _tuple(x, axes), keepdims=True), n)
    total = np.sum(centred * centred, _tuple(x, axes), keepdims=bool(keepdims))
    return np.asarray(np.divide(total, np.maximum(n - correction, 0)), x.dtype)


def prod(x, axes, keepdims):
    return _narrow(np.prod(x, _tuple(x, axes), _wide(x), keepdims=bool(keepdims)), x)


def max(x, axes, keepdims):
    return np.asarray(np.max(x, _tuple(x, axes), keepdims=bool(keepdims)), x.dtype)


def min(x, axes, keepdims):
    return np.asarray(np.min(x, _tuple(x, axes), keepdims=bool(keepdims)), x.dtype)


def any(x, axes, keepdims):
    return np.asarray(np.any(x, _tuple(x, axes), keepdims=bool(keepdims)))


def all(x, axes, keepdims):
    return np.asarray(np.all(x, _tuple(x, axes), keepdims=bool(keepdims)))


def logsumexp(x, axes, keepdims):
    """log sum exp x, taken relative to the largest element, so that nothing overflows."""
    over = _tuple(x, axes)
    x64 = x.astype(np.float64)
    top = np.max(x64, over, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)
    total = np.log(np.sum(np.exp(x64 - shift), over, keepdims=True)) + shift
    return np.asarray(total if keepdims else np.squeeze(total, over), x.dtype)


def argmax(x, axis, keepdims):
    """Index of the first largest element along `axis`, or of the flattened array (axis = -1)."""
    return np.asarray(np.argmax(x, None if axis < 0 else axis, keepdims=bool(keepdims)), np.int64)


def argmin(x, axis, keepdims):
    return np.asarray(np.argmin(x, None if axis < 0 else axis, keepdims=bool(keepdims)), np.int64)


def cumulative_sum(x, axis):
    return _narrow(np.cumsum(x, axis, _wide(x)), x)
