# 2-d convolution and its two gradients: 3 x 3 by minimal filtering (winograd.h), else in
# registers where there are channels enough (direct.h) or few taps (strips.h), else by unfolding
# blocks of places into columns and a matrix product on BLAS; depthwise ones by loops of their own.
# Invariant: every sum runs in an order that depends on shapes and the size of the
# scratch alone, so the results do not depend on timing or the number of threads.
#
# x (N, C, H, W), weight (K, C / G, KH, KW), out and g (N, K, OH, OW); a row of the
# columns is one tap (c, i, j) of the kernel, a column one place (oh, ow) of out.
#   forward          out    (K / G, places) = weight (K / G, taps) @ columns (taps, places)
#   backward_input   columns                = weight^T @ g, folded back onto x
#   backward_weight  weight (K / G, taps)   = sum over images of g @ columns^T
# A block is some rows of one image's output, or several whole images where those
# are small.  Columns of a block lie in L.work, one piece a thread.
# All tensors are contiguous.
from libc.string cimport memcpy, memset

from kernels.blas cimport gemm
from kernels.direct cimport direct, direct_band, direct_high, direct_pack, direct_wide
from kernels.launch cimport (
    BAD_DTYPE, BAD_VALUE, FLOAT32, FLOAT64, OK, Buf, Launch, itemsize, parallel_over, threads_of)
from kernels.panels cimport PANEL_VECTOR, panels_of, panels_room
from kernels.strips cimport STRIPS_PLAIN, strips_band, strips_pack
from kernels.types cimport real
from kernels.winograd cimport (
    WINOGRAD_PLAIN, Winograd, winograd_fits, winograd_run, winograd_weight_fits,
    winograd_weight_run)

cdef enum:
    CONV_GRAIN = 1 << 21        # operations in a part at least: tens of microseconds
    ITEMS = 8                   # so many parts are wanted where the shape has them
    SMALL = 128                 # images with fewer places are taken several at a time
    PARTIAL = 1 << 20           # elements of all partial weight gradients (ops/conv.py)
    LANES = 16
    FEW = 16                    # output channels that do not fill half a panel
    FEW_TAPS = 16               # sums too short to pay for the turn of a tile into planes ...
    FEW_OUTS = 4                # ... go by strips, from so many output channels on
    NARROW = 4                  # columns of the output that do not fill half the registers
    COPY = 1 << 18              # bytes of a thread's padded copy, where that holds a row

cdef struct Conv:
    Launch* L
    int dtype
    bint beta
    char* x
    char* weight
    char* out
    char* bias                  # or NULL
    Py_ssize_t N, C, H, W, K, KH, KW, OH, OW
    Py_ssize_t sh, sw, ph, pw, dh, dw, G
    Py_ssize_t cg, kg           # channels of a group
    Py_ssize_t taps, places     # cg KH KW, OH OW
    Py_ssize_t width            # columns that a piece of the scratch holds
    Py_ssize_t piece            # bytes of scratch for each thread
    char* work                  # the first piece
    Py_ssize_t images, rows     # in a block
    Py_ssize_t batches, bands   # blocks: along the batch, along an image's rows
    Py_ssize_t parts, share     # channels (input) or taps (weight) are split in parts of `share`
    Py_ssize_t sums             # partial weight gradients
    Py_ssize_t partial          # bytes of each
    bint unit                   # 1 x 1 with stride 1: x is its own columns


cdef inline Py_ssize_t divide_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    """n bytes, up to whole lines."""
    return (n + 63) // 64 * 64


cdef int describe(Conv* v, Launch* L, Buf* x, Buf* weight, Buf* out, Buf* bias) noexcept nogil:
    """Fill in the shapes."""
    if (x.dtype != FLOAT32 and x.dtype != FLOAT64) or weight.dtype != x.dtype \
            or out.dtype != x.dtype:
        return BAD_DTYPE
    v.L, v.dtype, v.beta = L, x.dtype, L.beta != 0
    v.x, v.weight, v.out = x.data, weight.data, out.data
    v.bias = bias.data if bias != NULL else NULL
    v.N, v.C, v.H, v.W = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    v.K, v.cg, v.KH, v.KW = weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3]
    v.OH, v.OW = out.shape[2], out.shape[3]
    v.sh, v.sw, v.ph, v.pw, v.dh, v.dw = L.ia[0], L.ia[1], L.ia[2], L.ia[3], L.ia[4], L.ia[5]
    v.G = L.ia[6]
    v.kg = v.K // v.G
    v.taps, v.places = v.cg * v.KH * v.KW, v.OH * v.OW
    v.unit = (v.KH == 1 and v.KW == 1 and v.sh == 1 and v.sw == 1 and v.ph == 0 and v.pw == 0
              and v.places >= SMALL)
    return BAD_VALUE if L.work == NULL else OK


