# Minimal filtering over a batch: whether it suits, and how images are shared out.
# Invariant: what runs depends on shapes, the scratch and whether every value is of moderate size,
# so results repeat; an infinity or a NaN anywhere sends the whole call to the exact loops.
from libc.string cimport memset

from kernels.direct cimport direct
from kernels.launch cimport Launch, parallel_over, threads_of

cdef extern from "winograd.h" nogil:
    const int PANEL_MOST
    const Py_ssize_t WINOGRAD_PANEL
    Py_ssize_t winograd_up(Py_ssize_t n, Py_ssize_t step)
    Py_ssize_t winograd_high(direct* d, int kind)
    Py_ssize_t winograd_wide(direct* d, int kind)
    Py_ssize_t winograd_room(direct* d, int kind, Py_ssize_t rows)
    bint winograd_moderate(float* x, Py_ssize_t n)
    void winograd_pack(direct* d, float* packed, float* w, Py_ssize_t so, Py_ssize_t sc, bint flip,
                       Py_ssize_t first, Py_ssize_t last)
    void winograd_band(direct* d, int kind, float* out, float* x, float* packed, float* bias,
                       Py_ssize_t top, Py_ssize_t bottom, float* room)

cdef extern from "winograd_weight.h" nogil:
    Py_ssize_t winograd_weight_room(direct* d, Py_ssize_t rows)
    Py_ssize_t winograd_weight_sum(direct* d)
    void winograd_weight_band(direct* d, float* sum, float* x, float* g, Py_ssize_t top,
                              Py_ssize_t bottom, float* room)
    void winograd_weight_finish(direct* d, float* gw, float* sums, Py_ssize_t parts, bint add,
                                Py_ssize_t first, Py_ssize_t last)

cdef enum:
    LEAST = 16                  # channels in and out: fewer do not pay for the transforms
    MOST = 1 << 14              # weights of a tap: 16 of these matrices stay in the second cache
    ITEMS = 8                   # so many parts are wanted where the shape has them
    GRAIN = 1 << 20             # operations in a part at least: about 10 microseconds
    SCAN = 1 << 16              # values looked at in a part at least
    PARTIAL = 1 << 20           # elements of all partial gradients (ops/conv.py)
    FEWEST = 4                  # images: partial gradients are of several each
    FEW_TILES = 12              # of an image: a sum is read and written for the tiles of one ...
    MOST_SUM = 1 << 12          # ... and its 16 matrices stay in the second cache beside them

cdef struct Scan:
    float* x
    bint bad[256]


cdef inline Py_ssize_t divide_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef void scan_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Scan* s = <Scan*>context
    s.bad[thread] = not winograd_moderate(s.x + begin, end - begin)


cdef bint moderate(float* x, Py_ssize_t n, int threads) noexcept nogil:
    cdef Scan s
    cdef int k
    s.x = x
    for k in range(256):
        s.bad[k] = False
    parallel_over(scan_part, &s, n, SCAN, threads)
    for k in range(256):
        if s.bad[k]:
            return False
    return True


cdef bint suits(Winograd* s) noexcept nogil:
    """True for the shapes that this file is for."""
    cdef direct* d = &s.shape
    return (d.kh == 3 and d.kw == 3 and d.sh == 1 and d.sw == 1 and d.dh == 1 and d.dw == 1
            and d.ph >= 0 and d.pw >= 0 and d.channels >= LEAST and d.outs >= LEAST
            and d.channels * d.outs <= MOST and s.N > 0 and winograd_high(d, s.kind) > 0
            and winograd_wide(d, s.kind) > 0)


