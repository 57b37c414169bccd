"""Operations that look at the same bytes in another shape, and those that copy them together.

A view is computed from shape and strides alone (`Plan.view`) and shares the storage of its input.
Invariant: no element is moved unless the strides leave no other way (reshape), and then by a
visible copy.
"""

from math import prod

from ..errors import ArgumentError, ShapeError, ValueRangeError
from ..infer import broadcast_shape, normal_axes, normal_axis, same
from ..op import Plan, op
from ..samples import Bad, Sample

__all__ = ["broadcast_arrays", "contiguous", "matrix_transpose", "moveaxis", "repeat", "roll",
           "split", "stack", "swapaxes", "tile", "unstack"]


# ---- shapes and strides

def contiguous_strides(shape, itemsize):
    """Strides in bytes of an array in C order without gaps."""
    strides = []
    for n in reversed(shape):
        strides.append(itemsize)
        itemsize *= max(n, 1)
    return tuple(reversed(strides))


def strides_of(x):
    """Strides of `x` in bytes; anything that has none counts as contiguous."""
    strides = getattr(x, "strides", None)
    return contiguous_strides(x.shape, x.dtype.itemsize) if strides is None else strides


def normal_shape(name, shape):
    """`shape` (an int, or a sequence of them) as a tuple of ints."""
    shape = shape if isinstance(shape, (tuple, list)) else (shape,)
    if any(isinstance(n, bool) or not hasattr(n, "__index__") for n in shape):
        raise ArgumentError(f"{name}: shape must be integers, got {shape!r}")
    return tuple(n.__index__() for n in shape)


def as_view(x, shape, strides, offset=0, attrs=None):
    """The Plan of an alias of `x`."""
    return Plan([(shape, x.dtype)], attrs=attrs, view=(shape, strides, offset))


def tile_strides(shape, strides, new, itemsize):
    """Strides that show an array of `shape` and `strides` as `new`; None where none do."""
    if 0 in new:
        return contiguous_strides(new, itemsize)
    blocks = []                             # [size, inner stride] of axes that run on, inner last
    for n, s in zip(shape, strides):
        if n != 1:
            if blocks and blocks[-1][1] == n * s:
                blocks[-1] = [blocks[-1][0] * n, s]
            else:
                blocks.append([n, s])
    left, step, out = 1, itemsize, []
    for n in reversed(new):
        if n != 1:
            if left == 1:
                left, step = blocks.pop()
            if left % n:
                return None
        out.append(step)
        step *= n
        left //= n
    return tuple(reversed(out))


# ---- views

def alias_infer(x):
    return as_view(x, x.shape, strides_of(x))


def alias_vjp(g, needs):
    return g


alias = op("alias", "x", "The same array as a tensor of its own: a view of everything.",
           formula="x", infer=alias_infer, alias=True, linear=True, method=False,
           vjp=alias_vjp, samples=lambda draw: [Sample(draw.normal(*s))
                                                for s in [(), (3,), (2, 3), (2, 0)]])


def permute_dims_infer(x, axes):
    if axes is None:
        axes = tuple(reversed(range(len(x.shape))))
    if not isinstance(axes, (tuple, list)):
        raise ArgumentError(f"permute_dims: axes must be a tuple of integers, got {axes!r}")
    normal = tuple(normal_axis("permute_dims", a, len(x.shape)) for a in axes)
    if sorted(normal) != list(range(len(x.shape))):
        raise ShapeError(f"permute_dims: axes {tuple(axes)} must name each of the "
                         f"{len(x.shape)} axes of shape {x.shape} once")
    strides = strides_of(x)
    return as_view(x, tuple(x.shape[a] for a in normal), tuple(strides[a] for a in normal),
                   attrs=(normal,))


def permute_dims_vjp(g, needs, axes):
    """The axes of g go back to where they came from: the inverse permutation."""
    inverse = [0] * len(axes)
    for k, a in enumerate(axes):
        inverse[a] = k
    return permute_dims(g, tuple(inverse))


