# gather, scatter and their kin: elements addressed by a flat index over some
# neighbouring axes.  Invariant: every index is checked before the first write,
# and what is added to one place is added in the order of the index, by one
# thread, so sums do not depend on the number of threads.
#
# Shapes: x (outer..., picked..., row...), region (outer..., index..., row...).
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from kernels.copy cimport copy_run
from kernels.launch cimport (
    BAD_DTYPE, BAD_INDEX, BOOL, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, OK, UINT8,
    Buf, Launch, itemsize, parallel_over, threads_of)
from kernels.ndloop cimport NdLoop, nd_plan, nd_range, ndloop

cdef enum:
    GRAIN = 1 << 14             # elements that are worth a thread

ctypedef fused number:
    int32_t
    int64_t
    float
    double

ctypedef fused word:
    uint8_t
    uint16_t
    uint32_t
    uint64_t


# ---- offsets

cdef struct Axes:               # some axes of an array, merged where they run on
    int ndim
    Py_ssize_t shape[8]
    Py_ssize_t strides[8]

cdef Py_ssize_t merge(Axes* a, Py_ssize_t* shape, Py_ssize_t* strides, int ndim) noexcept nogil:
    """The axes with as few as possible; the number of elements."""
    cdef int d, e
    cdef Py_ssize_t n = 1
    a.ndim = 0
    for d in range(ndim):
        n *= shape[d]
        if shape[d] == 1:
            continue
        e = a.ndim - 1
        if e >= 0 and a.strides[e] == strides[d] * shape[d]:
            a.shape[e] *= shape[d]
            a.strides[e] = strides[d]
        else:
            a.shape[a.ndim], a.strides[a.ndim] = shape[d], strides[d]
            a.ndim += 1
    return n

cdef inline Py_ssize_t offset(Axes* a, Py_ssize_t i) noexcept nogil:
    """Bytes from the first element to the i-th in C order."""
    cdef int d
    cdef Py_ssize_t at = 0
    if a.ndim == 0:
        return 0
    for d in range(a.ndim - 1, 0, -1):
        at += i % a.shape[d] * a.strides[d]
        i = i // a.shape[d]
    return at + i * a.strides[0]

cdef inline int64_t load(char* p, int dtype) noexcept nogil:
    if dtype == INT64:
        return (<int64_t*>p)[0]
    if dtype == INT32:
        return (<int32_t*>p)[0]
    if dtype == INT16:
        return (<int16_t*>p)[0]
    if dtype == INT8:
        return (<int8_t*>p)[0]
    return (<uint8_t*>p)[0]

cdef int checked(Launch* L, Buf* index, Py_ssize_t n) noexcept nogil:
    """BAD_INDEX, with the first wrong entry in ia[11], unless all are in [-n, n)."""
    cdef Axes axes
    cdef Py_ssize_t i, total
    cdef int64_t value
    cdef bint wrong = False
    if index.dtype == BOOL or index.dtype >= FLOAT32:
        return BAD_DTYPE
    total = merge(&axes, index.shape, index.strides, index.ndim)
    if index.dtype == INT64 and axes.ndim == 1 and axes.strides[0] == sizeof(int64_t):
        for i in range(total):
            wrong |= ((<int64_t*>index.data)[i] < -n) | ((<int64_t*>index.data)[i] >= n)
        if not wrong:
            return OK
    for i in range(total):
        value = load(index.data + offset(&axes, i), index.dtype)
        if value < -n or value >= n:
            L.ia[11] = value
            return BAD_INDEX
    return OK


# ---- rows

cdef void move_loop(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n,
                    word* type) noexcept nogil:
    cdef Py_ssize_t i, so = strides[0], sx = strides[1]
    if n > 1 and so == sizeof(word) and sx == sizeof(word):
        memcpy(p[0], p[1], n * sizeof(word))
        return
    for i in range(n):
        (<word*>(p[0] + i * so))[0] = (<word*>(p[1] + i * sx))[0]

cdef void move_row(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n) noexcept nogil:
    """out = x, of one dtype."""
    cdef int size = <int>itemsize(L.b[0].dtype)
    if size == 4:
        move_loop(L, p, strides, n, <uint32_t*>NULL)
    elif size == 8:
        move_loop(L, p, strides, n, <uint64_t*>NULL)
    elif size == 1:
        move_loop(L, p, strides, n, <uint8_t*>NULL)
    else:
        move_loop(L, p, strides, n, <uint16_t*>NULL)

