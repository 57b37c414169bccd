"""Twins of the kernels that address by index, and of the triangles.

A flat index runs over `axes` neighbouring axes of x from `axis` on, in C order; negative entries
count from the end. Those that write in place return the new value of what they write.
"""

import numpy as np


def _checked(index, n):
    """The index without negative entries; IndexError names one that is out of range."""
    wrong = (index < -n) | (index >= n)
    if wrong.any():
        raise IndexError(f"index {index[wrong].flat[0]} is out of range for size {n}")
    return np.where(index < 0, index + n, index).astype(np.int64)


def _merged(x, axis, axes):
    """x with the indexed axes as one."""
    size = int(np.prod(x.shape[axis:axis + axes]))
    return x.reshape(*x.shape[:axis], size, *x.shape[axis + axes:])


def _region(x, index, axis, axes):
    return (*x.shape[:axis], *index.shape, *x.shape[axis + axes:])


def ravel_index(*args):
    """k index arrays, then k sizes -> int64."""
    k = len(args) // 2
    flat = np.zeros((), np.int64)
    for x, n in zip(args[:k], args[k:]):
        flat = flat * n + _checked(np.asarray(x), n)
    return np.asarray(flat)


def gather(x, index, axis, axes):
    flat = _merged(x, axis, axes)
    return np.take(flat, _checked(np.asarray(index), flat.shape[axis]), axis)


def scatter_add(v, index, axis, axes, *shape):
    return scatter_add_(np.zeros(shape, v.dtype), v, index, axis, axes)


def scatter_add_(x, v, index, axis, axes):
    v = np.broadcast_to(v, _region(x, index, axis, axes))
    out = np.array(x, order="C")
    flat = _merged(out, axis, axes)
    np.add.at(flat, (slice(None),) * axis + (_checked(np.asarray(index), flat.shape[axis]),), v)
    return out


def scatter_(x, v, index, axis, axes):
    v = np.broadcast_to(v, _region(x, index, axis, axes))
    out = np.array(x, order="C")
    flat = _merged(out, axis, axes)
    flat[(slice(None),) * axis + (_checked(np.asarray(index), flat.shape[axis]),)] = v
    return out


def unindex(g, offset, *shape_and_strides):
    """Zeros with g written from `offset` on; sizes of the output, then g's strides (elements)."""
    cut = len(shape_and_strides) - g.ndim
    shape, strides = shape_and_strides[:cut], shape_and_strides[cut:]
    place = np.full(g.shape, offset)
    for d, step in enumerate(strides):
        place += (np.arange(g.shape[d]) * step).reshape((-1,) + (1,) * (g.ndim - d - 1))
    out = np.zeros(int(np.prod(shape)), g.dtype)
    out[place] = g
    return out.reshape(shape)


def setitem(x, v):
    """The region takes v: where it lies in x, and that v is broadcast, is the caller's to know."""
    return np.array(v)


def accumulate(x, v):
    return np.asarray(x + v, x.dtype)


def tril(x, k):
    return np.tril(x, k)


def triu(x, k):
    return np.triu(x, k)
