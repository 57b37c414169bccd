# Binary cross-entropy of logits, forward and backward.
# Invariant: sums run in double over strips of elements in their order, whatever the number of
# threads; no exponential overflows.
from kernels.launch cimport FLOAT32, FLOAT64, BAD_DTYPE, OK, Launch, parallel_over, threads_of
from kernels.rows cimport row_sum
from kernels.types cimport real
from kernels.vmath cimport vexp, vlog1p, vsigmoid

cdef enum:
    STRIP = 256                 # elements whose losses are made before they are summed
    BLOCK = 4096                # elements in one partial sum; as in the op's scratch
    GRAIN = 1 << 13             # elements

cdef enum:
    NONE, MEAN, SUM             # L.ia[0]


cdef inline void losses(real* out, real* x, real* y, Py_ssize_t n) noexcept nogil:
    """max(x, 0) - x y + log(1 + exp(-|x|))"""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = ((x[i] if x[i] > 0 else 0) - x[i] * y[i]
                  + vlog1p(vexp(-x[i] if x[i] > 0 else x[i])))


cdef void forward_blocks(Launch* L, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t k, i, last, width
    cdef real* x = <real*>L.b[1].data
    cdef real* y = <real*>L.b[2].data
    cdef real strip[STRIP]
    cdef double s
    for k in range(begin, end):
        i, last, s = k * BLOCK, min((k + 1) * BLOCK, L.b[1].n), 0
        if L.ia[0] == NONE:
            losses(<real*>L.b[0].data + i, x + i, y + i, last - i)
            continue
        while i < last:
            width = min(<Py_ssize_t>STRIP, last - i)
            losses(strip, x + i, y + i, width)
            s += row_sum(strip, width)
            i += width
        (<double*>L.work)[k] = s


cdef void forward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    if L.b[0].dtype == FLOAT32:
        forward_blocks(L, begin, end, <float*>NULL)
    else:
        forward_blocks(L, begin, end, <double*>NULL)


cdef int bce_with_logits_run(Launch* L) noexcept nogil:
    """out; x, y.  Contiguous; ia: reduction.  Scratch: a double for each block, n // BLOCK + 1."""
    cdef Py_ssize_t k, blocks = (L.b[1].n + BLOCK - 1) // BLOCK
    cdef double s = 0
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    parallel_over(forward_part, L, blocks, GRAIN // BLOCK, threads_of(L))
    if L.ia[0] != NONE:
        for k in range(blocks):
            s += (<double*>L.work)[k]
        if L.ia[0] == MEAN:
            s /= L.b[1].n
        if L.b[0].dtype == FLOAT32:
            (<float*>L.b[0].data)[0] = <float>s
        else:
            (<double*>L.b[0].data)[0] = s
    return OK


cdef void backward_work(Launch* L, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t i
    cdef real* dx = <real*>L.b[0].data
    cdef real* g = <real*>L.b[1].data
    cdef real* x = <real*>L.b[2].data
    cdef real* y = <real*>L.b[3].data
    cdef real scale
    if L.ia[0] == NONE:
        for i in range(begin, end):
            dx[i] = g[i] * (vsigmoid(x[i]) - y[i])
        return
    scale = g[0] / L.b[2].n if L.ia[0] == MEAN else g[0]
    for i in range(begin, end):
        dx[i] = (vsigmoid(x[i]) - y[i]) * scale


cdef void backward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    if L.b[0].dtype == FLOAT32:
        backward_work(L, begin, end, <float*>NULL)
    else:
        backward_work(L, begin, end, <double*>NULL)


cdef int bce_with_logits_backward_run(Launch* L) noexcept nogil:
    """dx; g, x, y.  Contiguous; ia: reduction."""
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    parallel_over(backward_part, L, L.b[0].n, GRAIN, threads_of(L))
    return OK


TABLE = {
    "bce_with_logits": <size_t>&bce_with_logits_run,
    "bce_with_logits_backward": <size_t>&bce_with_logits_backward_run,
}
