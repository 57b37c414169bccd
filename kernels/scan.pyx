# argmax, argmin and cumulative_sum: what follows an axis in its order.
# Invariant: the first of equal elements wins, NaN wins over all, and running sums
# of float32 add up in double, of integers in int64.
from libc.stdint cimport int64_t

from kernels.blocks cimport BLOCK, gather, native, scatter
from kernels.launch cimport (
    BAD_DTYPE, FLOAT32, FLOAT64, INT64, OK, Buf, Launch, context_part_t, contiguous, itemsize,
    parallel_over, threads_of)

cdef enum:
    LANES = 32
    GRAIN = 1 << 15             # elements a thread should have

ctypedef fused element:
    float
    double
    int64_t

ctypedef fused total:
    double
    int64_t


# ---- argmax, argmin

cdef struct Search:
    Launch* L
    int axis                    # -1: all of x, in C order
    Py_ssize_t axis_n, axis_s

ctypedef struct ArgMax:
    Search f
ctypedef struct ArgMin:
    Search f

ctypedef fused Arg:
    ArgMax
    ArgMin


cdef inline bint better(Arg* t, element x, element best) noexcept nogil:
    if Arg is ArgMax:
        return (x > best) | ((x != x) & (best == best))
    else:
        return (x < best) | ((x != x) & (best == best))


