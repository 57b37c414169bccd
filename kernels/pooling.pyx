# Max and average pooling, plane by plane.
# Invariant: one part of the pool owns whole planes (n, c), so sums onto gx run in
# one order; taps outside the image are never read, whatever `place` holds.
#
# x and gx (N, C, H, W), out and g (N, C, OH, OW), all contiguous; place (N, C, OH, OW)
# holds i * KW + j of the tap that was the maximum, as uint8, int16 or int32.
from libc.stdint cimport int16_t, int32_t, uint8_t
from libc.math cimport INFINITY
from libc.string cimport memset

from kernels.halves cimport HALVES_LEAST, halves_back, halves_max
from kernels.launch cimport (
    BAD_DTYPE, FLOAT32, FLOAT64, INT16, INT32, OK, UINT8, Buf, Launch, parallel_over, threads_of)
from kernels.types cimport real

cdef enum:
    POOL_GRAIN = 1 << 16        # taps in a part at least: tens of microseconds
    BLOCK = 256                 # windows taken at once
    LANES = 16

ctypedef fused place_t:
    uint8_t
    int16_t
    int32_t

cdef struct Pool:
    char* x                     # x or gx
    char* out                   # out or g
    char* place                 # or NULL
    int dtype, place_dtype, kind
    Py_ssize_t H, W, OH, OW, KH, KW, sh, sw, ph, pw, dh, dw
    bint include_pad

cdef enum:
    MAX, MAX_BACKWARD, MAX_GATHER, AVG, AVG_BACKWARD


