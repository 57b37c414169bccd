# conv2d, relu and, where asked for, the largest of each 2 x 2 of it, in one pass: for inference.
# Invariant: rows of an image go through all three while they lie in cache, so the convolution's
# output never exists as a whole; each sum runs in one order, whatever the split.
#
# x (N, C, H, W), weight (K, C, KH, KW), out (N, K, OH, OW), or (N, K, OH // 2, OW // 2) pooled; all
# contiguous.  Scratch: autodiff/ops/inference.py.
from kernels.direct cimport (
    direct, direct_band, direct_high, direct_pack, direct_wide)
from kernels.launch cimport (
    BAD_DTYPE, BAD_VALUE, FLOAT32, FLOAT64, OK, Buf, Launch, itemsize, parallel_over, threads_of)
from kernels.panels cimport PANEL_VECTOR, panels_of, panels_room
from kernels.strips cimport STRIPS_POOL, STRIPS_RELU, strips_band, strips_pack, strips_pool
from kernels.types cimport real
from kernels.winograd cimport (
    WINOGRAD_POOL, WINOGRAD_RELU, Winograd, winograd_fits, winograd_run)

cdef enum:
    GRAIN = 1 << 21             # operations in a part at least: tens of microseconds
    ITEMS = 8                   # so many parts are wanted where the shape has them
    FEW_TAPS = 16               # sums so short that turning the result costs as much

cdef struct Fused:
    direct shape                # of one image
    int dtype
    bint pool, strips           # strips: lanes along the rows, else along the channels
    char* x
    char* out
    char* weight
    char* bias                  # or NULL
    Py_ssize_t N
    Py_ssize_t places           # of an image's plane of out
    Py_ssize_t rows, bands      # of the convolution in an item, even where pooled; items of an image
    char* packed
    char* rooms
    Py_ssize_t room             # bytes of a thread's scratch: the padded rows, then the band


cdef inline Py_ssize_t divide_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t copied(Fused* v, Py_ssize_t rows) noexcept nogil:
    """Elements of the padded rows that `rows` rows of the output read."""
    return v.shape.channels * direct_high(&v.shape, rows) * direct_wide(&v.shape)


