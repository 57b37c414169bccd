from libc.string cimport memcpy

from autodiff.storage cimport Storage
from autodiff.tape cimport Meta, Node
from kernels.launch cimport Buf

cdef class Tensor:
    cdef Storage storage            # stays the same for life
    cdef readonly Node node
    cdef readonly int index         # which output of the node
    cdef bint dense                 # C order without gaps
    cdef public object dual         # its tangent, under forward mode
    cdef Buf buf
    cdef object __weakref__

ctypedef object (*binary_t)(object operation, Tensor x, Tensor y)
cdef binary_t binary

cdef Tensor new_tensor(int dtype, int ndim, Py_ssize_t* shape)
cdef Tensor bare(Tensor t)
cdef Tensor number_like(Tensor x, object number)
cdef object ndarray_of(Tensor t, int flags)

cdef inline void note_meta(Meta* meta, Buf* b) noexcept:
    meta.dtype, meta.ndim = b.dtype, b.ndim
    memcpy(meta.shape, b.shape, b.ndim * sizeof(Py_ssize_t))
