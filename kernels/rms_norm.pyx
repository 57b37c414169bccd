# rms_norm, forward and backward: layer norm without the mean.
# Invariant: as in norm.pyx, sums over rows are split in a number of chunks that
# depends on the shape alone, so the number of threads does not change the result.
from libc.math cimport sqrt
from libc.string cimport memset

from kernels.launch cimport BAD_DTYPE, FLOAT32, FLOAT64, OK, Buf, Launch, parallel_over, threads_of
from kernels.rows cimport row_dot
from kernels.types cimport real

cdef enum:
    GRAIN = 1 << 14             # elements

cdef struct Rows:
    Launch* L
    Py_ssize_t rows, width, chunks


cdef void describe(Rows* s, Launch* L, Buf* x) noexcept nogil:
    cdef int d
    s.L, s.rows, s.width = L, 1, 1
    for d in range(x.ndim):
        if d < x.ndim - L.ia[0]:
            s.rows *= x.shape[d]
        else:
            s.width *= x.shape[d]
    s.chunks = max(<Py_ssize_t>1, min(<Py_ssize_t>32, s.rows // 16))


cdef inline real* data(Buf* b, real* type) noexcept nogil:
    return NULL if b == NULL else <real*>b.data


cdef void forward_rows(Rows* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Launch* L = s.L
    cdef Py_ssize_t i, j, n = s.width
    cdef real* out
    cdef real* x
    cdef real* w = data(L.b[3], type)
    cdef real rstd
    for i in range(begin, end):
        out = <real*>L.b[0].data + i * n
        x = <real*>L.b[2].data + i * n
        rstd = <real>(1 / sqrt(row_dot(x, x, n) / n + L.fa[0]))
        if L.b[1] != NULL:
            (<real*>L.b[1].data)[i] = rstd
        if w != NULL:
            for j in range(n):
                out[j] = x[j] * rstd * w[j]
        else:
            for j in range(n):
                out[j] = x[j] * rstd


cdef void forward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Rows* s = <Rows*>context
    if s.L.b[0].dtype == FLOAT32:
        forward_rows(s, begin, end, <float*>NULL)
    else:
        forward_rows(s, begin, end, <double*>NULL)


cdef int rms_norm_run(Launch* L) noexcept nogil:
    """out, rstd; x, weight.  Contiguous; ia: normalised axes; fa: eps."""
    cdef Rows s
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    describe(&s, L, L.b[2])
    parallel_over(forward_part, &s, s.rows, GRAIN // (s.width + 1) + 1, threads_of(L))
    return OK


cdef void backward_chunks(Rows* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """dx of some chunks of rows, and their share of dweight in scratch."""
    cdef Launch* L = s.L
    cdef Py_ssize_t i, j, k, n = s.width
    cdef real* dx
    cdef real* g
    cdef real* x
    cdef real* w = data(L.b[4], type)
    cdef real* dw
    cdef real rstd, slope
    for k in range(begin, end):
        dw = <real*>L.work + k * n
        if L.ia[1] & 2:
            memset(dw, 0, n * sizeof(real))
        for i in range(k * s.rows // s.chunks, (k + 1) * s.rows // s.chunks):
            g = <real*>L.b[2].data + i * n
            x = <real*>L.b[3].data + i * n
            rstd = (<real*>L.b[5].data)[i]
            if L.ia[1] & 2:
                for j in range(n):
                    dw[j] += g[j] * (x[j] * rstd)
            if not L.ia[1] & 1:
                continue
            dx = <real*>L.b[0].data + i * n
            if w != NULL:
                for j in range(n):
                    dx[j] = g[j] * w[j]
                g = dx
            slope = <real>(row_dot(g, x, n) / n) * rstd * rstd
            for j in range(n):
                dx[j] = rstd * (g[j] - x[j] * slope)


cdef void backward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Rows* s = <Rows*>context
    if s.L.b[3].dtype == FLOAT32:
        backward_chunks(s, begin, end, <float*>NULL)
    else:
        backward_chunks(s, begin, end, <double*>NULL)


cdef void add_chunks(Rows* s, real* type) noexcept nogil:
    """The chunks' shares of dweight added up in their order."""
    cdef Py_ssize_t j, k
    cdef real* total = <real*>s.L.b[1].data
    cdef real* share
    memset(total, 0, s.width * sizeof(real))
    for k in range(s.chunks):
        share = <real*>s.L.work + k * s.width
        for j in range(s.width):
            total[j] += share[j]


cdef int rms_norm_backward_run(Launch* L) noexcept nogil:
    """dx, dweight; g, x, weight, rstd.  ia: normalised axes, needs.

    Scratch, where dweight is wanted: a row for each chunk of rows.
    """
    cdef Rows s
    if L.b[3].dtype != FLOAT32 and L.b[3].dtype != FLOAT64:
        return BAD_DTYPE
    describe(&s, L, L.b[3])
    parallel_over(backward_part, &s, s.chunks, GRAIN * s.chunks // (L.b[3].n + 1) + 1,
                  threads_of(L))
    if L.ia[1] & 2:
        if L.b[3].dtype == FLOAT32:
            add_chunks(&s, <float*>NULL)
        else:
            add_chunks(&s, <double*>NULL)
    return OK


TABLE = {"rms_norm": <size_t>&rms_norm_run, "rms_norm_backward": <size_t>&rms_norm_backward_run}
