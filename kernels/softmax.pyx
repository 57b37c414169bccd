# softmax and log_softmax along one axis, forward and backward.
# Invariant: a block of columns goes through as a block of rows does, so the
# result of an element does not depend on the number of threads.
#
# x is seen as (outer, n, inner).  inner = 1: rows in memory, by rows.h.  Else
# COLUMNS neighbours of the inner axis at a time, the axis outside.
from libc.math cimport log
from libc.string cimport memcpy

from kernels.launch cimport BAD_DTYPE, FLOAT32, FLOAT64, OK, Launch, parallel
from kernels.rows cimport row_dot, row_exp, row_map_exp, row_max, row_sum
from kernels.types cimport real

cdef enum:
    COLUMNS = 64
    GRAIN = 1 << 14             # elements

ctypedef enum kind_t:
    SOFTMAX, LOG_SOFTMAX, SOFTMAX_BACKWARD, LOG_SOFTMAX_BACKWARD


cdef void forward_row(real* out, real* x, Py_ssize_t n, bint logarithm) noexcept nogil:
    cdef Py_ssize_t i
    cdef real top = row_max(x, n), scale
    if logarithm:
        scale = <real>log(row_exp(<real*>NULL, x, top, n))
        for i in range(n):
            out[i] = (x[i] - top) - scale
    else:
        scale = <real>(1 / row_exp(out, x, top, n))
        for i in range(n):
            out[i] = out[i] * scale


cdef void backward_row(real* dx, real* g, real* y, Py_ssize_t n, bint logarithm) noexcept nogil:
    cdef Py_ssize_t i
    cdef real s
    if logarithm:
        s = <real>row_sum(g, n)
        row_exp(dx, y, <real>0, n)
        for i in range(n):
            dx[i] = g[i] - dx[i] * s
    else:
        s = <real>row_dot(g, y, n)
        for i in range(n):
            dx[i] = y[i] * (g[i] - s)


cdef void forward_columns(real* out, real* x, Py_ssize_t n, Py_ssize_t inner, Py_ssize_t width,
                          bint logarithm) noexcept nogil:
    """`width` neighbouring columns of n elements, `inner` apart."""
    cdef Py_ssize_t i, j
    cdef real top[COLUMNS]
    cdef real scale[COLUMNS]
    cdef real strip[COLUMNS]
    cdef double total[COLUMNS]
    cdef real e
    for j in range(width):
        top[j] = x[j]
        total[j] = 0
    for i in range(1, n):
        for j in range(width):
            e = x[i * inner + j]
            top[j] = e if e > top[j] else top[j]
    for i in range(n):
        for j in range(width):
            strip[j] = x[i * inner + j] - top[j]
        row_map_exp(strip, strip, width)
        for j in range(width):
            total[j] += strip[j]
        if not logarithm:
            memcpy(out + i * inner, strip, width * sizeof(real))
    for j in range(width):
        scale[j] = <real>log(total[j]) if logarithm else <real>(1 / total[j])
    for i in range(n):
        if logarithm:
            for j in range(width):
                out[i * inner + j] = (x[i * inner + j] - top[j]) - scale[j]
        else:
            for j in range(width):
                out[i * inner + j] *= scale[j]


cdef void backward_columns(real* dx, real* g, real* y, Py_ssize_t n, Py_ssize_t inner,
                           Py_ssize_t width, bint logarithm) noexcept nogil:
    cdef Py_ssize_t i, j, at
    cdef double total[COLUMNS]
    cdef real s[COLUMNS]
    cdef real strip[COLUMNS]
    for j in range(width):
        total[j] = 0
    for i in range(n):
        at = i * inner
        if logarithm:
            for j in range(width):
                total[j] += g[at + j]
        else:
            for j in range(width):
                total[j] += <double>g[at + j] * y[at + j]
    for j in range(width):
        s[j] = <real>total[j]
    for i in range(n):
        at = i * inner
        if logarithm:
            row_map_exp(strip, y + at, width)
            for j in range(width):
                dx[at + j] = g[at + j] - strip[j] * s[j]
        else:
            for j in range(width):
                dx[at + j] = y[at + j] * (g[at + j] - s[j])