permute_dims = op(
    "permute_dims", "x", "Axes in another order (default: reversed), as a view.",
    formula="out[i[axes[0]], i[axes[1]], ...] = x[i[0], i[1], ...]", attrs={"axes": None},
    infer=permute_dims_infer, alias=True, linear=True, vjp=permute_dims_vjp,
    samples=lambda draw: [Sample(draw.normal(2, 3, 4), (2, 0, 1)), Sample(draw.normal(2, 3)),
                          Sample(draw.normal(), ()), Sample(draw.normal(0, 3), (-1, 0))],
    bad=lambda draw: [Bad(ShapeError, "once", draw.normal(2, 3), (0, 0)),
                      Bad(ShapeError, "out of range", draw.normal(2, 3), (0, 2)),
                      Bad(ShapeError, "once", draw.normal(2, 3), (0,))])


def expand_dims_infer(x, axis):
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = normal_axes("expand_dims", axis if axis is not None else (), len(x.shape) + count)
    old, shape, strides = iter(zip(x.shape, strides_of(x))), [], []
    for k in range(len(x.shape) + len(axes)):
        n, s = (1, x.dtype.itemsize) if k in axes else next(old)
        shape.append(n)
        strides.append(s)
    return as_view(x, tuple(shape), tuple(strides), attrs=(axes,))


def expand_dims_vjp(g, needs, axis):
    return squeeze(g, axis)


expand_dims = op(
    "expand_dims", "x", "New axes of size 1 at the places `axis` of the result, as a view.",
    formula="out[..., 0, ...] = x[..., ...]", attrs={"axis": 0}, infer=expand_dims_infer,
    alias=True, linear=True, vjp=expand_dims_vjp,
    samples=lambda draw: [Sample(draw.normal(2, 3), 1), Sample(draw.normal(2, 3), -1),
                          Sample(draw.normal(), 0), Sample(draw.normal(3), (0, 2))],
    bad=lambda draw: [Bad(ShapeError, "out of range", draw.normal(3), 2),
                      Bad(ShapeError, "twice", draw.normal(3), (0, 0))])


def squeeze_infer(x, axis):
    if axis is None:
        axis = tuple(k for k, n in enumerate(x.shape) if n == 1)
    axes = normal_axes("squeeze", axis, len(x.shape))
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} of shape {x.shape} has size {x.shape[a]}, not 1")
    keep = [k for k in range(len(x.shape)) if k not in axes]
    strides = strides_of(x)
    return as_view(x, tuple(x.shape[k] for k in keep), tuple(strides[k] for k in keep),
                   attrs=(axes,))


def squeeze_vjp(g, needs, axis):
    return expand_dims(g, axis)


squeeze = op(
    "squeeze", "x", "Without the axes of size 1 named by `axis` (default: all), as a view.",
    formula="out[..., ...] = x[..., 0, ...]", attrs={"axis": None}, infer=squeeze_infer,
    alias=True, linear=True, vjp=squeeze_vjp,
    samples=lambda draw: [Sample(draw.normal(2, 1, 3), 1), Sample(draw.normal(1, 3, 1)),
                          Sample(draw.normal(1, 1, 0), (0, -2)), Sample(draw.normal(3), ())],
    bad=lambda draw: [Bad(ShapeError, "not 1", draw.normal(2, 3), 0),
                      Bad(ShapeError, "out of range", draw.normal(1), 1)])


def broadcast_to_infer(x, shape):
    shape = normal_shape("broadcast_to", shape)
    if len(shape) < len(x.shape) or broadcast_shape("broadcast_to", x.shape, shape) != shape:
        raise ShapeError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}")
    extra = len(shape) - len(x.shape)
    strides = [0] * extra + [s if n == m else 0 for n, m, s in
                             zip(x.shape, shape[extra:], strides_of(x))]
    return as_view(x, shape, tuple(strides), attrs=(shape,))


def broadcast_to_vjp(g, needs):
    """Each copy has its own gradient; the engine adds them up over the repeated axes."""
    return g                                # the engine sums over the axes that were broadcast


