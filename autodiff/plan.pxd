from libc.stdint cimport int64_t

from autodiff.bound cimport Bound
from autodiff.tape cimport Meta
from autodiff.tensor cimport Tensor

cdef class Prepared:                # a Plan, unpacked for C, for one set of shapes and attributes
    cdef object plan
    cdef tuple attrs
    cdef int nout, nia, nfa, threads
    cdef Meta* out
    cdef int64_t ia[12]
    cdef double fa[4]
    cdef Py_ssize_t work_bytes      # scratch, for `threads`
    cdef bint has_view
    cdef Meta view
    cdef Py_ssize_t view_strides[8]
    cdef Py_ssize_t view_offset

cdef Prepared prepare(Bound b, list inputs, tuple attrs)
cdef Tensor view_of(Tensor x, Prepared p)
