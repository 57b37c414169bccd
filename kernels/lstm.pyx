# A whole LSTM layer, forward and backward, some time steps at a time.
# Invariant: the inputs' product for a chunk of steps is one product over all its
# rows; then each thread runs the recurrence of its own rows of the batch through
# the chunk, so threads wait for each other once a chunk, not once a step.  The
# recurrent weights, used at each step, are packed once where the scratch has room.
#
# Gates lie in PyTorch's order along the last axis: input, forget, cell, output.
from libc.string cimport memcpy, memset

from kernels.blas cimport gemm, gemv
from kernels.launch cimport BAD_DTYPE, FLOAT32, FLOAT64, OK, Buf, Launch, parallel_over, threads_of
from kernels.panels cimport panels_of, panels_pack, panels_product, panels_room, product
from kernels.rows cimport row_lstm, row_lstm_backward
from kernels.types cimport real

cdef enum:
    ROWS = 512                  # of a chunk; autodiff/ops/recurrent.py sizes the scratch by it
    GRAIN = 1 << 17             # multiply-adds

cdef struct Layer:
    Launch* L
    Buf* x
    Buf* h0
    Buf* c0
    Buf* w_ih
    Buf* w_hh
    Py_ssize_t steps, batch, inputs, hidden
    Py_ssize_t chunk, begin, end            # steps of the present chunk
    char* bias                              # one row of gates
    char* gates                             # of its first step (forward)
    char* dh                                # gradients of the running state, dc after dh
    char* da                                # gradients of its gates (backward)
    char* packed                            # w_hh as the recurrence reads it, or NULL
    bint back


cdef int describe(Layer* s, Launch* L, int at) noexcept nogil:
    s.L = L
    s.x, s.h0, s.c0, s.w_ih, s.w_hh = L.b[at], L.b[at + 1], L.b[at + 2], L.b[at + 3], L.b[at + 4]
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


# The recurrent weights: (h, 4h) forward, (4h, h) backward.

cdef void pack_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        pack(s, begin, end, <float*>NULL)
    else:
        pack(s, begin, end, <double*>NULL)