broadcast_to = op(
    "broadcast_to", "x", "Repeated along new axes and axes of size 1, as a view of stride 0.",
    formula="out[..., i] = x[..., 0 or i]", attrs={"shape": ()}, infer=broadcast_to_infer,
    alias=True, linear=True, vjp=broadcast_to_vjp,
    samples=lambda draw: [Sample(draw.normal(3), (2, 3)), Sample(draw.normal(2, 1), (4, 2, 3)),
                          Sample(draw.normal(), (2, 2)), Sample(draw.normal(2, 3), (2, 3)),
                          Sample(draw.normal(1, 3), (0, 3))],
    bad=lambda draw: [Bad(ShapeError, "broadcast", draw.normal(3), (2, 4)),
                      Bad(ShapeError, "broadcast", draw.normal(2, 3), (3,)),
                      Bad(ShapeError, "broadcast", draw.normal(3), (1,))])


def reshape_infer(x, shape):
    shape, size = normal_shape("reshape", shape), prod(x.shape)
    if shape.count(-1) == 1 and min(shape) == -1:
        known = -prod(shape)
        if known and size % known == 0:
            shape = tuple(size // known if n == -1 else n for n in shape)
    if min(shape, default=0) < 0 or prod(shape) != size:
        raise ShapeError(f"reshape: shape {x.shape} has {size} elements and cannot become {shape}")
    strides = tile_strides(x.shape, strides_of(x), shape, x.dtype.itemsize)
    view = None if strides is None else (shape, strides, 0)
    return Plan([(shape, x.dtype)], attrs=(shape,), view=view)


def reshape_vjp(g, needs, x_shape):
    """The same elements in the same order: g takes the shape of x."""
    return reshape(g, x_shape)


reshape = op(
    "reshape", "x", "The elements in C order in another shape; one size may be -1. A view where "
    "the strides allow, else of a copy.", formula="out.ravel() = x.ravel()", attrs={"shape": ()},
    infer=reshape_infer, alias=True, linear=True, vjp=reshape_vjp,
    samples=lambda draw: [Sample(draw.normal(2, 3), (3, 2)), Sample(draw.normal(2, 3, 4), (6, -1)),
                          Sample(draw.normal(4), (2, 1, 2)), Sample(draw.normal(1), ()),
                          Sample(draw.normal(0, 3), (3, 0, 2)), Sample(draw.normal(2, 3), -1)],
    bad=lambda draw: [Bad(ShapeError, "elements", draw.normal(2, 3), (4, 2)),
                      Bad(ShapeError, "elements", draw.normal(2, 3), (4, -1)),
                      Bad(ShapeError, "elements", draw.normal(2, 3), (-1, -1)),
                      Bad(ArgumentError, "integers", draw.normal(2, 3), (2.0, 3))])


def flip_infer(x, axis):
    axes = normal_axes("flip", axis, len(x.shape))
    strides, offset = list(strides_of(x)), 0
    for a in axes:
        offset += strides[a] * max(x.shape[a] - 1, 0)
        strides[a] = -strides[a]
    return as_view(x, x.shape, tuple(strides), 0 if 0 in x.shape else offset, attrs=(axes,))


def flip_vjp(g, needs, axis):
    return flip(g, axis)


flip = op(
    "flip", "x", "In reverse order along `axis` (default: all axes), as a view.",
    formula="out[..., i, ...] = x[..., n - 1 - i, ...]", attrs={"axis": None}, infer=flip_infer,
    alias=True, linear=True, vjp=flip_vjp,
    samples=lambda draw: [Sample(draw.normal(2, 3)), Sample(draw.normal(2, 3, 2), (0, -1)),
                          Sample(draw.normal()), Sample(draw.normal(2, 0), 1)],
    bad=lambda draw: [Bad(ShapeError, "out of range", draw.normal(3), 1)])


# ---- copies

def copy_vjp(g, needs):
    return g


copy = op("copy", "x", "The same values in contiguous memory of their own.", formula="x",
          kernel="copy", layout="strided", infer=same, linear=True, vjp=copy_vjp,
          samples=lambda draw: [Sample(draw.normal(*s)) for s in [(), (3,), (2, 3), (2, 0)]])


def concat_infer(xs, axis):
    if not xs:
        raise ArgumentError("concat: needs at least one array")
    if axis is None:
        return Plan([((sum(prod(x.shape) for x in xs),), xs[0].dtype)], ia=(-1,))
    ndim = len(xs[0].shape)
    if ndim == 0:
        raise ShapeError("concat: arrays of 0 dimensions have no axis to join; use ad.stack")
    axis = normal_axis("concat", axis, ndim)
    shape = list(xs[0].shape)
    for k, x in enumerate(xs[1:], 1):
        if len(x.shape) != ndim or any(n != m for d, (n, m) in enumerate(zip(x.shape, shape))
                                       if d != axis):
            raise ShapeError(f"concat: array {k} has shape {x.shape}, array 0 {xs[0].shape}; they "
                             f"must agree but along axis {axis}")
        shape[axis] += x.shape[axis]
    return Plan([(tuple(shape), xs[0].dtype)], ia=(axis,), attrs=(axis,))


def concat_vjp(g, needs, axis, xs_shape):
    grads, begin = [], 0
    for k, shape in enumerate(xs_shape):
        end = begin + (prod(shape) if axis is None else shape[axis])
        if needs >> k & 1:
            part = _slab(g, begin, end, axis or 0)
            grads.append(reshape(part, shape) if axis is None else part)
        else:
            grads.append(None)
        begin = end
    return tuple(grads)


def _slab(x, begin, end, axis):
    """x[begin:end] along `axis`, as a view."""
    from .slices import getitem
    return getitem(x, (slice(None),) * axis + (slice(begin, end),))


concat = op(
    "concat", "*xs", "Arrays joined along an existing axis; None joins them flattened.",
    formula="out = [xs[0], xs[1], ...]", attrs={"axis": 0}, kernel="concat", layout="strided",
    infer=concat_infer, promote="same", linear=True, vjp=concat_vjp, method=False,
    samples=lambda draw: [
        Sample([draw.normal(2, 3), draw.normal(1, 3)]),
        Sample([draw.normal(2, 1), draw.normal(2, 3), draw.normal(2, 0)], -1),
        Sample([draw.normal(2, 2), draw.normal(3), draw.normal()], axis=None),
        Sample([draw.normal(3)]), Sample([draw.normal(2, 1, 2), draw.normal(2, 4, 2)], axis=1)],
    bad=lambda draw: [Bad(ShapeError, "must agree", [draw.normal(2, 3), draw.normal(2, 2)]),
                      Bad(ShapeError, "0 dimensions", [draw.normal(), draw.normal()]),
                      Bad(ShapeError, "out of range", [draw.normal(3)], axis=1),
                      Bad(ArgumentError, "at least one", [])])


# ---- composites

def contiguous(x):
    """`x` itself where it is contiguous in C order, else a copy."""
    return x if strides_of(x) == contiguous_strides(x.shape, x.dtype.itemsize) else copy(x)


def stack(arrays, axis=0):
    """Arrays of one shape joined along a new axis: out[..., k, ...] = arrays[k][...]."""
    return concat([expand_dims(x, axis) for x in arrays], _new_axis("stack", arrays, axis))


def _new_axis(name, arrays, axis):
    if not arrays:
        raise ArgumentError(f"{name}: needs at least one array")
    for k, x in enumerate(arrays):
        if getattr(x, "shape", ()) != getattr(arrays[0], "shape", ()):
            raise ShapeError(f"{name}: array {k} has shape {x.shape}, array 0 {arrays[0].shape}")
    return normal_axis(name, axis, len(getattr(arrays[0], "shape", ())) + 1)


def unstack(x, *, axis=0):
    """The slices of `x` along `axis`, as a tuple of views without that axis."""
    from .slices import getitem
    axis = normal_axis("unstack", axis, len(x.shape))
    return tuple(getitem(x, (slice(None),) * axis + (k,)) for k in range(x.shape[axis]))


def split(x, sections_or_sizes, axis=0):
    """Consecutive parts of `x` along `axis`, as a tuple of views.

    An int makes so many equal parts; a sequence gives the sizes of the parts.
    Raises ShapeError where the parts do not add up to the axis.
    """
    axis = normal_axis("split", axis, len(x.shape))
    n, sizes = x.shape[axis], sections_or_sizes
    if hasattr(sizes, "__index__"):
        count = sizes.__index__()
        if count < 1 or n % count:
            raise ShapeError(f"split: axis {axis} of size {n} has no {count} equal parts")
        sizes = [n // count] * count
    if min(sizes, default=0) < 0 or sum(sizes) != n:
        raise ShapeError(f"split: sizes {list(sizes)} must add up to {n}, the size of axis {axis}")
    parts, begin = [], 0
    for size in sizes:
        parts.append(_slab(x, begin, begin + size, axis))
        begin += size
    return tuple(parts)


def moveaxis(x, source, destination):
    """Axes `source` moved to the places `destination`, the others in their order, as a view."""
    ndim = len(x.shape)
    source = source if isinstance(source, (tuple, list)) else (source,)
    destination = destination if isinstance(destination, (tuple, list)) else (destination,)
    source = [normal_axis("moveaxis", a, ndim) for a in source]
    destination = [normal_axis("moveaxis", a, ndim) for a in destination]
    if len(source) != len(destination) or len(set(source)) < len(source) \
            or len(set(destination)) < len(destination):
        raise ShapeError("moveaxis: source and destination must be as many axes, each named once")
    order = [a for a in range(ndim) if a not in source]
    for to, a in sorted(zip(destination, source)):
        order.insert(to, a)
    return permute_dims(x, tuple(order))


def swapaxes(x, axis1, axis2):
    """Two axes exchanged, as a view."""
    axes = list(range(len(x.shape)))
    a = normal_axis("swapaxes", axis1, len(axes))
    b = normal_axis("swapaxes", axis2, len(axes))
    axes[a], axes[b] = axes[b], axes[a]
    return permute_dims(x, tuple(axes))


def matrix_transpose(x):
    """The last two axes exchanged, as a view; ShapeError below 2 dimensions."""
    if len(x.shape) < 2:
        raise ShapeError(f"matrix_transpose: needs at least 2 dimensions, got shape {x.shape}")
    return swapaxes(x, -1, -2)


def broadcast_arrays(*arrays):
    """The arrays broadcast against each other, as a list of views."""
    shape = broadcast_shape("broadcast_arrays", *(x.shape for x in arrays))
    return [broadcast_to(x, shape) for x in arrays]


def roll(x, shift, *, axis=None):
    """Elements moved by `shift` along `axis`, those that leave coming back at the other end."""
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, axis=0), x.shape)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if len(shifts) == 1:
        shifts = tuple(shifts) * len(axes)
    if len(shifts) != len(axes):
        raise ArgumentError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    for s, a in zip(shifts, axes):
        a = normal_axis("roll", a, len(x.shape))
        n = x.shape[a]
        if n and s % n:
            cut = n - s % n
            x = concat([_slab(x, cut, n, a), _slab(x, 0, cut, a)], a)
    return x


