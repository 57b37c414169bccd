# linear and relu in one pass, the weight read once and as it lies: for inference.
# Invariant: no inner product is split, so results do not depend on the number of threads.
#
# x (..., k), weight (n, k), bias (n) or none, out (..., n), all contiguous.
from kernels.dots cimport DOTS_A, DOTS_B, dots_relu
from kernels.launch cimport (
    BAD_DTYPE, FLOAT32, FLOAT64, OK, Buf, Launch, parallel_over, threads_of)
from kernels.types cimport real

cdef enum:
    LINEAR_GRAIN = 1 << 18      # operations in a part at least: about 5 microseconds

cdef struct Linear:
    Launch* L
    Py_ssize_t m, n, k
    Py_ssize_t unit             # rows of the weight, or of x, that are not taken apart
    bint by_rows                # the rows of x are shared out


cdef void linear_piece(Linear* v, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef real* out = <real*>v.L.b[0].data
    cdef real* x = <real*>v.L.b[1].data
    cdef real* bias = <real*>v.L.b[3].data if v.L.b[3] != NULL else NULL
    cdef Py_ssize_t first = begin * v.unit, last = min(end * v.unit, v.m if v.by_rows else v.n)
    if v.by_rows:
        dots_relu(out + first * v.n, v.n, x + first * v.k, v.k, <real*>v.L.b[2].data, v.k, bias,
                  last - first, v.k, 0, v.n)
    else:
        dots_relu(out, v.n, x, v.k, <real*>v.L.b[2].data, v.k, bias, v.m, v.k, first, last)


cdef void linear_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Linear* v = <Linear*>context
    if v.L.b[0].dtype == FLOAT32:
        linear_piece[float](v, begin, end, NULL)
    else:
        linear_piece[double](v, begin, end, NULL)


cdef int linear_relu_run(Launch* L) noexcept nogil:
    """out = max(0, x weight^T + bias)."""
    cdef Linear v
    cdef Buf* out = L.b[0]
    cdef Buf* weight = L.b[2]
    cdef Py_ssize_t units
    if ((out.dtype != FLOAT32 and out.dtype != FLOAT64) or L.b[1].dtype != out.dtype
            or weight.dtype != out.dtype):
        return BAD_DTYPE
    if out.n == 0:
        return OK
    v.L, v.n, v.k = L, weight.shape[0], weight.shape[1]
    v.m = out.n // v.n
    v.by_rows = v.m > 4 * v.n
    v.unit = DOTS_A if v.by_rows else DOTS_B
    units = ((v.m if v.by_rows else v.n) + v.unit - 1) // v.unit
    parallel_over(linear_part, &v, units,
                  <Py_ssize_t>(LINEAR_GRAIN / (2. * v.m * v.n * v.k / units + 1)) + 1,
                  threads_of(L))
    return OK


TABLE = {"linear_relu": <size_t>&linear_relu_run}
