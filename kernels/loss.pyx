# cross_entropy and mse, forward and backward.
# Invariant: sums run in double over rows (or blocks of elements) in their order,
# whatever the number of threads; labels are checked before anything is written.
#
# Logits are seen as (outer, classes, inner): rows in memory where inner = 1, else
# COLUMNS neighbours of the inner axis at a time.
from libc.math cimport log
from libc.stdint cimport int64_t

from kernels.launch cimport (
    BAD_DTYPE, BAD_INDEX, FLOAT32, FLOAT64, OK, Buf, Launch, parallel_over, threads_of)
from kernels.rows cimport index_at, row_distance, row_dot, row_exp, row_map_exp, row_max, row_sum
from kernels.types cimport real

cdef enum:
    COLUMNS = 64
    GRAIN = 1 << 14             # elements
    BLOCK = 4096                # elements in one partial sum of mse; as in the op's scratch

cdef enum:
    NONE, MEAN, SUM             # L.ia[0]

cdef struct Rows:
    Launch* L
    Buf* logits
    Buf* target
    Buf* weight
    Py_ssize_t classes, inner, blocks
    double smooth               # smoothing / classes
    double keep                 # 1 - smoothing
    double all_weights          # sum of the classes' weights
    double counted              # sum of the labels' weights


cdef int prepare(Launch* L, Rows* r, int at) noexcept nogil:
    """Fill `r` from a launch whose logits are L.b[at]; BAD_INDEX for a label out of range."""
    cdef Py_ssize_t i
    cdef int64_t label
    cdef int d, axis
    r.L = L
    r.logits, r.target, r.weight = L.b[at], L.b[at + 1], L.b[at + 2]
    if r.logits.dtype != FLOAT32 and r.logits.dtype != FLOAT64:
        return BAD_DTYPE
    axis = 1 if r.logits.ndim > 1 else 0
    r.classes = r.logits.shape[axis]
    r.inner = 1
    for d in range(axis + 1, r.logits.ndim):
        r.inner *= r.logits.shape[d]
    r.blocks = (r.inner + COLUMNS - 1) // COLUMNS
    r.smooth = L.fa[0] / r.classes if r.classes else 0
    r.keep = 1 - L.fa[0]
    r.all_weights = 0
    for i in range(r.classes):
        r.all_weights += class_weight(r, i)
    r.counted = 0
    for i in range(r.target.n):
        label = index_at(r.target, i)
        if label == L.ia[1]:
            continue
        if label < 0 or label >= r.classes:
            L.ia[11] = label
            return BAD_INDEX
        r.counted += class_weight(r, label)
    return OK


cdef inline double class_weight(Rows* r, Py_ssize_t c) noexcept nogil:
    if r.weight == NULL:
        return 1
    if r.weight.dtype == FLOAT32:
        return (<float*>r.weight.data)[c]
    return (<double*>r.weight.data)[c]


cdef inline void put(Rows* r, Py_ssize_t i, double loss, double lse, real* type) noexcept nogil:
    """Loss and log-sum-exp of row i to where they belong."""
    if r.L.ia[0] == NONE:
        (<real*>r.L.b[0].data)[i] = <real>loss
    else:
        (<double*>r.L.work)[i] = loss
    if r.L.b[1] != NULL:
        (<real*>r.L.b[1].data)[i] = <real>lse


cdef inline double row_loss(Rows* r, int64_t label, double top, double log_total, double picked,
                            double weighted) noexcept nogil:
    """Loss of one row; `weighted` is the sum of its logits, each times its class's weight."""
    cdef double loss
    if label == r.L.ia[1]:
        return 0
    loss = r.keep * class_weight(r, label) * (log_total - (picked - top))
    if r.smooth != 0:
        loss += r.smooth * (r.all_weights * log_total - (weighted - r.all_weights * top))
    return loss