cdef bint winograd_fits(Winograd* s, Launch* L) noexcept nogil:
    cdef direct* d = &s.shape
    cdef int threads = threads_of(L)
    cdef Py_ssize_t packed, left, fixed, line, high = winograd_high(d, s.kind)
    if not suits(s):
        return False
    packed = 16 * divide_up(d.outs, PANEL_MOST) * PANEL_MOST * d.channels \
        * sizeof(float)
    s.packed, s.rooms = <float*>L.work, <char*>L.work + packed
    s.room = (L.work_bytes - packed) // threads // 64 * 64
    fixed = winograd_room(d, s.kind, 0)
    line = winograd_room(d, s.kind, 1) - fixed
    left = s.room // <Py_ssize_t>sizeof(float) - fixed
    if L.work == NULL or left < line:
        return False
    s.rows = min(min(high, left // line), divide_up(high, divide_up(ITEMS, s.N)))
    s.bands = divide_up(high, s.rows)
    return (moderate(s.weight, d.channels * d.outs * 9, 1)
            and moderate(s.x, s.N * d.channels * d.height * d.width, threads))


cdef void pack_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Winograd* s = <Winograd*>context
    winograd_pack(&s.shape, s.packed, s.weight, s.so, s.sc, s.flip, begin, end)


cdef void band_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Winograd* s = <Winograd*>context
    cdef direct* d = &s.shape
    cdef Py_ssize_t item, n, top, high = winograd_high(d, s.kind), places = d.rows * d.columns
    if s.kind == WINOGRAD_POOL:
        places = high * winograd_wide(d, s.kind)
    for item in range(begin, end):
        n, top = item // s.bands, item % s.bands * s.rows
        winograd_band(d, s.kind, s.out + n * d.outs * places,
                      s.x + n * d.channels * d.height * d.width, s.packed, s.bias, top,
                      min(high, top + s.rows), <float*>(s.rooms + thread * s.room))


cdef void winograd_run(Winograd* s, Launch* L) noexcept nogil:
    cdef direct* d = &s.shape
    cdef Py_ssize_t panels = winograd_up(d.outs, WINOGRAD_PANEL) // WINOGRAD_PANEL
    cdef Py_ssize_t items = s.N * s.bands
    cdef double each = 8. * d.channels * d.outs * d.rows * d.columns / s.bands
    parallel_over(pack_part, s, panels, (1 << 7) // d.channels + 1, threads_of(L))
    parallel_over(band_part, s, items, <Py_ssize_t>(GRAIN / (each + 1)) + 1, threads_of(L))


# The gradient of the weight -------------------------------------------------------------------

cdef bint winograd_weight_fits(Winograd* s, Launch* L) noexcept nogil:
    cdef direct* d = &s.shape
    cdef int threads = threads_of(L)
    cdef Py_ssize_t left, line, fixed, one = winograd_weight_sum(d)
    s.kind = WINOGRAD_PLAIN
    if (not suits(s) or s.N < FEWEST or d.channels * d.outs > MOST_SUM
            or winograd_high(d, s.kind) * winograd_wide(d, s.kind) < FEW_TILES):
        return False
    s.sums = max(1, min(min(s.N, <Py_ssize_t>ITEMS), PARTIAL // one))
    s.packed = <float*>L.work
    s.rooms = <char*>L.work + s.sums * one * sizeof(float)
    s.room = (L.work_bytes - s.sums * one * <Py_ssize_t>sizeof(float)) // threads // 64 * 64
    fixed = winograd_weight_room(d, 0)
    line = winograd_weight_room(d, 1) - fixed
    left = s.room // <Py_ssize_t>sizeof(float) - fixed
    if L.work == NULL or left < line:
        return False
    s.rows = min(winograd_high(d, s.kind), left // line)
    return (moderate(s.x, s.N * d.channels * d.height * d.width, threads)
            and moderate(s.out, s.N * d.outs * d.rows * d.columns, threads))


cdef void weight_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Winograd* s = <Winograd*>context
    cdef direct* d = &s.shape
    cdef Py_ssize_t item, n, top, high = winograd_high(d, s.kind), one = winograd_weight_sum(d)
    cdef float* sum
    for item in range(begin, end):
        sum = s.packed + item * one
        memset(sum, 0, one * sizeof(float))
        for n in range(item * s.N // s.sums, (item + 1) * s.N // s.sums):
            top = 0
            while top < high:
                winograd_weight_band(d, sum, s.x + n * d.channels * d.height * d.width,
                                     s.out + n * d.outs * d.rows * d.columns, top,
                                     min(high, top + s.rows),
                                     <float*>(s.rooms + thread * s.room))
                top += s.rows


cdef struct Finish:
    Winograd* s
    bint add


cdef void finish_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Finish* f = <Finish*>context
    winograd_weight_finish(&f.s.shape, f.s.weight, f.s.packed, f.s.sums, f.add, begin, end)


cdef void winograd_weight_run(Winograd* s, Launch* L) noexcept nogil:
    cdef Finish f
    f.s, f.add = s, L.beta != 0
    parallel_over(weight_part, s, s.sums, 1, threads_of(L))
    parallel_over(finish_part, &f, s.shape.channels, (1 << 9) // s.shape.outs + 1, threads_of(L))
