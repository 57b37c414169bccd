# A whole GRU layer, forward and backward, some time steps at a time, as in lstm.pyx.
# Invariant: the inputs' product for a chunk of steps is one product over all its
# rows; then each thread runs the recurrence of its own rows of the batch.
#
# A row of gates is r, z, n, m, each of hidden size: reset, update, new, and
# m = w_hn h + b_hn, which the reset gate scales: n = tanh(w_in x + b_in + r m).
from libc.string cimport memcpy, memset

from kernels.blas cimport gemm
from kernels.launch cimport BAD_DTYPE, FLOAT32, FLOAT64, OK, Buf, Launch, parallel_over, threads_of
from kernels.rows cimport row_sigmoid, row_tanh
from kernels.types cimport real

cdef enum:
    ROWS = 512                  # of a chunk; autodiff/ops/gru.py sizes the scratch by it
    GRAIN = 1 << 17             # multiply-adds

cdef struct Layer:
    Launch* L
    Buf* x
    Buf* h0
    Buf* w_ih
    Buf* w_hh
    Py_ssize_t steps, batch, inputs, hidden
    Py_ssize_t chunk, begin, end            # steps of the present chunk
    char* gates                             # of its first step: values, or their gradients


cdef int describe(Layer* s, Launch* L, int at) noexcept nogil:
    s.L = L
    s.x, s.h0, s.w_ih, s.w_hh = L.b[at], L.b[at + 1], L.b[at + 2], L.b[at + 3]
    if s.x.dtype != FLOAT32 and s.x.dtype != FLOAT64:
        return BAD_DTYPE
    s.steps, s.batch, s.inputs = s.x.shape[0], s.x.shape[1], s.x.shape[2]
    s.hidden = s.h0.shape[1]
    s.chunk = min(s.steps, ROWS // max(s.batch, <Py_ssize_t>1) + 1)
    return OK


cdef inline Py_ssize_t grain(Py_ssize_t work) noexcept nogil:
    return GRAIN // (work + 1) + 1


cdef inline real* row(Buf* b, Py_ssize_t at, real* type) noexcept nogil:
    return <real*>b.data + at


# Forward.

cdef void inputs_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows of the chunk: gates = bias, and x w_ih^T added to the first three."""
    cdef Py_ssize_t i, width = 4 * s.hidden
    cdef real* bias = <real*>s.L.work
    cdef real* a = <real*>s.gates + begin * width
    for i in range(end - begin):
        memcpy(a + i * width, bias, width * sizeof(real))
    gemm(False, True, end - begin, 3 * s.hidden, s.inputs, <real>1,
         row(s.x, (s.begin * s.batch + begin) * s.inputs, type), s.inputs,
         row(s.w_ih, 0, type), s.inputs, <real>1, a, width)


cdef void inputs_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        inputs_rows(s, begin, end, <float*>NULL)
    else:
        inputs_rows(s, begin, end, <double*>NULL)


cdef void forward_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows [begin, end) of the batch through the chunk's steps."""
    cdef Py_ssize_t t, n, j, h = s.hidden, count = end - begin
    cdef real* a
    cdef real* before
    cdef real* old
    cdef real* out
    for t in range(s.begin, s.end):
        a = <real*>s.gates + ((t - s.begin) * s.batch + begin) * 4 * h
        if t > 0:
            before = row(s.L.b[0], ((t - 1) * s.batch + begin) * h, type)
        else:
            before = row(s.h0, begin * h, type)
        gemm(False, True, count, 2 * h, h, <real>1, before, h, row(s.w_hh, 0, type), h,
             <real>1, a, 4 * h)
        gemm(False, True, count, h, h, <real>1, before, h, row(s.w_hh, 2 * h * h, type), h,
             <real>1, a + 3 * h, 4 * h)
        for n in range(count):
            out = row(s.L.b[0], (t * s.batch + begin + n) * h, type)
            old = before + n * h
            row_sigmoid(a, a, 2 * h)
            for j in range(h):
                a[2 * h + j] += a[j] * a[3 * h + j]
            row_tanh(a + 2 * h, a + 2 * h, h)
            for j in range(h):
                out[j] = a[2 * h + j] + a[h + j] * (old[j] - a[2 * h + j])
            a += 4 * h


cdef void forward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        forward_rows(s, begin, end, <float*>NULL)
    else:
        forward_rows(s, begin, end, <double*>NULL)


cdef int forward(Launch* L, Layer* s, real* type) noexcept nogil:
    cdef Py_ssize_t j, h = s.hidden, width = 4 * s.hidden
    cdef real* bias = <real*>L.work
    memset(bias, 0, width * sizeof(real))
    if L.b[6] != NULL:
        for j in range(3 * h):
            bias[j] += (<real*>L.b[6].data)[j]
    if L.b[7] != NULL:
        for j in range(2 * h):
            bias[j] += (<real*>L.b[7].data)[j]
        for j in range(2 * h, 3 * h):       # inside the reset gate's product
            bias[h + j] += (<real*>L.b[7].data)[j]
    s.begin = 0
    while s.begin < s.steps:
        s.end = min(s.begin + s.chunk, s.steps)
        s.gates = <char*>(bias + width)
        if L.b[1] != NULL:
            s.gates = <char*>row(L.b[1], s.begin * s.batch * width, type)
        parallel_over(inputs_part, s, (s.end - s.begin) * s.batch, grain(3 * h * s.inputs),
                      threads_of(L))
        parallel_over(forward_part, s, s.batch, grain((s.end - s.begin) * 3 * h * (h + 16)),
                      threads_of(L))
        s.begin = s.end
    return OK


cdef int gru_run(Launch* L) noexcept nogil:
    """out, gates; x, h0, w_ih, w_hh, b_ih, b_hh.  Contiguous.

    Scratch: one row of gates, and a chunk's where gates are not kept.
    """
    cdef Layer s
    cdef int status = describe(&s, L, 2)
    if status != OK:
        return status
    if s.x.dtype == FLOAT32:
        return forward(L, &s, <float*>NULL)
    return forward(L, &s, <double*>NULL)


# Backward: the chunks from the last to the first.

cdef void backward_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows [begin, end) of the batch back through the chunk: gradients of r, z, n, m before
    their nonlinearity, and the running dh."""
    cdef Py_ssize_t t, n, j, h = s.hidden, at
    cdef real* dh_all = <real*>s.L.work
    cdef real* da
    cdef real* dh
    cdef real* a
    cdef real* old
    cdef real* g
    cdef real r, z, new, m, dn, dhj
    for t in range(s.end - 1, s.begin - 1, -1):
        for n in range(begin, end):
            at = (t * s.batch + n) * h
            da = <real*>s.gates + ((t - s.begin) * s.batch + n) * 4 * h
            dh = dh_all + n * h
            g = row(s.L.b[5], at, type)
            a = row(s.L.b[11], 4 * at, type)
            old = row(s.L.b[10], at - s.batch * h, type) if t > 0 else row(s.h0, n * h, type)
            for j in range(h):
                r, z, new, m = a[j], a[h + j], a[2 * h + j], a[3 * h + j]
                dhj = dh[j] + g[j]
                dn = dhj * (1 - z) * (1 - new * new)
                da[j] = dn * m * r * (1 - r)
                da[h + j] = dhj * (old[j] - new) * z * (1 - z)
                da[2 * h + j] = dn
                da[3 * h + j] = dn * r
                dh[j] = dhj * z
        da = <real*>s.gates + ((t - s.begin) * s.batch + begin) * 4 * h
        dh = dh_all + begin * h
        gemm(False, False, end - begin, h, 2 * h, <real>1, da, 4 * h, row(s.w_hh, 0, type), h,
             <real>1, dh, h)
        gemm(False, False, end - begin, h, h, <real>1, da + 3 * h, 4 * h,
             row(s.w_hh, 2 * h * h, type), h, <real>1, dh, h)


cdef void backward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        backward_rows(s, begin, end, <float*>NULL)
    else:
        backward_rows(s, begin, end, <double*>NULL)


cdef void dw_hh_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t shift,
                     real* type) noexcept nogil:
    """Rows [begin, end) of dw_hh, whose gates lie `shift` further along."""
    cdef Launch* L = s.L
    cdef Py_ssize_t h = s.hidden, width = 4 * h, rows = (s.end - s.begin) * s.batch, first = 0
    cdef real* da = <real*>s.gates + begin + shift
    if end <= begin:
        return
    if s.begin == 0:
        gemm(True, False, end - begin, h, s.batch, <real>1, da, width, row(s.h0, 0, type), h,
             <real>1, row(L.b[3], begin * h, type), h)
        first = s.batch
    if rows > first:
        gemm(True, False, end - begin, h, rows - first, <real>1, da + first * width, width,
             row(L.b[10], ((s.begin - 1) * s.batch + first) * h, type), h,
             <real>1, row(L.b[3], begin * h, type), h)


cdef void weights_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Columns [begin, end) of the gates: the chunk's share of the weights' gradients added."""
    cdef Launch* L = s.L
    cdef Py_ssize_t h = s.hidden, width = 4 * h, rows = (s.end - s.begin) * s.batch, k, j
    cdef Py_ssize_t last = min(end, 3 * h)
    cdef real* da = <real*>s.gates
    cdef real* db
    if L.ia[0] & 4 and begin < last:
        gemm(True, False, last - begin, s.inputs, rows, <real>1, da + begin, width,
             row(s.x, s.begin * s.batch * s.inputs, type), s.inputs,
             <real>1, row(L.b[2], begin * s.inputs, type), s.inputs)
    if L.ia[0] & 8:
        dw_hh_rows(s, begin, min(end, 2 * h), 0, type)
        dw_hh_rows(s, max(begin, 3 * h) - h, end - h, h, type)
    if L.ia[0] & 16:
        db = row(L.b[4], 0, type)
        for k in range(rows):
            for j in range(begin, end):
                db[j] += da[k * width + j]


cdef void weights_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        weights_rows(s, begin, end, <float*>NULL)
    else:
        weights_rows(s, begin, end, <double*>NULL)


cdef void dx_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows of the chunk: dx = da w_ih."""
    cdef Py_ssize_t width = 4 * s.hidden
    gemm(False, False, end - begin, s.inputs, 3 * s.hidden, <real>1,
         <real*>s.gates + begin * width, width, row(s.w_ih, 0, type), s.inputs, <real>0,
         row(s.L.b[0], (s.begin * s.batch + begin) * s.inputs, type), s.inputs)


cdef void dx_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        dx_rows(s, begin, end, <float*>NULL)
    else:
        dx_rows(s, begin, end, <double*>NULL)


cdef int backward(Launch* L, Layer* s, real* type) noexcept nogil:
    cdef Py_ssize_t state = s.batch * s.hidden, rows
    cdef real* dh = <real*>L.work
    cdef int k
    s.gates = <char*>(dh + state)
    if state:                           # a state of no bytes may have no address
        memset(dh, 0, state * sizeof(real))
    for k in range(2, 5):
        memset(L.b[k].data, 0, L.b[k].n * sizeof(real))
    s.end = s.steps
    while s.end > 0:
        s.begin = max(s.end - s.chunk, <Py_ssize_t>0)
        rows = (s.end - s.begin) * s.batch
        parallel_over(backward_part, s, s.batch,
                      grain((s.end - s.begin) * 3 * s.hidden * (s.hidden + 16)), threads_of(L))
        if L.ia[0] & 28:
            parallel_over(weights_part, s, 4 * s.hidden, grain(rows * (s.inputs + s.hidden)),
                          threads_of(L))
        if L.ia[0] & 1:
            parallel_over(dx_part, s, rows, grain(3 * s.hidden * s.inputs), threads_of(L))
        s.end = s.begin
    if L.ia[0] & 2 and state:
        memcpy(L.b[1].data, dh, state * sizeof(real))
    return OK


cdef int gru_backward_run(Launch* L) noexcept nogil:
    """dx, dh0, dw_ih, dw_hh, db; g, x, h0, w_ih, w_hh, out, gates.

    Contiguous; ia: needs, a bit for each output.  Scratch: dh, and a chunk's gates.
    """
    cdef Layer s
    cdef int status = describe(&s, L, 6)
    if status != OK:
        return status
    if s.x.dtype == FLOAT32:
        return backward(L, &s, <float*>NULL)
    return backward(L, &s, <double*>NULL)


TABLE = {"gru": <size_t>&gru_run, "gru_backward": <size_t>&gru_backward_run}
