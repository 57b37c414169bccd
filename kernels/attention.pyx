# Scaled dot-product attention by blocks of queries and keys, forward and backward.
# Invariant: no more than a block of scores exists at a time on each thread; a row
# with no key that takes part gives zeros and lse = +inf.  Each output element
# adds its blocks in ascending order however the blocks are split over threads.
#
# self_attention is the same over the heads of one array (..., T, 3 H d), seen by strides.
#
# Source: Dao et al., FlashAttention (2022).
from libc.math cimport INFINITY, exp, log
from libc.stdint cimport uint8_t
from libc.string cimport memset

from kernels.launch cimport (
    BAD_DTYPE, BOOL, FLOAT32, FLOAT64, OK, Buf, Launch, itemsize, parallel_over, threads_of)
from kernels.panels cimport product
from kernels.rows cimport row_dot, row_exp, row_max
from kernels.types cimport real

cdef enum:
    BLOCK_L = 64                # autodiff/ops/attention.py sizes the scratch by these
    BLOCK_S = 256
    GRAIN = 1 << 17             # multiply-adds

cdef struct Matrix:             # of each batch: element (i, j) at i * row + j * column
    Buf* of
    Py_ssize_t row, column

cdef struct Problem:
    Launch* L
    Buf* shape                  # an array with the batch axes of the result
    Buf* mask
    Buf* lse
    Py_ssize_t batch, length, s, e, ev, blocks, key_blocks
    Py_ssize_t mask_row, mask_column        # bytes
    Matrix q, k, v, out, g, dq, dk, dv
    bint causal


cdef Matrix matrix(Buf* a) noexcept nogil:
    cdef Matrix m
    cdef Py_ssize_t size = itemsize(a.dtype)
    m.of = a
    m.row, m.column = a.strides[a.ndim - 2] // size, a.strides[a.ndim - 1] // size
    if a.shape[a.ndim - 1] <= 1:
        m.column = 1
    return m


cdef char* of_batch(Buf* a, Py_ssize_t b, Buf* shape, int inner) noexcept nogil:
    """Where batch `b` of `a` begins; `a` broadcasts over the batch axes of `shape`.

    inner: axes of `a` after its batch axes; `shape` has two.
    """
    cdef int d, own
    cdef char* at = a.data
    for d in range(shape.ndim - 3, -1, -1):
        own = d + a.ndim - inner - (shape.ndim - 2)
        if own >= 0 and a.shape[own] != 1:
            at += b % shape.shape[d] * a.strides[own]
        b //= shape.shape[d]
    return at


cdef inline real* rows_of(Problem* p, Matrix* m, Py_ssize_t b, Py_ssize_t i,
                          real* type) noexcept nogil:
    """Row i of batch b."""
    return <real*>of_batch(m.of, b, p.shape, 2) + i * m.row


cdef void describe(Problem* p, Launch* L, Buf* q, Buf* k, Buf* v, Buf* mask, Buf* out,
                   bint causal) noexcept nogil:
    cdef int d
    p.L, p.shape, p.mask, p.causal = L, out, mask, causal
    p.q, p.k, p.v, p.out = matrix(q), matrix(k), matrix(v), matrix(out)
    p.length, p.e = q.shape[q.ndim - 2], q.shape[q.ndim - 1]
    p.s, p.ev = v.shape[v.ndim - 2], v.shape[v.ndim - 1]
    p.batch = 1
    for d in range(out.ndim - 2):
        p.batch *= out.shape[d]
    p.blocks = (p.length + BLOCK_L - 1) // BLOCK_L
    p.key_blocks = (p.s + BLOCK_S - 1) // BLOCK_S
    p.mask_row = p.mask_column = 0
    if mask != NULL:
        for d in range(mask.ndim):
            if mask.shape[d] != 1 and d == mask.ndim - 2:
                p.mask_row = mask.strides[d]
            elif mask.shape[d] != 1 and d == mask.ndim - 1:
                p.mask_column = mask.strides[d]


