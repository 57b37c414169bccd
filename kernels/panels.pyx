# Matrix products from registers (panels.h), compiled once for all kernels that use them.
# Invariant: see panels.h; nothing here but the choice of the float type.
cdef extern from "panels.h" nogil:
    void panels_pack_f(float* packed, float* b, Py_ssize_t rb, Py_ssize_t cb, Py_ssize_t k,
                       Py_ssize_t n, Py_ssize_t first, Py_ssize_t last)
    void panels_pack_d(double* packed, double* b, Py_ssize_t rb, Py_ssize_t cb, Py_ssize_t k,
                       Py_ssize_t n, Py_ssize_t first, Py_ssize_t last)
    void panels_product_f(float* c, Py_ssize_t ldc, float* start, Py_ssize_t lds, float* a,
                          Py_ssize_t lda, float* packed, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k)
    void panels_product_d(double* c, Py_ssize_t ldc, double* start, Py_ssize_t lds, double* a,
                          Py_ssize_t lda, double* packed, Py_ssize_t m, Py_ssize_t n,
                          Py_ssize_t k)
    void product_f(float* c, Py_ssize_t ldc, float* start, Py_ssize_t lds, float* a, Py_ssize_t ra,
                   Py_ssize_t ca, float* b, Py_ssize_t rb, Py_ssize_t cb, Py_ssize_t m,
                   Py_ssize_t n, Py_ssize_t k, float scale, float* sums)
    void product_d(double* c, Py_ssize_t ldc, double* start, Py_ssize_t lds, double* a,
                   Py_ssize_t ra, Py_ssize_t ca, double* b, Py_ssize_t rb, Py_ssize_t cb,
                   Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, double scale, double* sums)


cdef void panels_pack(real* packed, real* b, Py_ssize_t rb, Py_ssize_t cb, Py_ssize_t k,
                      Py_ssize_t n, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    if real is float:
        panels_pack_f(packed, b, rb, cb, k, n, first, last)
    else:
        panels_pack_d(packed, b, rb, cb, k, n, first, last)


cdef void panels_product(real* c, Py_ssize_t ldc, real* a, Py_ssize_t lda, real* packed,
                         Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, bint add) noexcept nogil:
    if real is float:
        panels_product_f(c, ldc, c if add else NULL, ldc, a, lda, packed, m, n, k)
    else:
        panels_product_d(c, ldc, c if add else NULL, ldc, a, lda, packed, m, n, k)


cdef void product(real* c, Py_ssize_t ldc, real* start, Py_ssize_t lds, real* a, Py_ssize_t ra,
                  Py_ssize_t ca, real* b, Py_ssize_t rb, Py_ssize_t cb, Py_ssize_t m,
                  Py_ssize_t n, Py_ssize_t k, real scale, real* sums) noexcept nogil:
    if real is float:
        product_f(c, ldc, start, lds, a, ra, ca, b, rb, cb, m, n, k, scale, sums)
    else:
        product_d(c, ldc, start, lds, a, ra, ca, b, rb, cb, m, n, k, scale, sums)