cdef inline void span(Py_ssize_t shift, Py_ssize_t stride, Py_ssize_t size, Py_ssize_t out,
                      Py_ssize_t* low, Py_ssize_t* high) noexcept nogil:
    """Windows o in [low, high) of [0, out) whose tap o * stride + shift is inside [0, size)."""
    low[0] = 0 if shift >= 0 else min(out, (-shift + stride - 1) // stride)
    high[0] = 0 if shift >= size else min(out, (size - 1 - shift) // stride + 1)
    if high[0] < low[0]:
        high[0] = low[0]


cdef inline Py_ssize_t first_tap(Py_ssize_t start, Py_ssize_t step, Py_ssize_t taps,
                                 Py_ssize_t size) noexcept nogil:
    """The first tap inside the image of a window that begins at `start`; 0 if none is."""
    cdef Py_ssize_t tap = 0 if start >= 0 else (-start + step - 1) // step
    return tap if tap < taps and start + tap * step < size else 0


# Maximum --------------------------------------------------------------------------------------

cdef inline void take_tap(real* x, Py_ssize_t dx, Py_ssize_t stride, Py_ssize_t low,
                          Py_ssize_t high, Py_ssize_t n, real* values) noexcept nogil:
    """One tap of a row of n windows; -inf where it falls outside [low, high)."""
    cdef Py_ssize_t ow
    for ow in range(low):
        values[ow] = -INFINITY
    if stride == 1:
        for ow in range(low, high):
            values[ow] = x[ow + dx]
    elif stride == 2:
        for ow in range(low, high):
            values[ow] = x[2 * ow + dx]
    else:
        for ow in range(low, high):
            values[ow] = x[ow * stride + dx]
    for ow in range(high, n):
        values[ow] = -INFINITY


cdef inline void keep_larger(real* best, real* taps, real* values, real tap,
                             Py_ssize_t n) noexcept nogil:
    """best = max(best, values): the first of equals stays, and so does a NaN."""
    cdef Py_ssize_t lanes, k
    cdef real old, value
    cdef bint wins
    for lanes in range((n + LANES - 1) // LANES):
        for k in range(lanes * LANES, lanes * LANES + LANES):
            old, value = best[k], values[k]
            wins = (value > old) | ((value != value) & (old == old))
            best[k] = value if wins else old
            taps[k] = tap if wins else taps[k]


cdef void max_block(Pool* v, real* x, Py_ssize_t oh0, Py_ssize_t oh1, Py_ssize_t ow0, Py_ssize_t n,
                    real* out, place_t* place) noexcept nogil:
    """Rows [oh0, oh1) of n windows from ow0 on; (oh1 - oh0) * n <= BLOCK.

    All windows take the same tap at once, so that there is nothing to branch on; taps are
    counted in `real`, which holds them exactly and keeps the lanes of one width.
    """
    cdef real best[BLOCK]
    cdef real taps[BLOCK]
    cdef real values[BLOCK]
    cdef Py_ssize_t total = (oh1 - oh0) * n, i, j, k, oh, ih, low, high, dx, top
    for k in range(BLOCK):
        best[k] = values[k] = -INFINITY
    for oh in range(oh0, oh1):
        top = first_tap(oh * v.sh - v.ph, v.dh, v.KH, v.H) * v.KW
        for k in range(n):
            taps[(oh - oh0) * n + k] = top
        if v.pw > 0:
            for k in range(n):
                taps[(oh - oh0) * n + k] += first_tap((ow0 + k) * v.sw - v.pw, v.dw, v.KW, v.W)
    for k in range(total, BLOCK):
        taps[k] = 0
    for i in range(v.KH):
        for j in range(v.KW):
            dx = j * v.dw - v.pw
            span(dx, v.sw, v.W, v.OW, &low, &high)
            low = max(0, min(low - ow0, n))
            high = max(low, min(high - ow0, n))
            for oh in range(oh0, oh1):
                ih = oh * v.sh + i * v.dh - v.ph
                if ih < 0 or ih >= v.H:
                    for k in range(n):
                        values[(oh - oh0) * n + k] = -INFINITY
                else:
                    take_tap(x + ih * v.W, ow0 * v.sw + dx, v.sw, low, high, n,
                             values + (oh - oh0) * n)
            keep_larger(best, taps, values, <real>(i * v.KW + j), total)
    for oh in range(oh0, oh1):
        for k in range(n):
            out[oh * v.OW + ow0 + k] = best[(oh - oh0) * n + k]
        if place != NULL:
            for k in range(n):
                place[oh * v.OW + ow0 + k] = <place_t>taps[(oh - oh0) * n + k]


cdef void max_plane(Pool* v, real* x, real* out, place_t* place) noexcept nogil:
    """Several short rows of windows at a time, or pieces of a long one."""
    cdef Py_ssize_t n = min(v.OW, <Py_ssize_t>BLOCK), rows = BLOCK // n, oh = 0, ow
    while oh < v.OH:
        ow = 0
        while ow < v.OW:
            max_block(v, x, oh, min(oh + rows, v.OH), ow, min(n, v.OW - ow), out, place)
            ow += n
        oh += rows


cdef void chosen_plane(Pool* v, real* x, real* out, place_t* place, bint back) noexcept nogil:
    """gx[chosen] += g where `back`, else out = x[chosen]."""
    cdef Py_ssize_t oh, ow, ih, iw, tap, k
    if back:
        memset(x, 0, v.H * v.W * sizeof(real))
    for oh in range(v.OH):
        for ow in range(v.OW):
            k = oh * v.OW + ow
            tap = place[k]
            ih = oh * v.sh - v.ph + tap // v.KW * v.dh
            iw = ow * v.sw - v.pw + tap % v.KW * v.dw
            if ih >= 0 and ih < v.H and iw >= 0 and iw < v.W:
                if back:
                    x[ih * v.W + iw] += out[k]
                else:
                    out[k] = x[ih * v.W + iw]
            elif not back:
                out[k] = 0


# Two by two, without overlap or padding: what most networks use.  Rows in registers (halves.h);
# windows one by one where rows are short.  Their places are bytes.

cdef inline bint halves(Pool* v) noexcept nogil:
    return (v.KH == 2 and v.KW == 2 and v.sh == 2 and v.sw == 2 and v.ph == 0 and v.pw == 0
            and v.dh == 1 and v.dw == 1 and 2 * v.OW <= v.W and 2 * v.OH <= v.H
            and v.place_dtype == UINT8)


cdef inline bint follows(real a, real b) noexcept nogil:
    """b takes the place of a: it is larger, or the first NaN."""
    return (b > a) | ((b != b) & (a == a))


cdef void max_few(Pool* v, real* x, real* out, place_t* place) noexcept nogil:
    cdef Py_ssize_t oh, ow, k = 0
    cdef real* top
    cdef real* bottom
    cdef Py_ssize_t left, right, wins   # 1 where the second of a pair is the larger: added, for
                                        # on a branch the processor would guess wrong half the time
    for oh in range(v.OH):
        top = x + 2 * oh * v.W
        bottom = top + v.W
        for ow in range(v.OW):
            left = follows(top[2 * ow], top[2 * ow + 1])
            right = follows(bottom[2 * ow], bottom[2 * ow + 1])
            wins = follows(top[2 * ow + left], bottom[2 * ow + right])
            out[k] = top[2 * ow + left + wins * (v.W + right - left)]
            if place != NULL:
                place[k] = <place_t>(left + wins * (2 + right - left))
            k += 1


cdef void back_few(Pool* v, real* x, real* g, place_t* place) noexcept nogil:
    cdef Py_ssize_t oh, ow, k = 0
    cdef real* top
    cdef real* bottom
    if v.W != 2 * v.OW or v.H != 2 * v.OH:
        memset(x, 0, v.H * v.W * sizeof(real))
    for oh in range(v.OH):
        top = x + 2 * oh * v.W
        bottom = top + v.W
        for ow in range(v.OW):
            top[2 * ow] = g[k] if place[k] == 0 else <real>0
            top[2 * ow + 1] = g[k] if place[k] == 1 else <real>0
            bottom[2 * ow] = g[k] if place[k] == 2 else <real>0
            bottom[2 * ow + 1] = g[k] if place[k] == 3 else <real>0
            k += 1


cdef void max_halves(Pool* v, real* x, real* out, uint8_t* place) noexcept nogil:
    cdef Py_ssize_t oh
    for oh in range(v.OH):
        halves_max(out + oh * v.OW, place + oh * v.OW if place != NULL else NULL,
                   x + 2 * oh * v.W, x + (2 * oh + 1) * v.W, v.OW)


cdef void back_halves(Pool* v, real* x, real* g, uint8_t* place) noexcept nogil:
    cdef Py_ssize_t oh
    if v.W != 2 * v.OW or v.H != 2 * v.OH:
        memset(x, 0, v.H * v.W * sizeof(real))
    for oh in range(v.OH):
        halves_back(x + 2 * oh * v.W, x + (2 * oh + 1) * v.W, g + oh * v.OW, place + oh * v.OW,
                    v.OW)


cdef void place_planes(Pool* v, Py_ssize_t begin, Py_ssize_t end, real* type,
                       place_t* place_type) noexcept nogil:
    cdef Py_ssize_t plane
    cdef real* x
    cdef real* out
    cdef place_t* place
    for plane in range(begin, end):
        x = <real*>v.x + plane * v.H * v.W
        out = <real*>v.out + plane * v.OH * v.OW
        place = <place_t*>v.place + plane * v.OH * v.OW if v.place != NULL else NULL
        if v.kind == MAX and halves(v):
            if v.OW < HALVES_LEAST:
                max_few(v, x, out, place)
            else:
                max_halves(v, x, out, <uint8_t*>place)
        elif v.kind == MAX:
            max_plane(v, x, out, place)
        elif v.kind == MAX_BACKWARD and halves(v):
            if v.OW < HALVES_LEAST:
                back_few(v, x, out, place)
            else:
                back_halves(v, x, out, <uint8_t*>place)
        else:
            chosen_plane(v, x, out, place, v.kind == MAX_BACKWARD)


# Mean -----------------------------------------------------------------------------------------

cdef inline Py_ssize_t counted(Py_ssize_t start, Py_ssize_t taps, Py_ssize_t size, Py_ssize_t pad,
                               bint include_pad) noexcept nogil:
    """Taps along one axis that the mean of the window beginning at `start` counts."""
    cdef Py_ssize_t stop = start + taps
    if include_pad:
        return min(stop, size + pad) - start
    return min(stop, size) - max(start, 0)


cdef void avg_plane(Pool* v, real* x, real* out) noexcept nogil:
    """Column of taps by column: sums first, then divided."""
    cdef Py_ssize_t oh, ow, i, j, ih, low, high, rows
    cdef real* total
    cdef real* row
    for ow in range(v.OH * v.OW):
        out[ow] = 0
    for j in range(v.KW):
        span(j - v.pw, v.sw, v.W, v.OW, &low, &high)
        for oh in range(v.OH):
            total = out + oh * v.OW
            for i in range(v.KH):
                ih = oh * v.sh + i - v.ph
                if ih < 0 or ih >= v.H:
                    continue
                row = x + ih * v.W + j - v.pw
                if v.sw == 1:
                    for ow in range(low, high):
                        total[ow] += row[ow]
                elif v.sw == 2:
                    for ow in range(low, high):
                        total[ow] += row[2 * ow]
                else:
                    for ow in range(low, high):
                        total[ow] += row[ow * v.sw]
    for oh in range(v.OH):
        rows = counted(oh * v.sh - v.ph, v.KH, v.H, v.ph, v.include_pad)
        for ow in range(v.OW):
            out[oh * v.OW + ow] /= rows * counted(ow * v.sw - v.pw, v.KW, v.W, v.pw,
                                                  v.include_pad)


cdef void avg_plane_backward(Pool* v, real* x, real* g) noexcept nogil:
    """As many windows of a row at a time as `share` holds."""
    cdef Py_ssize_t oh, ow0, ow, i, j, ih, low, high, rows, n
    cdef real share[BLOCK]
    cdef real* row
    memset(x, 0, v.H * v.W * sizeof(real))
    for oh in range(v.OH):
        rows = counted(oh * v.sh - v.ph, v.KH, v.H, v.ph, v.include_pad)
        ow0 = 0
        while ow0 < v.OW:
            n = min(v.OW - ow0, <Py_ssize_t>BLOCK)
            for ow in range(n):
                share[ow] = g[oh * v.OW + ow0 + ow] / (
                    rows * counted((ow0 + ow) * v.sw - v.pw, v.KW, v.W, v.pw, v.include_pad))
            for j in range(v.KW):
                span(ow0 * v.sw + j - v.pw, v.sw, v.W, n, &low, &high)
                for i in range(v.KH):
                    ih = oh * v.sh + i - v.ph
                    if ih < 0 or ih >= v.H:
                        continue
                    row = x + ih * v.W + ow0 * v.sw + j - v.pw
                    if v.sw == 1:
                        for ow in range(low, high):
                            row[ow] += share[ow]
                    elif v.sw == 2:
                        for ow in range(low, high):
                            row[2 * ow] += share[ow]
                    else:
                        for ow in range(low, high):
                            row[ow * v.sw] += share[ow]
            ow0 += n


cdef void avg_planes(Pool* v, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t plane
    for plane in range(begin, end):
        if v.kind == AVG:
            avg_plane(v, <real*>v.x + plane * v.H * v.W, <real*>v.out + plane * v.OH * v.OW)
        else:
            avg_plane_backward(v, <real*>v.x + plane * v.H * v.W,
                               <real*>v.out + plane * v.OH * v.OW)


# Launches -------------------------------------------------------------------------------------

cdef void pool_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Pool* v = <Pool*>context
    if v.kind >= AVG:
        if v.dtype == FLOAT32:
            avg_planes[float](v, begin, end, NULL)
        else:
            avg_planes[double](v, begin, end, NULL)
    elif v.dtype == FLOAT32:
        if v.place_dtype == UINT8:
            place_planes[float, uint8_t](v, begin, end, NULL, NULL)
        elif v.place_dtype == INT16:
            place_planes[float, int16_t](v, begin, end, NULL, NULL)
        else:
            place_planes[float, int32_t](v, begin, end, NULL, NULL)
    elif v.place_dtype == UINT8:
        place_planes[double, uint8_t](v, begin, end, NULL, NULL)
    elif v.place_dtype == INT16:
        place_planes[double, int16_t](v, begin, end, NULL, NULL)
    else:
        place_planes[double, int32_t](v, begin, end, NULL, NULL)


cdef int pool_run(Launch* L, int kind, Buf* x, Buf* out, Buf* place) noexcept nogil:
    """Read the attributes (in the order of the twins) and share out the planes."""
    cdef Pool v
    cdef Py_ssize_t planes = x.shape[0] * x.shape[1]
    if (x.dtype != FLOAT32 and x.dtype != FLOAT64) or out.dtype != x.dtype:
        return BAD_DTYPE
    v.place_dtype = UINT8
    v.place = NULL
    if place != NULL:
        v.place, v.place_dtype = place.data, place.dtype
        if place.dtype != UINT8 and place.dtype != INT16 and place.dtype != INT32:
            return BAD_DTYPE
    v.kind, v.dtype, v.x, v.out = kind, x.dtype, x.data, out.data
    v.H, v.W, v.OH, v.OW = x.shape[2], x.shape[3], out.shape[2], out.shape[3]
    v.KH, v.KW, v.sh, v.sw, v.ph, v.pw = L.ia[0], L.ia[1], L.ia[2], L.ia[3], L.ia[4], L.ia[5]
    v.dh, v.dw, v.include_pad = 1, 1, False
    if kind < AVG:
        v.dh, v.dw = L.ia[6], L.ia[7]
    else:
        v.include_pad = L.ia[7] != 0
    parallel_over(pool_part, &v, planes,
                  POOL_GRAIN // (v.OH * v.OW * v.KH * v.KW + 1) + 1, threads_of(L))
    return OK


cdef int max_pool2d_run(Launch* L) noexcept nogil:
    """out, place (may be NULL) from x."""
    return pool_run(L, MAX, L.b[2], L.b[0], L.b[1])


cdef int max_pool2d_backward_run(Launch* L) noexcept nogil:
    """gx from g, place."""
    return pool_run(L, MAX_BACKWARD, L.b[0], L.b[1], L.b[2])


cdef int max_pool2d_gather_run(Launch* L) noexcept nogil:
    """out from x, place."""
    return pool_run(L, MAX_GATHER, L.b[1], L.b[0], L.b[2])


cdef int avg_pool2d_run(Launch* L) noexcept nogil:
    """out from x."""
    return pool_run(L, AVG, L.b[1], L.b[0], NULL)


cdef int avg_pool2d_backward_run(Launch* L) noexcept nogil:
    """gx from g."""
    return pool_run(L, AVG_BACKWARD, L.b[0], L.b[1], NULL)


TABLE = {"max_pool2d": <size_t>&max_pool2d_run,
         "max_pool2d_backward": <size_t>&max_pool2d_backward_run,
         "max_pool2d_gather": <size_t>&max_pool2d_gather_run,
         "avg_pool2d": <size_t>&avg_pool2d_run,
         "avg_pool2d_backward": <size_t>&avg_pool2d_backward_run}
