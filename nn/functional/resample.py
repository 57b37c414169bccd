"""Padding and upsampling.

Zero padding is the adjoint of a slice, one linear operation that saves nothing; the other modes
and fractional scales read by index.  Invariant: `pad` lists the last axis first, as in PyTorch.
"""

import math

import numpy as np

import autodiff as ad

from ..errors import ArgumentError, ShapeError, ValueRangeError, need_ndim, need_tensor, where


def pad(input, pad, mode="constant", value=None):
    """Grow axes by pad = (left, right) of the last, then of the one before, ...; a negative
    number crops.

    mode: "constant" (value, 0 if None), "reflect", "replicate" or "circular".
    """
    need_tensor("pad", input)
    sides = list(zip(pad[::2], pad[1::2], strict=False))
    if len(pad) % 2 or len(sides) > input.ndim:
        raise ArgumentError(f"pad: expected pairs (left, right) for at most {input.ndim} axes, got "
                            f"{tuple(pad)}{where()}")
    axes = [(input.ndim - 1 - k, a, b) for k, (a, b) in enumerate(sides) if a or b]
    for axis, a, b in axes:
        if input.shape[axis] + a + b < 0:
            raise ShapeError(f"pad: {(a, b)} leaves nothing of axis {axis} of shape "
                             f"{input.shape}{where()}")
    if mode == "constant":
        return _constant(input, axes, value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ArgumentError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', "
                            f"got {mode!r}")
    for axis, a, b in axes:
        n = input.shape[axis]
        if mode == "circular" and min(a, b) < 0:    # what wraps is what the crop leaves
            input = input[(slice(None),) * axis + (slice(max(-a, 0), n - max(-b, 0)),)]
            n, a, b = input.shape[axis], max(a, 0), max(b, 0)
        input = _by_index(input, axis, _source(mode, n, a, b))
    return input


def _constant(x, axes, value):
    kept, inside = [slice(None)] * x.ndim, [slice(None)] * x.ndim
    shape = list(x.shape)
    for axis, a, b in axes:
        n = x.shape[axis]
        kept[axis] = slice(max(-a, 0), n - max(-b, 0))
        shape[axis] = n + a + b
        inside[axis] = slice(max(a, 0), n + a + min(b, 0))
    if any(a < 0 or b < 0 for _, a, b in axes):
        x = x[tuple(kept)]
    if tuple(shape) == x.shape:
        return x
    out = ad.unindex(x, tuple(shape), tuple(inside))
    if not value:
        return out
    fill = np.full(shape, value, x.dtype)
    fill[tuple(inside)] = 0
    return out + ad.tensor(fill)


def _source(mode, n, a, b):
    """For each place along the padded axis, the place it copies."""
    at = np.arange(-a, n + b)
    if mode == "replicate":
        return np.clip(at, 0, n - 1)
    most = n - 1 if mode == "reflect" else n
    if max(a, b) > most:
        raise ValueRangeError(f"pad: {mode} takes at most {most} from an axis of size {n}, got "
                              f"{(a, b)}{where()}")
    if mode == "circular":
        return at % n
    return n - 1 - np.abs(n - 1 - np.abs(at))


def _by_index(x, axis, index):
    return x[(slice(None),) * axis + (index,)]


def interpolate(input, size=None, scale_factor=None, mode="nearest"):
    """Each axis after (N, C) to `size`, or by `scale_factor`, by repeating the nearest element."""
    need_tensor("interpolate", input)
    if mode != "nearest":
        raise ArgumentError(f"interpolate: mode must be 'nearest', got {mode!r}")
    need_ndim("interpolate", input, (3, 4, 5), "(N, C, ...)")
    if (size is None) == (scale_factor is None):
        raise ArgumentError("interpolate: give either size or scale_factor")
    inner, given = input.shape[2:], size if scale_factor is None else scale_factor
    each = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(inner)
    if len(each) != len(inner):
        raise ArgumentError(f"interpolate: expected {len(inner)} numbers for shape {input.shape}, "
                            f"got {given!r}")
    new = [int(e) if scale_factor is None else math.floor(n * e)
           for n, e in zip(inner, each, strict=True)]
    if min(new) < 1:
        raise ValueRangeError(f"interpolate: the size {tuple(new)} must be positive")
    if all(n and m % n == 0 and (scale_factor is None or m == n * e)
           for n, m, e in zip(inner, new, each, strict=True)):
        return _repeated(input, new)
    for axis, (n, m, e) in enumerate(zip(inner, new, each, strict=True), 2):
        step = np.float32(n / m if scale_factor is None else 1 / e)
        index = np.minimum((np.arange(m, dtype=np.float32) * step).astype(np.int64), n - 1)
        input = _by_index(input, axis, index)
    return input


def _repeated(x, new):
    """Whole factors: a broadcast and a reshape, whose gradient is a sum."""
    thin, wide = list(x.shape[:2]), list(x.shape[:2])
    for n, m in zip(x.shape[2:], new, strict=True):
        thin += [n, 1]
        wide += [n, m // n]
    return ad.broadcast_to(x.reshape(tuple(thin)), tuple(wide)).reshape((*x.shape[:2], *new))
