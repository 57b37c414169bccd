# Parts of a full sum, for whoever sums what it has just computed (autodiff/replay.pyx): in the same
# order as the kernels `sum` and `mean`, so that the result is the same to the last bit.
cdef enum:
    LANES = 32

cdef Py_ssize_t sum_chunk(Py_ssize_t n) noexcept nogil
cdef void sum_lanes(double* lanes, char* x, int dtype, Py_ssize_t n) noexcept nogil
cdef double sum_of_lanes(double* lanes) noexcept nogil