cdef void pack(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t h = s.hidden
    if s.back:
        panels_pack(<real*>s.packed, row(s.w_hh, 0, type), h, 1, 4 * h, h, begin, end)
    else:
        panels_pack(<real*>s.packed, row(s.w_hh, 0, type), 1, h, h, 4 * h, begin, end)


cdef real* take_packed(Layer* s, Py_ssize_t other, bint back, real* type) noexcept nogil:
    """Pack w_hh at the front of the scratch if that has room beside `other` elements; what is
    left of the scratch."""
    cdef Py_ssize_t h = s.hidden
    cdef Py_ssize_t room = panels_room(4 * h, h) if back else panels_room(h, 4 * h)
    s.packed, s.back = NULL, back
    if s.L.work_bytes < <Py_ssize_t>((room + other) * sizeof(real)):
        return <real*>s.L.work
    s.packed = <char*>s.L.work
    parallel_over(pack_part, s, panels_of(h if back else 4 * h, sizeof(real)), 4, threads_of(s.L))
    return <real*>s.L.work + room


# Forward.

cdef void inputs_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows of the chunk: gates = bias + x w_ih^T."""
    cdef Py_ssize_t width = 4 * s.hidden
    product(<real*>s.gates + begin * width, width, <real*>s.bias, 0,
            row(s.x, (s.begin * s.batch + begin) * s.inputs, type), s.inputs, 1,
            row(s.w_ih, 0, type), 1, s.inputs, end - begin, width, s.inputs, <real>1,
            <real*>NULL)


cdef void inputs_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        inputs_rows(s, begin, end, <float*>NULL)
    else:
        inputs_rows(s, begin, end, <double*>NULL)


cdef void forward_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows [begin, end) of the batch through the chunk's steps."""
    cdef Py_ssize_t t, n, h = s.hidden, count = end - begin
    cdef real* z
    cdef real* before
    cdef real* out
    cdef real* c
    cdef real* old
    cdef bint kept = s.L.b[3] != NULL
    for t in range(s.begin, s.end):
        z = <real*>s.gates + ((t - s.begin) * s.batch + begin) * 4 * h
        if t > 0:
            before = row(s.L.b[0], ((t - 1) * s.batch + begin) * h, type)
        else:
            before = row(s.h0, begin * h, type)
        if s.packed != NULL:
            panels_product(z, 4 * h, before, h, <real*>s.packed, count, 4 * h, h, True)
        elif count == 1:
            gemv(False, 4 * h, h, <real>1, row(s.w_hh, 0, type), h, before, 1, <real>1, z, 1)
        else:
            gemm(False, True, count, 4 * h, h, <real>1, before, h, row(s.w_hh, 0, type), h,
                 <real>1, z, 4 * h)
        for n in range(begin, end):
            out = row(s.L.b[0], (t * s.batch + n) * h, type)
            c = row(s.L.b[3], (t * s.batch + n) * h, type) if kept else \
                row(s.L.b[1], n * h, type)
            if t == 0:
                old = row(s.c0, n * h, type)
            else:
                old = c - s.batch * h if kept else c
            row_lstm(out, c, z, old, h, kept)
            z += 4 * h


cdef void forward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        forward_rows(s, begin, end, <float*>NULL)
    else:
        forward_rows(s, begin, end, <double*>NULL)


cdef int forward(Launch* L, Layer* s, real* type) noexcept nogil:
    cdef Py_ssize_t j, width = 4 * s.hidden, state = s.batch * s.hidden
    cdef Py_ssize_t chunk = s.chunk * s.batch if L.b[2] == NULL else 0
    cdef real* bias = take_packed(s, (chunk + 1) * width, False, type)
    s.bias = <char*>bias
    for j in range(width):
        bias[j] = 0
        if L.b[9] != NULL:
            bias[j] += (<real*>L.b[9].data)[j]
        if L.b[10] != NULL:
            bias[j] += (<real*>L.b[10].data)[j]
    s.begin = 0
    while s.begin < s.steps:
        s.end = min(s.begin + s.chunk, s.steps)
        s.gates = <char*>(bias + width)
        if L.b[2] != NULL:
            s.gates = <char*>row(L.b[2], s.begin * s.batch * width, type)
        parallel_over(inputs_part, s, (s.end - s.begin) * s.batch, grain(width * s.inputs),
                      threads_of(L))
        parallel_over(forward_part, s, s.batch,
                      grain((s.end - s.begin) * width * (s.hidden + 16)), threads_of(L))
        s.begin = s.end
    if s.steps == 0:
        memcpy(L.b[1].data, s.c0.data, state * sizeof(real))
    elif L.b[3] != NULL:
        memcpy(L.b[1].data, row(L.b[3], (s.steps - 1) * state, type), state * sizeof(real))
    return OK


cdef int lstm_run(Launch* L) noexcept nogil:
    """out, cn, gates, cells; x, h0, c0, w_ih, w_hh, b_ih, b_hh.  Contiguous.

    Scratch: one row of gates, a chunk's where gates are not kept, room for w_hh packed.  cn
    holds the running cell state where cells are not kept.
    """
    cdef Layer s
    cdef int status = describe(&s, L, 4)
    if status != OK:
        return status
    if s.x.dtype == FLOAT32:
        return forward(L, &s, <float*>NULL)
    return forward(L, &s, <double*>NULL)


# Backward: the chunks from the last to the first.

cdef void backward_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows [begin, end) of the batch back through the chunk: da, and the running dh and dc."""
    cdef Py_ssize_t t, n, h = s.hidden, at
    cdef real* dh_all = <real*>s.dh
    cdef real* dc_all = dh_all + s.batch * h
    cdef real* da
    cdef real* a
    cdef real* c
    cdef real* old
    cdef real* g
    for t in range(s.end - 1, s.begin - 1, -1):
        for n in range(begin, end):
            at = (t * s.batch + n) * h
            da = <real*>s.da + ((t - s.begin) * s.batch + n) * 4 * h
            a = row(s.L.b[14], 4 * at, type)
            c = row(s.L.b[15], at, type)
            old = c - s.batch * h if t > 0 else row(s.c0, n * h, type)
            g = row(s.L.b[6], at, type) if s.L.b[6] != NULL else <real*>NULL
            row_lstm_backward(da, dc_all + n * h, dh_all + n * h, g, a, c, old, h)
        da = <real*>s.da + ((t - s.begin) * s.batch + begin) * 4 * h
        if s.packed != NULL:
            panels_product(dh_all + begin * h, h, da, 4 * h, <real*>s.packed, end - begin, h,
                           4 * h, False)
        else:
            gemm(False, False, end - begin, h, 4 * h, <real>1, da, 4 * h, row(s.w_hh, 0, type), h,
                 <real>0, dh_all + begin * h, h)


cdef void backward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        backward_rows(s, begin, end, <float*>NULL)
    else:
        backward_rows(s, begin, end, <double*>NULL)


cdef void weights_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows [begin, end) of the weights' gradients, the chunk's share added."""
    cdef Launch* L = s.L
    cdef Py_ssize_t h = s.hidden, width = 4 * h, rows = (s.end - s.begin) * s.batch, k, j
    cdef Py_ssize_t count = end - begin, first = 0
    cdef real* da = <real*>s.da + begin
    cdef real* db = row(L.b[5], begin, type) if L.ia[0] & 32 else <real*>NULL
    cdef real* into
    if L.ia[0] & 8:
        into = row(L.b[3], begin * s.inputs, type)
        product(into, s.inputs, into, s.inputs, da, 1, width,
                row(s.x, s.begin * s.batch * s.inputs, type), s.inputs, 1, count, s.inputs, rows,
                <real>1, db)
    elif L.ia[0] & 32:
        for k in range(rows):
            for j in range(count):
                db[j] += da[k * width + j]
    if L.ia[0] & 16:
        into = row(L.b[4], begin * h, type)
        if s.begin == 0:
            product(into, h, into, h, da, 1, width, row(s.h0, 0, type), h, 1, count, h, s.batch,
                    <real>1, <real*>NULL)
            first = s.batch
        if rows > first:
            product(into, h, into, h, da + first * width, 1, width,
                    row(L.b[13], ((s.begin - 1) * s.batch + first) * h, type), h, 1, count, h,
                    rows - first, <real>1, <real*>NULL)


cdef void weights_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        weights_rows(s, begin, end, <float*>NULL)
    else:
        weights_rows(s, begin, end, <double*>NULL)


cdef void dx_rows(Layer* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """Rows of the chunk: dx = da w_ih."""
    cdef Py_ssize_t width = 4 * s.hidden
    product(row(s.L.b[0], (s.begin * s.batch + begin) * s.inputs, type), s.inputs, <real*>NULL, 0,
            <real*>s.da + begin * width, width, 1, row(s.w_ih, 0, type), s.inputs, 1, end - begin,
            s.inputs, width, <real>1, <real*>NULL)


cdef void dx_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Layer* s = <Layer*>context
    if s.x.dtype == FLOAT32:
        dx_rows(s, begin, end, <float*>NULL)
    else:
        dx_rows(s, begin, end, <double*>NULL)


cdef int backward(Launch* L, Layer* s, real* type) noexcept nogil:
    cdef Py_ssize_t state = s.batch * s.hidden, rows
    cdef real* dh = take_packed(s, (4 * s.chunk + 2) * state, True, type)
    cdef real* dc = dh + state
    cdef int k
    s.dh = <char*>dh
    s.da = <char*>(dc + state)
    if state:                           # a state of no bytes may have no address
        memset(dh, 0, 2 * state * sizeof(real))
    if L.b[7] != NULL and state:
        memcpy(dc, L.b[7].data, state * sizeof(real))
    for k in range(3, 6):
        memset(L.b[k].data, 0, L.b[k].n * sizeof(real))
    s.end = s.steps
    while s.end > 0:
        s.begin = max(s.end - s.chunk, <Py_ssize_t>0)
        rows = (s.end - s.begin) * s.batch
        parallel_over(backward_part, s, s.batch,
                      grain((s.end - s.begin) * 4 * s.hidden * (s.hidden + 16)), threads_of(L))
        if L.ia[0] & 56:
            parallel_over(weights_part, s, 4 * s.hidden, grain(rows * (s.inputs + s.hidden)),
                          threads_of(L))
        if L.ia[0] & 1:
            parallel_over(dx_part, s, rows, grain(4 * s.hidden * s.inputs), threads_of(L))
        s.end = s.begin
    if L.ia[0] & 2 and state:
        memcpy(L.b[1].data, dh, state * sizeof(real))
    if L.ia[0] & 4 and state:
        memcpy(L.b[2].data, dc, state * sizeof(real))
    return OK


cdef int lstm_backward_run(Launch* L) noexcept nogil:
    """dx, dh0, dc0, dw_ih, dw_hh, db; g_out, g_cn, x, h0, c0, w_ih, w_hh, out, gates, cells.

    Contiguous; ia: needs, a bit for each output.  Scratch: dh and dc, a chunk's gates, and
    room for w_hh packed.
    """
    cdef Layer s
    cdef int status = describe(&s, L, 8)
    if status != OK:
        return status
    if s.x.dtype == FLOAT32:
        return backward(L, &s, <float*>NULL)
    return backward(L, &s, <double*>NULL)


TABLE = {"lstm": <size_t>&lstm_run, "lstm_backward": <size_t>&lstm_backward_run}