cdef void heads_of(Buf* x, Buf* like, int part, int parts, Buf* out) noexcept nogil:
    """out (N, H, T, d): the heads of one of `parts` equal parts of x (..., T, parts H d).

    like (..., H, T) tells the number of heads.
    """
    cdef Py_ssize_t length = like.shape[like.ndim - 1], heads = like.shape[like.ndim - 2]
    cdef Py_ssize_t width = x.shape[x.ndim - 1], d = width // (parts * heads)
    cdef Py_ssize_t size = itemsize(x.dtype)
    cdef int k
    out.dtype, out.ndim, out.n = x.dtype, 4, x.n // parts
    out.data = x.data + part * heads * d * size
    out.shape[0] = 1
    for k in range(x.ndim - 2):
        out.shape[0] *= x.shape[k]
    out.shape[1], out.shape[2], out.shape[3] = heads, length, d
    out.strides[0], out.strides[1] = length * width * size, d * size
    out.strides[2], out.strides[3] = width * size, size


cdef void score(Problem* p, Py_ssize_t b, Py_ssize_t i0, Py_ssize_t rows, Py_ssize_t j0,
                Py_ssize_t columns, real* out) noexcept nogil:
    """A block of q k^T scale + mask, -inf where a key takes no part; `columns` to a row."""
    cdef char* mask
    cdef real* row
    cdef Py_ssize_t i, j
    product(out, columns, <real*>NULL, 0, rows_of(p, &p.q, b, i0, out), p.q.row, p.q.column,
            rows_of(p, &p.k, b, j0, out), p.k.column, p.k.row, rows, columns, p.e,
            <real>p.L.fa[0], <real*>NULL)
    if p.mask != NULL:
        for i in range(rows):
            row = out + i * columns
            mask = of_batch(p.mask, b, p.shape, 2) + (i0 + i) * p.mask_row + j0 * p.mask_column
            if p.mask.dtype == BOOL:
                for j in range(columns):
                    if not (<uint8_t*>(mask + j * p.mask_column))[0]:
                        row[j] = -INFINITY
            else:
                for j in range(columns):
                    row[j] += (<real*>(mask + j * p.mask_column))[0]
    if p.causal and j0 + columns - 1 > i0:
        for i in range(rows):
            row = out + i * columns
            for j in range(max(i0 + i + 1 - j0, <Py_ssize_t>0), columns):
                row[j] = -INFINITY


cdef void forward(Problem* p, Py_ssize_t begin, Py_ssize_t end, int thread,
                  real* type) noexcept nogil:
    cdef real* scores = <real*>p.L.work + thread * BLOCK_L * (BLOCK_S + 2)
    cdef real* top = scores + BLOCK_L * BLOCK_S
    cdef real* total = top + BLOCK_L
    cdef real* out
    cdef real* row
    cdef real high, shrink
    cdef Py_ssize_t t, b, i0, rows, j0, columns, i, j, c, ld = p.out.row
    for t in range(begin, end):
        b, i0 = t // p.blocks, t % p.blocks
        if p.causal:            # first, last, second, ...: long and short rows in every part
            i0 = i0 // 2 if i0 % 2 == 0 else p.blocks - 1 - i0 // 2
        i0 *= BLOCK_L
        rows = min(<Py_ssize_t>BLOCK_L, p.length - i0)
        out = rows_of(p, &p.out, b, i0, type)
        for i in range(rows):
            top[i], total[i] = -INFINITY, 0
            if p.s == 0:
                memset(out + i * ld, 0, p.ev * sizeof(real))
        for j in range(p.key_blocks):
            j0 = j * BLOCK_S
            if p.causal and j0 > i0 + rows - 1:
                break
            columns = min(<Py_ssize_t>BLOCK_S, p.s - j0)
            if p.causal:                        # no key after the block's last query
                columns = min(columns, i0 + rows - j0)
            score(p, b, i0, rows, j0, columns, scores)
            for i in range(rows):
                row = scores + i * columns
                high = max(top[i], row_max(row, columns))
                if high == -INFINITY:
                    # Every key masked, or every score nan: a nan must not pass for a mask.
                    for c in range(columns):
                        if row[c] != row[c]:
                            total[i] = row[c]
                        else:
                            row[c] = 0
                    continue
                shrink = <real>exp(top[i] - high) if top[i] != high else 1
                top[i] = high
                total[i] = total[i] * shrink + <real>row_exp(row, row, high, columns)
                if j0 > 0 and shrink != 1:
                    for c in range(p.ev):
                        out[i * ld + c] *= shrink
            product(out, ld, out if j > 0 else <real*>NULL, ld, scores, columns, 1,
                    rows_of(p, &p.v, b, j0, type), p.v.row, p.v.column, rows, p.ev, columns,
                    <real>1, <real*>NULL)
        for i in range(rows):
            shrink = 1 / total[i] if total[i] != 0 else 0
            for c in range(p.ev):
                out[i * ld + c] *= shrink
            if p.lse != NULL:
                (<real*>p.lse.data)[b * p.length + i0 + i] = \
                    top[i] + <real>log(total[i]) if total[i] != 0 else INFINITY


