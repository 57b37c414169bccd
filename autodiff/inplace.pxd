from libc.stdint cimport int64_t

from autodiff.bound cimport Bound
from autodiff.plan cimport Prepared
from autodiff.tensor cimport Tensor

cdef object apply_into(Bound b, Prepared p, list inputs, tuple attrs, int64_t needs)
cdef bint add_in_place(Tensor into, Tensor g) except -1
