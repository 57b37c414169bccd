"""Gather and scatter: elements where a flat index over some neighbouring axes points.

Every key with arrays comes down to these; the one flat index is all that they save. Invariant: an
index is checked before anything is written, and sums are taken in the order of the index.
"""

from math import prod

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, DtypeError, IndexRangeError, ShapeError
from ..infer import broadcast_shape, normal_axis
from ..op import Deferred, Plan, op
from ..samples import Bad, Sample
from .shape import normal_shape, reshape
from .slices import Shaped, fits, same_dtype, without


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
    if isinstance(axes, bool) or not isinstance(axes, (int, np.integer)):
        raise ArgumentError(f"{name}: axes must be an integer, got {axes!r}")
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
        Sample(draw.normal(4, 3), draw.ints(0, 4, 0)),
        Sample(draw.normal(4, 0), draw.ints(0, 4, 2))],
    bad=lambda draw: [Bad(IndexRangeError, "4 is out of range", draw.normal(4), np.array([0, 4])),
                      Bad(IndexRangeError, "-5 is out of range", draw.normal(4), np.array(-5)),
                      Bad(DtypeError, "integers", draw.normal(4), draw.normal(2)),
                      Bad(ShapeError, "axes", draw.normal(4), np.array([0]), 0, 2)])


def scatter_add_infer(v, index, shape, axis, axes):
    shape = normal_shape("scatter_add", shape)
    if v.dtype.kind == "b":
        raise DtypeError("scatter_add: v must hold numbers, got bool; convert it with ad.astype")
    x = Shaped(shape, v.dtype)
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
        fits(name, v.shape, region)
        same_dtype(name, x, v)
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
    gx = without(g, scatter_, index, axis, axes) if needs & 1 else None
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
