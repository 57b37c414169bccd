"""Normalisation as functions, and dropout.

Invariant: only batch_norm in training writes anything: the running statistics.
"""

import math

import numpy as np

import autodiff as ad

from ..errors import ShapeError, ValueRangeError, need_ndim, need_tensor, probability, where


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero each element with probability p and scale the rest by 1 / (1 - p), when training."""
    return ad.functional_dropout(input, probability("dropout", p), training)


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False,
               momentum=0.1, eps=1e-5, count=None):
    """Normalise each channel of (N, C, ...); in training by the batch, whose statistics also move
    the running ones in place (by 1 / count where the tensor `count` is given)."""
    if not training and running_mean is not None:
        return ad.batch_norm_inference(input, running_mean, running_var, weight, bias, eps)
    out, mean, var = ad.batch_norm(input, weight, bias, eps)
    if training and running_mean is not None:
        n = input.size // max(input.shape[1], 1)
        with ad.no_grad():
            ad.batch_norm_update_(running_mean, running_var, mean.detach(), var.detach(), count,
                                  n, momentum if count is None else 0.0)
    return out


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalise over the last axes, which must have the sizes `normalized_shape`."""
    shape = tuple(normalized_shape)
    if tuple(input.shape[-len(shape):]) != shape:
        raise ShapeError(f"layer_norm: expected an input whose last axes are {shape}, got shape "
                         f"{input.shape}{where()}")
    return ad.layer_norm(input, weight, bias, len(shape), eps)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalise each group of channels of (N, C, ...) over itself; then scale by channel."""
    need_tensor("group_norm", input)
    if input.ndim < 2:
        need_ndim("group_norm", input, (2, 3, 4, 5), "(N, C, ...)")
    n, channels = input.shape[:2]
    if channels % num_groups:
        raise ShapeError(f"group_norm: {num_groups} groups do not divide {channels} channels"
                         f"{where()}")
    rows = input.reshape((n, num_groups, math.prod(input.shape[1:]) // num_groups))
    out = ad.layer_norm(rows, None, None, 1, eps).reshape(input.shape)
    column = (channels,) + (1,) * (input.ndim - 2)
    out = out if weight is None else out * weight.reshape(column)
    return out if bias is None else out + bias.reshape(column)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """input / sqrt(mean(input**2) + eps) * weight over the last axes; eps None: the dtype's."""
    shape = tuple(normalized_shape)
    if tuple(input.shape[-len(shape):]) != shape:
        raise ShapeError(f"rms_norm: expected an input whose last axes are {shape}, got shape "
                         f"{input.shape}{where()}")
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    return ad.rms_norm(input, weight, len(shape), eps)


def normalize(input, p=2.0, dim=1, eps=1e-12):
    """input / max(norm, eps), its p-norm along `dim`."""
    if p <= 0:
        raise ValueRangeError(f"normalize: p must be positive, got {p}")
    if p == 2:
        norm = ad.sqrt(ad.square(input).sum(axis=dim, keepdims=True))
    else:
        norm = (ad.abs(input) ** p).sum(axis=dim, keepdims=True) ** (1 / p)
    return input / ad.clip(norm, eps)
