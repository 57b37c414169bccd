# Reductions over any axes: sum, mean, var, max, min, any, all, logsumexp.
#
# Each is a tag type, a branch in the functions of scalars below, and a `_run`.
# A reduction is cut into items by shape and strides alone: an output (or a band
# of up to BLOCK neighbouring outputs) times a chunk of what is reduced; partial
# results are merged in order.  Invariant: results do not depend on the number of
# threads; float32 accumulates in double, integers in int64.
#
# Two ways through memory: along rows, where a reduced axis is innermost, in
# LANES independent sums that a compiler can vectorise; along columns, where the
# outputs are neighbours, all of a band's at once.
from libc.math cimport INFINITY, exp, isinf, log
from libc.stdint cimport INT64_MAX, INT64_MIN, int16_t, int32_t, int64_t, uint8_t

from kernels.blocks cimport BLOCK, gather, native
from kernels.launch cimport (
    BAD_DTYPE, BOOL, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, OK,
    Buf, Launch, context_part_t, itemsize, parallel_over, threads_of)
from kernels.vmath cimport vexp

cdef enum:
    MAX_CHUNKS = 16             # of a reduction: partial results stay on the stack
    CHUNK = 1 << 15             # elements; fewer are not worth cutting
    GRAIN = 1 << 16             # elements a thread should have
    NARROW = 8                  # columns; fewer go along rows

ctypedef fused element:         # what is read ...
    float
    double
    int64_t

ctypedef fused total:           # ... and what it adds up in
    double
    int64_t

cdef union Acc:
    double f
    int64_t i

cdef struct State:              # of one output: the sum, maximum, mean or shift; var's and
    Acc a                       # logsumexp's second sum
    double b

cdef struct Fold:
    Launch* L
    double correction           # var's
    int kept, reduced           # axes, merged, without the columns
    Py_ssize_t kshape[8]
    Py_ssize_t kx[8]            # strides in x ...
    Py_ssize_t kout[8]          # ... and in out
    Py_ssize_t rshape[8]
    Py_ssize_t rx[8]
    Py_ssize_t width, wx, wout, bands       # columns; width 0: along rows
    Py_ssize_t count, chunk, chunks, units
    State* partial              # [unit][chunk][column] where chunks > 1

ctypedef struct Sum:
    Fold f
ctypedef struct Mean:
    Fold f
ctypedef struct Max:
    Fold f
ctypedef struct Min:
    Fold f
ctypedef struct Any:
    Fold f
ctypedef struct All:
    Fold f
ctypedef struct Var:
    Fold f
ctypedef struct LogSumExp:
    Fold f

ctypedef fused Tag:
    Sum
    Mean
    Max
    Min
    Any
    All
    Var
    LogSumExp


# ---- scalars: start, step, step of the second pass, merge

cdef inline total initial(Tag* t, total* type) noexcept nogil:
    if Tag is Max or Tag is LogSumExp:
        return INT64_MIN if total is int64_t else -INFINITY
    elif Tag is Min:
        return INT64_MAX if total is int64_t else INFINITY
    elif Tag is All:
        return 1
    else:
        return 0


cdef inline total step(Tag* t, total a, element x) noexcept nogil:
    if Tag is Max or Tag is LogSumExp:  # the second comparison lets NaN win
        return <total>x if (x > a) | (x != x) else a
    elif Tag is Min:
        return <total>x if (x < a) | (x != x) else a
    elif Tag is Any:
        return <total>1 if x != 0 else a
    elif Tag is All:
        return <total>0 if x == 0 else a
    else:
        return a + <total>x


cdef inline double second(Tag* t, double b, element x, double shift) noexcept nogil:
    cdef double d
    if Tag is LogSumExp and element is not int64_t:
        return b + vexp(<element>(x - <element>shift))
    else:
        d = x - shift
        return b + d * d


cdef inline total merged(Tag* t, total a, total b) noexcept nogil:
    """Two first results as one."""
    if Tag is Any:
        return a if a > b else b
    elif Tag is All:
        return a if a < b else b
    else:
        return step(t, a, b)


