from libc.stdint cimport int64_t

from autodiff.tape cimport Record

cdef object pull(Record r, object pending, int64_t needs, bint connect)
