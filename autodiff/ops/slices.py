"""Slicing: integers, slices, None and Ellipsis show a part of an array, as a view.

`getitem` reads it, `setitem` and `accumulate` write to it, `unindex` is the transpose of reading.
Invariant: no more is moved than the slice, and the gradient of a slice costs the size of the slice.
"""

from math import prod

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, DtypeError, IndexRangeError, ShapeError
from ..infer import broadcast_shape
from ..op import Deferred, Plan, op, registry
from ..samples import Bad, Sample
from .shape import reshape, strides_of


def basic_view(name, x, index):
    """A basic key on `x`: the key in normal form, and shape, strides, offset of what it shows."""
    index = index if isinstance(index, tuple) else (index,)
    ndim = len(x.shape)
    used = sum(1 for k in index if k is not None and k is not Ellipsis)
    if used > ndim:
        raise IndexRangeError(f"{name}: {used} indices for {ndim} dimensions of shape {x.shape}")
    if sum(1 for k in index if k is Ellipsis) > 1:
        raise IndexRangeError(f"{name}: an index may hold one Ellipsis")
    if not any(k is Ellipsis for k in index):
        index = (*index, Ellipsis)
    axis, offset, old = 0, 0, strides_of(x)
    normal, shape, strides = [], [], []
    for k in index:
        if k is None:
            normal.append(None)
            shape.append(1)
            strides.append(x.dtype.itemsize)
        elif k is Ellipsis:
            stop = axis + ndim - used
            normal += [slice(None)] * (ndim - used)
            shape += x.shape[axis:stop]
            strides += old[axis:stop]
            axis = stop
        elif isinstance(k, slice):
            start, stop, step = slice_range(name, k, x.shape[axis])
            count = len(range(start, stop, step))
            normal.append(slice(start, stop if stop >= 0 else None, step))
            shape.append(count)
            strides.append(old[axis] * step)
            offset += old[axis] * start if count else 0
            axis += 1
        else:
            k = integer(name, k)
            if not -x.shape[axis] <= k < x.shape[axis]:
                raise IndexRangeError(f"{name}: index {k} is out of range for axis {axis} of size "
                                      f"{x.shape[axis]}")
            k %= x.shape[axis]
            normal.append(k)
            offset += old[axis] * k
            axis += 1
    return tuple(normal), (tuple(shape), tuple(strides), 0 if 0 in shape else offset)


def slice_range(name, k, n):
    try:
        return k.indices(n)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: {k}: {error}") from None


def integer(name, k):
    if isinstance(k, (bool, np.bool_)) or not hasattr(k, "__index__"):
        raise ArgumentError(f"{name}: a basic index holds integers, slices, None and Ellipsis, got "
                            f"{k!r}")
    return k.__index__()


class SliceGradient(Deferred):
    """The gradient `g` of x[index]: zero elsewhere."""

    def __init__(self, g, shape, index):
        self.g, self.shape, self.index = g, shape, index

    def dense(self):
        return _unindex_any(self.g, self.shape, self.index)

    def add_into(self, buffer):
        accumulate(getitem(buffer, self.index), self.g)


