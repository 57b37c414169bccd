"""Making Tensors from data.

Invariant: `tensor` always copies; `from_numpy` and DLPack share, and say so.
"""

import numpy as np

from . import call, core, dtypes
from .dry import dry_array
from .errors import ArgumentError, AutodiffError, DtypeError, ShapeError, ValueRangeError

__all__ = ["from_dlpack", "from_numpy", "parameter", "tensor"]


def tensor(data, dtype=None, requires_grad=False):
    """A Tensor from a copy of `data`: a number, nested lists, an ndarray or a Tensor.

    Python floats become the default dtype (float32 unless set), ints int64; arrays keep theirs.
    Raises DtypeError for unsupported dtypes, ArgumentError for ragged lists.
    """
    if not isinstance(requires_grad, (bool, np.bool_)):
        raise ArgumentError(f"tensor: requires_grad must be a bool, got {requires_grad!r}")
    if isinstance(data, core.Tensor):
        data = dry_array(data) if data.is_dry and core.dry_runs() else data.numpy()
    array = call.as_array("tensor", data)
    if array.ndim > 8:
        raise ShapeError(f"tensor: at most 8 dimensions, got shape {array.shape}")
    if dtype is None:
        weak = array.dtype.kind == "f" or array.size == 0
        own = not isinstance(data, (int, float, list, tuple)) or call.holds_arrays(data)
        dtype = array.dtype if own or not weak else dtypes.get_default_dtype()
    dtype = dtypes.as_dtype(dtype)
    if array.dtype.kind == "c":
        raise DtypeError(f"tensor: {array.dtype} is not supported; pass the real and the "
                         "imaginary part")
    try:
        out = core.make(array, dtype, "input")
    except OverflowError as error:
        raise ValueRangeError(f"tensor: {error}") from None
    out.requires_grad = requires_grad
    return out


def parameter(data, dtype=None, requires_grad=True):
    """A leaf that training changes: a copy of `data`, counted as a parameter."""
    out = tensor(data, dtype)
    out.category = "parameter"
    out.requires_grad = requires_grad
    return out


def from_numpy(array):
    """A Tensor that shares the memory of an ndarray: no copy.

    Unguarded: backward does not notice writes made through the ndarray.
    """
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"from_numpy: expected an ndarray, got {type(array).__name__}; use "
                            "ad.tensor(...), which copies")
    if array.ndim > 8:
        raise ShapeError(f"from_numpy: at most 8 dimensions, got shape {array.shape}")
    if not array.dtype.isnative or not array.flags.aligned:
        raise DtypeError("from_numpy: the array must be aligned and of native byte order; use "
                         "ad.tensor(array), which copies")
    dtypes.as_dtype(array.dtype)
    return core.from_numpy(np.asarray(array))


def from_dlpack(x):
    """A Tensor that shares the memory of any object with `__dlpack__` (on the CPU)."""
    if not hasattr(x, "__dlpack__"):
        raise ArgumentError(f"from_dlpack: expected an object with __dlpack__, got "
                            f"{type(x).__name__}; use ad.tensor(...), which copies")
    if isinstance(x, core.Tensor):
        return x.detach()
    try:
        array = np.from_dlpack(x)
    except AutodiffError:
        raise
    except Exception as error:              # whatever the other library raises
        raise ArgumentError(f"from_dlpack: this {type(x).__name__} cannot be shared: {error}; "
                            "use ad.tensor(...), which copies") from None
    return from_numpy(array)
