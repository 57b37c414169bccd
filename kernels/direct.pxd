# direct.h over `real`: convolution without columns.
from kernels.types cimport real

cdef extern from "direct.h" nogil:
    struct direct:
        Py_ssize_t channels, height, width, outs, rows, columns
        Py_ssize_t kh, kw, sh, sw, ph, pw, dh, dw
    Py_ssize_t direct_high(direct* d, Py_ssize_t rows)
    Py_ssize_t direct_wide(direct* d)
    void direct_pack_f(direct* d, float* packed, float* w, Py_ssize_t so, Py_ssize_t sc, bint flip,
                       Py_ssize_t first, Py_ssize_t last)
    void direct_pack_d(direct* d, double* packed, double* w, Py_ssize_t so, Py_ssize_t sc,
                       bint flip, Py_ssize_t first, Py_ssize_t last)
    void direct_band_f(direct* d, float* out, float* x, float* packed, float* bias, Py_ssize_t top,
                       Py_ssize_t bottom, float* room)
    void direct_band_d(direct* d, double* out, double* x, double* packed, double* bias,
                       Py_ssize_t top, Py_ssize_t bottom, double* room)


cdef inline void direct_pack(direct* d, real* packed, real* w, Py_ssize_t so, Py_ssize_t sc,
                             bint flip, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Pack panels [first, last) of one group's weights."""
    if real is float:
        direct_pack_f(d, packed, w, so, sc, flip, first, last)
    else:
        direct_pack_d(d, packed, w, so, sc, flip, first, last)


cdef inline void direct_band(direct* d, real* out, real* x, real* packed, real* bias,
                             Py_ssize_t top, Py_ssize_t bottom, real* room) noexcept nogil:
    """Rows [top, bottom) of the output of one group of one image."""
    if real is float:
        direct_band_f(d, out, x, packed, bias, top, bottom, room)
    else:
        direct_band_d(d, out, x, packed, bias, top, bottom, room)
