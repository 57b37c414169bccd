# The door to BLAS: scipy-openblas32, its symbols prefixed with scipy_, loaded by
# kernels/__init__.py before this module.
# Invariant: the library runs on the calling thread; the pool does the splitting.
cdef extern from "cblas.h" nogil:
    enum CBLAS_ORDER:
        CblasRowMajor
    enum CBLAS_TRANSPOSE:
        CblasNoTrans
        CblasTrans
    void scipy_cblas_sgemm(CBLAS_ORDER, CBLAS_TRANSPOSE, CBLAS_TRANSPOSE, int m, int n, int k,
                           float alpha, float* a, int lda, float* b, int ldb, float beta,
                           float* c, int ldc)
    void scipy_cblas_dgemm(CBLAS_ORDER, CBLAS_TRANSPOSE, CBLAS_TRANSPOSE, int m, int n, int k,
                           double alpha, double* a, int lda, double* b, int ldb, double beta,
                           double* c, int ldc)
    void scipy_cblas_sgemv(CBLAS_ORDER, CBLAS_TRANSPOSE, int m, int n, float alpha, float* a,
                           int lda, float* x, int incx, float beta, float* y, int incy)
    void scipy_cblas_dgemv(CBLAS_ORDER, CBLAS_TRANSPOSE, int m, int n, double alpha, double* a,
                           int lda, double* x, int incx, double beta, double* y, int incy)
    void scipy_cblas_sger(CBLAS_ORDER, int m, int n, float alpha, float* x, int incx, float* y,
                          int incy, float* a, int lda)
    void scipy_cblas_dger(CBLAS_ORDER, int m, int n, double alpha, double* x, int incx,
                          double* y, int incy, double* a, int lda)
    float scipy_cblas_sdot(int n, float* x, int incx, float* y, int incy)
    double scipy_cblas_ddot(int n, double* x, int incx, double* y, int incy)
    void scipy_openblas_set_num_threads(int n)
    const char* scipy_openblas_get_corename()
    const char* scipy_openblas_get_config()


cdef void scale_rows(Py_ssize_t m, Py_ssize_t n, real beta, real* c, Py_ssize_t ldc) noexcept nogil:
    """c = beta * c, what a product over an empty axis leaves."""
    cdef Py_ssize_t i, j
    for i in range(m):
        for j in range(n):
            c[i * ldc + j] = beta * c[i * ldc + j] if beta != 0 else 0


# BLAS insists on a leading dimension of at least the row's length even where it
# is never used (one row, or no element).
cdef inline int leading(Py_ssize_t given, Py_ssize_t row) noexcept nogil:
    if given < row:
        given = row
    return <int>given if given > 1 else 1


cdef void gemm(bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, real alpha,
               real* a, Py_ssize_t lda, real* b, Py_ssize_t ldb, real beta,
               real* c, Py_ssize_t ldc) noexcept nogil:
    cdef CBLAS_TRANSPOSE opa = CblasTrans if ta else CblasNoTrans
    cdef CBLAS_TRANSPOSE opb = CblasTrans if tb else CblasNoTrans
    if m == 0 or n == 0:
        return
    if k == 0:
        scale_rows(m, n, beta, c, ldc)
        return
    if real is float:
        scipy_cblas_sgemm(CblasRowMajor, opa, opb, <int>m, <int>n, <int>k, alpha,
                          a, leading(lda, m if ta else k), b, leading(ldb, k if tb else n),
                          beta, c, leading(ldc, n))
    else:
        scipy_cblas_dgemm(CblasRowMajor, opa, opb, <int>m, <int>n, <int>k, alpha,
                          a, leading(lda, m if ta else k), b, leading(ldb, k if tb else n),
                          beta, c, leading(ldc, n))


cdef void gemv(bint ta, Py_ssize_t m, Py_ssize_t n, real alpha, real* a, Py_ssize_t lda,
               real* x, Py_ssize_t incx, real beta, real* y, Py_ssize_t incy) noexcept nogil:
    cdef CBLAS_TRANSPOSE op = CblasTrans if ta else CblasNoTrans
    if m == 0 or n == 0:
        scale_rows(n if ta else m, 1, beta, y, incy)
        return
    if real is float:
        scipy_cblas_sgemv(CblasRowMajor, op, <int>m, <int>n, alpha, a, leading(lda, n),
                          x, <int>incx, beta, y, <int>incy)
    else:
        scipy_cblas_dgemv(CblasRowMajor, op, <int>m, <int>n, alpha, a, leading(lda, n),
                          x, <int>incx, beta, y, <int>incy)


cdef void ger(Py_ssize_t m, Py_ssize_t n, real alpha, real* x, Py_ssize_t incx,
              real* y, Py_ssize_t incy, real* a, Py_ssize_t lda) noexcept nogil:
    if m == 0 or n == 0:
        return
    if real is float:
        scipy_cblas_sger(CblasRowMajor, <int>m, <int>n, alpha, x, <int>incx, y, <int>incy,
                         a, leading(lda, n))
    else:
        scipy_cblas_dger(CblasRowMajor, <int>m, <int>n, alpha, x, <int>incx, y, <int>incy,
                         a, leading(lda, n))


cdef real dot(Py_ssize_t n, real* x, Py_ssize_t incx, real* y, Py_ssize_t incy) noexcept nogil:
    if real is float:
        return scipy_cblas_sdot(<int>n, x, <int>incx, y, <int>incy)
    else:
        return scipy_cblas_ddot(<int>n, x, <int>incx, y, <int>incy)


def blas_kernel():
    """Name of the processor core that the library runs its loops for."""
    return (<bytes>scipy_openblas_get_corename()).decode()


def blas_config():
    """The library's own words on its version and build."""
    return (<bytes>scipy_openblas_get_config()).decode()


scipy_openblas_set_num_threads(1)
