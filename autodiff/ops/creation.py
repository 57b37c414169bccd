"""New arrays: filled, counted, triangular.

Signatures follow the array API standard; the dtype of floats is the default dtype unless given.
Invariant: large arrays are written by one `fill` launch, never built in Python and copied.
"""

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, ShapeError, ValueRangeError
from ..guard import need_room
from ..op import Plan, op
from ..samples import Bad, Sample
from .shape import normal_shape

__all__ = ["arange", "asarray", "empty", "empty_like", "eye", "full_like", "linspace", "meshgrid",
           "ones", "ones_like", "zeros", "zeros_like"]


def full_infer(shape, fill_value, dtype):
    shape = normal_shape("full", shape)
    if min(shape, default=0) < 0:
        raise ShapeError(f"full: sizes must not be negative, got {shape}")
    if not isinstance(fill_value, (bool, int, float, np.generic)):
        raise ArgumentError(f"full: fill_value must be a number, got {fill_value!r}")
    dtype = dtypes.of_scalar(fill_value) if dtype is None else dtypes.as_dtype(dtype)
    if dtypes.is_float(dtype):
        ia, fa = (0,), (float(fill_value),)
    else:
        ia, fa = (int(fill_value),), (0.0,)
    return Plan([(shape, dtype)], ia=ia, fa=fa, attrs=(shape, fill_value, dtype))


full = op(
    "full", "", "An array of `shape` with one value everywhere.", formula="fill_value",
    attrs={"shape": (), "fill_value": 0.0, "dtype": None}, kernel="fill", layout="strided",
    infer=full_infer, method=False,
    samples=lambda draw: [Sample((2, 3), 1.5, check_grad=False), Sample((), 2, check_grad=False),
                          Sample((0, 3), 0.0, dtype="float64", check_grad=False),
                          Sample(3, True, check_grad=False)],
    bad=lambda draw: [Bad(ShapeError, "negative", (2, -1), 0.0),
                      Bad(ArgumentError, "a number", (2,), "1")])


def zeros(shape, *, dtype=None):
    """Zeros of `shape`, in the default dtype unless given."""
    return full(shape, 0.0, dtypes.get_default_dtype() if dtype is None else dtype)


def ones(shape, *, dtype=None):
    """Ones of `shape`, in the default dtype unless given."""
    return full(shape, 1.0, dtypes.get_default_dtype() if dtype is None else dtype)


def empty(shape, *, dtype=None):
    """An array of `shape` with undefined values."""
    from .. import core
    dtype = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    shape = normal_shape("empty", shape)
    need_room("empty", shape, dtype)
    return core.empty(shape, dtype)


def full_like(x, fill_value, *, dtype=None):
    """An array with the shape and dtype of `x` and one value everywhere."""
    return full(tuple(x.shape), fill_value, x.dtype if dtype is None else dtype)


def zeros_like(x, *, dtype=None):
    """Zeros with the shape and dtype of `x`."""
    return full_like(x, 0.0, dtype=dtype)


def ones_like(x, *, dtype=None):
    """Ones with the shape and dtype of `x`."""
    return full_like(x, 1.0, dtype=dtype)


def empty_like(x, *, dtype=None):
    """An array with the shape and dtype of `x` and undefined values."""
    return empty(tuple(x.shape), dtype=x.dtype if dtype is None else dtype)


def asarray(data, dtype=None):
    """`data` as a Tensor: itself where it is one of that dtype, else a copy."""
    from .. import core
    if isinstance(data, core.Tensor):
        if dtype is None or data.dtype == dtypes.as_dtype(dtype):
            return data
        from ..op import registry
        return registry["astype"].call(data, dtype)
    from ..making import tensor
    out = tensor(data, dtype)
    out.category = "temporary"
    return out


def arange(start, stop=None, step=1, *, dtype=None):
    """start, start + step, ... up to but without `stop`; arange(n) counts from 0.

    int64 where all arguments are integers, else the default dtype. ValueRangeError for step 0.
    """
    start, stop = (0, start) if stop is None else (start, stop)
    _need_numbers("arange", start=start, stop=stop, step=step)
    if step == 0:
        raise ValueRangeError("arange: step must not be 0")
    dtype = _number_dtype(start, stop, step) if dtype is None else dtype
    return asarray(np.arange(start, stop, step), dtype)


def _need_numbers(name, **values):
    for arg, value in values.items():
        if not isinstance(value, (int, float, np.integer, np.floating)):
            raise ArgumentError(f"{name}: {arg} must be a number, got {value!r}")


def _number_dtype(*values):
    whole = all(isinstance(v, (int, np.integer)) for v in values)
    return dtypes.int64 if whole else dtypes.get_default_dtype()


def linspace(start, stop, num, *, dtype=None, endpoint=True):
    """`num` equal steps from `start` to `stop` (with it where `endpoint`), in the default dtype."""
    _need_numbers("linspace", start=start, stop=stop)
    if num < 0:
        raise ValueRangeError(f"linspace: num must not be negative, got {num}")
    return asarray(np.linspace(start, stop, num, endpoint=endpoint),
                   dtypes.get_default_dtype() if dtype is None else dtype)


def eye(n_rows, n_cols=None, *, k=0, dtype=None):
    """Ones on diagonal `k`, zeros elsewhere; shape (n_rows, n_cols or n_rows)."""
    dtype = dtypes.get_default_dtype() if dtype is None else dtype
    return asarray(np.eye(n_rows, n_cols, k), dtype)


def meshgrid(*arrays, indexing="xy"):
    """Coordinate arrays of the grid over 1-D `arrays`, as a list of views."""
    from .shape import broadcast_arrays, reshape, swapaxes
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    ndim = len(arrays)
    grids = broadcast_arrays(*[reshape(x, (1,) * k + (-1,) + (1,) * (ndim - k - 1))
                               for k, x in enumerate(arrays)])
    return [swapaxes(x, 0, 1) for x in grids] if indexing == "xy" and ndim > 1 else grids


# ---- triangles

def triangle_infer(name):
    def infer(x, k):
        if isinstance(k, bool) or not hasattr(k, "__index__"):
            raise ArgumentError(f"{name}: k must be an integer, got {k!r}")
        if len(x.shape) < 2:
            raise ShapeError(f"{name}: needs at least 2 dimensions, got shape {x.shape}")
        return Plan([(x.shape, x.dtype)], ia=(k,))
    return infer


def tril_vjp(g, needs, k):
    return tril(g, k)


def triu_vjp(g, needs, k):
    return triu(g, k)


def _triangle_samples(draw):
    return [Sample(draw.normal(3, 3)), Sample(draw.normal(2, 3, 4), 1),
            Sample(draw.normal(4, 2), -1), Sample(draw.normal(2, 0, 3))]


tril = op("tril", "x", "Lower triangles of the matrices in the last two axes.",
          formula="x[..., i, j] if j - i <= k else 0", attrs={"k": 0}, kernel="tril",
          infer=triangle_infer("tril"), linear=True, vjp=tril_vjp, method=False,
          samples=_triangle_samples, bad=lambda draw: [Bad(ShapeError, "2 dim", draw.normal(3))])

triu = op("triu", "x", "Upper triangles of the matrices in the last two axes.",
          formula="x[..., i, j] if j - i >= k else 0", attrs={"k": 0}, kernel="triu",
          infer=triangle_infer("triu"), linear=True, vjp=triu_vjp, method=False,
          samples=_triangle_samples, bad=lambda draw: [Bad(ShapeError, "2 dim", draw.normal(3))])
