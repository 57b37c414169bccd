"""Twins of rms_norm: layer norm without the mean.

Invariant: `needs` is a bit set: 1 for dx, 2 for dweight; what is not wanted has no element.
"""

import numpy as np


def rms_norm(x, weight, normalized_ndim, eps):
    """(out, rstd) over the last `normalized_ndim` axes: x rstd weight."""
    axes = tuple(range(x.ndim - normalized_ndim, x.ndim))
    rstd = 1 / np.sqrt((x * x).mean(axis=axes, keepdims=True) + x.dtype.type(eps))
    out = x * rstd
    return out if weight is None else out * weight, rstd.squeeze(axes)


def rms_norm_backward(g, x, weight, rstd, normalized_ndim, needs):
    """(dx, dweight)."""
    lead = x.ndim - normalized_ndim
    axes = tuple(range(lead, x.ndim))
    rstd = rstd.reshape(rstd.shape + (1,) * normalized_ndim)
    normal = x * rstd
    dx = dweight = np.empty(0, x.dtype)
    if needs & 1:
        gw = g if weight is None else g * weight
        dx = rstd * (gw - normal * (gw * normal).mean(axis=axes, keepdims=True))
    if needs & 2:
        dweight = (g * normal).sum(axis=tuple(range(lead)))
    return dx, dweight
