# Scaled dot-product attention by blocks of queries and keys, forward and backward.
# Invariant: no more than a block of scores exists at a time on each thread; a row
# with no key that takes part gives zeros and lse = +inf.  Each output element
# adds its blocks in ascending order however the blocks are split over threads.
#
# Source: Dao et al., FlashAttention (2022).
from libc.math cimport INFINITY, exp, log
from libc.stdint cimport uint8_t
from libc.string cimport memset

from kernels.blas cimport gemm
from kernels.launch cimport (
    BAD_DTYPE, BOOL, FLOAT32, FLOAT64, OK, Buf, Launch, itemsize, parallel_over, threads_of)
from kernels.rows cimport row_dot, row_exp, row_max
from kernels.types cimport real

cdef enum:
    BLOCK_L = 64                # autodiff/ops/attention.py sizes the scratch by these
    BLOCK_S = 256
    GRAIN = 1 << 17             # multiply-adds

cdef struct Matrix:             # one batch: element (i, j) at i * row + j * column
    Py_ssize_t row, column, ld
    bint transposed             # stored (columns, rows)

cdef struct Problem:
    Launch* L
    Buf* shape                  # an array with the batch axes of the result
    Buf* queries
    Buf* keys
    Buf* mask
    Py_ssize_t batch, length, s, e, ev, blocks, key_blocks
    Py_ssize_t mask_row, mask_column        # bytes
    Matrix q, k, v, g, out
    bint causal


cdef Matrix matrix(Buf* a) noexcept nogil:
    cdef Matrix m
    cdef Py_ssize_t size = itemsize(a.dtype)
    m.row, m.column = a.strides[a.ndim - 2] // size, a.strides[a.ndim - 1] // size
    m.transposed = m.column != 1 and a.shape[a.ndim - 1] > 1
    m.ld = m.column if m.transposed else m.row
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


cdef void describe(Problem* p, Launch* L, Buf* shape, int at, bint causal) noexcept nogil:
    """Fill `p` from q, k, v, mask at L.b[at ...]."""
    cdef Buf* q = L.b[at]
    cdef Buf* k = L.b[at + 1]
    cdef Buf* v = L.b[at + 2]
    cdef int d
    p.L, p.shape, p.mask, p.causal = L, shape, L.b[at + 3], causal
    p.queries, p.keys = q, k
    p.q, p.k, p.v = matrix(q), matrix(k), matrix(v)
    p.length, p.e = q.shape[q.ndim - 2], q.shape[q.ndim - 1]
    p.s, p.ev = v.shape[v.ndim - 2], v.shape[v.ndim - 1]
    p.batch = 1
    for d in range(shape.ndim - 2):
        p.batch *= shape.shape[d]
    p.blocks = (p.length + BLOCK_L - 1) // BLOCK_L
    p.key_blocks = (p.s + BLOCK_S - 1) // BLOCK_S
    p.mask_row = p.mask_column = 0
    if p.mask != NULL:
        for d in range(p.mask.ndim):
            if p.mask.shape[d] != 1 and d == p.mask.ndim - 2:
                p.mask_row = p.mask.strides[d]
            elif p.mask.shape[d] != 1 and d == p.mask.ndim - 1:
                p.mask_column = p.mask.strides[d]


cdef void score(Problem* p, Py_ssize_t b, Py_ssize_t i0, Py_ssize_t rows, Py_ssize_t j0,
                Py_ssize_t columns, real* out) noexcept nogil:
    """A block of q k^T scale + mask, -inf where a key takes no part; `columns` to a row."""
    cdef real* q
    cdef real* k
    cdef char* mask
    cdef real* row
    cdef Py_ssize_t i, j
    q = <real*>of_batch(p.queries, b, p.shape, 2) + i0 * p.q.row
    k = <real*>of_batch(p.keys, b, p.shape, 2) + j0 * p.k.row
    gemm(p.q.transposed, not p.k.transposed, rows, columns, p.e, <real>p.L.fa[0], q, p.q.ld,
         k, p.k.ld, <real>0, out, columns)
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
    cdef Launch* L = p.L
    cdef real* scores = <real*>L.work + thread * BLOCK_L * (BLOCK_S + 2)
    cdef real* top = scores + BLOCK_L * BLOCK_S
    cdef real* total = top + BLOCK_L
    cdef real* out
    cdef real* row
    cdef real* v
    cdef real high, shrink
    cdef Py_ssize_t t, b, i0, rows, j0, columns, i, j, c
    for t in range(begin, end):
        b, i0 = t // p.blocks, t % p.blocks
        if p.causal:            # first, last, second, ...: long and short rows in every part
            i0 = i0 // 2 if i0 % 2 == 0 else p.blocks - 1 - i0 // 2
        i0 *= BLOCK_L
        rows = min(<Py_ssize_t>BLOCK_L, p.length - i0)
        out = <real*>L.b[0].data + (b * p.length + i0) * p.ev
        memset(out, 0, rows * p.ev * sizeof(real))
        for i in range(rows):
            top[i], total[i] = -INFINITY, 0
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
                        out[i * p.ev + c] *= shrink
            v = <real*>of_batch(L.b[4], b, p.shape, 2) + j0 * p.v.row
            gemm(False, p.v.transposed, rows, p.ev, columns, <real>1, scores, columns, v, p.v.ld,
                 <real>1, out, p.ev)
        for i in range(rows):
            shrink = 1 / total[i] if total[i] != 0 else 0
            for c in range(p.ev):
                out[i * p.ev + c] *= shrink
            if L.b[1] != NULL:
                (<real*>L.b[1].data)[b * p.length + i0 + i] = \
                    top[i] + <real>log(total[i]) if total[i] != 0 else INFINITY