cdef void forward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Problem* p = <Problem*>context
    if p.q.of.dtype == FLOAT32:
        forward(p, begin, end, thread, <float*>NULL)
    else:
        forward(p, begin, end, thread, <double*>NULL)


cdef void run_forward(Problem* p) noexcept nogil:
    parallel_over(forward_part, p, p.batch * p.blocks,
                  GRAIN // (BLOCK_L * p.s * (p.e + p.ev + 8) + 1) + 1, threads_of(p.L))


cdef int attention_run(Launch* L) noexcept nogil:
    """out, lse; q, k, v, mask.  Matrix; ia: is_causal; fa: scale.

    Scratch: BLOCK_L (BLOCK_S + 2) elements for each thread.
    """
    cdef Problem p
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    if L.b[0].n == 0 and (L.b[1] == NULL or L.b[1].n == 0):
        return OK
    describe(&p, L, L.b[2], L.b[3], L.b[4], L.b[5], L.b[0], L.ia[0] != 0)
    p.lse = L.b[1]
    run_forward(&p)
    return OK


cdef int self_attention_run(Launch* L) noexcept nogil:
    """out, lse; x.  Contiguous; ia: is_causal, heads; fa: scale.  Scratch as in attention."""
    cdef Problem p
    cdef Buf q, k, v, out, like
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    if L.b[0].n == 0:
        return OK
    like.ndim, like.shape[0], like.shape[1] = 2, L.ia[1], L.b[0].shape[L.b[0].ndim - 2]
    heads_of(L.b[2], &like, 0, 3, &q)
    heads_of(L.b[2], &like, 1, 3, &k)
    heads_of(L.b[2], &like, 2, 3, &v)
    heads_of(L.b[0], &like, 0, 1, &out)
    describe(&p, L, &q, &k, &v, NULL, &out, L.ia[0] != 0)
    p.lse = L.b[1]
    run_forward(&p)
    return OK


# Backward.  With p the probabilities and ds = p (g v^T - delta) scale, delta = sum(g out):
# dq = ds k, dk = ds^T q, dv = p^T g.  One pass over the blocks of each batch where there are
# batches enough for all threads; else one pass by keys for dk and dv, one by queries for dq.

cdef void deltas(Problem* p, Py_ssize_t begin, Py_ssize_t end, real* delta) noexcept nogil:
    """sum(g out) of rows [begin, end), counted over all batches."""
    cdef Py_ssize_t t, j
    cdef real* g
    cdef real* out
    cdef double s
    for t in range(begin, end):
        g = rows_of(p, &p.g, t // p.length, t % p.length, delta)
        out = rows_of(p, &p.out, t // p.length, t % p.length, delta)
        if p.g.column == 1 and p.out.column == 1:
            delta[t] = <real>row_dot(g, out, p.ev)
        else:
            s = 0
            for j in range(p.ev):
                s += g[j * p.g.column] * out[j * p.out.column]
            delta[t] = <real>s


cdef void block(Problem* p, Py_ssize_t b, Py_ssize_t i0, Py_ssize_t j0, real* prob, real* ds,
                real* delta, bint by_keys, bint by_queries) noexcept nogil:
    """One block of scores: its share of dk and dv (by keys) and of dq (by queries)."""
    cdef Py_ssize_t rows = min(<Py_ssize_t>BLOCK_L, p.length - i0)
    cdef Py_ssize_t columns = min(<Py_ssize_t>BLOCK_S, p.s - j0)
    cdef Py_ssize_t i, j, first = b * p.length + i0
    cdef Py_ssize_t step = p.lse.strides[p.lse.ndim - 1] // <Py_ssize_t>sizeof(real)
    cdef real* lse = <real*>of_batch(p.lse, b, p.shape, 1) + i0 * step
    cdef real* g = rows_of(p, &p.g, b, i0, delta)
    cdef real* into
    cdef real* row
    cdef real* slope
    cdef real* nothing = NULL
    cdef real scale = <real>p.L.fa[0], away
    if p.causal:
        columns = min(columns, i0 + rows - j0)
    score(p, b, i0, rows, j0, columns, prob)
    product(ds, columns, nothing, 0, g, p.g.row, p.g.column, rows_of(p, &p.v, b, j0, delta),
            p.v.column, p.v.row, rows, columns, p.ev, <real>1, nothing)
    for i in range(rows):
        row, slope, away = prob + i * columns, ds + i * columns, delta[first + i]
        row_exp(row, row, lse[i * step], columns)
        for j in range(columns):
            slope[j] = row[j] * (slope[j] - away) * scale
    if by_keys:
        into = rows_of(p, &p.dv, b, j0, delta)
        product(into, p.dv.row, into, p.dv.row, prob, 1, columns, g, p.g.row, p.g.column,
                columns, p.ev, rows, <real>1, nothing)
        into = rows_of(p, &p.dk, b, j0, delta)
        product(into, p.dk.row, into, p.dk.row, ds, 1, columns, rows_of(p, &p.q, b, i0, delta),
                p.q.row, p.q.column, columns, p.e, rows, <real>1, nothing)
    if by_queries:
        into = rows_of(p, &p.dq, b, i0, delta)
        product(into, p.dq.row, into, p.dq.row, ds, columns, 1, rows_of(p, &p.k, b, j0, delta),
                p.k.row, p.k.column, rows, p.e, columns, <real>1, nothing)


cdef enum pass_t:
    DELTAS, WHOLE, KEYS, QUERIES


cdef void clear(Problem* p, Matrix* m, Py_ssize_t b, Py_ssize_t begin, Py_ssize_t end,
                real* type) noexcept nogil:
    """Zeros in rows [begin, end) of batch b."""
    cdef Py_ssize_t i
    for i in range(begin, end):
        memset(rows_of(p, m, b, i, type), 0, m.of.shape[m.of.ndim - 1] * sizeof(real))


cdef void backward(Problem* p, Py_ssize_t begin, Py_ssize_t end, int thread, pass_t kind,
                   real* type) noexcept nogil:
    cdef real* prob = <real*>p.L.work + thread * 2 * BLOCK_L * BLOCK_S
    cdef real* ds = prob + BLOCK_L * BLOCK_S
    cdef real* delta = <real*>p.L.work + threads_of(p.L) * 2 * BLOCK_L * BLOCK_S
    cdef Py_ssize_t t, b, i, j, i_begin, i_end, j_begin, j_end
    if kind == DELTAS:
        deltas(p, begin, end, delta)
        return
    for t in range(begin, end):
        b, i_begin, i_end, j_begin, j_end = t, 0, p.blocks, 0, p.key_blocks
        if kind == KEYS:
            b, j_begin = t // p.key_blocks, t % p.key_blocks
            j_end = j_begin + 1
        elif kind == QUERIES:
            b, i_begin = t // p.blocks, t % p.blocks
            i_end = i_begin + 1
        if kind != QUERIES:
            clear(p, &p.dk, b, j_begin * BLOCK_S, min(j_end * BLOCK_S, p.s), type)
            clear(p, &p.dv, b, j_begin * BLOCK_S, min(j_end * BLOCK_S, p.s), type)
        if kind != KEYS:
            clear(p, &p.dq, b, i_begin * BLOCK_L, min(i_end * BLOCK_L, p.length), type)
        for j in range(j_begin, j_end):
            for i in range(i_begin, i_end):
                if p.causal and j * BLOCK_S > min((i + 1) * BLOCK_L, p.length) - 1:
                    continue
                block(p, b, i * BLOCK_L, j * BLOCK_S, prob, ds, delta, kind != QUERIES,
                      kind != KEYS)


cdef void dispatch(void* context, Py_ssize_t begin, Py_ssize_t end, int thread,
                   pass_t kind) noexcept nogil:
    cdef Problem* p = <Problem*>context
    if p.q.of.dtype == FLOAT32:
        backward(p, begin, end, thread, kind, <float*>NULL)
    else:
        backward(p, begin, end, thread, kind, <double*>NULL)


cdef void deltas_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    dispatch(context, begin, end, thread, DELTAS)


cdef void whole_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    dispatch(context, begin, end, thread, WHOLE)


cdef void keys_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    dispatch(context, begin, end, thread, KEYS)


cdef void queries_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    dispatch(context, begin, end, thread, QUERIES)


cdef void run_backward(Problem* p) noexcept nogil:
    cdef int threads = threads_of(p.L)
    cdef Py_ssize_t work = 2 * BLOCK_L * (p.e + p.ev)
    parallel_over(deltas_part, p, p.batch * p.length, 4096 // (p.ev + 1) + 1, threads)
    if p.batch >= threads:
        parallel_over(whole_part, p, p.batch, GRAIN // (work * p.blocks * p.s + 1) + 1, threads)
    else:
        parallel_over(keys_part, p, p.batch * p.key_blocks,
                      GRAIN // (work * p.blocks * BLOCK_S) + 1, threads)
        parallel_over(queries_part, p, p.batch * p.blocks, GRAIN // (work * p.s + 1) + 1, threads)


cdef int attention_backward_run(Launch* L) noexcept nogil:
    """dq, dk, dv; g, q, k, v, mask, out, lse.  Matrix; ia: is_causal; fa: scale.

    Scratch: 2 BLOCK_L BLOCK_S elements for each thread, and one for each row of the output.
    """
    cdef Problem p
    cdef int k
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    describe(&p, L, L.b[4], L.b[5], L.b[6], L.b[7], L.b[8], L.ia[0] != 0)
    p.lse, p.g = L.b[9], matrix(L.b[3])
    p.dq, p.dk, p.dv = matrix(L.b[0]), matrix(L.b[1]), matrix(L.b[2])
    if p.batch == 0 or p.length == 0 or p.s == 0:
        for k in range(3):
            memset(L.b[k].data, 0, L.b[k].n * itemsize(L.b[k].dtype))
        return OK
    run_backward(&p)
    return OK


cdef int self_attention_backward_run(Launch* L) noexcept nogil:
    """dx; g, x, out, lse.  Contiguous; ia: is_causal; fa: scale.

    Scratch as in attention_backward.
    """
    cdef Problem p
    cdef Buf q, k, v, out, g, dq, dk, dv, lse
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    if L.b[0].n == 0:
        return OK
    heads_of(L.b[2], L.b[4], 0, 3, &q)
    heads_of(L.b[2], L.b[4], 1, 3, &k)
    heads_of(L.b[2], L.b[4], 2, 3, &v)
    heads_of(L.b[3], L.b[4], 0, 1, &out)
    heads_of(L.b[1], L.b[4], 0, 1, &g)
    heads_of(L.b[0], L.b[4], 0, 3, &dq)
    heads_of(L.b[0], L.b[4], 1, 3, &dk)
    heads_of(L.b[0], L.b[4], 2, 3, &dv)
    lse.data, lse.ndim = L.b[4].data, 3
    lse.shape[0], lse.shape[1] = q.shape[0], q.shape[1]
    lse.strides[2] = itemsize(q.dtype)
    lse.strides[1] = q.shape[2] * lse.strides[2]
    lse.strides[0] = q.shape[1] * lse.strides[1]
    describe(&p, L, &q, &k, &v, NULL, &out, L.ia[0] != 0)
    p.lse, p.g, p.dq, p.dk, p.dv = &lse, matrix(&g), matrix(&dq), matrix(&dk), matrix(&dv)
    run_backward(&p)
    return OK


TABLE = {
    "attention": <size_t>&attention_run,
    "attention_backward": <size_t>&attention_backward_run,
    "self_attention": <size_t>&self_attention_run,
    "self_attention_backward": <size_t>&self_attention_backward_run,
}
