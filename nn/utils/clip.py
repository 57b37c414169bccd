"""Clipping of gradients, between backward() and the optimizer's step.

Invariant: the direction of the whole gradient stays under clip_grad_norm_; each element is cut by
itself under clip_grad_value_.
"""

import math

import autodiff as ad
from autodiff.dry import guessed

from ..errors import ValueRangeError


def _gradients(parameters):
    parameters = [parameters] if isinstance(parameters, ad.Tensor) else parameters
    return [p.grad for p in parameters if p.grad is not None]


def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False):
    """The norm of all tensors as one vector, a 0-d tensor; norm_type math.inf: the largest."""
    tensors = [tensors] if isinstance(tensors, ad.Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not norm_type > 0:
        raise ValueRangeError(f"get_total_norm: norm_type must be positive, got {norm_type}")
    tensors = [t for t in tensors if t.size]
    with ad.no_grad():
        if not tensors:
            return ad.tensor(0.0)
        dtype = tensors[0].dtype
        if norm_type == math.inf:
            total = ad.stack([ad.abs(t).max().astype(dtype) for t in tensors]).max()
        elif norm_type == 2:
            total = ad.sqrt(ad.stack([ad.square(t).sum().astype(dtype) for t in tensors]).sum())
        else:
            total = ad.stack([(ad.abs(t) ** norm_type).sum().astype(dtype)
                              for t in tensors]).sum() ** (1 / norm_type)
    if error_if_nonfinite and not guessed("error_if_nonfinite", total) and not math.isfinite(
            total.item()):
        raise ad.NonFiniteError(f"get_total_norm: the gradients' norm is {total.item()}; look for "
                                "a NaN in the loss, or pass error_if_nonfinite=False")
    return total


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False):
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)); returns the norm before, a 0-d
    tensor. Pascanu et al. (2013)."""
    grads = _gradients(parameters)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    with ad.no_grad():
        share = ad.clip(max_norm / (total + 1e-6), max=1.0)         # a NaN stays one
        for g in grads:
            g *= share.astype(g.dtype)
    return total


def clip_grad_value_(parameters, clip_value):
    """Cut every element of the gradients to [-clip_value, clip_value]."""
    if clip_value < 0:
        raise ValueRangeError(f"clip_grad_value_: clip_value must not be negative, got "
                              f"{clip_value}")
    with ad.no_grad():
        for g in _gradients(parameters):
            g.copy_(ad.clip(g, -clip_value, clip_value))