cdef bint divide(Fused* v, Launch* L) noexcept nogil:
    """Choose the way and the bands; False if the scratch does not hold one."""
    cdef direct* d = &v.shape
    cdef Py_ssize_t size = itemsize(v.dtype), taps = d.kh * d.kw, step = 1 + v.pool
    cdef Py_ssize_t packed = divide_up(panels_room(d.channels * taps, d.outs) * size, 64) * 64
    cdef Py_ssize_t all = d.rows // step * step, most, band = d.outs * d.columns * v.pool
    v.packed, v.rooms = <char*>L.work, <char*>L.work + packed
    v.room = (L.work_bytes - packed) // threads_of(L) // 64 * 64
    most = (v.room // size - copied(v, 0)) // max(1, copied(v, 1) - copied(v, 0) + band)
    most = min(most, divide_up(all, divide_up(ITEMS, v.N))) // step * step
    v.strips = (d.channels * taps < FEW_TAPS and d.sw == 1
                and d.columns // step * step >= PANEL_VECTOR // size)
    v.rows = max(most, step)
    v.bands = divide_up(all, v.rows)
    return L.work != NULL and (copied(v, v.rows) + v.rows * band) * size <= v.room


cdef void pack(Fused* v, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef direct* d = &v.shape
    cdef Py_ssize_t taps = d.kh * d.kw
    if v.strips:
        strips_pack(d, <real*>v.packed, <real*>v.weight, d.channels * taps, taps, False)
    else:
        direct_pack(d, <real*>v.packed, <real*>v.weight, d.channels * taps, taps, False, begin,
                    end)


cdef void pack_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Fused* v = <Fused*>context
    if v.dtype == FLOAT32:
        pack[float](v, begin, end, NULL)
    else:
        pack[double](v, begin, end, NULL)


cdef void finish_rows(Fused* v, real* out, real* band, Py_ssize_t top,
                      Py_ssize_t bottom) noexcept nogil:
    """relu of rows [top, bottom) of out in place; of the band, pooled into out, where pooled."""
    cdef direct* d = &v.shape
    cdef Py_ssize_t k, r, j, n = (bottom - top) * d.columns
    cdef real* row
    cdef real* to
    for k in range(d.outs):
        if not v.pool:
            row = out + k * v.places + top * d.columns
            for j in range(n):
                row[j] = row[j] if (row[j] > 0) | (row[j] != row[j]) else <real>0
            continue
        to = out + k * v.places + top // 2 * (d.columns // 2)
        for r in range(0, bottom - top, 2):
            row = band + k * n + r * d.columns
            strips_pool(to, row, row + d.columns, d.columns // 2 * 2)
            to += d.columns // 2


cdef void one_band(Fused* v, Py_ssize_t item, real* room) noexcept nogil:
    cdef direct* d = &v.shape
    cdef direct part = v.shape
    cdef Py_ssize_t n = item // v.bands, top = item % v.bands * v.rows
    cdef Py_ssize_t bottom = min(top + v.rows, d.rows // (1 + v.pool) * (1 + v.pool))
    cdef real* out = <real*>v.out + n * d.outs * v.places
    cdef real* x = <real*>v.x + n * d.channels * d.height * d.width
    cdef real* bias = <real*>v.bias
    cdef real* band = room + copied(v, v.rows)
    if v.strips:
        strips_band(d, STRIPS_POOL if v.pool else STRIPS_RELU, out, x, <real*>v.packed, bias, top,
                    bottom, room)
        return
    if v.pool:                                      # the band as an image of its own
        part.ph -= top * d.sh
        part.rows = bottom - top
        direct_band(&part, band, x, <real*>v.packed, bias, 0, part.rows, room)
    else:
        direct_band(d, out, x, <real*>v.packed, bias, top, bottom, room)
    finish_rows(v, out, band, top, bottom)


cdef void band_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Fused* v = <Fused*>context
    cdef Py_ssize_t item
    for item in range(begin, end):
        if v.dtype == FLOAT32:
            one_band(v, item, <float*>(v.rooms + thread * v.room))
        else:
            one_band(v, item, <double*>(v.rooms + thread * v.room))


cdef int conv2d_relu_run(Launch* L) noexcept nogil:
    """out = max(0, x * weight + bias), or the largest of each 2 x 2 of it."""
    cdef Fused v
    cdef Winograd w
    cdef direct* d = &v.shape
    cdef Buf* out = L.b[0]
    cdef Buf* x = L.b[1]
    cdef Buf* weight = L.b[2]
    cdef Py_ssize_t items
    if ((out.dtype != FLOAT32 and out.dtype != FLOAT64) or x.dtype != out.dtype
            or weight.dtype != out.dtype):
        return BAD_DTYPE
    if out.n == 0:
        return OK
    v.dtype, v.pool, v.N = out.dtype, L.ia[6] != 0, x.shape[0]
    v.x, v.out, v.weight = x.data, out.data, weight.data
    v.bias = L.b[3].data if L.b[3] != NULL else NULL
    d.channels, d.height, d.width, d.outs = x.shape[1], x.shape[2], x.shape[3], weight.shape[0]
    d.kh, d.kw = weight.shape[2], weight.shape[3]
    d.sh, d.sw, d.ph, d.pw, d.dh, d.dw = L.ia[0], L.ia[1], L.ia[2], L.ia[3], L.ia[4], L.ia[5]
    d.rows = (d.height + 2 * d.ph - d.dh * (d.kh - 1) - 1) // d.sh + 1
    d.columns = (d.width + 2 * d.pw - d.dw * (d.kw - 1) - 1) // d.sw + 1
    v.places = out.shape[2] * out.shape[3]
    if v.dtype == FLOAT32:
        w.shape, w.kind, w.N = v.shape, WINOGRAD_POOL if v.pool else WINOGRAD_RELU, v.N
        w.x, w.out, w.weight, w.bias = \
            <float*>v.x, <float*>v.out, <float*>v.weight, <float*>v.bias
        w.so, w.sc, w.flip = 9 * d.channels, 9, False
        if winograd_fits(&w, L):
            winograd_run(&w, L)
            return OK
    if not divide(&v, L):
        return BAD_VALUE
    items = v.N * v.bands
    parallel_over(pack_part, &v, 1 if v.strips else panels_of(d.outs, itemsize(v.dtype)),
                  (1 << 10) // (d.channels * d.kh * d.kw + 1) + 1, threads_of(L))
    parallel_over(band_part, &v, items, <Py_ssize_t>(GRAIN / (
        2. * d.outs * d.channels * d.kh * d.kw * v.rows * d.columns + 1)) + 1, threads_of(L))
    return OK


TABLE = {"conv2d_relu": <size_t>&conv2d_relu_run}
