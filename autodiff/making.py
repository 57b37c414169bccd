"""Making Tensors from data.

Invariant: `tensor` always copies; `from_numpy` and DLPack share, and say so.
"""

import numpy as np

from . import core, dtypes
from .errors import ArgumentError, DtypeError

__all__ = ["from_dlpack", "from_numpy", "parameter", "tensor"]


def tensor(data, dtype=None, requires_grad=False):
    """A Tensor from a copy of `data`: a number, nested lists, an ndarray or a Tensor.

    Python floats become the default dtype (float32 unless set), ints int64; arrays keep theirs.
    Raises DtypeError for unsupported dtypes, ArgumentError for ragged lists.
    """
    if isinstance(data, core.Tensor):
        data = data.numpy()
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ArgumentError(f"tensor: the data do not form an array: {error}") from None
    if array.dtype == object or array.dtype.kind in "USVMm":
        raise DtypeError(f"tensor: expected numbers, got {array.dtype} data")
    if dtype is None:
        own = isinstance(data, (np.ndarray, np.generic)) and type(data) is not float
        if own or _holds_arrays(data):
            dtype = array.dtype
        elif array.dtype.kind == "f" or array.size == 0:
            dtype = dtypes.get_default_dtype()
        else:
            dtype = array.dtype
    out = core.make(array, dtypes.as_dtype(dtype), "input")
    out.requires_grad = requires_grad
    return out


def _holds_arrays(data):
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic, core.Tensor))


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
    return core.from_numpy(array)


def from_dlpack(x):
    """A Tensor that shares the memory of any object with `__dlpack__` (on the CPU)."""
    return core.from_numpy(np.from_dlpack(x))
