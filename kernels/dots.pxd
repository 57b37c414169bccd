# dots.h over `real`: products with a weight that is read as it lies.
from kernels.types cimport real

cdef extern from "dots.h" nogil:
    const int DOTS_A, DOTS_B
    void dots_relu_f(float* c, Py_ssize_t ldc, float* a, Py_ssize_t lda, float* b, Py_ssize_t ldb,
                     float* bias, Py_ssize_t m, Py_ssize_t k, Py_ssize_t first, Py_ssize_t last)
    void dots_relu_d(double* c, Py_ssize_t ldc, double* a, Py_ssize_t lda, double* b,
                     Py_ssize_t ldb, double* bias, Py_ssize_t m, Py_ssize_t k, Py_ssize_t first,
                     Py_ssize_t last)


cdef inline void dots_relu(real* c, Py_ssize_t ldc, real* a, Py_ssize_t lda, real* b,
                           Py_ssize_t ldb, real* bias, Py_ssize_t m, Py_ssize_t k,
                           Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """c = max(0, a b^T + bias) for rows [first, last) of b."""
    if real is float:
        dots_relu_f(c, ldc, a, lda, b, ldb, bias, m, k, first, last)
    else:
        dots_relu_d(c, ldc, a, lda, b, ldb, bias, m, k, first, last)
