from autodiff.bound cimport Bound
from autodiff.tensor cimport Tensor

cdef object apply1(Bound b, Tensor x)
cdef object apply2(Bound b, Tensor x, Tensor y)
cdef object apply(Bound b, list inputs, tuple attrs)
