# panels.h over `real`, compiled into one module: matrix products from registers.
# Invariant: on the calling thread alone, without scratch: kernels split the work.
from kernels.types cimport real

cdef extern from "panels.h" nogil:
    const int PANEL_VECTOR, PANEL_MOST


cdef inline Py_ssize_t panels_of(Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    """Panels of a matrix of n columns."""
    cdef Py_ssize_t width = 2 * PANEL_VECTOR // itemsize
    return (n + width - 1) // width


cdef inline Py_ssize_t panels_room(Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """Elements that a packed (k, n) may take, on any machine."""
    return (n + PANEL_MOST - 1) // PANEL_MOST * PANEL_MOST * k


# Pack panels [first, last) of b (k, n), whose element (l, j) is b[l * rb + j * cb].
cdef void panels_pack(real* packed, real* b, Py_ssize_t rb, Py_ssize_t cb, Py_ssize_t k,
                      Py_ssize_t n, Py_ssize_t first, Py_ssize_t last) noexcept nogil

# c (m, n) = a (m, k) b, or added; b is packed, a row by row.
cdef void panels_product(real* c, Py_ssize_t ldc, real* a, Py_ssize_t lda, real* packed,
                         Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, bint add) noexcept nogil

# c (m, n) = start + scale a (m, k) b (k, n): element (i, l) of a is a[i * ra + l * ca], of b
# b[l * rb + j * cb]; one of ra and ca is 1, and one of rb and cb.  start: NULL, c itself
# (lds = ldc), or one row for all (lds = 0).  sums, if not NULL (cb = 1, ra = 1): sums (m) += the
# sums of a over k.
cdef void product(real* c, Py_ssize_t ldc, real* start, Py_ssize_t lds, real* a, Py_ssize_t ra,
                  Py_ssize_t ca, real* b, Py_ssize_t rb, Py_ssize_t cb, Py_ssize_t m,
                  Py_ssize_t n, Py_ssize_t k, real scale, real* sums) noexcept nogil