cdef void add_loop(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n,
                   number* type) noexcept nogil:
    cdef Py_ssize_t i, so = strides[0], sx = strides[1]
    cdef number* out = <number*>p[0]
    cdef number* x = <number*>p[1]
    if so == sizeof(number) and sx == sizeof(number):
        for i in range(n):
            out[i] += x[i]
    else:
        for i in range(n):
            (<number*>(p[0] + i * so))[0] += (<number*>(p[1] + i * sx))[0]

cdef void add_row(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n) noexcept nogil:
    """out += x, of one dtype."""
    cdef int dt = L.b[0].dtype
    if dt == FLOAT32:
        add_loop(L, p, strides, n, <float*>NULL)
    elif dt == FLOAT64:
        add_loop(L, p, strides, n, <double*>NULL)
    elif dt == INT64:
        add_loop(L, p, strides, n, <int64_t*>NULL)
    else:
        add_loop(L, p, strides, n, <int32_t*>NULL)

cdef inline bint adds(int dtype) noexcept nogil:
    return dtype >= INT32


# ---- the picking loop

cdef struct Pick:
    Launch* L
    Axes x_outer, x_picked, r_outer, r_index, index
    NdLoop row                  # operands: where to, where from
    Py_ssize_t outer, n, m, inner       # outer slices, picked elements, indices, a row's elements
    char* x
    char* region
    char* at
    int index_dtype
    bint zero                   # clear the rows of a part before adding to them
    bint single                 # rows of one element, one stride everywhere: pick_single

cdef int plan(Pick* p, Launch* L, Buf* x, Buf* region, Buf* index, bint into_x) noexcept nogil:
    """Lay out x, region (broadcast to its full shape) and index; check the index."""
    cdef int d, k, axis = <int>L.ia[0], axes = <int>L.ia[1]
    cdef int rows = x.ndim - axis - axes, full = axis + index.ndim + rows
    cdef Py_ssize_t steps[24]
    cdef Buf to, source
    cdef Buf* pair[2]
    p.L, p.zero = L, False
    p.x, p.region, p.at, p.index_dtype = x.data, region.data, index.data, index.dtype
    for d in range(full):
        k = d - full + region.ndim
        steps[d] = region.strides[k] if k >= 0 and region.shape[k] != 1 else 0
    p.outer = merge(&p.x_outer, x.shape, x.strides, axis)
    p.n = merge(&p.x_picked, x.shape + axis, x.strides + axis, axes)
    merge(&p.r_outer, x.shape, steps, axis)
    p.m = merge(&p.r_index, index.shape, steps + axis, index.ndim)
    merge(&p.index, index.shape, index.strides, index.ndim)
    to.ndim = source.ndim = rows
    p.inner = 1
    for d in range(rows):
        to.shape[d] = source.shape[d] = x.shape[axis + axes + d]
        p.inner *= to.shape[d]
        to.strides[d] = x.strides[axis + axes + d]
        source.strides[d] = steps[axis + index.ndim + d]
    to.data = source.data = NULL
    pair[0], pair[1] = &to, &source
    if not into_x:
        pair[0], pair[1] = &source, &to
    nd_plan(&p.row, pair, 2)
    p.row.L = L
    p.single = (p.inner == 1 and index.dtype == INT64 and p.x_picked.ndim <= 1
                and p.r_index.ndim <= 1 and p.index.ndim <= 1)
    return checked(L, index, p.n)

cdef inline void do_row(NdLoop* row, char* to, char* source) noexcept nogil:
    cdef char* q[2]
    if row.ndim == 1:
        q[0], q[1] = to, source
        row.loop(row.L, q, row.strides[0], row.shape[0])
    else:
        row.data[0], row.data[1] = to, source
        nd_range(row, 0, row.n)

cdef inline Py_ssize_t stride(Axes* a) noexcept nogil:
    return a.strides[0] if a.ndim else 0

cdef void gather_single(Pick* p, char* out, char* x, Py_ssize_t begin, Py_ssize_t end,
                        word* type) noexcept nogil:
    """out[j] = x[index[j]] for j in [begin, end)."""
    cdef Py_ssize_t j, n = p.n, so = stride(&p.r_index), sx = stride(&p.x_picked)
    cdef Py_ssize_t si = stride(&p.index)
    cdef int64_t f
    for j in range(begin, end):
        f = (<int64_t*>(p.at + j * si))[0]
        f += n if f < 0 else 0
        (<word*>(out + j * so))[0] = (<word*>(x + f * sx))[0]

