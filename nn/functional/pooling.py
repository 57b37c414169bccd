"""Pooling as functions, over sequences and images.

Invariant: adaptive pooling takes PyTorch's windows, floor(i n / m) .. ceil((i + 1) n / m).
"""

import numpy as np

import autodiff as ad

from ..errors import ArgumentError, need_ndim, need_tensor, positive_int
from .conv import flat, spatial


def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Largest element of each window of sequences (N, C, L) or (C, L)."""
    name, stride = "max_pool1d", kernel_size if stride is None else stride
    return spatial(name, input, 1, lambda x: ad.max_pool2d(
        x, flat(name, "kernel_size", kernel_size, 1), flat(name, "stride", stride, 1),
        flat(name, "padding", padding, 0, 0), flat(name, "dilation", dilation, 1), ceil_mode))


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Largest element of each window of images (N, C, H, W) or (C, H, W)."""
    return spatial("max_pool2d", input, 2, lambda x: ad.max_pool2d(
        x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode))


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False,
               count_include_pad=True):
    """Mean of each window of sequences (N, C, L) or (C, L)."""
    name, stride = "avg_pool1d", kernel_size if stride is None else stride
    return spatial(name, input, 1, lambda x: ad.avg_pool2d(
        x, flat(name, "kernel_size", kernel_size, 1), flat(name, "stride", stride, 1),
        flat(name, "padding", padding, 0, 0), ceil_mode, count_include_pad))


def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False,
               count_include_pad=True, divisor_override=None):
    """Mean of each window of images (N, C, H, W) or (C, H, W); with divisor_override, its sum
    divided by that."""
    if divisor_override is not None:
        if ceil_mode:
            raise ArgumentError("avg_pool2d: divisor_override needs ceil_mode=False")
        positive_int("avg_pool2d", "divisor_override", divisor_override)
        count_include_pad = True            # every window is divided by its full size
    out = spatial("avg_pool2d", input, 2, lambda x: ad.avg_pool2d(
        x, kernel_size, stride, padding, ceil_mode, count_include_pad))
    if divisor_override is None:
        return out
    kh, kw = kernel_size if isinstance(kernel_size, (tuple, list)) else (kernel_size,) * 2
    return out * (kh * kw / divisor_override)


def adaptive_avg_pool1d(input, output_size):
    """Mean of each of output_size windows that cover sequences (N, C, L) or (C, L)."""
    return _adaptive("adaptive_avg_pool1d", input, output_size, 1, _averages)


def adaptive_avg_pool2d(input, output_size):
    """Mean of each of output_size (H, W) windows that cover images; None keeps an axis."""
    return _adaptive("adaptive_avg_pool2d", input, output_size, 2, _averages)


def adaptive_max_pool1d(input, output_size):
    """Largest element of each of output_size windows that cover sequences (N, C, L) or (C, L)."""
    return _adaptive("adaptive_max_pool1d", input, output_size, 1, _maxima)


def adaptive_max_pool2d(input, output_size):
    """Largest element of each of output_size (H, W) windows that cover images; None keeps an
    axis."""
    return _adaptive("adaptive_max_pool2d", input, output_size, 2, _maxima)


def _adaptive(name, input, output_size, axes, pool):
    """Windows of equal size are ordinary pooling; else one axis after the other."""
    need_tensor(name, input)
    form = "(C, H, W) or (N, C, H, W)" if axes == 2 else "(C, L) or (N, C, L)"
    need_ndim(name, input, (axes + 1, axes + 2), form)
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    if len(sizes) != axes:
        raise ArgumentError(f"{name}: output_size must be an integer or {axes} of them, got "
                            f"{output_size!r}")
    inner = input.shape[-axes:]
    sizes = [n if m is None else positive_int(name, "output_size", m)
             for n, m in zip(inner, sizes, strict=True)]
    for k, n in enumerate(inner):
        positive_int(name, f"the input's axis {k - axes}", n)
    if all(n % m == 0 for n, m in zip(inner, sizes, strict=True)):
        window = tuple(n // m for n, m in zip(inner, sizes, strict=True))
        run = ad.avg_pool2d if pool is _averages else ad.max_pool2d
        return spatial(name, input, axes, lambda x: run(x, (1,) * (2 - axes) + window))
    ad.empty((*input.shape[:-axes], *sizes), dtype=input.dtype)     # or too large: says so here
    for k, m in enumerate(sizes):
        input = pool(input, k - axes, m)
    return input


def _windows(n, m):
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def _averages(x, axis, m):
    """Means along the last axis or the one before: a product with the windows' weights."""
    n = x.shape[axis]
    weights = np.zeros((m, n), x.dtype)
    for i, (begin, end) in enumerate(_windows(n, m)):
        weights[i, begin:end] = 1 / (end - begin)
    weights = ad.tensor(weights)
    return x @ weights.T if axis == -1 else weights @ x


def _maxima(x, axis, m):
    after = (slice(None),) * (-axis - 1)
    return ad.stack([x[(..., slice(begin, end), *after)].max(axis=axis)
                     for begin, end in _windows(x.shape[axis], m)], axis=axis)
