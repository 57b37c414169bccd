# Dense products of the BLAS library, row-major, on the calling thread alone:
# kernels split the work over the pool and call these from inside parts.
# Invariant: sizes of 0 are fine, and beta = 0 never reads what it overwrites.
from kernels.types cimport real

# c (m, n) = alpha * op(a) @ op(b) + beta * c; op(a) is (m, k), op(b) is (k, n).
# ta: `a` is stored (k, m).  lda, ldb, ldc: elements from a stored row to the next.
cdef void gemm(bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, real alpha,
               real* a, Py_ssize_t lda, real* b, Py_ssize_t ldb, real beta,
               real* c, Py_ssize_t ldc) noexcept nogil

# y = alpha * op(a) @ x + beta * y; `a` is stored (m, n); incx, incy in elements, positive.
cdef void gemv(bint ta, Py_ssize_t m, Py_ssize_t n, real alpha, real* a, Py_ssize_t lda,
               real* x, Py_ssize_t incx, real beta, real* y, Py_ssize_t incy) noexcept nogil

# a (m, n) += alpha * outer(x, y).
cdef void ger(Py_ssize_t m, Py_ssize_t n, real alpha, real* x, Py_ssize_t incx,
              real* y, Py_ssize_t incy, real* a, Py_ssize_t lda) noexcept nogil

# Inner product of n elements.
cdef real dot(Py_ssize_t n, real* x, Py_ssize_t incx, real* y, Py_ssize_t incy) noexcept nogil