cdef void scatter_single(Pick* p, char* x, char* source, Py_ssize_t low, Py_ssize_t high,
                         word* type) noexcept nogil:
    """x[index[j]] = source[j] for all j with low <= index[j] < high."""
    cdef Py_ssize_t j, n = p.n, ss = stride(&p.r_index), sx = stride(&p.x_picked)
    cdef Py_ssize_t si = stride(&p.index)
    cdef int64_t f
    for j in range(p.m):
        f = (<int64_t*>(p.at + j * si))[0]
        f += n if f < 0 else 0
        if low <= f < high:
            (<word*>(x + f * sx))[0] = (<word*>(source + j * ss))[0]

cdef void add_single(Pick* p, char* x, char* source, Py_ssize_t low, Py_ssize_t high,
                     number* type) noexcept nogil:
    """x[index[j]] += source[j] for all j with low <= index[j] < high."""
    cdef Py_ssize_t j, n = p.n, ss = stride(&p.r_index), sx = stride(&p.x_picked)
    cdef Py_ssize_t si = stride(&p.index)
    cdef int64_t f
    for j in range(p.m):
        f = (<int64_t*>(p.at + j * si))[0]
        f += n if f < 0 else 0
        if low <= f < high:
            (<number*>(x + f * sx))[0] += (<number*>(source + j * ss))[0]

cdef void singles(Pick* p, char* x, char* region, Py_ssize_t low, Py_ssize_t high,
                  bint gathers) noexcept nogil:
    """Rows of one element, by dtype: [low, high) counts indices to gather, elements to scatter."""
    cdef int dt = p.L.b[0].dtype, size = <int>itemsize(dt)
    if gathers:
        if size == 4:
            gather_single(p, region, x, low, high, <uint32_t*>NULL)
        elif size == 8:
            gather_single(p, region, x, low, high, <uint64_t*>NULL)
        elif size == 1:
            gather_single(p, region, x, low, high, <uint8_t*>NULL)
        else:
            gather_single(p, region, x, low, high, <uint16_t*>NULL)
    elif p.row.loop == add_row:
        if dt == FLOAT32:
            add_single(p, x, region, low, high, <float*>NULL)
        elif dt == FLOAT64:
            add_single(p, x, region, low, high, <double*>NULL)
        elif dt == INT64:
            add_single(p, x, region, low, high, <int64_t*>NULL)
        else:
            add_single(p, x, region, low, high, <int32_t*>NULL)
    elif size == 4:
        scatter_single(p, x, region, low, high, <uint32_t*>NULL)
    elif size == 8:
        scatter_single(p, x, region, low, high, <uint64_t*>NULL)
    elif size == 1:
        scatter_single(p, x, region, low, high, <uint8_t*>NULL)
    else:
        scatter_single(p, x, region, low, high, <uint16_t*>NULL)