cdef int blocks_of(Conv* v, Launch* L, Py_ssize_t front) noexcept nogil:
    """The blocks that the scratch after `front` bytes has room for."""
    cdef Py_ssize_t size = itemsize(v.dtype), threads = threads_of(L)
    v.work = <char*>L.work + front
    v.piece = (L.work_bytes - front) // threads // 64 * 64
    v.width = v.piece // size // max(1, v.taps + v.kg)
    if v.width < max(1, v.OW):
        return BAD_VALUE
    if v.places < SMALL:                        # several images, but enough blocks for the pool
        v.images = max(1, min(v.width // max(1, v.places), v.N // ITEMS))
        v.rows = v.OH
        if v.width < v.places:
            v.images, v.rows = 1, v.width // v.OW
    else:
        v.images = 1
        v.rows = min(v.OH, v.OH if v.unit else v.width // v.OW)
    v.batches, v.bands = divide_up(v.N, v.images), divide_up(v.OH, v.rows)
    return OK


cdef inline Py_ssize_t grain_of(Conv* v, Py_ssize_t items) noexcept nogil:
    """Items in a part at least, from the operations of the whole."""
    cdef double each = 2. * v.N * v.K * v.places * v.taps / max(1, items)
    return <Py_ssize_t>(CONV_GRAIN / (each + 1)) + 1


# Columns --------------------------------------------------------------------------------------

cdef inline void span(Py_ssize_t shift, Py_ssize_t stride, Py_ssize_t size, Py_ssize_t out,
                      Py_ssize_t* low, Py_ssize_t* high) noexcept nogil:
    """Places o in [low, high) of [0, out) with o * stride + shift inside [0, size)."""
    low[0] = 0 if shift >= 0 else min(out, (-shift + stride - 1) // stride)
    high[0] = 0 if shift >= size else min(out, (size - 1 - shift) // stride + 1)
    if high[0] < low[0]:
        high[0] = low[0]


cdef void unfold(Conv* v, real* x, Py_ssize_t tap0, Py_ssize_t tap1, Py_ssize_t oh0,
                 Py_ssize_t oh1, real* columns, Py_ssize_t ld) noexcept nogil:
    """Taps [tap0, tap1) of output rows [oh0, oh1) of one group of one image x."""
    cdef Py_ssize_t tap, i, j, oh, ow, ih, low, high, top, bottom, dy, dx, OW = v.OW, sw = v.sw
    cdef Py_ssize_t first, last, n
    cdef real* row
    cdef real* to
    cdef real* source
    for tap in range(tap0, tap1):
        source = x + tap // (v.KH * v.KW) * v.H * v.W
        i = tap // v.KW % v.KH
        j = tap % v.KW
        dy, dx = i * v.dh - v.ph, j * v.dw - v.pw
        row = columns + (tap - tap0) * ld
        span(dx, sw, v.W, OW, &low, &high)
        span(dy, v.sh, v.H, v.OH, &top, &bottom)
        top, bottom = max(top, oh0), min(bottom, oh1)
        if bottom <= top or high <= low:
            memset(row, 0, (oh1 - oh0) * OW * sizeof(real))
            continue
        memset(row, 0, (top - oh0) * OW * sizeof(real))
        memset(row + (bottom - oh0) * OW, 0, (oh1 - bottom) * OW * sizeof(real))
        if sw == 1 and v.sh == 1 and OW == v.W:
            # The image shifted as a whole; what came from a neighbouring row becomes 0.
            first = top * OW + low
            last = (bottom - 1) * OW + high
            memcpy(row + first - oh0 * OW, source + first + dy * OW + dx,
                   (last - first) * sizeof(real))
            if low > 0 or high < OW:
                for oh in range(top, bottom):
                    to = row + (oh - oh0) * OW
                    for ow in range(low):
                        to[ow] = 0
                    for ow in range(high, OW):
                        to[ow] = 0
            continue
        for oh in range(top, bottom):
            to = row + (oh - oh0) * OW
            ih = oh * v.sh + dy
            for ow in range(low):
                to[ow] = 0
            if sw == 1:
                memcpy(to + low, source + ih * v.W + low + dx, (high - low) * sizeof(real))
            else:
                for ow in range(low, high):
                    to[ow] = source[ih * v.W + ow * sw + dx]
            for ow in range(high, OW):
                to[ow] = 0


cdef void fold(Conv* v, real* x, Py_ssize_t tap0, Py_ssize_t tap1, Py_ssize_t oh0,
               Py_ssize_t oh1, real* columns, Py_ssize_t ld) noexcept nogil:
    """Add the columns back onto the image x: the transpose of `unfold`.  Writes to columns."""
    cdef Py_ssize_t tap, i, j, oh, ow, low, high, top, bottom, dy, dx, OW = v.OW, sw = v.sw
    cdef Py_ssize_t first, last, k
    cdef real* row
    cdef real* source
    cdef real* to
    for tap in range(tap0, tap1):
        to = x + tap // (v.KH * v.KW) * v.H * v.W
        i = tap // v.KW % v.KH
        j = tap % v.KW
        dy, dx = i * v.dh - v.ph, j * v.dw - v.pw
        row = columns + (tap - tap0) * ld
        span(dx, sw, v.W, OW, &low, &high)
        span(dy, v.sh, v.H, v.OH, &top, &bottom)
        top, bottom = max(top, oh0), min(bottom, oh1)
        if bottom <= top or high <= low:
            continue
        if sw == 1 and v.sh == 1 and OW == v.W:
            if low > 0 or high < OW:
                for oh in range(top, bottom):
                    source = row + (oh - oh0) * OW
                    for ow in range(low):
                        source[ow] = 0
                    for ow in range(high, OW):
                        source[ow] = 0
            first = top * OW + low
            last = (bottom - 1) * OW + high
            add_row(to + first + dy * OW + dx, row + first - oh0 * OW, last - first)
            continue
        for oh in range(top, bottom):
            source = row + (oh - oh0) * OW
            if sw == 1:
                add_row(to + (oh * v.sh + dy) * v.W + low + dx, source + low, high - low)
            else:
                for ow in range(low, high):
                    to[(oh * v.sh + dy) * v.W + ow * sw + dx] += source[ow]


cdef inline void add_row(real* to, real* source, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(n):
        to[k] += source[k]


cdef inline real* image_of(Conv* v, char* base, Py_ssize_t n, Py_ssize_t channels,
                           Py_ssize_t channel, Py_ssize_t area, real* type) noexcept nogil:
    return <real*>base + (n * channels + channel) * area


# Without columns ------------------------------------------------------------------------------

cdef struct Direct:
    direct shape                # of one group of one image
    Conv* v
    char* x
    char* out
    bint back                   # the gradient of the input: channels change places, taps turn
    bint strips                 # lanes along the rows (strips.h), not along the channels
    Py_ssize_t rows, bands      # of the output in an item; items of an image
    char* packed                # weights, group after group
    Py_ssize_t panels           # of a group
    Py_ssize_t group            # elements of a group's packed weights
    char* copies
    Py_ssize_t copy             # bytes of a thread's padded copy


cdef void shape_of(Conv* v, direct* d) noexcept nogil:
    """One group of one image."""
    d.channels, d.height, d.width, d.outs, d.rows, d.columns = \
        v.cg, v.H, v.W, v.kg, v.OH, v.OW
    d.kh, d.kw, d.sh, d.sw, d.ph, d.pw, d.dh, d.dw = \
        v.KH, v.KW, v.sh, v.sw, v.ph, v.pw, v.dh, v.dw


cdef bint goes_direct(Conv* v, Direct* s, Launch* L, bint back) noexcept nogil:
    """True, and `s` filled in, where the shapes suit and the scratch has room (ops/conv.py)."""
    cdef direct* d = &s.shape
    cdef Py_ssize_t size = itemsize(v.dtype), line, threads = threads_of(L), packed
    s.v, s.back = v, back
    shape_of(v, d)
    s.x, s.out = v.x, v.out
    if back:
        if v.sh != 1 or v.sw != 1:
            return False
        d.channels, d.height, d.width, d.outs, d.rows, d.columns = \
            v.kg, v.OH, v.OW, v.cg, v.H, v.W
        d.ph, d.pw = v.dh * (v.KH - 1) - v.ph, v.dw * (v.KW - 1) - v.pw
        s.x, s.out = v.out, v.x
    s.strips = (0 < d.channels * v.KH * v.KW < FEW_TAPS and d.outs >= FEW_OUTS and d.sw == 1
                and d.columns >= PANEL_VECTOR // size)
    if (d.ph < 0 or d.pw < 0 or v.unit or not s.strips and (
            d.outs < FEW or d.columns < NARROW or d.channels * v.KH * v.KW < FEW_TAPS)):
        return False
    s.group = panels_room(d.channels * v.KH * v.KW, d.outs)
    s.panels = panels_of(d.outs, size)
    packed = padded(v.G * s.group * size)
    s.packed, s.copies = <char*>L.work, <char*>L.work + packed
    s.copy = (L.work_bytes - packed) // threads // 64 * 64
    line = d.channels * direct_wide(d) * size
    if s.copy < line * direct_high(d, 1):
        return False
    s.rows = min(d.rows, (s.copy // line - direct_high(d, 1)) // d.sh + 1)
    s.rows = min(s.rows, divide_up(d.rows, divide_up(ITEMS, v.N * v.G)))
    s.bands = divide_up(d.rows, s.rows)
    return True


cdef void direct_weights(Direct* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Conv* v = s.v
    cdef Py_ssize_t item, g, p, area = v.KH * v.KW
    cdef real* weight
    for item in range(begin, end):
        g, p = item // s.panels, item % s.panels
        weight = <real*>v.weight + g * v.kg * v.taps
        if s.strips:
            if p == 0:
                strips_pack(&s.shape, <real*>s.packed + g * s.group, weight,
                            area if s.back else v.taps, v.taps if s.back else area, s.back)
            continue
        direct_pack(&s.shape, <real*>s.packed + g * s.group, weight,
                    area if s.back else v.taps, v.taps if s.back else area, s.back, p, p + 1)


cdef void direct_weights_part(void* context, Py_ssize_t begin, Py_ssize_t end,
                              int thread) noexcept nogil:
    cdef Direct* s = <Direct*>context
    if s.v.dtype == FLOAT32:
        direct_weights[float](s, begin, end, NULL)
    else:
        direct_weights[double](s, begin, end, NULL)


cdef void direct_item(Direct* s, Py_ssize_t item, real* room) noexcept nogil:
    cdef Conv* v = s.v
    cdef direct* d = &s.shape
    cdef Py_ssize_t band = item % s.bands, g = item // s.bands % v.G, n = item // s.bands // v.G
    cdef Py_ssize_t top = band * s.rows, bottom = min(d.rows, top + s.rows)
    cdef real* bias = <real*>v.bias + g * v.kg if v.bias != NULL else NULL
    cdef real* out = <real*>s.out + (n * v.G + g) * d.outs * d.rows * d.columns
    cdef real* x = <real*>s.x + (n * v.G + g) * d.channels * d.height * d.width
    cdef real* packed = <real*>s.packed + g * s.group
    if s.strips:
        strips_band(d, STRIPS_PLAIN, out, x, packed, bias, top, bottom, room)
    else:
        direct_band(d, out, x, packed, bias, top, bottom, room)


cdef void direct_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Direct* s = <Direct*>context
    cdef char* room = s.copies + thread * s.copy
    cdef Py_ssize_t item
    for item in range(begin, end):
        if s.v.dtype == FLOAT32:
            direct_item(s, item, <float*>room)
        else:
            direct_item(s, item, <double*>room)


cdef void run_direct(Direct* s, Launch* L) noexcept nogil:
    cdef Py_ssize_t items = s.v.N * s.v.G * s.bands
    parallel_over(direct_weights_part, s, s.v.G * s.panels, (1 << 15) // (s.group + 1) + 1,
                  threads_of(L))
    parallel_over(direct_part, s, items, grain_of(s.v, items), threads_of(L))


cdef bint goes_winograd(Conv* v, Direct* s, Winograd* w, Launch* L) noexcept nogil:
    """True, and `w` filled in, where the shapes of `s` and the values suit."""
    cdef Py_ssize_t area = v.KH * v.KW
    if v.dtype != FLOAT32 or v.G != 1:
        return False
    w.shape, w.kind, w.N = s.shape, WINOGRAD_PLAIN, v.N
    w.x, w.out, w.weight, w.bias = \
        <float*>s.x, <float*>s.out, <float*>v.weight, <float*>v.bias
    w.so, w.sc, w.flip = area if s.back else v.taps, v.taps if s.back else area, s.back
    return winograd_fits(w, L)


cdef bint ran_without_columns(Conv* v, Launch* L, bint back) noexcept nogil:
    """The convolution, or the gradient of its input, where it goes one of these ways."""
    cdef Direct s
    cdef Winograd w
    if depthwise(v) or not goes_direct(v, &s, L, back):
        return False
    if goes_winograd(v, &s, &w, L):
        winograd_run(&w, L)
    else:
        run_direct(&s, L)
    return True


# conv2d ---------------------------------------------------------------------------------------

cdef void fill_bias(Conv* v, real* out, Py_ssize_t ld, Py_ssize_t k0, Py_ssize_t n) noexcept nogil:
    """Start a block of out, (kg, n), as the bias of channels from k0."""
    cdef Py_ssize_t k, p
    cdef real value
    for k in range(v.kg):
        value = (<real*>v.bias)[k0 + k]
        for p in range(n):
            out[k * ld + p] = value


cdef void forward_block(Conv* v, Py_ssize_t item, real* columns) noexcept nogil:
    """One block of one group: unfold, multiply; through scratch where it spans images."""
    cdef Py_ssize_t band = item % v.bands, g = item // v.bands % v.G
    cdef Py_ssize_t n0 = item // (v.bands * v.G) * v.images, n1 = min(v.N, n0 + v.images), n, k
    cdef Py_ssize_t oh0 = band * v.rows, oh1 = min(v.OH, oh0 + v.rows)
    cdef Py_ssize_t places = (oh1 - oh0) * v.OW, ld = (n1 - n0) * places, area = v.H * v.W
    cdef real beta = 1 if v.bias != NULL else 0
    cdef real* weight = <real*>v.weight + g * v.kg * v.taps
    cdef real* out = image_of(v, v.out, n0, v.K, g * v.kg, v.places, columns) + oh0 * v.OW
    cdef real* result
    if v.unit:
        if v.bias != NULL:
            fill_bias(v, out, v.places, g * v.kg, places)
        gemm(False, False, v.kg, places, v.taps, <real>1, weight, v.taps,
             image_of(v, v.x, n0, v.C, g * v.cg, area, columns) + oh0 * v.OW, area,
             beta, out, v.places)
        return
    for n in range(n0, n1):
        unfold(v, image_of(v, v.x, n, v.C, g * v.cg, area, columns), 0, v.taps, oh0, oh1,
               columns + (n - n0) * places, ld)
    result = out if n1 - n0 == 1 else columns + v.taps * ld
    k = v.places if n1 - n0 == 1 else ld
    if v.bias != NULL:
        fill_bias(v, result, k, g * v.kg, ld)
    gemm(False, False, v.kg, ld, v.taps, <real>1, weight, v.taps, columns, ld, beta, result, k)
    if n1 - n0 > 1:
        for n in range(n0, n1):
            for k in range(v.kg):
                memcpy(out + ((n - n0) * v.K + k) * v.places, result + k * ld + (n - n0) * places,
                       places * sizeof(real))


cdef void depthwise_forward(Conv* v, Py_ssize_t item, real* type) noexcept nogil:
    """One plane of out: each row is the sum of shifted, scaled rows of one plane of x."""
    cdef Py_ssize_t n = item // v.K, k = item % v.K, i, j, oh, ow, ih, low, high, dx
    cdef real* x = image_of(v, v.x, n, v.C, k // v.kg, v.H * v.W, type)
    cdef real* weight = <real*>v.weight + k * v.taps
    cdef real* out = image_of(v, v.out, n, v.K, k, v.places, type)
    cdef real value = (<real*>v.bias)[k] if v.bias != NULL else 0
    cdef real* row
    for oh in range(v.OH):
        for ow in range(v.OW):
            out[oh * v.OW + ow] = value
    for j in range(v.KW):
        dx = j * v.dw - v.pw
        span(dx, v.sw, v.W, v.OW, &low, &high)
        for oh in range(v.OH):
            for i in range(v.KH):
                ih = oh * v.sh + i * v.dh - v.ph
                if ih < 0 or ih >= v.H:
                    continue
                value = weight[i * v.KW + j]
                row = x + ih * v.W + dx
                if v.sw == 1:
                    for ow in range(low, high):
                        out[oh * v.OW + ow] += value * row[ow]
                else:
                    for ow in range(low, high):
                        out[oh * v.OW + ow] += value * row[ow * v.sw]


cdef void forward_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Conv* v = <Conv*>context
    cdef char* columns = v.work + thread * v.piece
    cdef Py_ssize_t item
    for item in range(begin, end):
        if depthwise(v):
            if v.dtype == FLOAT32:
                depthwise_forward[float](v, item, NULL)
            else:
                depthwise_forward[double](v, item, NULL)
        elif v.dtype == FLOAT32:
            forward_block[float](v, item, <float*>columns)
        else:
            forward_block[double](v, item, <double*>columns)


cdef inline bint depthwise(Conv* v) noexcept nogil:
    return v.cg == 1 and v.G > 1 and v.kg < 4


cdef int conv2d_run(Launch* L) noexcept nogil:
    """out = x * weight + bias."""
    cdef Conv v
    cdef Py_ssize_t items, least
    cdef int status
    if L.b[0].n == 0:
        return OK
    status = describe(&v, L, L.b[1], L.b[2], L.b[0], L.b[3])
    if status == OK and ran_without_columns(&v, L, False):
        return OK
    if status == OK:
        status = blocks_of(&v, L, 0)
    if status != OK:
        return status
    # One large image is split into bands of rows, for the pool.
    least = divide_up(ITEMS, v.batches * v.G)
    if v.bands < least and v.places >= SMALL:
        v.rows = max(divide_up(v.OH, least), divide_up(SMALL // 2, v.OW))
        v.rows = min(v.rows, v.OH)
        v.bands = divide_up(v.OH, v.rows)
    items = v.N * v.K if depthwise(&v) else v.batches * v.G * v.bands
    parallel_over(forward_part, &v, items, grain_of(&v, items), threads_of(L))
    return OK


# conv2d_backward_input ------------------------------------------------------------------------

cdef real* gathered(Conv* v, Py_ssize_t n0, Py_ssize_t n1, Py_ssize_t k0, Py_ssize_t oh0,
                    Py_ssize_t oh1, real* room, Py_ssize_t* ld) noexcept nogil:
    """g of a block as a matrix (kg, columns): where it lies, or gathered from several images."""
    cdef Py_ssize_t n, k, places = (oh1 - oh0) * v.OW
    cdef real* g = image_of(v, v.out, n0, v.K, k0, v.places, room) + oh0 * v.OW
    if n1 - n0 == 1:
        ld[0] = v.places
        return g
    ld[0] = (n1 - n0) * places
    for n in range(n0, n1):
        for k in range(v.kg):
            memcpy(room + k * ld[0] + (n - n0) * places, g + ((n - n0) * v.K + k) * v.places,
                   places * sizeof(real))
    return room


cdef void input_block(Conv* v, Py_ssize_t item, real* columns) noexcept nogil:
    """Some channels of some images of gx: all their bands one after the other."""
    cdef Py_ssize_t part = item % v.parts, g = item // v.parts % v.G
    cdef Py_ssize_t n0 = item // (v.parts * v.G) * v.images, n1 = min(v.N, n0 + v.images), n
    cdef Py_ssize_t c0 = part * v.share, c1 = min(v.cg, c0 + v.share), area = v.H * v.W
    cdef Py_ssize_t tap0 = c0 * v.KH * v.KW, taps = (c1 - c0) * v.KH * v.KW
    cdef Py_ssize_t band, oh0, oh1, places, ld, ldg = 0
    cdef real* weight = <real*>v.weight + g * v.kg * v.taps + tap0
    cdef real* grad
    cdef real* x
    if v.unit:
        gemm(True, False, taps, v.places, v.kg, <real>1, weight, v.taps,
             image_of(v, v.out, n0, v.K, g * v.kg, v.places, columns), v.places, <real>0,
             image_of(v, v.x, n0, v.C, g * v.cg + c0, area, columns), area)
        return
    for n in range(n0, n1):
        memset(image_of(v, v.x, n, v.C, g * v.cg + c0, area, columns), 0,
               (c1 - c0) * area * sizeof(real))
    for band in range(v.bands):
        oh0 = band * v.rows
        oh1 = min(v.OH, oh0 + v.rows)
        places = (oh1 - oh0) * v.OW
        ld = (n1 - n0) * places
        grad = gathered(v, n0, n1, g * v.kg, oh0, oh1, columns + taps * ld, &ldg)
        gemm(True, False, taps, ld, v.kg, <real>1, weight, v.taps, grad, ldg, <real>0, columns, ld)
        for n in range(n0, n1):
            x = image_of(v, v.x, n, v.C, g * v.cg, area, columns)
            fold(v, x, tap0, tap0 + taps, oh0, oh1, columns + (n - n0) * places, ld)


cdef void depthwise_input(Conv* v, Py_ssize_t item, real* type) noexcept nogil:
    """One plane of gx, from the planes of g that its channel fed."""
    cdef Py_ssize_t n = item // v.C, c = item % v.C, k, i, j, oh, ow, ih, low, high, dx
    cdef real* x = image_of(v, v.x, n, v.C, c, v.H * v.W, type)
    cdef real* grad
    cdef real* weight
    cdef real* row
    cdef real value
    memset(x, 0, v.H * v.W * sizeof(real))
    for k in range(c * v.kg, (c + 1) * v.kg):
        weight = <real*>v.weight + k * v.taps
        for j in range(v.KW):
            dx = j * v.dw - v.pw
            span(dx, v.sw, v.W, v.OW, &low, &high)
            for oh in range(v.OH):
                grad = image_of(v, v.out, n, v.K, k, v.places, type) + oh * v.OW
                for i in range(v.KH):
                    ih = oh * v.sh + i * v.dh - v.ph
                    if ih < 0 or ih >= v.H:
                        continue
                    value = weight[i * v.KW + j]
                    row = x + ih * v.W + dx
                    if v.sw == 1:
                        for ow in range(low, high):
                            row[ow] += value * grad[ow]
                    else:
                        for ow in range(low, high):
                            row[ow * v.sw] += value * grad[ow]


cdef void input_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Conv* v = <Conv*>context
    cdef char* columns = v.work + thread * v.piece
    cdef Py_ssize_t item
    for item in range(begin, end):
        if depthwise(v):
            if v.dtype == FLOAT32:
                depthwise_input[float](v, item, NULL)
            else:
                depthwise_input[double](v, item, NULL)
        elif v.dtype == FLOAT32:
            input_block[float](v, item, <float*>columns)
        else:
            input_block[double](v, item, <double*>columns)


cdef int conv2d_backward_input_run(Launch* L) noexcept nogil:
    """gx from g and weight."""
    cdef Conv v
    cdef Py_ssize_t items
    cdef int status
    if L.b[0].n == 0:
        return OK
    status = describe(&v, L, L.b[0], L.b[2], L.b[1], NULL)
    if status == OK and ran_without_columns(&v, L, True):
        return OK
    if status == OK:
        status = blocks_of(&v, L, 0)
    if status != OK:
        return status
    v.parts = min(v.cg, divide_up(ITEMS, v.batches * v.G))
    v.share = divide_up(v.cg, v.parts)
    v.parts = divide_up(v.cg, v.share)
    items = v.N * v.C if depthwise(&v) else v.batches * v.G * v.parts
    parallel_over(input_part, &v, items, grain_of(&v, items), threads_of(L))
    return OK


# conv2d_backward_weight -----------------------------------------------------------------------

cdef void weight_block(Conv* v, Py_ssize_t item, real* columns) noexcept nogil:
    """Some taps of one group, summed over one part of the batch."""
    cdef Py_ssize_t part = item % v.parts, g = item // v.parts % v.G
    cdef Py_ssize_t sums = item // (v.parts * v.G)
    cdef Py_ssize_t b0 = sums * v.batches // v.sums, b1 = (sums + 1) * v.batches // v.sums
    cdef Py_ssize_t tap0 = part * v.share, tap1 = min(v.taps, tap0 + v.share), area = v.H * v.W
    cdef Py_ssize_t block, band, n, n0, n1, oh0, oh1, places, ld, ldg = 0
    cdef real* out = <real*>(<char*>v.L.work + sums * v.partial) if v.sums > 1 else <real*>v.weight
    cdef real* grad
    cdef real beta = 1 if v.beta and v.sums == 1 else 0
    out += g * v.kg * v.taps + tap0
    for block in range(b0, b1):
        n0 = block * v.images
        n1 = min(v.N, n0 + v.images)
        for band in range(v.bands):
            oh0 = band * v.rows
            oh1 = min(v.OH, oh0 + v.rows)
            places = (oh1 - oh0) * v.OW
            ld = (n1 - n0) * places
            grad = gathered(v, n0, n1, g * v.kg, oh0, oh1, columns + (tap1 - tap0) * ld, &ldg)
            if v.unit:
                gemm(False, True, v.kg, tap1 - tap0, places, <real>1, grad, ldg,
                     image_of(v, v.x, n0, v.C, g * v.cg + tap0, area, columns) + oh0 * v.OW, area,
                     beta, out, v.taps)
            else:
                for n in range(n0, n1):
                    unfold(v, image_of(v, v.x, n, v.C, g * v.cg, area, columns), tap0, tap1,
                           oh0, oh1, columns + (n - n0) * places, ld)
                gemm(False, True, v.kg, tap1 - tap0, ld, <real>1, grad, ldg, columns, ld, beta,
                     out, v.taps)
            beta = 1


cdef void depthwise_weight(Conv* v, Py_ssize_t item, real* type) noexcept nogil:
    """One tap of one channel: the inner product of g with shifted x, in lanes."""
    cdef Py_ssize_t k = item // v.taps, i = item % v.taps // v.KW, j = item % v.KW
    cdef Py_ssize_t n, oh, ow, low, high, ih, dx = j * v.dw - v.pw, lane
    cdef real* x
    cdef real* grad
    cdef real* weight = <real*>v.weight
    cdef real lanes[LANES]
    cdef real total = 0
    span(dx, v.sw, v.W, v.OW, &low, &high)
    for lane in range(LANES):
        lanes[lane] = 0
    for n in range(v.N):
        for oh in range(v.OH):
            ih = oh * v.sh + i * v.dh - v.ph
            if ih < 0 or ih >= v.H:
                continue
            grad = image_of(v, v.out, n, v.K, k, v.places, type) + oh * v.OW
            x = image_of(v, v.x, n, v.C, k // v.kg, v.H * v.W, type) + ih * v.W + dx
            ow = low
            if v.sw == 1:
                while ow + LANES <= high:
                    for lane in range(LANES):
                        lanes[lane] += grad[ow + lane] * x[ow + lane]
                    ow += LANES
            while ow < high:
                total += grad[ow] * x[ow * v.sw]
                ow += 1
    for lane in range(LANES):
        total += lanes[lane]
    weight[item] = weight[item] + total if v.beta else total


cdef void weight_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Conv* v = <Conv*>context
    cdef char* columns = v.work + thread * v.piece
    cdef Py_ssize_t item
    for item in range(begin, end):
        if depthwise(v):
            if v.dtype == FLOAT32:
                depthwise_weight[float](v, item, NULL)
            else:
                depthwise_weight[double](v, item, NULL)
        elif v.dtype == FLOAT32:
            weight_block[float](v, item, <float*>columns)
        else:
            weight_block[double](v, item, <double*>columns)


cdef void add_partials(Conv* v, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t s, i
    cdef real* out = <real*>v.weight
    cdef real* partial = <real*>v.L.work
    for i in range(begin, end):
        out[i] = out[i] + partial[i] if v.beta else partial[i]
    for s in range(1, v.sums):
        partial = <real*>(<char*>v.L.work + s * v.partial)
        for i in range(begin, end):
            out[i] += partial[i]


cdef void sum_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Conv* v = <Conv*>context
    if v.dtype == FLOAT32:
        add_partials[float](v, begin, end, NULL)
    else:
        add_partials[double](v, begin, end, NULL)


cdef int conv2d_backward_weight_run(Launch* L) noexcept nogil:
    """gweight from g and x; adds into it where L.beta = 1."""
    cdef Conv v
    cdef Winograd w
    cdef Buf* out = L.b[0]
    cdef Py_ssize_t items, sums
    cdef int status
    if out.n == 0:
        return OK
    if L.b[1].n == 0:
        if not L.beta:
            memset(out.data, 0, out.n * itemsize(out.dtype))
        return OK
    sums = max(1, min(min(L.b[2].shape[0], ITEMS), PARTIAL // out.n))
    v.partial = padded(out.n * itemsize(out.dtype))
    status = describe(&v, L, L.b[2], out, L.b[1], NULL)
    if status == OK and v.dtype == FLOAT32 and v.G == 1:
        shape_of(&v, &w.shape)
        w.N, w.x, w.out, w.weight = v.N, <float*>v.x, <float*>v.out, <float*>v.weight
        if winograd_weight_fits(&w, L):
            winograd_weight_run(&w, L)
            return OK
    if status == OK:
        status = blocks_of(&v, L, sums * v.partial)
    if status != OK:
        return status
    v.sums = min(sums, v.batches)
    v.parts = max(1, min(divide_up(ITEMS, v.sums * v.G), v.taps // 64))
    v.share = divide_up(v.taps, v.parts)
    v.parts = divide_up(v.taps, v.share)
    items = v.K * v.taps if depthwise(&v) else v.sums * v.G * v.parts
    parallel_over(weight_part, &v, items, grain_of(&v, items), threads_of(L))
    if v.sums > 1 and not depthwise(&v):
        parallel_over(sum_part, &v, out.n, 1 << 16, threads_of(L))
    return OK


TABLE = {"conv2d": <size_t>&conv2d_run,
         "conv2d_backward_input": <size_t>&conv2d_backward_input_run,
         "conv2d_backward_weight": <size_t>&conv2d_backward_weight_run}
