"""Tensors from data: `make` copies, `from_numpy` shares the memory, `empty` leaves it undefined.

Invariant: what comes in is checked here (dtype, alignment, at most 8 dimensions), so that the
rest of the core trusts every Tensor.
"""

cimport numpy as cnp

from autodiff.storage cimport Storage, detours, in_trace
from autodiff.tensor cimport Tensor, ndarray_of, new_tensor
from kernels.launch cimport FLOAT32, contiguous

import numpy as np

from . import dtypes
from .errors import ArgumentError, DtypeError, ShapeError
from .storage import dry_runs

cnp.import_array()


def make(data, dtype=None, category="input"):
    """A Tensor from a copy of `data`."""
    cdef Tensor t
    cdef double value
    if detours and in_trace():              # a constant of what is captured: its values are known
        depth = dry_runs()
        dry_runs(-depth)
        try:
            return make(data, dtype, category)
        finally:
            dry_runs(depth)
    if type(data) in (float, int) and dtype is not None and dtype.kind == "f":  # the commonest
        t = new_tensor(dtypes.CODE[dtype], 0, NULL)
        value = data
        if t.storage.dry:
            pass
        elif t.buf.dtype == FLOAT32:
            (<float*>t.buf.data)[0] = <float>value
        else:
            (<double*>t.buf.data)[0] = value
        return t
    array = np.asarray(data, dtype=None if dtype is None else dtypes.as_dtype(dtype))
    t = empty(array.shape, dtypes.as_dtype(array.dtype), category)
    if not t.storage.dry:
        ndarray_of(t, cnp.NPY_ARRAY_WRITEABLE)[...] = array
    return t


def from_numpy(array):
    """A Tensor that shares the memory of `array`; writes to the array go unnoticed."""
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"from_numpy: expected an ndarray, got {type(array).__name__}")
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int k
    if not array.dtype.isnative or not array.flags.aligned:
        raise DtypeError("from_numpy: the array must be aligned and of native byte order; use "
                         "ad.tensor(array), which copies")
    if array.ndim > 8:
        raise ShapeError(f"from_numpy: at most 8 dimensions, got {array.ndim}")
    t.buf.dtype = dtypes.CODE[dtypes.as_dtype(array.dtype)]
    t.buf.ndim, t.buf.n = array.ndim, array.size
    for k in range(t.buf.ndim):
        t.buf.shape[k], t.buf.strides[k] = array.shape[k], array.strides[k]
    t.storage = Storage.__new__(Storage)
    t.storage.owner, t.storage.nbytes = array, array.nbytes
    t.storage.readonly = not array.flags.writeable
    t.storage.ptr = t.buf.data = <char*>cnp.PyArray_DATA(array)
    t.dense = contiguous(&t.buf)
    return t


def empty(shape, dtype, category="temporary"):
    """A Tensor with undefined values."""
    cdef Py_ssize_t sizes[8]
    cdef int k, ndim = len(shape)
    if ndim > 8:
        raise ShapeError(f"a tensor has at most 8 dimensions, got {ndim}")
    for k in range(ndim):
        sizes[k] = shape[k]
        if sizes[k] < 0:
            raise ShapeError(f"a shape has no negative sizes, got {tuple(shape)}")
    cdef Tensor t = new_tensor(dtypes.CODE[dtype], ndim, sizes)
    if category != "temporary":
        t.category = category
    return t
