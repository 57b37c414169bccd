"""Twins of layer_norm and batch_norm.

Invariant: variances are of the deviations from the mean (two passes), never E[x^2] - E[x]^2.
`needs` is a bit set: 1 for dx, 2 for dweight, 4 for dbias; what is not wanted has no element.
"""

import numpy as np


def _rows(x, axes):
    return x.reshape(-1, int(np.prod(x.shape[x.ndim - axes:])))


def layer_norm(x, weight, bias, normalized_ndim, eps):
    """(out, mean, rstd) over the last `normalized_ndim` axes."""
    axes = tuple(range(x.ndim - normalized_ndim, x.ndim))
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    rstd = 1 / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + x.dtype.type(eps))
    out = centred * rstd
    out = out if weight is None else out * weight
    out = out if bias is None else out + bias
    return out, mean.squeeze(axes), rstd.squeeze(axes)


def layer_norm_backward(g, x, weight, mean, rstd, normalized_ndim, needs):
    """(dx, dweight, dbias)."""
    lead = x.ndim - normalized_ndim
    axes, batch = tuple(range(lead, x.ndim)), tuple(range(lead))
    column = mean.shape + (1,) * normalized_ndim
    rstd = rstd.reshape(column)
    normal = (x - mean.reshape(column)) * rstd
    none = np.empty(0, x.dtype)
    dx = dweight = dbias = none
    if needs & 1:
        gw = g if weight is None else g * weight
        dx = rstd * (gw - gw.mean(axis=axes, keepdims=True)
                     - normal * (gw * normal).mean(axis=axes, keepdims=True))
    if needs & 2:
        dweight = (g * normal).sum(axis=batch)
    if needs & 4:
        dbias = g.sum(axis=batch)
    return dx, dweight, dbias


def _channels(x):
    """All axes but the channels', and a shape that lays channels along axis 1."""
    return (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)


def batch_norm(x, weight, bias, eps):
    """(out, mean, var) with the statistics of the batch; var is the biased one."""
    axes, column = _channels(x)
    mean = x.mean(axis=axes)
    centred = x - mean.reshape(column)
    var = (centred * centred).mean(axis=axes)
    out = centred * (1 / np.sqrt(var + x.dtype.type(eps))).reshape(column)
    out = out if weight is None else out * weight.reshape(column)
    out = out if bias is None else out + bias.reshape(column)
    return out, mean, var


def batch_norm_backward(g, x, weight, mean, var, needs, eps):
    """(dx, dweight, dbias) where mean and var are functions of x."""
    axes, column = _channels(x)
    rstd = (1 / np.sqrt(var + x.dtype.type(eps))).reshape(column)
    normal = (x - mean.reshape(column)) * rstd
    none = np.empty(0, x.dtype)
    dweight, dbias = (g * normal).sum(axis=axes), g.sum(axis=axes)
    dx = none
    if needs & 1:
        n = max(x.size // max(x.shape[1], 1), 1)
        scale = rstd if weight is None else rstd * weight.reshape(column)
        dx = scale * (g - dbias.reshape(column) / n - normal * dweight.reshape(column) / n)
    return dx, dweight if needs & 2 else none, dbias if needs & 4 else none


def batch_norm_inference(x, mean, var, weight, bias, eps):
    """(x - mean) / sqrt(var + eps) * weight + bias with statistics that are given."""
    _, column = _channels(x)
    scale = 1 / np.sqrt(var + x.dtype.type(eps))
    scale = scale if weight is None else scale * weight
    out = (x - mean.reshape(column)) * scale.reshape(column)
    return out if bias is None else out + bias.reshape(column)


def batch_norm_update_(running_mean, running_var, mean, var, count, n, momentum):
    """The running statistics, moved by `momentum` (1 / count where a count is given)."""
    momentum = 1 / float(count) if count is not None else momentum
    real = running_mean.dtype.type
    keep, move = real(1 - momentum), real(momentum)
    unbiased = var * var.dtype.type(n / max(n - 1, 1))
    return keep * running_mean + move * mean, keep * running_var + move * unbiased
