# copy (with casts between all dtypes) and fill, over any strides.
# Invariant: casts are C's (floats truncate toward zero to integers), but for
# bool, which is `!= 0`.
#
# A bool is a byte that holds 0 or 1, so it is read as uint8 and only writing it
# needs a loop of its own.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from kernels.launch cimport (
    BAD_DTYPE, BOOL, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, OK, UINT8,
    Buf, Launch, itemsize, parallel_over, threads_of)
from kernels.ndloop cimport NdLoop, loop_t, nd_plan, ndloop

cdef enum:
    COPY_GRAIN = 1 << 17        # elements: tens of microseconds, what waking a thread costs
    TILE = 16                   # elements on a side: 16 lines of 64 bytes stay in L1

ctypedef fused source:
    uint8_t
    int8_t
    int16_t
    int32_t
    int64_t
    float
    double

ctypedef fused target:
    uint8_t
    int8_t
    int16_t
    int32_t
    int64_t
    float
    double

ctypedef fused word:            # same dtype: only the size matters
    uint8_t
    uint16_t
    uint32_t
    uint64_t


cdef void cast_loop(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n,
                    target* out_type, source* x_type) noexcept nogil:
    cdef Py_ssize_t i, so = strides[0], sx = strides[1]
    cdef target* out = <target*>p[0]
    cdef source* x = <source*>p[1]
    if so == sizeof(target) and sx == sizeof(source):
        for i in range(n):
            out[i] = <target>x[i]
    else:
        for i in range(n):
            (<target*>(p[0] + i * so))[0] = <target>(<source*>(p[1] + i * sx))[0]


cdef void bool_loop(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n,
                    source* x_type) noexcept nogil:
    cdef Py_ssize_t i, so = strides[0], sx = strides[1]
    cdef uint8_t* out = <uint8_t*>p[0]
    cdef source* x = <source*>p[1]
    if so == 1 and sx == sizeof(source):
        for i in range(n):
            out[i] = x[i] != 0
    else:
        for i in range(n):
            out[i * so] = (<source*>(p[1] + i * sx))[0] != 0


cdef void move_loop(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n,
                    word* type) noexcept nogil:
    cdef Py_ssize_t i, so = strides[0], sx = strides[1]
    cdef word* out = <word*>p[0]
    cdef word value
    if so == sizeof(word) and sx == sizeof(word):
        memcpy(p[0], p[1], n * sizeof(word))
    elif so == sizeof(word) and sx == 0:
        value = (<word*>p[1])[0]
        for i in range(n):
            out[i] = value
    else:
        for i in range(n):
            (<word*>(p[0] + i * so))[0] = (<word*>(p[1] + i * sx))[0]


cdef void copy_loop(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n) noexcept nogil:
    """One run, by the dtypes of output and input."""
    cdef int to = L.b[0].dtype, size
    cdef int dt = L.b[1].dtype
    if to == dt:
        size = <int>itemsize(to)
        if size == 4:
            move_loop(L, p, strides, n, <uint32_t*>NULL)
        elif size == 8:
            move_loop(L, p, strides, n, <uint64_t*>NULL)
        elif size == 1:
            move_loop(L, p, strides, n, <uint8_t*>NULL)
        else:
            move_loop(L, p, strides, n, <uint16_t*>NULL)
    elif dt <= UINT8:
        cast_from(L, p, strides, n, <uint8_t*>NULL)
    elif dt == INT8:
        cast_from(L, p, strides, n, <int8_t*>NULL)
    elif dt == INT16:
        cast_from(L, p, strides, n, <int16_t*>NULL)
    elif dt == INT32:
        cast_from(L, p, strides, n, <int32_t*>NULL)
    elif dt == INT64:
        cast_from(L, p, strides, n, <int64_t*>NULL)
    elif dt == FLOAT32:
        cast_from(L, p, strides, n, <float*>NULL)
    else:
        cast_from(L, p, strides, n, <double*>NULL)


cdef void cast_from(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n,
                    source* x_type) noexcept nogil:
    cdef int to = L.b[0].dtype
    if to == BOOL:
        bool_loop(L, p, strides, n, x_type)
    elif to == UINT8:
        cast_loop(L, p, strides, n, <uint8_t*>NULL, x_type)
    elif to == INT8:
        cast_loop(L, p, strides, n, <int8_t*>NULL, x_type)
    elif to == INT16:
        cast_loop(L, p, strides, n, <int16_t*>NULL, x_type)
    elif to == INT32:
        cast_loop(L, p, strides, n, <int32_t*>NULL, x_type)
    elif to == INT64:
        cast_loop(L, p, strides, n, <int64_t*>NULL, x_type)
    elif to == FLOAT32:
        cast_loop(L, p, strides, n, <float*>NULL, x_type)
    else:
        cast_loop(L, p, strides, n, <double*>NULL, x_type)


