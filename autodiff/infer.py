"""Shape and dtype rules that many operations share.

A rule is called with the inputs (anything with `shape` and `dtype`) and the attributes, and
answers a Plan or raises the named error.  Invariant: rules look at metadata only, never at
values, so a model's memory can be predicted without running it.
"""

from . import dtypes
from .errors import ArgumentError, DtypeError, ShapeError
from .op import Plan


def broadcast_shape(name, *shapes):
    """The shape that `shapes` broadcast to; ShapeError names the axis that does not fit."""
    ndim = max(map(len, shapes))
    out = [1] * ndim
    for shape in shapes:
        for k, n in enumerate(shape, ndim - len(shape)):
            if n != 1:
                if out[k] != 1 and out[k] != n:
                    listed = " and ".join(map(str, shapes))
                    raise ShapeError(f"{name}: shapes {listed} do not broadcast: sizes "
                                     f"{out[k]} and {n} differ at axis {k - ndim}")
                out[k] = n
    return tuple(out)


def broadcast(*inputs, name="operands"):
    """Elementwise: inputs broadcast together, the dtype stays (the engine has promoted it)."""
    return Plan([(broadcast_shape(name, *(x.shape for x in inputs)), inputs[0].dtype)])


def same(x, *attrs):
    """Output like the first input."""
    return Plan([(x.shape, x.dtype)])


def compare(x, y):
    """Elementwise comparison: broadcast, bool out."""
    return Plan([(broadcast_shape("comparison", x.shape, y.shape), dtypes.bool_)])


# Rules of these kinds are worked out in C where the inputs are Tensors of one dtype, not bool; a
# rule of the same meaning says so by the same attribute.
broadcast.shortcut, same.shortcut, compare.shortcut = "broadcast", "same", "compare"


def normal_axis(name, axis, ndim):
    """`axis` as 0 <= axis < ndim."""
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise ArgumentError(f"{name}: axis must be an integer, got {axis!r}")
    try:
        axis = axis.__index__()
    except TypeError:
        raise ArgumentError(f"{name}: axis must be an integer, got {axis!r}") from None
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{name}: axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


def normal_axes(name, axis, ndim):
    """`axis` (None, an int, a tuple) as a sorted tuple of axes without repetition."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    normal = tuple(sorted(normal_axis(name, a, ndim) for a in axes))
    if len(set(normal)) != len(normal):
        raise ShapeError(f"{name}: axis {axis} names an axis twice")
    return normal


def reduced_shape(shape, axes, keepdims):
    """`shape` after the reduction over `axes`."""
    if keepdims:
        return tuple(1 if k in axes else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def need_float(name, **arrays):
    """DtypeError unless each of the named arrays is float32 or float64."""
    for arg, x in arrays.items():
        if x is not None and not dtypes.is_float(x.dtype):
            raise DtypeError(f"{name}: {arg} must be float32 or float64, got {x.dtype}; "
                             f"convert it with ad.astype({arg}, ad.float32)")


def need_fit(name, dtype, **expected):
    """Each `arg=(array, shape)` must be of that dtype and shape, or None.

    For the inputs that only a derivative rule passes: a kernel reads them unseen.
    """
    for arg, (x, shape) in expected.items():
        if x is None:
            continue
        if x.dtype != dtype:
            raise DtypeError(f"{name}: {arg} must be {dtype}, got {x.dtype}; convert it with "
                             "ad.astype")
        if tuple(x.shape) != tuple(shape):
            raise ShapeError(f"{name}: {arg} must have shape {tuple(shape)}, got {x.shape}")


def need_ndim(name, ndim, **arrays):
    """ShapeError unless each of the named arrays has `ndim` dimensions."""
    for arg, x in arrays.items():
        if x is not None and len(x.shape) != ndim:
            raise ShapeError(f"{name}: {arg} must have {ndim} dimensions, got shape {x.shape}")