cdef void search(Arg* t, element* x, Py_ssize_t n, Py_ssize_t base, element* best,
                 int64_t* index) noexcept nogil:
    """The best of a block and of what came before, which starts at `base`."""
    cdef element top[LANES]
    cdef element found = x[0]
    cdef Py_ssize_t i, j
    if n >= 2 * LANES:
        for j in range(LANES):
            top[j] = x[j]
        for i in range(1, n // LANES):
            for j in range(LANES):
                top[j] = x[i * LANES + j] if better(t, x[i * LANES + j], top[j]) else top[j]
        for j in range(LANES):
            found = top[j] if better(t, top[j], found) else found
        for i in range(n // LANES * LANES, n):
            found = x[i] if better(t, x[i], found) else found
        if index[0] >= 0 and not better(t, found, best[0]):
            return
    for i in range(n):
        if index[0] < 0 or better(t, x[i], best[0]):
            best[0] = x[i]
            index[0] = base + i


cdef void along(Arg* t, char* p, Py_ssize_t s, Py_ssize_t n, Py_ssize_t base, element* best,
                int64_t* index) noexcept nogil:
    """One run of n elements, block by block."""
    cdef element block[BLOCK]
    cdef Py_ssize_t k, m
    cdef int dtype = t.f.L.b[1].dtype
    cdef bint whole = s == sizeof(element) and native(dtype, sizeof(element))
    for k in range((n + BLOCK - 1) // BLOCK):
        m = min(<Py_ssize_t>BLOCK, n - k * BLOCK)
        if whole:
            search(t, <element*>p + k * BLOCK, m, base + k * BLOCK, best, index)
        else:
            gather(block, p + k * BLOCK * s, s, m, dtype)
            search(t, block, m, base + k * BLOCK, best, index)


cdef int64_t everywhere(Arg* t, element* type) noexcept nogil:
    """Index into all of x, counted in C order."""
    cdef Buf* x = t.f.L.b[1]
    cdef element best = 0
    cdef int64_t index = -1
    cdef Py_ssize_t at[8]
    cdef Py_ssize_t base = 0
    cdef char* p = x.data
    cdef int d, last = x.ndim - 1
    if contiguous(x) or x.ndim == 0:
        along(t, p, itemsize(x.dtype), x.n, 0, &best, &index)
        return index
    for d in range(x.ndim):
        at[d] = 0
    while base < x.n:
        along(t, p, x.strides[last], x.shape[last], base, &best, &index)
        base += x.shape[last]
        d = last - 1
        while d >= 0:
            at[d] += 1
            p += x.strides[d]
            if at[d] < x.shape[d]:
                break
            p -= at[d] * x.strides[d]
            at[d] = 0
            d -= 1
    return index


cdef int64_t on_axis(Arg* t, char* p, element* type) noexcept nogil:
    cdef element best = 0
    cdef int64_t index = -1
    along(t, p, t.f.axis_s, t.f.axis_n, 0, &best, &index)
    return index


cdef void outputs(Arg* t, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Outputs [begin, end), counted in C order."""
    cdef Buf* x = t.f.L.b[1]
    cdef Buf* out = t.f.L.b[0]
    cdef Py_ssize_t k, i, rest
    cdef int d, e
    cdef char* p
    cdef char* o
    cdef int64_t index
    for k in range(begin, end):
        p, o, rest = x.data, out.data, k
        for d in range(x.ndim - 1, -1, -1):
            if t.f.axis >= 0 and d != t.f.axis:
                # without keepdims, out has no axis where x has the searched one
                e = d - 1 if out.ndim < x.ndim and d > t.f.axis else d
                i = rest % x.shape[d]
                rest = rest // x.shape[d]
                p += i * x.strides[d]
                o += i * out.strides[e]
        if x.dtype == FLOAT32:
            index = (on_axis(t, p, <float*>NULL) if t.f.axis >= 0
                     else everywhere(t, <float*>NULL))
        elif x.dtype == FLOAT64:
            index = (on_axis(t, p, <double*>NULL) if t.f.axis >= 0
                     else everywhere(t, <double*>NULL))
        else:
            index = (on_axis(t, p, <int64_t*>NULL) if t.f.axis >= 0
                     else everywhere(t, <int64_t*>NULL))
        (<int64_t*>o)[0] = index


cdef int arg_run(Arg* t, Launch* L) noexcept nogil:
    cdef Buf* x = L.b[1]
    t.f.L = L
    t.f.axis = <int>L.ia[0]
    if L.b[0].dtype != INT64:
        return BAD_DTYPE
    t.f.axis_n = x.shape[t.f.axis] if t.f.axis >= 0 else x.n
    t.f.axis_s = x.strides[t.f.axis] if t.f.axis >= 0 else 0
    parallel_over(<context_part_t>outputs[Arg], t, L.b[0].n, GRAIN // (t.f.axis_n + 1) + 1,
                  threads_of(L))
    return OK


cdef int argmax_run(Launch* L) noexcept nogil:
    """out = index of the first maximum of x along ia[0] (-1: of x flattened).  Strided."""
    cdef ArgMax t
    return arg_run(&t, L)


cdef int argmin_run(Launch* L) noexcept nogil:
    """out = index of the first minimum of x along ia[0] (-1: of x flattened).  Strided."""
    cdef ArgMin t
    return arg_run(&t, L)


# ---- cumulative_sum

cdef void add_up(char* o, Py_ssize_t so, char* p, Py_ssize_t sx, Py_ssize_t n, int dtype,
                 int to, total first, element* type) noexcept nogil:
    """One line: out[i] = x[0] + ... + x[i]."""
    cdef element block[BLOCK]
    cdef element out[BLOCK]
    cdef Py_ssize_t k, i, m
    cdef total sum = first
    for k in range((n + BLOCK - 1) // BLOCK):
        m = min(<Py_ssize_t>BLOCK, n - k * BLOCK)
        gather(block, p + k * BLOCK * sx, sx, m, dtype)
        for i in range(m):
            sum = sum + <total>block[i]
            out[i] = <element>sum
        scatter(o + k * BLOCK * so, so, out, m, to)


cdef void add_rows(char* o, Py_ssize_t so, Py_ssize_t wo, char* p, Py_ssize_t sx, Py_ssize_t wx,
                   Py_ssize_t n, Py_ssize_t w, int dtype, int to, total first,
                   element* type) noexcept nogil:
    """w <= BLOCK neighbouring lines at once: row i of out is row i of x added to the last."""
    cdef element block[BLOCK]
    cdef total sum[BLOCK]
    cdef Py_ssize_t i, j
    for j in range(w):
        sum[j] = first
    for i in range(n):
        gather(block, p + i * sx, wx, w, dtype)
        for j in range(w):
            sum[j] = sum[j] + <total>block[j]
            block[j] = <element>sum[j]
        scatter(o + i * so, wo, block, w, to)


cdef void lines(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Bands [begin, end): one line, or up to BLOCK that lie side by side on the last axis."""
    cdef Launch* L = <Launch*>context
    cdef Buf* x = L.b[1]
    cdef Buf* out = L.b[0]
    cdef int d, axis = <int>L.ia[0], last = x.ndim - 1
    cdef Py_ssize_t k, i, rest, w, n = x.shape[axis], so = out.strides[axis], sx = x.strides[axis]
    cdef Py_ssize_t bands = (x.shape[last] + BLOCK - 1) // BLOCK
    cdef Py_ssize_t wo = out.strides[last], wx = x.strides[last]
    cdef char* p
    cdef char* o
    for k in range(begin, end):
        p, o, rest, w = x.data, out.data, k, 0
        if axis != last:
            i = rest % bands
            rest = rest // bands
            w = min(<Py_ssize_t>BLOCK, x.shape[last] - i * BLOCK)
            p += i * BLOCK * wx
            o += i * BLOCK * wo
        for d in range(last - 1, -1, -1):
            if d != axis:
                i = rest % x.shape[d]
                rest = rest // x.shape[d]
                p += i * x.strides[d]
                o += i * out.strides[d]
        if axis == last and x.dtype == FLOAT32:
            add_up(o, so, p, sx, n, x.dtype, out.dtype, <double>0, <float*>NULL)
        elif axis == last and x.dtype == FLOAT64:
            add_up(o, so, p, sx, n, x.dtype, out.dtype, <double>0, <double*>NULL)
        elif axis == last:
            add_up(o, so, p, sx, n, x.dtype, out.dtype, <int64_t>0, <int64_t*>NULL)
        elif x.dtype == FLOAT32:
            add_rows(o, so, wo, p, sx, wx, n, w, x.dtype, out.dtype, <double>0, <float*>NULL)
        elif x.dtype == FLOAT64:
            add_rows(o, so, wo, p, sx, wx, n, w, x.dtype, out.dtype, <double>0, <double*>NULL)
        else:
            add_rows(o, so, wo, p, sx, wx, n, w, x.dtype, out.dtype, <int64_t>0, <int64_t*>NULL)


cdef int cumulative_sum_run(Launch* L) noexcept nogil:
    """out = running sum of x along ia[0]; float of float, int64 of integers.  Strided."""
    cdef Buf* x = L.b[1]
    cdef int axis = <int>L.ia[0], last = x.ndim - 1
    cdef Py_ssize_t count, width = 1
    if L.b[0].dtype != (x.dtype if x.dtype >= FLOAT32 else INT64):
        return BAD_DTYPE
    if x.n == 0:
        return OK
    count = x.n // x.shape[axis]
    if axis != last:
        width = min(<Py_ssize_t>BLOCK, x.shape[last])
        count = count // x.shape[last] * ((x.shape[last] + BLOCK - 1) // BLOCK)
    parallel_over(lines, L, count, GRAIN // (x.shape[axis] * width) + 1, threads_of(L))
    return OK


TABLE = {"argmax": <size_t>&argmax_run, "argmin": <size_t>&argmin_run,
         "cumulative_sum": <size_t>&cumulative_sum_run}
