"""Indexing, by NumPy's rules: views for integers, slices, None and Ellipsis; gathers for arrays.

`getitem` and `setitem` take basic keys and move no more than the slice. Keys with integer arrays
or masks come down to one flat index over neighbouring axes, which `gather`, `scatter_` and
`scatter_add` read; it is all that they save. Invariant: an index is checked before it is used, and
the gradient of a slice costs the size of the slice.
"""

from math import prod

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, DtypeError, IndexRangeError, ShapeError
from ..infer import broadcast_shape, normal_axis
from ..op import Deferred, Plan, op, registry
from ..samples import Bad, Sample
from .shape import copy, permute_dims, reshape, strides_of

__all__ = ["nonzero", "take", "take_along_axis"]


# ---- basic keys

def basic_view(name, x, index):
    """A basic key on `x`: the key in normal form, and shape, strides, offset of what it shows."""
    index = index if isinstance(index, tuple) else (index,)
    ndim = len(x.shape)
    used = sum(1 for k in index if k is not None and k is not Ellipsis)
    if used > ndim:
        raise IndexRangeError(f"{name}: {used} indices for {ndim} dimensions of shape {x.shape}")
    if sum(1 for k in index if k is Ellipsis) > 1:
        raise IndexRangeError(f"{name}: an index may hold one Ellipsis")
    if Ellipsis not in index:
        index = (*index, Ellipsis)
    axis, offset, old = 0, 0, strides_of(x)
    normal, shape, strides = [], [], []
    for k in index:
        if k is None:
            normal.append(None)
            shape.append(1)
            strides.append(x.dtype.itemsize)
        elif k is Ellipsis:
            for axis in range(axis, axis + ndim - used):
                normal.append(slice(None))
                shape.append(x.shape[axis])
                strides.append(old[axis])
            axis += ndim > used
        elif isinstance(k, slice):
            start, stop, step = _slice(name, k, x.shape[axis])
            count = len(range(start, stop, step))
            normal.append(slice(start, stop if stop >= 0 else None, step))
            shape.append(count)
            strides.append(old[axis] * step)
            offset += old[axis] * start if count else 0
            axis += 1
        else:
            k = _integer(name, k)
            if not -x.shape[axis] <= k < x.shape[axis]:
                raise IndexRangeError(f"{name}: index {k} is out of range for axis {axis} of size "
                                      f"{x.shape[axis]}")
            k %= x.shape[axis]
            normal.append(k)
            offset += old[axis] * k
            axis += 1
    return tuple(normal), (tuple(shape), tuple(strides), 0 if 0 in shape else offset)


def _slice(name, k, n):
    try:
        return k.indices(n)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: {k}: {error}") from None


