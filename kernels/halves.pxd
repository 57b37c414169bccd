# halves.h over `real`: maxima of two by two.
from libc.stdint cimport uint8_t

from kernels.types cimport real

cdef extern from "halves.h" nogil:
    const int HALVES_LEAST
    void halves_max_f(float* out, uint8_t* place, float* a, float* b, Py_ssize_t n)
    void halves_max_d(double* out, uint8_t* place, double* a, double* b, Py_ssize_t n)
    void halves_back_f(float* a, float* b, float* g, uint8_t* place, Py_ssize_t n)
    void halves_back_d(double* a, double* b, double* g, uint8_t* place, Py_ssize_t n)


cdef inline void halves_max(real* out, uint8_t* place, real* a, real* b,
                            Py_ssize_t n) noexcept nogil:
    """n windows of rows a and b: the maximum, and its place 0 .. 3 (place may be NULL)."""
    if real is float:
        halves_max_f(out, place, a, b, n)
    else:
        halves_max_d(out, place, a, b, n)


cdef inline void halves_back(real* a, real* b, real* g, uint8_t* place,
                             Py_ssize_t n) noexcept nogil:
    """Rows a and b of the gradient of the input: g where the maximum was, else 0."""
    if real is float:
        halves_back_f(a, b, g, place, n)
    else:
        halves_back_d(a, b, g, place, n)