cdef void work(Launch* L, Py_ssize_t begin, Py_ssize_t end, kind_t kind, real* type) noexcept nogil:
    """Rows [begin, end), or blocks of columns."""
    cdef Py_ssize_t n = L.b[0].shape[L.ia[0]], inner = 1, blocks, width, k, at
    cdef int d
    cdef real* out = <real*>L.b[0].data
    cdef real* x = <real*>L.b[1].data
    cdef real* y = NULL
    cdef bint backward = kind >= SOFTMAX_BACKWARD
    cdef bint logarithm = kind == LOG_SOFTMAX or kind == LOG_SOFTMAX_BACKWARD
    if backward:
        y = <real*>L.b[2].data
    for d in range(<int>L.ia[0] + 1, L.b[0].ndim):
        inner *= L.b[0].shape[d]
    blocks = (inner + COLUMNS - 1) // COLUMNS
    for k in range(begin, end):
        if inner == 1:
            at = k * n
            if backward:
                backward_row(out + at, x + at, y + at, n, logarithm)
            else:
                forward_row(out + at, x + at, n, logarithm)
            continue
        at = k % blocks * COLUMNS
        width = min(<Py_ssize_t>COLUMNS, inner - at)
        at += k // blocks * n * inner
        if backward:
            backward_columns(out + at, x + at, y + at, n, inner, width, logarithm)
        else:
            forward_columns(out + at, x + at, n, inner, width, logarithm)


cdef void softmax_part(Launch* L, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    if L.b[0].dtype == FLOAT32:
        work(L, begin, end, SOFTMAX, <float*>NULL)
    else:
        work(L, begin, end, SOFTMAX, <double*>NULL)


cdef void log_softmax_part(Launch* L, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    if L.b[0].dtype == FLOAT32:
        work(L, begin, end, LOG_SOFTMAX, <float*>NULL)
    else:
        work(L, begin, end, LOG_SOFTMAX, <double*>NULL)


cdef void softmax_backward_part(Launch* L, Py_ssize_t begin, Py_ssize_t end,
                                int thread) noexcept nogil:
    if L.b[0].dtype == FLOAT32:
        work(L, begin, end, SOFTMAX_BACKWARD, <float*>NULL)
    else:
        work(L, begin, end, SOFTMAX_BACKWARD, <double*>NULL)


cdef void log_softmax_backward_part(Launch* L, Py_ssize_t begin, Py_ssize_t end,
                                    int thread) noexcept nogil:
    if L.b[0].dtype == FLOAT32:
        work(L, begin, end, LOG_SOFTMAX_BACKWARD, <float*>NULL)
    else:
        work(L, begin, end, LOG_SOFTMAX_BACKWARD, <double*>NULL)


cdef int split(Launch* L, void (*part)(Launch*, Py_ssize_t, Py_ssize_t, int) noexcept nogil
               ) noexcept nogil:
    cdef Py_ssize_t outer = 1, n = L.b[0].shape[L.ia[0]], inner = 1, items, width
    cdef int d
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    if L.b[0].n == 0:
        return OK
    for d in range(L.b[0].ndim):
        if d < L.ia[0]:
            outer *= L.b[0].shape[d]
        elif d > L.ia[0]:
            inner *= L.b[0].shape[d]
    items = outer * ((inner + COLUMNS - 1) // COLUMNS)
    width = min(inner, <Py_ssize_t>COLUMNS)
    parallel(part, L, items, GRAIN // (n * width) + 1)
    return OK


cdef int softmax_run(Launch* L) noexcept nogil:
    """out = exp(x - max) / sum along axis ia[0].  Contiguous."""
    return split(L, softmax_part)


cdef int log_softmax_run(Launch* L) noexcept nogil:
    """out = x - max - log sum exp(x - max) along axis ia[0].  Contiguous."""
    return split(L, log_softmax_part)


cdef int softmax_backward_run(Launch* L) noexcept nogil:
    """dx = y (g - sum(g y)) along axis ia[0].  Contiguous."""
    return split(L, softmax_backward_part)


cdef int log_softmax_backward_run(Launch* L) noexcept nogil:
    """dx = g - exp(y) sum(g) along axis ia[0].  Contiguous."""
    return split(L, log_softmax_backward_part)


TABLE = {
    "softmax": <size_t>&softmax_run,
    "log_softmax": <size_t>&log_softmax_run,
    "softmax_backward": <size_t>&softmax_backward_run,
    "log_softmax_backward": <size_t>&log_softmax_backward_run,
}
