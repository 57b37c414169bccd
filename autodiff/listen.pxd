from autodiff.bound cimport Bound
from autodiff.storage cimport Storage
from kernels.launch cimport Launch

cdef class LaunchCopy:
    cdef Launch L
    cdef bytearray bufs, pointers
    cdef list held                  # the storage of each buffer that is there
    cdef Storage work
    cdef bint dry
    cdef readonly str name

cdef bint listened
cdef int tell(Bound b, plan, list inputs, list given, list outputs, tuple attrs, seconds,
              Launch* L) except -1
