# panels.h over `real`: products with a matrix that is packed once and used often.
from kernels.types cimport real

cdef extern from "panels.h" nogil:
    const int PANEL_VECTOR, PANEL_MOST
    void panels_pack_f(float* packed, float* b, Py_ssize_t rs, Py_ssize_t cs, Py_ssize_t k,
                       Py_ssize_t n, Py_ssize_t first, Py_ssize_t last)
    void panels_pack_d(double* packed, double* b, Py_ssize_t rs, Py_ssize_t cs, Py_ssize_t k,
                       Py_ssize_t n, Py_ssize_t first, Py_ssize_t last)
    void panels_product_f(float* c, Py_ssize_t ldc, float* a, Py_ssize_t lda, float* packed,
                          Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, bint add)
    void panels_product_d(double* c, Py_ssize_t ldc, double* a, Py_ssize_t lda, double* packed,
                          Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, bint add)


cdef inline Py_ssize_t panels_of(Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    """Panels of a matrix of n columns."""
    cdef Py_ssize_t width = 2 * PANEL_VECTOR // itemsize
    return (n + width - 1) // width


cdef inline Py_ssize_t panels_room(Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """Elements that a packed (k, n) may take, on any machine."""
    return (n + PANEL_MOST - 1) // PANEL_MOST * PANEL_MOST * k


cdef inline void panels_pack(real* packed, real* b, Py_ssize_t rs, Py_ssize_t cs, Py_ssize_t k,
                             Py_ssize_t n, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Pack panels [first, last) of b (k, n), whose element (l, j) is b[l * rs + j * cs]."""
    if real is float:
        panels_pack_f(packed, b, rs, cs, k, n, first, last)
    else:
        panels_pack_d(packed, b, rs, cs, k, n, first, last)


cdef inline void panels_product(real* c, Py_ssize_t ldc, real* a, Py_ssize_t lda, real* packed,
                                Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
                                bint add) noexcept nogil:
    """c (m, n) = a (m, k) b, or added."""
    if real is float:
        panels_product_f(c, ldc, a, lda, packed, m, n, k, add)
    else:
        panels_product_d(c, ldc, a, lda, packed, m, n, k, add)
