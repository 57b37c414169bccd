# strips.h over `real`: convolution of few taps.
from kernels.direct cimport direct
from kernels.types cimport real

cdef extern from "strips.h" nogil:
    int STRIPS_PLAIN, STRIPS_RELU, STRIPS_POOL
    void strips_pack_f(direct* d, float* packed, float* w, Py_ssize_t so, Py_ssize_t sc, bint flip)
    void strips_pack_d(direct* d, double* packed, double* w, Py_ssize_t so, Py_ssize_t sc,
                       bint flip)
    void strips_band_f(direct* d, int kind, float* out, float* x, float* packed, float* bias,
                       Py_ssize_t top, Py_ssize_t bottom, float* room)
    void strips_band_d(direct* d, int kind, double* out, double* x, double* packed, double* bias,
                       Py_ssize_t top, Py_ssize_t bottom, double* room)
    void strips_pool_f(float* to, float* a, float* b, Py_ssize_t n)
    void strips_pool_d(double* to, double* a, double* b, Py_ssize_t n)


cdef inline void strips_pool(real* to, real* a, real* b, Py_ssize_t n) noexcept nogil:
    """to[j] = max(0, the largest of two by two) of rows a and b, n columns, n even."""
    if real is float:
        strips_pool_f(to, a, b, n)
    else:
        strips_pool_d(to, a, b, n)


cdef inline void strips_pack(direct* d, real* packed, real* w, Py_ssize_t so, Py_ssize_t sc,
                             bint flip) noexcept nogil:
    """Pack the weights of one group."""
    if real is float:
        strips_pack_f(d, packed, w, so, sc, flip)
    else:
        strips_pack_d(d, packed, w, so, sc, flip)


cdef inline void strips_band(direct* d, int kind, real* out, real* x, real* packed, real* bias,
                             Py_ssize_t top, Py_ssize_t bottom, real* room) noexcept nogil:
    """Rows [top, bottom) of the convolution of one group of one image."""
    if real is float:
        strips_band_f(d, kind, out, x, packed, bias, top, bottom, room)
    else:
        strips_band_d(d, kind, out, x, packed, bias, top, bottom, room)