cdef void merge(Tag* t, State* s, State* u, Py_ssize_t n, Py_ssize_t m, total* type) noexcept nogil:
    """s, of n elements, takes in u, of m."""
    cdef double d, top
    if Tag is Var:                      # Chan, Golub, LeVeque 1979
        d = u.a.f - s.a.f
        s.a.f += d * m / (n + m)
        s.b += u.b + d * d * n * m / (n + m)
    elif Tag is LogSumExp:
        if s.b == 0 or isinf(u.b):
            s[0] = u[0]
        elif u.b != 0 and not isinf(s.b):
            top = s.a.f if s.a.f > u.a.f else u.a.f
            s.b = s.b * exp(s.a.f - top) + u.b * exp(u.a.f - top)
            s.a.f = top
    elif total is int64_t:
        s.a.i = merged(t, s.a.i, u.a.i)
    else:
        s.a.f = merged(t, s.a.f, u.a.f)


cdef void put(Tag* t, char* out, State* s) noexcept nogil:
    """The result of one output, in its dtype."""
    cdef Fold* f = &t.f
    cdef int dtype = f.L.b[0].dtype
    cdef double v = 0
    cdef int64_t i = 0
    if f.L.b[1].dtype < FLOAT32:
        i = s.a.i
    else:
        v = s.a.f
        i = v != 0
    if Tag is Mean:
        v = v / f.count
    elif Tag is Var:
        v = s.b / (f.count - f.correction if f.count > f.correction else 0)
    elif Tag is LogSumExp:
        v = log(s.b) + v
    if dtype == FLOAT32:
        (<float*>out)[0] = <float>v
    elif dtype == FLOAT64:
        (<double*>out)[0] = v
    elif dtype == BOOL:
        (<uint8_t*>out)[0] = i != 0
    elif dtype <= INT8:
        (<uint8_t*>out)[0] = <uint8_t>i
    elif dtype == INT16:
        (<int16_t*>out)[0] = <int16_t>i
    elif dtype == INT32:
        (<int32_t*>out)[0] = <int32_t>i
    else:
        (<int64_t*>out)[0] = i


# ---- loops

cdef inline void columns(Tag* t, total* a, double* shift, bint again, element* x,
                         Py_ssize_t n) noexcept nogil:
    """a[j] takes in x[j]; `again`: in the second pass."""
    cdef Py_ssize_t j
    if again:
        if total is double and (Tag is Var or Tag is LogSumExp):
            for j in range(n):
                a[j] = second(t, a[j], x[j], shift[j])
    else:
        for j in range(n):
            a[j] = step(t, a[j], x[j])


