from autodiff.bound cimport Bound
from kernels.launch cimport Launch

cdef bint listened
cdef int tell(Bound b, plan, list inputs, list given, list outputs, tuple attrs, seconds,
              Launch* L) except -1