def tile(x, repetitions):
    """The whole of `x` repeated along each axis, as np.tile."""
    times = normal_shape("tile", repetitions)
    if min(times, default=0) < 0:
        raise ValueRangeError(f"tile: repetitions must not be negative, got {times}")
    ndim = max(len(times), len(x.shape))
    x = reshape(x, (1,) * (ndim - len(x.shape)) + tuple(x.shape))
    for axis, count in enumerate((1,) * (ndim - len(times)) + times):
        if count != 1:
            shape = tuple(x.shape)
            wide = broadcast_to(expand_dims(x, axis), (*shape[:axis], count, *shape[axis:]))
            x = reshape(wide, (*shape[:axis], count * shape[axis], *shape[axis + 1:]))
    return x


def repeat(x, repeats, *, axis=None):
    """Each element (along `axis`; of the flattened array by default) `repeats` times (an int)."""
    if not hasattr(repeats, "__index__") or repeats.__index__() < 0:
        raise ValueRangeError(f"repeat: repeats must be a non-negative integer, got {repeats!r}")
    if axis is None:
        return repeat(reshape(x, -1), repeats, axis=0)
    axis, repeats = normal_axis("repeat", axis, len(x.shape)), repeats.__index__()
    shape = tuple(x.shape)
    wide = broadcast_to(expand_dims(x, axis + 1), (*shape[:axis + 1], repeats, *shape[axis + 1:]))
    return reshape(wide, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1:]))