cdef void lanes(Tag* t, total* a, double shift, bint again, element* x,
                Py_ssize_t n) noexcept nogil:
    """A contiguous run into LANES accumulators: element i into a[i % LANES]."""
    cdef total s[LANES]
    cdef Py_ssize_t i, j, rest = n % LANES
    for j in range(LANES):
        s[j] = a[j]
    if again:
        if total is double and (Tag is Var or Tag is LogSumExp):
            for i in range(n // LANES):
                for j in range(LANES):
                    s[j] = second(t, s[j], x[j], shift)
                x += LANES
            for j in range(rest):
                s[j] = second(t, s[j], x[j], shift)
    else:
        for i in range(n // LANES):
            for j in range(LANES):
                s[j] = step(t, s[j], x[j])
            x += LANES
        for j in range(rest):
            s[j] = step(t, s[j], x[j])
    for j in range(LANES):
        a[j] = s[j]


cdef void run_of(Tag* t, total* a, double shift, bint again, char* p, Py_ssize_t s, Py_ssize_t n,
                 element* type) noexcept nogil:
    """One run along a reduced axis."""
    cdef element block[BLOCK]
    cdef element* x = <element*>p
    cdef Py_ssize_t k, m
    cdef int dtype = t.f.L.b[1].dtype
    if s == sizeof(element) and native(dtype, sizeof(element)):
        if n < LANES:
            for k in range(n):
                if again:
                    if total is double and (Tag is Var or Tag is LogSumExp):
                        a[k] = second(t, a[k], x[k], shift)
                else:
                    a[k] = step(t, a[k], x[k])
        else:
            lanes(t, a, shift, again, x, n)
        return
    for k in range((n + BLOCK - 1) // BLOCK):
        m = min(<Py_ssize_t>BLOCK, n - k * BLOCK)
        gather(block, p + k * BLOCK * s, s, m, dtype)
        lanes(t, a, shift, again, block, m)


cdef void walk(Tag* t, total* a, double* shift, bint again, char* p, Py_ssize_t w,
               Py_ssize_t lo, Py_ssize_t hi, element* type) noexcept nogil:
    """Reduced positions [lo, hi) of what starts at p: w columns, or (0) along rows."""
    cdef element block[BLOCK]
    cdef Fold* f = &t.f
    cdef int d, last = f.reduced - 1, dtype = f.L.b[1].dtype
    cdef Py_ssize_t at[8]
    cdef Py_ssize_t rest = lo, run, i, s = f.rx[last]
    cdef bint whole = f.wx == sizeof(element) and native(dtype, sizeof(element))
    if lo == hi:
        return
    for d in range(last, -1, -1):
        at[d] = rest % f.rshape[d]
        rest = rest // f.rshape[d]
        p += at[d] * f.rx[d]
    while True:
        run = min(f.rshape[last] - at[last], hi - lo)
        if w == 0:
            run_of(t, a, shift[0], again, p, s, run, type)
        elif whole:
            for i in range(run):
                columns(t, a, shift, again, <element*>(p + i * s), w)
        else:
            for i in range(run):
                gather(block, p + i * s, f.wx, w, dtype)
                columns(t, a, shift, again, block, w)
        lo += run
        if lo == hi:
            return
        p -= at[last] * s
        at[last] = 0
        d = last - 1
        while True:
            at[d] += 1
            p += f.rx[d]
            if at[d] < f.rshape[d]:
                break
            p -= at[d] * f.rx[d]
            at[d] = 0
            d -= 1


# ---- items

cdef void compute(Tag* t, State* state, char* p, Py_ssize_t w, Py_ssize_t lo, Py_ssize_t hi,
                  total* total_type, element* type) noexcept nogil:
    """States of w columns, or of one output along rows (w = 0), over positions [lo, hi)."""
    cdef total a[BLOCK]
    cdef double b[BLOCK]
    cdef double shift[BLOCK]
    cdef Py_ssize_t j, n = w
    cdef total start = initial(t, <total*>NULL)
    if w == 0:
        n = LANES
        if t.f.reduced == 1 and hi - lo < LANES:
            n = hi - lo if hi > lo else 1
    shift[0] = 0
    for j in range(n):
        a[j] = start
    walk(t, a, shift, False, p, w, lo, hi, type)
    if w == 0:
        for j in range(1, n):
            a[0] = merged(t, a[0], a[j])
    if total is double and (Tag is Var or Tag is LogSumExp):
        for j in range(w if w else 1):
            if Tag is Var:
                shift[j] = a[j] / (hi - lo)
            else:
                shift[j] = a[j] if a[j] - a[j] == 0 else 0      # infinite, NaN: no shift
            a[j] = shift[j]
        for j in range(n):
            b[j] = 0
        walk(t, b, shift, True, p, w, lo, hi, type)
        if w == 0:
            for j in range(1, n):
                b[0] += b[j]
        for j in range(w if w else 1):
            state[j].b = b[j]
    for j in range(w if w else 1):
        if total is int64_t:
            state[j].a.i = a[j]
        else:
            state[j].a.f = a[j]


cdef inline char* place(Fold* f, Py_ssize_t unit,
                        char** out) noexcept nogil:
    """Where a unit's elements start in x, and its outputs in out."""
    cdef char* p = f.L.b[1].data
    cdef Py_ssize_t i, band = unit % f.bands
    cdef int d
    out[0] = f.L.b[0].data + band * BLOCK * f.wout
    p += band * BLOCK * f.wx
    unit = unit // f.bands
    for d in range(f.kept - 1, -1, -1):
        i = unit % f.kshape[d]
        unit = unit // f.kshape[d]
        p += i * f.kx[d]
        out[0] += i * f.kout[d]
    return p


cdef inline Py_ssize_t columns_of(Fold* f, Py_ssize_t unit) noexcept nogil:
    """Columns of the band of a unit; 0 along rows."""
    cdef Py_ssize_t left = f.width - unit % f.bands * BLOCK
    return min(<Py_ssize_t>BLOCK, left) if f.width else 0


cdef void items(Tag* t, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Items [begin, end): item = unit * chunks + chunk."""
    cdef Fold* f = &t.f
    cdef State own[BLOCK]
    cdef State* state
    cdef Py_ssize_t item, unit, lo, hi, w, j
    cdef char* p
    cdef char* out
    cdef int dtype = f.L.b[1].dtype
    for item in range(begin, end):
        unit = item // f.chunks
        lo = item % f.chunks * f.chunk
        hi = min(lo + f.chunk, f.count)
        w = columns_of(f, unit)
        p = place(f, unit, &out)
        if f.chunks == 1:
            state = own
        else:
            state = f.partial + item * (min(<Py_ssize_t>BLOCK, f.width) if f.width else 1)
        if dtype == FLOAT32:
            compute(t, state, p, w, lo, hi, <double*>NULL, <float*>NULL)
        elif dtype == FLOAT64:
            compute(t, state, p, w, lo, hi, <double*>NULL, <double*>NULL)
        elif not (Tag is Mean or Tag is Var or Tag is LogSumExp):
            compute(t, state, p, w, lo, hi, <int64_t*>NULL, <int64_t*>NULL)
        if f.chunks == 1:
            for j in range(w if w else 1):
                put(t, out + j * f.wout, &state[j])


cdef void finish(Tag* t) noexcept nogil:
    """Merge the partial results, chunk by chunk, and write the outputs."""
    cdef Fold* f = &t.f
    cdef Py_ssize_t unit, c, j, w, step_, n, m
    cdef State* s
    cdef char* out
    step_ = min(<Py_ssize_t>BLOCK, f.width) if f.width else 1
    for unit in range(f.units):
        s = f.partial + unit * f.chunks * step_
        w = columns_of(f, unit) if f.width else 1
        place(f, unit, &out)
        for c in range(1, f.chunks):
            n = c * f.chunk
            m = min(f.chunk, f.count - n)
            for j in range(w):
                if f.L.b[1].dtype < FLOAT32:
                    merge(t, &s[j], &s[c * step_ + j], n, m, <int64_t*>NULL)
                else:
                    merge(t, &s[j], &s[c * step_ + j], n, m, <double*>NULL)
        for j in range(w):
            put(t, out + j * f.wout, &s[j])


# ---- the plan

cdef inline Py_ssize_t size_of(Py_ssize_t stride) noexcept nogil:
    return stride if stride >= 0 else -stride


cdef void plan(Fold* f, Launch* L, int64_t axes) noexcept nogil:
    """Sort and merge the axes; choose rows or columns, and how much an item takes."""
    cdef Buf* x = L.b[1]
    cdef Buf* out = L.b[0]
    cdef int d, e, k, gone = 0, order[8]
    cdef int axis[8]            # of out, for each axis of x
    cdef bint dropped
    cdef Py_ssize_t each, want
    f.L = L
    for d in range(x.ndim):
        gone += axes >> d & 1
    # Outputs without the reduced axes, or with some of them kept (of size 1).
    dropped = out.ndim == x.ndim - gone
    k = 0
    for d in range(x.ndim):
        if dropped:
            axis[d] = k
            k += not axes >> d & 1
        else:
            axis[d] = d - (x.ndim - out.ndim)
    # By stride in x, largest first, so that walking x is walking memory.
    for d in range(x.ndim):
        order[d] = d
        for e in range(d, 0, -1):
            if size_of(x.strides[order[e]]) <= size_of(x.strides[order[e - 1]]):
                break
            order[e], order[e - 1] = order[e - 1], order[e]
    f.kept = f.reduced = 0
    f.count = 1
    f.units = 1
    f.width = f.wx = f.wout = 0
    for d in range(x.ndim):
        k = order[d]
        if x.shape[k] == 1:
            continue
        if axes >> k & 1:
            f.count *= x.shape[k]
            e = f.reduced - 1
            if e >= 0 and f.rx[e] == x.strides[k] * x.shape[k]:
                f.rshape[e] *= x.shape[k]
                f.rx[e] = x.strides[k]
            else:
                f.rshape[f.reduced] = x.shape[k]
                f.rx[f.reduced] = x.strides[k]
                f.reduced += 1
        else:
            f.units *= x.shape[k]
            e = f.kept - 1
            if (e >= 0 and f.kx[e] == x.strides[k] * x.shape[k]
                    and f.kout[e] == out.strides[axis[k]] * x.shape[k]):
                f.kshape[e] *= x.shape[k]
                f.kx[e] = x.strides[k]
                f.kout[e] = out.strides[axis[k]]
            else:
                f.kshape[f.kept] = x.shape[k]
                f.kx[f.kept] = x.strides[k]
                f.kout[f.kept] = out.strides[axis[k]]
                f.kept += 1
    if f.reduced == 0:
        f.rshape[0] = 1
        f.rx[0] = 0
        f.reduced = 1
    e = f.kept - 1
    if e >= 0 and f.kshape[e] >= NARROW and (
            f.count < 2 or size_of(f.kx[e]) < size_of(f.rx[f.reduced - 1])):
        f.width, f.wx, f.wout = f.kshape[e], f.kx[e], f.kout[e]
        f.units = f.units // f.width
        f.kept -= 1
    f.bands = (f.width + BLOCK - 1) // BLOCK if f.width else 1
    f.units *= f.bands
    # Chunks only where there are few outputs and much to reduce.
    each = f.count * (min(<Py_ssize_t>BLOCK, f.width) if f.width else 1)
    f.chunks, f.chunk = 1, f.count
    if f.units < MAX_CHUNKS and each >= 2 * CHUNK:
        f.chunk = chunk_of(f.count, each, f.units)
        f.chunks = (f.count + f.chunk - 1) // f.chunk


cdef inline Py_ssize_t chunk_of(Py_ssize_t count, Py_ssize_t each,
                                Py_ssize_t units) noexcept nogil:
    cdef Py_ssize_t want = min(each // CHUNK, MAX_CHUNKS // units)
    return (count + want - 1) // want


cdef int reduce(Tag* t, Launch* L, int64_t axes) noexcept nogil:
    cdef State partial[MAX_CHUNKS * BLOCK]
    cdef Py_ssize_t each
    if L.b[0].n == 0:
        return OK
    plan(&t.f, L, axes)
    t.f.partial = partial
    each = L.b[1].n // (t.f.units * t.f.chunks) + 1
    parallel_over(<context_part_t>items[Tag], t, t.f.units * t.f.chunks, GRAIN // each + 1,
                  threads_of(L))
    if t.f.chunks > 1:
        finish(t)
    return OK


# ---- a full sum in parts (reduce.pxd)

cdef Py_ssize_t sum_chunk(Py_ssize_t n) noexcept nogil:
    """Elements of a contiguous array of n that one chunk takes."""
    return chunk_of(n, n, 1) if n >= 2 * CHUNK else n


cdef void sum_lanes(double* a, char* x, int dtype, Py_ssize_t n) noexcept nogil:
    """The next n elements of a chunk, all but the last time a multiple of LANES, into LANES sums."""
    cdef Sum t
    if dtype == FLOAT32:
        lanes(&t, a, 0, False, <float*>x, n)
    else:
        lanes(&t, a, 0, False, <double*>x, n)


cdef double sum_of_lanes(double* a) noexcept nogil:
    cdef double s = a[0]
    cdef int j
    for j in range(1, LANES):
        s = s + a[j]
    return s


# ---- kernels.  ia: the reduced axes as a bit set (keepdims follows, and is not needed)

cdef int sum_run(Launch* L) noexcept nogil:
    """out = sum of x; float of float, int64 of integers and bools.  Strided."""
    cdef Sum t
    cdef int dtype = L.b[1].dtype
    if L.b[0].dtype != (dtype if dtype >= FLOAT32 else INT64):
        return BAD_DTYPE
    return reduce(&t, L, L.ia[0])


cdef int sum_to_run(Launch* L) noexcept nogil:
    """out = sum of x over leading axes and over those that have size 1 in out.  Strided."""
    cdef Sum t
    cdef int d, extra = L.b[1].ndim - L.b[0].ndim, dtype = L.b[1].dtype
    cdef int64_t axes = 0
    if L.b[0].dtype != (dtype if dtype >= FLOAT32 else INT64):
        return BAD_DTYPE
    for d in range(L.b[1].ndim):
        if d < extra or (L.b[0].shape[d - extra] == 1 and L.b[1].shape[d] != 1):
            axes |= 1 << d
    return reduce(&t, L, axes)


cdef int mean_run(Launch* L) noexcept nogil:
    """out = mean of x.  Strided, floats."""
    cdef Mean t
    if L.b[0].dtype < FLOAT32 or L.b[0].dtype != L.b[1].dtype:
        return BAD_DTYPE
    return reduce(&t, L, L.ia[0])


cdef int var_run(Launch* L) noexcept nogil:
    """out = variance of x, over n - fa[0].  Strided, floats."""
    cdef Var t
    if L.b[0].dtype < FLOAT32 or L.b[0].dtype != L.b[1].dtype:
        return BAD_DTYPE
    t.f.correction = L.fa[0]
    return reduce(&t, L, L.ia[0])


cdef int logsumexp_run(Launch* L) noexcept nogil:
    """out = log of the sum of e^x.  Strided, floats."""
    cdef LogSumExp t
    if L.b[0].dtype < FLOAT32 or L.b[0].dtype != L.b[1].dtype:
        return BAD_DTYPE
    return reduce(&t, L, L.ia[0])


cdef int max_run(Launch* L) noexcept nogil:
    """out = maximum of x; NaN wins.  Strided."""
    cdef Max t
    if L.b[0].dtype != L.b[1].dtype:
        return BAD_DTYPE
    return reduce(&t, L, L.ia[0])


cdef int min_run(Launch* L) noexcept nogil:
    """out = minimum of x; NaN wins.  Strided."""
    cdef Min t
    if L.b[0].dtype != L.b[1].dtype:
        return BAD_DTYPE
    return reduce(&t, L, L.ia[0])


cdef int any_run(Launch* L) noexcept nogil:
    """out = whether some x is not 0; bool.  Strided."""
    cdef Any t
    if L.b[0].dtype != BOOL:
        return BAD_DTYPE
    return reduce(&t, L, L.ia[0])


cdef int all_run(Launch* L) noexcept nogil:
    """out = whether no x is 0; bool.  Strided."""
    cdef All t
    if L.b[0].dtype != BOOL:
        return BAD_DTYPE
    return reduce(&t, L, L.ia[0])


TABLE = {"sum": <size_t>&sum_run, "sum_to": <size_t>&sum_to_run, "mean": <size_t>&mean_run,
         "var": <size_t>&var_run, "logsumexp": <size_t>&logsumexp_run, "max": <size_t>&max_run,
         "min": <size_t>&min_run, "any": <size_t>&any_run, "all": <size_t>&all_run}