cdef void gather_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Rows [begin, end) of the region, counted over outer slices and indices."""
    cdef Pick* p = <Pick*>context
    cdef NdLoop row = p.row
    cdef Py_ssize_t o = begin // p.m, j = begin % p.m, i
    cdef int64_t f
    cdef char* x = p.x + offset(&p.x_outer, o)
    cdef char* out = p.region + offset(&p.r_outer, o)
    if p.single:
        while begin < end:
            i = min(p.m, j + end - begin)
            singles(p, p.x + offset(&p.x_outer, o), p.region + offset(&p.r_outer, o), j, i, True)
            begin += i - j
            j = 0
            o += 1
        return
    for i in range(begin, end):
        f = load(p.at + offset(&p.index, j), p.index_dtype)
        f += p.n if f < 0 else 0
        do_row(&row, out + offset(&p.r_index, j), x + offset(&p.x_picked, f))
        j += 1
        if j == p.m:
            j = 0
            o += 1
            x = p.x + offset(&p.x_outer, o)
            out = p.region + offset(&p.r_outer, o)

cdef void scatter_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Rows [begin, end) of x, counted over outer slices and picked elements."""
    cdef Pick* p = <Pick*>context
    cdef NdLoop row = p.row
    cdef Py_ssize_t o, j, low, high
    cdef Py_ssize_t row_bytes = p.inner * itemsize(p.L.b[0].dtype)
    cdef int64_t f
    cdef char* x
    cdef char* source
    if p.zero:
        memset(p.x + begin * row_bytes, 0, (end - begin) * row_bytes)
    for o in range(begin // p.n, (end - 1) // p.n + 1):
        low = begin - o * p.n
        high = end - o * p.n
        x = p.x + offset(&p.x_outer, o)
        source = p.region + offset(&p.r_outer, o)
        if p.single:
            singles(p, x, source, low, high, False)
            continue
        for j in range(p.m):
            f = load(p.at + offset(&p.index, j), p.index_dtype)
            f += p.n if f < 0 else 0
            if low <= f < high:
                do_row(&row, x + offset(&p.x_picked, f), source + offset(&p.r_index, j))

cdef void scatter(Pick* p) noexcept nogil:
    """All rows of x, in parts of GRAIN elements of work."""
    cdef Py_ssize_t rows = p.outer * p.n, work = p.outer * p.m * p.inner, grain
    if p.zero:
        work += rows * p.inner
    grain = rows * GRAIN // (work + 1) + 1
    if p.inner < 16:                        # reading the whole index costs more than short rows
        grain = max(grain, p.n)
    if rows and p.inner:
        parallel_over(scatter_part, p, rows, grain, threads_of(p.L))


# ---- kernels

cdef int gather_run(Launch* L) noexcept nogil:
    """out[o, i, r] = x[o, index[i], r].  Buffers: out, x, index; ia: axis, axes.  Strided."""
    cdef Pick p
    cdef int status = plan(&p, L, L.b[1], L.b[0], L.b[2], False)
    if status == OK and p.inner and p.outer and p.m:
        p.row.loop = move_row
        parallel_over(gather_part, &p, p.outer * p.m, GRAIN // p.inner + 1, threads_of(L))
    return status

cdef int scatter_add_run(Launch* L) noexcept nogil:
    """out = 0; out[o, index[i], r] += v[o, i, r].

    Buffers: out (contiguous), v, index; ia: axis, axes, then out's shape.  Strided.
    """
    cdef Pick p
    cdef int status = plan(&p, L, L.b[0], L.b[1], L.b[2], True)
    if not adds(L.b[0].dtype):
        return BAD_DTYPE
    if status == OK:
        p.row.loop, p.zero = add_row, True
        scatter(&p)
    return status

cdef int scatter_add_into_run(Launch* L) noexcept nogil:
    """out[o, index[i], r] += v[o, i, r], v broadcast.  Buffers: out (is x), x, v, index."""
    cdef Pick p
    cdef int status = plan(&p, L, L.b[0], L.b[2], L.b[3], True)
    if not adds(L.b[0].dtype) or L.b[2].dtype != L.b[0].dtype:
        return BAD_DTYPE
    if status == OK:
        p.row.loop = add_row
        scatter(&p)
    return status

cdef int scatter_run(Launch* L) noexcept nogil:
    """out[o, index[i], r] = v[o, i, r], v broadcast; the last of several for one place stays.

    Buffers: out (is x), x, v, index; ia: axis, axes.
    """
    cdef Pick p
    cdef int status = plan(&p, L, L.b[0], L.b[2], L.b[3], True)
    if L.b[2].dtype != L.b[0].dtype:
        return BAD_DTYPE
    if status == OK:
        p.row.loop = move_row
        scatter(&p)
    return status

cdef void expand(Buf* wide, Buf* a, Buf* like) noexcept nogil:
    """`a` in the shape of `like`, stride 0 along broadcast axes."""
    cdef int d, k
    memcpy(wide, like, sizeof(Buf))
    wide.data, wide.dtype = a.data, a.dtype
    for d in range(like.ndim):
        k = d - like.ndim + a.ndim
        wide.strides[d] = a.strides[k] if k >= 0 and a.shape[k] != 1 else 0

cdef int accumulate_run(Launch* L) noexcept nogil:
    """out += v, v broadcast.  Buffers: out (is x), x, v.  Strided."""
    cdef Buf wide
    cdef Buf* b[2]
    if not adds(L.b[0].dtype) or L.b[2].dtype != L.b[0].dtype:
        return BAD_DTYPE
    expand(&wide, L.b[2], L.b[0])
    b[0], b[1] = L.b[0], &wide
    ndloop(add_row, L, b, 2, GRAIN)
    return OK

cdef void ravel_loop(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n) noexcept nogil:
    """out = out * size + x, with x from the end where negative; ia: size, dtype of x, first."""
    cdef Py_ssize_t i
    cdef int64_t f, size = L.ia[0]
    cdef int64_t* out
    for i in range(n):
        f = load(p[1] + i * strides[1], <int>L.ia[1])
        f += size if f < 0 else 0
        out = <int64_t*>(p[0] + i * strides[0])
        out[0] = f if L.ia[2] else out[0] * size + f

cdef int ravel_index_run(Launch* L) noexcept nogil:
    """out (int64) = (x0 * size1 + x1) * size2 + ...  Inputs broadcast; ia: sizes.  Strided."""
    cdef Launch part
    cdef Buf wide
    cdef Buf* b[2]
    cdef int k, status
    for k in range(L.nin):
        status = checked(L, L.b[L.nout + k], L.ia[k])
        if status != OK:
            return status
    for k in range(L.nin):
        memcpy(&part, L, sizeof(Launch))
        part.ia[0], part.ia[1], part.ia[2] = L.ia[k], L.b[L.nout + k].dtype, k == 0
        expand(&wide, L.b[L.nout + k], L.b[0])
        b[0], b[1] = L.b[0], &wide
        ndloop(ravel_loop, &part, b, 2, GRAIN)
    return OK

cdef int unindex_run(Launch* L) noexcept nogil:
    """out (contiguous) = 0, then g written to a view of it.

    ia: the view's offset, out's sizes, the view's strides, in elements.  Strided.
    """
    cdef Launch part
    cdef Buf view
    cdef Buf* b[2]
    cdef int d
    cdef Py_ssize_t size = itemsize(L.b[0].dtype)
    memset(L.b[0].data, 0, L.b[0].n * size)
    memcpy(&view, L.b[1], sizeof(Buf))
    view.data = L.b[0].data + L.ia[0] * size
    for d in range(view.ndim):
        view.strides[d] = L.ia[1 + L.b[0].ndim + d] * size
    memcpy(&part, L, sizeof(Launch))
    b[0], b[1] = &view, L.b[1]
    part.b = b
    return copy_run(&part)


# ---- triangles

cdef void triangle_part(void* context, Py_ssize_t begin, Py_ssize_t end,
                        int thread) noexcept nogil:
    """Rows [begin, end) of all matrices; ia: k, lower."""
    cdef Launch* L = <Launch*>context
    cdef Buf* x = L.b[1]
    cdef Py_ssize_t size = itemsize(x.dtype), rows = x.shape[x.ndim - 2], r, cut
    cdef Py_ssize_t cols = x.shape[x.ndim - 1]
    cdef char* to
    cdef char* source
    for r in range(begin, end):
        to, source = L.b[0].data + r * cols * size, x.data + r * cols * size
        cut = r % rows + L.ia[0] + L.ia[1]              # first column of the other side
        cut = min(max(cut, 0), cols) * size
        if L.ia[1]:
            memcpy(to, source, cut)
            memset(to + cut, 0, cols * size - cut)
        else:
            memset(to, 0, cut)
            memcpy(to + cut, source + cut, cols * size - cut)

cdef int triangle(Launch* L, int lower) noexcept nogil:
    cdef Launch part
    if L.b[0].n == 0:
        return OK
    memcpy(&part, L, sizeof(Launch))
    part.ia[1] = lower
    parallel_over(triangle_part, &part, L.b[0].n // L.b[0].shape[L.b[0].ndim - 1],
                  GRAIN // L.b[0].shape[L.b[0].ndim - 1] + 1, threads_of(L))
    return OK

cdef int tril_run(Launch* L) noexcept nogil:
    """out = x where j - i <= ia[0], else 0, in the last two axes.  Contiguous."""
    return triangle(L, 1)

cdef int triu_run(Launch* L) noexcept nogil:
    """out = x where j - i >= ia[0], else 0, in the last two axes.  Contiguous."""
    return triangle(L, 0)


TABLE = {
    "gather": <size_t>&gather_run, "scatter_add": <size_t>&scatter_add_run,
    "scatter_add_": <size_t>&scatter_add_into_run, "scatter_": <size_t>&scatter_run,
    "accumulate": <size_t>&accumulate_run, "ravel_index": <size_t>&ravel_index_run,
    "unindex": <size_t>&unindex_run, "tril": <size_t>&tril_run, "triu": <size_t>&triu_run,
}