cdef struct Tiles:              # a transposing copy: out[b, r, c] = x[b, r, c]
    NdLoop it
    int row                     # the axis along which x is contiguous; the inner one is out's
    Py_ssize_t bands            # of TILE rows


cdef void tile_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Bands [begin, end): TILE rows of one matrix of the batch, tile by tile."""
    cdef Tiles* t = <Tiles*>context
    cdef NdLoop* it = &t.it
    cdef int d, last = it.ndim - 1, size = <int>itemsize(it.L.b[0].dtype)
    cdef Py_ssize_t band, rest, tile, r0, c0, r, rows, cols, i
    cdef Py_ssize_t so = it.strides[t.row][0], sc = it.strides[last][1]
    cdef char* out
    cdef char* x
    cdef char* o
    cdef char* s
    for band in range(begin, end):
        r0 = band % t.bands * TILE
        rest = band // t.bands
        rows = min(<Py_ssize_t>TILE, it.shape[t.row] - r0)
        out = it.data[0] + r0 * so
        x = it.data[1] + r0 * size
        for d in range(last - 1, -1, -1):
            if d != t.row:
                i = rest % it.shape[d]
                rest = rest // it.shape[d]
                out += i * it.strides[d][0]
                x += i * it.strides[d][1]
        for tile in range((it.shape[last] + TILE - 1) // TILE):
            c0 = tile * TILE
            cols = min(<Py_ssize_t>TILE, it.shape[last] - c0)
            for r in range(rows):
                o = out + r * so + c0 * size
                s = x + r * size + c0 * sc
                if size == 4:
                    for i in range(cols):
                        (<uint32_t*>o)[i] = (<uint32_t*>(s + i * sc))[0]
                else:
                    for i in range(cols):
                        (<uint64_t*>o)[i] = (<uint64_t*>(s + i * sc))[0]


cdef bint tiled(Launch* L) noexcept nogil:
    """Copy by tiles where input and output are contiguous along different axes."""
    cdef Tiles t
    cdef int d, last
    cdef Py_ssize_t size = itemsize(L.b[0].dtype), batch = 1
    if L.b[0].dtype != L.b[1].dtype or size < 4 or L.b[0].n < 4 * TILE * TILE:
        return False
    nd_plan(&t.it, L.b, 2)
    t.it.L = L
    last = t.it.ndim - 1
    if t.it.strides[last][0] != size or t.it.shape[last] < 4:
        return False
    t.row = -1
    for d in range(last):
        if t.it.strides[d][1] == size and t.it.shape[d] >= 4:
            t.row = d
    if t.row < 0:
        return False
    for d in range(last):
        if d != t.row:
            batch *= t.it.shape[d]
    t.bands = (t.it.shape[t.row] + TILE - 1) // TILE
    parallel_over(tile_part, &t, batch * t.bands,
                  COPY_GRAIN // (TILE * t.it.shape[last]) + 1, threads_of(L))
    return True


cdef int copy_run(Launch* L) noexcept nogil:
    """out = x, cast to out's dtype.  Strided; x may be broadcast (stride 0)."""
    if L.b[0].dtype > FLOAT64 or L.b[1].dtype > FLOAT64:
        return BAD_DTYPE
    if not tiled(L):
        ndloop(copy_loop, L, L.b, 2, COPY_GRAIN)
    return OK


cdef void fill_loop(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n) noexcept nogil:
    cdef int dt = L.b[0].dtype
    cdef char value[8]
    cdef char* q[2]
    cdef Py_ssize_t s[2]
    if dt == FLOAT32:
        (<float*>value)[0] = <float>L.fa[0]
    elif dt == FLOAT64:
        (<double*>value)[0] = L.fa[0]
    elif dt == BOOL:
        value[0] = L.ia[0] != 0
    elif dt <= INT8:
        value[0] = <char>L.ia[0]
    elif dt == INT16:
        (<int16_t*>value)[0] = <int16_t>L.ia[0]
    elif dt == INT32:
        (<int32_t*>value)[0] = <int32_t>L.ia[0]
    else:
        (<int64_t*>value)[0] = L.ia[0]
    q[0], q[1] = p[0], value
    s[0], s[1] = strides[0], 0
    dt = <int>itemsize(dt)
    if dt == 1 and s[0] == 1:
        memset(p[0], value[0], n)
    elif dt == 1:
        move_loop(L, q, s, n, <uint8_t*>NULL)
    elif dt == 2:
        move_loop(L, q, s, n, <uint16_t*>NULL)
    elif dt == 4:
        move_loop(L, q, s, n, <uint32_t*>NULL)
    else:
        move_loop(L, q, s, n, <uint64_t*>NULL)


cdef int fill_run(Launch* L) noexcept nogil:
    """out = ia[0] (integers, bool) or fa[0] (floats), everywhere.  Strided."""
    ndloop(fill_loop, L, L.b, 1, COPY_GRAIN)
    return OK


TABLE = {"copy": <size_t>&copy_run, "fill": <size_t>&fill_run}