def unindex_infer(g, shape, index):
    shape = tuple(shape)
    index, view = basic_view("unindex", Shaped(shape, g.dtype), index)
    if tuple(g.shape) != view[0]:
        raise ShapeError(f"unindex: expected a value of shape {view[0]}, got {g.shape}")
    if len(shape) + len(g.shape) > 10:
        raise ShapeError(f"unindex: shapes {shape} and {g.shape} have more than 10 dimensions "
                         "together")
    size = g.dtype.itemsize
    return Plan([(shape, g.dtype)], ia=(view[2] // size, *shape, *(s // size for s in view[1])),
                attrs=(shape, index))


class Shaped:
    """Shape and dtype of an array that is yet to be made."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, dtype


def unindex_vjp(g, needs, index):
    return getitem(g, index)


unindex = op(
    "unindex", "g", "Zeros of `shape` with g where a basic index points: the transpose of "
    "getitem.", formula="out = 0; out[index] = g", attrs={"shape": (), "index": ()},
    kernel="unindex", layout="strided", infer=unindex_infer, linear=True, vjp=unindex_vjp,
    method=False,
    samples=lambda draw: [
        Sample(draw.normal(2, 3), (4, 3), slice(1, 3)), Sample(draw.normal(2), (2, 3), (..., -1)),
        Sample(draw.normal(1, 2), (3, 3), (None, 1, slice(None, None, -2))),
        Sample(draw.normal(), (2, 3), (0, 1)), Sample(draw.normal(0, 3), (4, 3), slice(0, 0)),
        Sample(draw.normal(), (), ())],
    bad=lambda draw: [Bad(ShapeError, "of shape", draw.normal(2), (4,), slice(1, 2)),
                      Bad(ShapeError, "10 dimensions", draw.normal(*(1,) * 6), (1,) * 6, ())])


def _unindex_any(g, shape, index):
    """unindex, in two steps where one launch has no room for so many dimensions."""
    if len(shape) + len(g.shape) <= 10:
        return unindex(g, shape, index)
    index = tuple(k for k in index if k is not None)
    head = basic_view("unindex", Shaped(shape[:4], g.dtype), index[:4])[1][0]
    tail = basic_view("unindex", Shaped(shape[4:], g.dtype), index[4:])[1][0]
    g = unindex(reshape(g, (prod(head), *tail)), (prod(head), *shape[4:]),
                (slice(None), *index[4:]))
    rest = prod(shape[4:])
    return reshape(unindex(reshape(g, (*head, rest)), (*shape[:4], rest), index[:4]), shape)


def getitem_infer(x, index):
    index, view = basic_view("getitem", x, index)
    return Plan([(view[0], x.dtype)], attrs=(index,), view=view)


def getitem_vjp(g, needs, index, x_shape):
    return SliceGradient(g, x_shape, index)


BASIC_KEYS = [(), 1, -1, slice(None), (Ellipsis, 0), (slice(None, None, -1), 1), (None, 0, None),
              (slice(1, None), slice(None, 2)), (Ellipsis, slice(3, 0, -2)), (slice(2, 1),), (0, 2)]

getitem = op(
    "getitem", "x", "The part of x that a basic index shows, as a view: integers, slices, None, "
    "Ellipsis.", formula="x[index]", attrs={"index": ()}, infer=getitem_infer, alias=True,
    linear=True, vjp=getitem_vjp, method=False,
    samples=lambda draw: [Sample(draw.normal(3, 4), k) for k in BASIC_KEYS]
    + [Sample(draw.normal(2, 3, 4), (1, Ellipsis, slice(None, None, 3))),
       Sample(draw.normal(), None), Sample(draw.normal(0, 3), (slice(None), -1))],
    bad=lambda draw: [Bad(IndexRangeError, "out of range", draw.normal(3), 3),
                      Bad(IndexRangeError, "2 indices for 1", draw.normal(3), (0, 0)),
                      Bad(IndexRangeError, "one Ellipsis", draw.normal(3), (..., ...)),
                      Bad(ArgumentError, "zero", draw.normal(3), slice(None, None, 0)),
                      Bad(ArgumentError, "integers, slices", draw.normal(3), 1.0)])


def setitem_infer(x, v, index):
    index, view = basic_view("setitem", x, index)
    fits("setitem", v.shape, view[0])
    return Plan([(x.shape, x.dtype)], attrs=(index,), view=view)


def fits(name, shape, region):
    if len(shape) > len(region) or broadcast_shape(name, shape, region) != tuple(region):
        raise ShapeError(f"{name}: a value of shape {shape} does not broadcast to the region of "
                         f"shape {region}")


def setitem_vjp(g, needs, index):
    gx = without(g, setitem, index) if needs & 1 else None
    return gx, getitem(g, index) if needs & 2 else None


def without(g, write, *where):
    """g with zeros where `write` writes. No write in place to g: forward mode passes here too."""
    from .creation import zeros, zeros_like
    mask = write(zeros(g.shape, dtype=dtypes.bool_), np.asarray(True), *where)
    return registry["where"].call(mask, zeros_like(g), g)


setitem = op(
    "setitem", "x v", "Write v, broadcast, into the part of x that a basic index shows.",
    formula="x[index] = v", attrs={"index": ()}, kernel="setitem", layout="strided", into="x",
    infer=setitem_infer, vjp=setitem_vjp, method=False,
    samples=lambda draw: [
        Sample(draw.normal(3, 4), draw.normal(4), 1), Sample(draw.normal(3, 4), draw.normal(), ()),
        Sample(draw.normal(3, 4), draw.normal(3, 2), (Ellipsis, slice(None, None, -2))),
        Sample(draw.normal(3), draw.normal(1), slice(1, 3)),
        Sample(draw.normal(3), draw.normal(0), slice(0, 0)),
        Sample(draw.normal(), draw.normal(), ())],
    bad=lambda draw: [Bad(ShapeError, "broadcast", draw.normal(3), draw.normal(2), slice(0, 3)),
                      Bad(ShapeError, "broadcast", draw.normal(3), draw.normal(1), 0),
                      Bad(IndexRangeError, "out of range", draw.normal(3), draw.normal(), -4)])


def accumulate_infer(x, v):
    fits("accumulate", v.shape, x.shape)
    same_dtype("accumulate", x, v)
    return Plan([(x.shape, x.dtype)])


def same_dtype(name, x, v):
    if x.dtype != v.dtype:                  # a cast would write to the cast copy of x
        raise DtypeError(f"{name}: x is {x.dtype} but v {v.dtype}; convert v with ad.astype")


def accumulate_vjp(g, needs):
    return g if needs & 1 else None, g if needs & 2 else None


accumulate = op(
    "accumulate", "x v", "Add v, broadcast, to x in place.", formula="x += v",
    kernel="accumulate", layout="strided", into="x", infer=accumulate_infer, vjp=accumulate_vjp,
    method=False, flops=lambda plan, x, v: prod(x.shape),
    samples=lambda draw: [Sample(draw.normal(2, 3), draw.normal(2, 3)),
                          Sample(draw.normal(2, 3), draw.normal(3)),
                          Sample(draw.normal(), draw.normal()),
                          Sample(draw.normal(0, 3), draw.normal(3))],
    bad=lambda draw: [Bad(ShapeError, "broadcast", draw.normal(3), draw.normal(2, 3)),
                      Bad(DtypeError, "convert v", draw.normal(3), draw.ints(0, 2, 3))])