def _integer(name, k):
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
    index, view = basic_view("unindex", _Shaped(shape, g.dtype), index)
    if tuple(g.shape) != view[0]:
        raise ShapeError(f"unindex: expected a value of shape {view[0]}, got {g.shape}")
    if len(shape) + len(g.shape) > 10:
        raise ShapeError(f"unindex: shapes {shape} and {g.shape} have more than 10 dimensions "
                         "together")
    size = g.dtype.itemsize
    return Plan([(shape, g.dtype)], ia=(view[2] // size, *shape, *(s // size for s in view[1])),
                attrs=(shape, index))


class _Shaped:
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
    head = basic_view("unindex", _Shaped(shape[:4], g.dtype), index[:4])[1][0]
    tail = basic_view("unindex", _Shaped(shape[4:], g.dtype), index[4:])[1][0]
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
    _fits("setitem", v.shape, view[0])
    return Plan([(x.shape, x.dtype)], attrs=(index,), view=view)


def _fits(name, shape, region):
    if len(shape) > len(region) or broadcast_shape(name, shape, region) != tuple(region):
        raise ShapeError(f"{name}: a value of shape {shape} does not broadcast to the region of "
                         f"shape {region}")


def setitem_vjp(g, needs, index):
    gx = _without(g, setitem, index) if needs & 1 else None
    return gx, getitem(g, index) if needs & 2 else None


def _without(g, write, *where):
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
    _fits("accumulate", v.shape, x.shape)
    _same_dtype("accumulate", x, v)
    return Plan([(x.shape, x.dtype)])


def _same_dtype(name, x, v):
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


# ---- one flat index over neighbouring axes

def need_index(name, index):
    if index.dtype.kind not in "iu":
        raise DtypeError(f"{name}: an index must be of integers, got {index.dtype}")


def ravel_index_infer(xs, shape):
    if len(xs) != len(shape):
        raise ShapeError(f"ravel_index: {len(xs)} index arrays for the {len(shape)} axes of "
                         f"shape {tuple(shape)}")
    for x in xs:
        need_index("ravel_index", x)
    out = broadcast_shape("ravel_index", *(x.shape for x in xs))
    return Plan([(out, dtypes.int64)], ia=tuple(shape), attrs=(tuple(shape),))


ravel_index = op(
    "ravel_index", "*xs", "Index arrays, one for each axis of `shape`, as one flat index.",
    formula="(xs[0] * shape[1] + xs[1]) * shape[2] + ...", attrs={"shape": ()}, method=False,
    kernel="ravel_index", layout="strided", infer=ravel_index_infer,
    samples=lambda draw: [
        Sample([draw.ints(-3, 3, 4), draw.ints(-2, 2, 4)], (3, 2), check_grad=False),
        Sample([draw.ints(0, 3, 2, 1), draw.ints(0, 2, 3), draw.ints(0, 2)], (3, 2, 2),
               check_grad=False), Sample([draw.ints(0, 3, 0)], (3,), check_grad=False)],
    bad=lambda draw: [Bad(IndexRangeError, "3 is out of range", [np.array([3])], (3,)),
                      Bad(IndexRangeError, "-4 is out of range", [np.array([-4])], (3,)),
                      Bad(ShapeError, "index arrays", [np.array([0])], (3, 3)),
                      Bad(DtypeError, "integers", [np.array([0.5])], (3,))])


def picked_shape(name, x, index, axis, axes):
    """Shape of x with `axes` axes from `axis` on replaced by those of the flat index."""
    need_index(name, index)
    axis = normal_axis(name, axis, len(x.shape))
    if not 1 <= axes <= len(x.shape) - axis:
        raise ShapeError(f"{name}: {axes} axes from axis {axis} on, in shape {x.shape}")
    return axis, (*x.shape[:axis], *index.shape, *x.shape[axis + axes:])


class GatherGradient(Deferred):
    """The gradient `g` of gather(x, index): added up where the index points, zero elsewhere."""

    def __init__(self, g, index, shape, axis, axes):
        self.args = g, index, shape, axis, axes

    def dense(self):
        return scatter_add(*self.args)

    def add_into(self, buffer):
        g, index, _, axis, axes = self.args
        scatter_add_(buffer, g, index, axis, axes)


def gather_infer(x, index, axis, axes):
    axis, shape = picked_shape("gather", x, index, axis, axes)
    return Plan([(shape, x.dtype)], ia=(axis, axes), attrs=(axis, axes))


def gather_vjp(g, needs, index, axis, axes, x_shape):
    return (GatherGradient(g, index, x_shape, axis, axes) if needs & 1 else None), None


def gather_jvp(dx, index, axis, axes):
    return gather(dx, index, axis, axes)


gather = op(
    "gather", "x index", "Elements of x where a flat index over `axes` axes from `axis` on points.",
    formula="out[a, i, b] = x.reshape(a, n, b)[a, index[i], b]", attrs={"axis": 0, "axes": 1},
    kernel="gather", layout="strided", infer=gather_infer, saves={"x": "index"}, vjp=gather_vjp,
    jvp=gather_jvp, method=False,
    samples=lambda draw: [
        Sample(draw.normal(4, 3), draw.ints(-4, 4, 5)), Sample(draw.normal(4), draw.ints(0, 4)),
        Sample(draw.normal(2, 4, 3), draw.ints(0, 4, 2, 3), 1),
        Sample(draw.normal(2, 3, 2, 2), draw.ints(-6, 6, 5), 1, 2),
        Sample(draw.normal(2, 3), draw.ints(0, 6, 4), 0, 2),
        Sample(draw.normal(4, 3), draw.ints(0, 4, 0)), Sample(draw.normal(4, 0), draw.ints(0, 4, 2))],
    bad=lambda draw: [Bad(IndexRangeError, "4 is out of range", draw.normal(4), np.array([0, 4])),
                      Bad(IndexRangeError, "-5 is out of range", draw.normal(4), np.array(-5)),
                      Bad(DtypeError, "integers", draw.normal(4), draw.normal(2)),
                      Bad(ShapeError, "axes", draw.normal(4), np.array([0]), 0, 2)])


def scatter_add_infer(v, index, shape, axis, axes):
    shape = tuple(shape)
    x = _Shaped(shape, v.dtype)
    axis, region = picked_shape("scatter_add", x, index, axis, axes)
    if tuple(v.shape) != region:
        raise ShapeError(f"scatter_add: the value must have shape {region}, got {v.shape}")
    return Plan([(shape, v.dtype)], ia=(axis, axes, *shape), attrs=(shape, axis, axes))


def scatter_add_vjp(g, needs, index, axis, axes):
    return (gather(g, index, axis, axes) if needs & 1 else None), None


def scatter_add_jvp(dv, index, shape, axis, axes):
    return scatter_add(dv, index, shape, axis, axes)


scatter_add = op(
    "scatter_add", "v index", "Zeros of `shape` with v added where a flat index points.",
    formula="out[a, index[i], b] += v[a, i, b]", attrs={"shape": (), "axis": 0, "axes": 1},
    kernel="scatter_add", layout="strided", infer=scatter_add_infer, saves={"v": "index"},
    vjp=scatter_add_vjp, jvp=scatter_add_jvp, method=False,
    flops=lambda plan, v, index, **attrs: prod(v.shape),
    samples=lambda draw: [
        Sample(draw.normal(5, 3), draw.ints(-4, 4, 5), (4, 3)),
        Sample(draw.normal(), draw.ints(0, 4), (4,)),
        Sample(draw.normal(2, 2, 3, 3), draw.ints(0, 4, 2, 3), (2, 4, 3), 1),
        Sample(draw.normal(2, 5, 2), draw.ints(-6, 6, 5), (2, 3, 2, 2), 1, 2),
        Sample(draw.normal(0, 3), draw.ints(0, 4, 0), (4, 3))],
    bad=lambda draw: [
        Bad(IndexRangeError, "4 is out of range", draw.normal(1), np.array([4]), (4,)),
        Bad(ShapeError, "must have shape", draw.normal(2), np.array([1]), (4,))])


def scatter_infer(name):
    def infer(x, v, index, axis, axes):
        axis, region = picked_shape(name, x, index, axis, axes)
        if len(region) > 8:
            raise ShapeError(f"{name}: the region has {len(region)} dimensions; at most 8 are "
                             "supported")
        _fits(name, v.shape, region)
        _same_dtype(name, x, v)
        return Plan([(x.shape, x.dtype)], ia=(axis, axes), attrs=(axis, axes))
    return infer


def _scatter_samples(draw):
    return [Sample(draw.normal(4, 3), draw.normal(3, 3), np.array([0, -1, 1])),
            Sample(draw.normal(4, 3), draw.normal(3), np.array([2, 2, 1])),
            Sample(draw.normal(2, 4, 2), draw.normal(2, 3, 2), np.array([3, 0, 3]), 1),
            Sample(draw.normal(2, 3, 2), draw.normal(3, 2), np.array([5, 0, 3]), 0, 2),
            Sample(draw.normal(4), draw.normal(), np.array(2)),
            Sample(draw.normal(4, 3), draw.normal(0, 3), draw.ints(0, 4, 0))]


def _scatter_bad(draw):
    return [Bad(IndexRangeError, "4 is out of range", draw.normal(4), draw.normal(), np.array([4])),
            Bad(ShapeError, "broadcast", draw.normal(4), draw.normal(2), np.array([1])),
            Bad(DtypeError, "integers", draw.normal(4), draw.normal(), draw.normal(1))]


def scatter_vjp(g, needs, index, axis, axes):
    gx = _without(g, scatter_, index, axis, axes) if needs & 1 else None
    if not needs & 2:
        return gx, None, None
    # Where an index comes twice the last value stays: the others get no gradient.
    from .creation import arange, zeros
    shape = tuple(g.shape[axis:axis + axes])
    number = reshape(arange(prod(index.shape)), index.shape)
    last = gather(scatter_(zeros(shape, dtype=dtypes.int64), number, index, 0, axes), index, 0,
                  axes)
    kept = reshape(last == number, (*index.shape, *(1,) * (len(g.shape) - axis - axes)))
    return gx, gather(g, index, axis, axes) * kept, None


scatter_ = op(
    "scatter_", "x v index", "Write v, broadcast, into x where a flat index points; the last of "
    "several values for one place stays.", formula="x[a, index[i], b] = v[a, i, b]",
    attrs={"axis": 0, "axes": 1}, kernel="scatter_", into="x",
    infer=scatter_infer("scatter_"), saves={"x": "index", "v": "index"}, vjp=scatter_vjp,
    method=False, samples=_scatter_samples, bad=_scatter_bad)


def scatter_add_into_vjp(g, needs, index, axis, axes):
    return g if needs & 1 else None, gather(g, index, axis, axes) if needs & 2 else None, None


scatter_add_ = op(
    "scatter_add_", "x v index", "Add v, broadcast, to x in place where a flat index points.",
    formula="x[a, index[i], b] += v[a, i, b]", attrs={"axis": 0, "axes": 1},
    kernel="scatter_add_", into="x", infer=scatter_infer("scatter_add_"),
    saves={"v": "index"}, vjp=scatter_add_into_vjp, method=False,
    flops=lambda plan, x, v, index, **attrs: prod(index.shape),
    samples=_scatter_samples, bad=_scatter_bad)


# ---- any key

def _is_array(k):
    return hasattr(k, "dtype") and hasattr(k, "shape") and not isinstance(k, np.generic) \
        or isinstance(k, list)


def getitem_key(x, key):
    """x[key] for any key that NumPy takes: what Tensor.__getitem__ calls."""
    if not isinstance(key, tuple):
        key = (key,)
    if not any(map(_is_array, key)):
        return getitem(x, key)
    key = _expand("getitem", x, key)
    arrays = [k for k, entry in enumerate(key) if _is_array(entry)]
    x = getitem(x, tuple(slice(None) if _is_array(k) else k for k in key))
    at = arrays[0]
    if arrays[-1] - at >= len(arrays):      # apart from each other: their axes go first
        rest = [k for k in range(len(x.shape)) if k not in arrays]
        x, at = permute_dims(x, (*arrays, *rest)), 0
    return gather(x, _flat([key[k] for k in arrays], x.shape[at:at + len(arrays)]), at,
                  len(arrays))


def setitem_key(x, key, value):
    """x[key] = value for any key that NumPy takes: what Tensor.__setitem__ calls."""
    if not isinstance(key, tuple):
        key = (key,)
    if isinstance(value, (list, tuple)):
        value = np.asarray(value)
    if hasattr(value, "numpy") and np.may_share_memory(value.numpy(), x.numpy()):
        value = copy(value)                 # it may overlap what is written
    if not any(map(_is_array, key)):
        region = basic_view("setitem", x, key)[1][0]
        return setitem(x, _trimmed(value, len(region)), key)
    if not hasattr(value, "numpy"):
        value = np.asarray(value, x.dtype)
    elif value.dtype != x.dtype:
        value = registry["astype"].call(value, x.dtype)
    index, region, axis, axes = _flat_region(x, key)
    return scatter_(x, _trimmed(value, len(region)), index, axis, axes)


def _trimmed(value, ndim):
    """NumPy lets a value have more axes of size 1 in front than the region it goes to."""
    extra = len(getattr(value, "shape", ())) - ndim
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        return value.reshape(value.shape[extra:]) if isinstance(value, np.ndarray) \
            else reshape(value, value.shape[extra:])
    return value


def _flat(arrays, shape):
    """Index arrays as one flat index over axes of sizes `shape`."""
    return arrays[0] if len(arrays) == 1 else ravel_index(arrays, tuple(shape))


def _expand(name, x, key):
    """A key that holds arrays, with one entry for each axis (None: a new one), masks as indices."""
    entries, used = [], 0
    for k in key:
        if _is_array(k):
            k = _index_array(name, k)
            if k.dtype.kind == "b":
                if len(k.shape) == 0:
                    raise ArgumentError(f"{name}: a single bool is no index; use None, or a mask "
                                        "with axes")
                if k.shape != tuple(x.shape[used:used + len(k.shape)]) and Ellipsis not in key:
                    raise IndexRangeError(f"{name}: a mask of shape {k.shape} on the axes from "
                                          f"{used} on of shape {x.shape}")
                entries += [(k, d) for d in range(len(k.shape))]
                used += len(k.shape)
                continue
        elif isinstance(k, (bool, np.bool_)):
            raise ArgumentError(f"{name}: a single bool is no index; use None, or a mask with axes")
        if k is not None and k is not Ellipsis:
            used += 1
        entries.append(k)
    ndim = len(x.shape)
    if used > ndim:
        raise IndexRangeError(f"{name}: {used} indices for {ndim} dimensions of shape {x.shape}")
    dots = [k for k, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1:
        raise IndexRangeError(f"{name}: an index may hold one Ellipsis")
    at = dots[0] if dots else len(entries)
    entries[at:at + 1] = [slice(None)] * (ndim - used)
    return _resolve_masks(name, x, entries)


def _resolve_masks(name, x, entries):
    out, axis, found = [], 0, None
    for k in entries:
        if isinstance(k, tuple):            # axis k[1] of the mask k[0]
            mask, d = k
            if d == 0:
                span = tuple(x.shape[axis:axis + len(mask.shape)])
                if tuple(mask.shape) != span:
                    raise IndexRangeError(f"{name}: a mask of shape {mask.shape} does not fit "
                                          f"axes of shape {span}")
                found = nonzero(mask)
            k = found[d]
        elif k is not None and not isinstance(k, slice) and not _is_array(k):
            k = _integer(name, k)           # beside arrays an integer is an array of one
            if not -x.shape[axis] <= k < x.shape[axis]:
                raise IndexRangeError(f"{name}: index {k} is out of range for axis {axis} of size "
                                      f"{x.shape[axis]}")
            k = np.asarray(k)
        axis += k is not None
        out.append(k)
    return out


def _index_array(name, k):
    if isinstance(k, list):
        k = np.asarray(k)
        if k.size == 0:
            k = k.astype(np.int64)
    if k.dtype.kind not in "biu":
        raise ArgumentError(f"{name}: an array used as an index must be of integers or bool, got "
                            f"{k.dtype}")
    return k


def _flat_region(x, key):
    """A key with arrays as one flat index, the region's shape, and the axes that it stands for.

    Slices among the arrays become index arrays: a write must reach x itself, not a permuted view.
    """
    key = _expand("setitem", x, key)
    arrays = [k for k, entry in enumerate(key) if _is_array(entry)]
    apart = arrays[-1] - arrays[0] >= len(arrays)
    full = [isinstance(k, slice) and k == slice(None) for k in key]
    first = 0 if apart else full.index(False)
    last = len(key) - full[::-1].index(False)
    common = broadcast_shape("setitem", *(np.shape(key[k]) if isinstance(key[k], np.ndarray)
                                          else tuple(key[k].shape) for k in arrays))
    # Axes of the result: the arrays' broadcast axes where they stand (in front where apart).
    before = [] if apart else list(range(first, arrays[0]))
    after = [k for k in range(first, last) if k not in arrays and k not in before]
    axis = sum(k is not None for k in key[:first])
    sizes, axis_of = {}, {}
    for k in range(first, last):
        if key[k] is None:
            sizes[k] = 1
        else:
            axis_of[k] = axis
            axis += 1
            if k not in arrays:
                sizes[k] = len(range(*_slice("setitem", key[k], x.shape[axis_of[k]])))
    span = (*(sizes[k] for k in before), *common, *(sizes[k] for k in after))
    index, dims = [], []
    for k in range(first, last):
        if key[k] is None:
            continue
        n = x.shape[axis_of[k]]
        if k in arrays:
            i = key[k]
            i = reshape(i, (*i.shape, *(1,) * len(after))) if not isinstance(i, np.ndarray) \
                else i.reshape((*i.shape, *(1,) * len(after)))
        else:
            place = before.index(k) if k in before else len(before) + len(common) + after.index(k)
            i = np.arange(n)[key[k]].reshape((-1, *(1,) * (len(span) - place - 1)))
        index.append(i)
        dims.append(n)
    begin = min(axis_of.values())
    flat = _flat(index, dims)
    if tuple(flat.shape) != span:
        flat = reshape(flat, span) if prod(flat.shape) == prod(span) else flat
    region = (*x.shape[:begin], *span, *x.shape[begin + len(dims):])
    return flat, region, begin, len(dims)


# ---- what users call

def nonzero(x):
    """Where `x` is not zero: a tuple of int64 index arrays, one for each axis."""
    from .creation import asarray
    values = x.numpy() if hasattr(x, "numpy") else np.asarray(x)
    if values.ndim == 0:
        raise ShapeError("nonzero: needs at least 1 dimension, got shape ()")
    return tuple(asarray(i) for i in np.nonzero(values))


def take(x, indices, *, axis=None):
    """Slices of `x` at integer `indices` along `axis` (needed unless x has one axis).

    Shape: x.shape[:axis] + indices.shape + x.shape[axis + 1:]. Raises IndexRangeError.
    """
    if axis is None:
        if len(x.shape) != 1:
            raise ShapeError(f"take: needs an axis for an array of shape {x.shape}")
        axis = 0
    return gather(x, indices, axis)


def take_along_axis(x, indices, axis=-1):
    """out[..., i, ...] = x[..., indices[..., i, ...], ...] along `axis`, as NumPy's."""
    ndim = len(x.shape)
    axis = normal_axis("take_along_axis", axis, ndim)
    if len(indices.shape) != ndim:
        raise ShapeError(f"take_along_axis: indices of shape {indices.shape} must have as many "
                         f"axes as x of shape {x.shape}")
    key = []
    for d in range(ndim):
        if d == axis:
            key.append(indices)
        else:
            shape = [1] * ndim
            shape[d] = -1
            key.append(np.arange(x.shape[d]).reshape(shape))
    return getitem_key(x, tuple(key))