cdef void forward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Problem* p = <Problem*>context
    if p.L.b[0].dtype == FLOAT32:
        forward(p, begin, end, thread, <float*>NULL)
    else:
        forward(p, begin, end, thread, <double*>NULL)


cdef int attention_run(Launch* L) noexcept nogil:
    """out, lse; q, k, v, mask.  Matrix; ia: is_causal; fa: scale.

    Scratch: BLOCK_L (BLOCK_S + 2) elements for each thread.
    """
    cdef Problem p
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    if L.b[0].n == 0 and (L.b[1] == NULL or L.b[1].n == 0):
        return OK
    describe(&p, L, L.b[0], 2, L.ia[0] != 0)
    parallel_over(forward_part, &p, p.batch * p.blocks,
                  GRAIN // (BLOCK_L * p.s * (p.e + p.ev + 8) + 1) + 1, threads_of(L))
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
        g = <real*>of_batch(p.L.b[3], t // p.length, p.shape, 2) + t % p.length * p.g.row
        out = <real*>of_batch(p.L.b[8], t // p.length, p.shape, 2) + t % p.length * p.out.row
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
    cdef Launch* L = p.L
    cdef Py_ssize_t rows = min(<Py_ssize_t>BLOCK_L, p.length - i0)
    cdef Py_ssize_t columns = min(<Py_ssize_t>BLOCK_S, p.s - j0)
    cdef Py_ssize_t i, j, first = b * p.length + i0
    cdef real* g = <real*>of_batch(L.b[3], b, p.shape, 2) + i0 * p.g.row
    cdef real* q = <real*>of_batch(L.b[4], b, p.shape, 2) + i0 * p.q.row
    cdef real* k = <real*>of_batch(L.b[5], b, p.shape, 2) + j0 * p.k.row
    cdef real* v = <real*>of_batch(L.b[6], b, p.shape, 2) + j0 * p.v.row
    cdef Py_ssize_t step = L.b[9].strides[L.b[9].ndim - 1] // <Py_ssize_t>sizeof(real)
    cdef real* lse = <real*>of_batch(L.b[9], b, p.shape, 1) + i0 * step
    cdef real* row
    cdef real* slope
    cdef real scale = <real>L.fa[0], away
    if p.causal:
        columns = min(columns, i0 + rows - j0)
    score(p, b, i0, rows, j0, columns, prob)
    gemm(p.g.transposed, not p.v.transposed, rows, columns, p.ev, <real>1, g, p.g.ld, v, p.v.ld,
         <real>0, ds, columns)
    for i in range(rows):
        row, slope, away = prob + i * columns, ds + i * columns, delta[first + i]
        row_exp(row, row, lse[i * step], columns)
        for j in range(columns):
            slope[j] = row[j] * (slope[j] - away) * scale
    if by_keys:
        gemm(True, p.g.transposed, columns, p.ev, rows, <real>1, prob, columns, g, p.g.ld,
             <real>1, <real*>L.b[2].data + (b * p.s + j0) * p.ev, p.ev)
        gemm(True, p.q.transposed, columns, p.e, rows, <real>1, ds, columns, q, p.q.ld,
             <real>1, <real*>L.b[1].data + (b * p.s + j0) * p.e, p.e)
    if by_queries:
        gemm(False, p.k.transposed, rows, p.e, columns, <real>1, ds, columns, k, p.k.ld,
             <real>1, <real*>L.b[0].data + first * p.e, p.e)


cdef enum pass_t:
    DELTAS, WHOLE, KEYS, QUERIES


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
        for j in range(j_begin, j_end):
            for i in range(i_begin, i_end):
                if p.causal and j * BLOCK_S > min((i + 1) * BLOCK_L, p.length) - 1:
                    continue
                block(p, b, i * BLOCK_L, j * BLOCK_S, prob, ds, delta, kind != QUERIES,
                      kind != KEYS)


cdef void dispatch(void* context, Py_ssize_t begin, Py_ssize_t end, int thread,
                   pass_t kind) noexcept nogil:
    cdef Problem* p = <Problem*>context
    if p.L.b[0].dtype == FLOAT32:
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


cdef int attention_backward_run(Launch* L) noexcept nogil:
    """dq, dk, dv; g, q, k, v, mask, out, lse.  Matrix; ia: is_causal; fa: scale.

    Scratch: 2 BLOCK_L BLOCK_S elements for each thread, and one for each row of the output.
    """
    cdef Problem p
    cdef int threads = threads_of(L), k
    cdef Py_ssize_t work
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    for k in range(3):
        memset(L.b[k].data, 0, L.b[k].n * itemsize(L.b[k].dtype))
    describe(&p, L, L.b[0], 4, L.ia[0] != 0)
    p.g, p.out = matrix(L.b[3]), matrix(L.b[8])
    if p.batch == 0 or p.length == 0 or p.s == 0:
        return OK
    parallel_over(deltas_part, &p, p.batch * p.length, 4096 // (p.ev + 1) + 1, threads)
    work = 2 * BLOCK_L * (p.e + p.ev)
    if p.batch >= threads:
        parallel_over(whole_part, &p, p.batch, GRAIN // (work * p.blocks * p.s + 1) + 1, threads)
    else:
        parallel_over(keys_part, &p, p.batch * p.key_blocks,
                      GRAIN // (work * p.blocks * BLOCK_S) + 1, threads)
        parallel_over(queries_part, &p, p.batch * p.blocks, GRAIN // (work * p.s + 1) + 1, threads)
    return OK


TABLE = {
    "attention": <size_t>&attention_run,
    "attention_backward": <size_t>&attention_backward_run,
}