cdef void forward_rows(Rows* r, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t i, n = r.classes
    cdef int64_t label
    cdef real* x
    cdef real top
    cdef double log_total, weighted = 0
    for i in range(begin, end):
        x = <real*>r.logits.data + i * n
        label = index_at(r.target, i)
        top = row_max(x, n)
        log_total = log(row_exp(<real*>NULL, x, top, n))
        if r.smooth != 0:
            if r.weight == NULL:
                weighted = row_sum(x, n)
            else:
                weighted = row_dot(x, <real*>r.weight.data, n)
        put(r, i, row_loss(r, label, top, log_total, x[label] if label != r.L.ia[1] else 0,
                           weighted), top + log_total, type)


cdef void forward_columns(Rows* r, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t k, c, j, outer, first, width, row
    cdef int64_t label
    cdef real top[COLUMNS]
    cdef real strip[COLUMNS]
    cdef double total[COLUMNS]
    cdef double weighted[COLUMNS]
    cdef real* x
    cdef real* at
    cdef double w, log_total
    for k in range(begin, end):
        outer, first = k // r.blocks, k % r.blocks * COLUMNS
        width = min(<Py_ssize_t>COLUMNS, r.inner - first)
        x = <real*>r.logits.data + outer * r.classes * r.inner + first
        for j in range(width):
            top[j] = x[j]
            total[j] = weighted[j] = 0
        for c in range(1, r.classes):
            at = x + c * r.inner
            for j in range(width):
                top[j] = at[j] if at[j] > top[j] else top[j]
        for c in range(r.classes):
            at = x + c * r.inner
            for j in range(width):
                strip[j] = at[j] - top[j]
            row_map_exp(strip, strip, width)
            for j in range(width):
                total[j] += strip[j]
            if r.smooth != 0:
                w = class_weight(r, c)
                for j in range(width):
                    weighted[j] += w * at[j]
        for j in range(width):
            row = outer * r.inner + first + j
            label = index_at(r.target, row)
            log_total = log(total[j])
            put(r, row, row_loss(r, label, top[j], log_total, x[label * r.inner + j]
                                 if label != r.L.ia[1] else 0, weighted[j]),
                top[j] + log_total, type)


cdef void forward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Rows* r = <Rows*>context
    if r.logits.dtype == FLOAT32:
        if r.inner == 1:
            forward_rows(r, begin, end, <float*>NULL)
        else:
            forward_columns(r, begin, end, <float*>NULL)
    elif r.inner == 1:
        forward_rows(r, begin, end, <double*>NULL)
    else:
        forward_columns(r, begin, end, <double*>NULL)


cdef inline void split(Rows* r, void (*part)(void*, Py_ssize_t, Py_ssize_t, int) noexcept nogil
                       ) noexcept nogil:
    cdef Py_ssize_t outer = r.target.n // r.inner if r.inner else 0
    cdef Py_ssize_t width = min(r.inner, <Py_ssize_t>COLUMNS)
    parallel_over(part, r, outer * r.blocks, GRAIN // (r.classes * width + 1) + 1,
                  threads_of(r.L))


cdef void put_sum(Buf* out, double s) noexcept nogil:
    if out.dtype == FLOAT32:
        (<float*>out.data)[0] = <float>s
    else:
        (<double*>out.data)[0] = s


cdef int cross_entropy_run(Launch* L) noexcept nogil:
    """out, lse; logits, target, weight.  Contiguous; ia: reduction, ignore_index; fa: smoothing.

    Scratch: a double for each row, unless there is no reduction.
    """
    cdef Rows r
    cdef Py_ssize_t i
    cdef double s = 0
    cdef int status = prepare(L, &r, 2)
    if status != OK:
        return status
    split(&r, forward_part)
    if L.ia[0] != NONE:
        for i in range(r.target.n):
            s += (<double*>L.work)[i]
        put_sum(L.b[0], s / r.counted if L.ia[0] == MEAN else s)
    return OK


# Backward: dx_c = a p_c + b (W p_c - w_c) - a [c = t], with a and b from the row.

cdef void backward_rows(Rows* r, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t c, k, j, n = r.classes, outer, first, width, row, stride = r.inner
    cdef int64_t label
    cdef real* g = <real*>r.L.b[1].data
    cdef real* lse = <real*>r.L.b[5].data
    cdef real* dx
    cdef real* x
    cdef double f, a, w
    cdef real scale[COLUMNS]
    cdef real away[COLUMNS]
    cdef real shift[COLUMNS]
    cdef real strip[COLUMNS]
    for k in range(begin, end):
        outer, first = k // r.blocks, k % r.blocks * COLUMNS
        width = min(<Py_ssize_t>COLUMNS, r.inner - first)
        dx = <real*>r.L.b[0].data + outer * n * stride + first
        x = <real*>r.logits.data + outer * n * stride + first
        for j in range(width):
            row = outer * stride + first + j
            label = index_at(r.target, row)
            f = 0
            if label != r.L.ia[1]:
                f = g[row] if r.L.ia[0] == NONE else g[0]
                if r.L.ia[0] == MEAN:
                    f /= r.counted
            a = f * r.keep * (class_weight(r, label) if label != r.L.ia[1] else 0)
            scale[j] = <real>(a + f * r.smooth * r.all_weights)
            away[j] = <real>(f * r.smooth)
            shift[j] = lse[row]
        if stride == 1:
            if scale[0] == 0 and away[0] == 0:
                for c in range(n):
                    dx[c] = 0
                continue
            row_exp(dx, x, shift[0], n)
            if r.weight == NULL:
                for c in range(n):
                    dx[c] = dx[c] * scale[0] - away[0]
            else:
                for c in range(n):
                    dx[c] = dx[c] * scale[0] - away[0] * (<real*>r.weight.data)[c]
        else:
            for c in range(n):
                w = class_weight(r, c)
                for j in range(width):
                    strip[j] = x[c * stride + j] - shift[j]
                row_map_exp(strip, strip, width)
                for j in range(width):
                    dx[c * stride + j] = (strip[j] * scale[j] - away[j] * <real>w
                                          if scale[j] != 0 or away[j] != 0 else 0)
        for j in range(width):
            row = outer * stride + first + j
            label = index_at(r.target, row)
            if label != r.L.ia[1]:
                f = g[row] if r.L.ia[0] == NONE else g[0]
                if r.L.ia[0] == MEAN:
                    f /= r.counted
                dx[label * stride + j] -= <real>(f * r.keep * class_weight(r, label))


cdef void backward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Rows* r = <Rows*>context
    if r.logits.dtype == FLOAT32:
        backward_rows(r, begin, end, <float*>NULL)
    else:
        backward_rows(r, begin, end, <double*>NULL)


cdef int cross_entropy_backward_run(Launch* L) noexcept nogil:
    """dlogits; g, logits, target, weight, lse.  Contiguous; ia, fa as in cross_entropy."""
    cdef Rows r
    cdef int status = prepare(L, &r, 2)
    if status != OK:
        return status
    split(&r, backward_part)
    return OK


# Mean squared error.

cdef void mse_work(Launch* L, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t i, k, last
    cdef real* out = <real*>L.b[0].data
    cdef real* x = <real*>L.b[1].data
    cdef real* y = <real*>L.b[2].data
    cdef real d
    for k in range(begin, end):
        last = min((k + 1) * BLOCK, L.b[1].n)
        if L.ia[0] == NONE:
            for i in range(k * BLOCK, last):
                d = x[i] - y[i]
                out[i] = d * d
        else:
            (<double*>L.work)[k] = row_distance(x + k * BLOCK, y + k * BLOCK, last - k * BLOCK)


cdef void mse_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    if L.b[0].dtype == FLOAT32:
        mse_work(L, begin, end, <float*>NULL)
    else:
        mse_work(L, begin, end, <double*>NULL)


cdef int mse_run(Launch* L) noexcept nogil:
    """out; x, y.  Contiguous; ia: reduction.  Scratch: a double for each block, n // BLOCK + 1."""
    cdef Py_ssize_t k, blocks = (L.b[1].n + BLOCK - 1) // BLOCK
    cdef double s = 0
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    parallel_over(mse_part, L, blocks, 8, threads_of(L))
    if L.ia[0] != NONE:
        for k in range(blocks):
            s += (<double*>L.work)[k]
        put_sum(L.b[0], s / L.b[1].n if L.ia[0] == MEAN else s)
    return OK


cdef void mse_backward_work(Launch* L, Py_ssize_t begin, Py_ssize_t end,
                            real* type) noexcept nogil:
    cdef Py_ssize_t i
    cdef real* dx = <real*>L.b[0].data
    cdef real* g = <real*>L.b[1].data
    cdef real* x = <real*>L.b[2].data
    cdef real* y = <real*>L.b[3].data
    cdef real scale = 2
    if L.ia[0] == NONE:
        for i in range(begin, end):
            dx[i] = g[i] * ((x[i] - y[i]) * 2)
        return
    if L.ia[0] == MEAN:
        scale = <real>(2.0 / L.b[2].n)
    scale = scale * g[0]
    for i in range(begin, end):
        dx[i] = (x[i] - y[i]) * scale


cdef void mse_backward_part(void* context, Py_ssize_t begin, Py_ssize_t end,
                            int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    if L.b[0].dtype == FLOAT32:
        mse_backward_work(L, begin, end, <float*>NULL)
    else:
        mse_backward_work(L, begin, end, <double*>NULL)


cdef int mse_backward_run(Launch* L) noexcept nogil:
    """dx; g, x, y.  Contiguous; ia: reduction."""
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    parallel_over(mse_backward_part, L, L.b[0].n, 2 * GRAIN, threads_of(L))
    return OK


TABLE = {
    "cross_entropy": <size_t>&cross_entropy_run,
    "cross_entropy_backward": <size_t>&cross_entropy_backward_run,
    "mse": <size_t>&mse_run,
    "mse_backward": <size_t>&mse_backward_run,
}
