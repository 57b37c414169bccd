# Random numbers: Philox4x32-10, a generator without state.
# Invariant: element i is a function of (key, counter, i) alone: words come in
# groups of 64 (16 blocks of 4), and a part of the work is a range of groups.
#
# Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from kernels.launch cimport BAD_DTYPE, BAD_VALUE, FLOAT32, FLOAT64, OK, Launch, parallel
from kernels.rows cimport row_box_muller_d, row_box_muller_f
from kernels.types cimport real

cdef extern from *:
    """
    #include <stdint.h>
    /* High and low half of a 32-bit product, in lanes that vectorise. */
    static inline void philox_round(uint32_t* c0, uint32_t* c1, uint32_t* c2, uint32_t* c3,
                                    uint32_t k0, uint32_t k1) {
        for (int j = 0; j < 16; j++) {
            uint64_t p0 = (uint64_t)c0[j] * 0xD2511F53u, p1 = (uint64_t)c2[j] * 0xCD9E8D57u;
            c0[j] = (uint32_t)(p1 >> 32) ^ c1[j] ^ k0;
            c1[j] = (uint32_t)p1;
            c2[j] = (uint32_t)(p0 >> 32) ^ c3[j] ^ k1;
            c3[j] = (uint32_t)p0;
        }
    }
    static inline uint64_t high_half(uint64_t a, uint64_t b) {
        return (uint64_t)(((unsigned __int128)a * b) >> 64);
    }
    """
    void philox_round(uint32_t* c0, uint32_t* c1, uint32_t* c2, uint32_t* c3, uint32_t k0,
                      uint32_t k1) nogil
    uint64_t high_half(uint64_t a, uint64_t b) nogil

cdef enum:
    WORDS = 64                  # of one group
    LONGS = 32                  # the same as 64-bit numbers
    GRAIN = 128                 # groups


cdef void draw(int64_t* base, Py_ssize_t group, uint32_t* words) noexcept nogil:
    """The 64 words of one group, in the order of their elements."""
    cdef uint64_t key = <uint64_t>base[0], counter = <uint64_t>base[1]
    cdef uint64_t block = <uint64_t>group * 16
    cdef uint32_t k0 = <uint32_t>key, k1 = <uint32_t>(key >> 32)
    cdef uint32_t c0[16]
    cdef uint32_t c1[16]
    cdef uint32_t c2[16]
    cdef uint32_t c3[16]
    cdef int j
    for j in range(16):
        c0[j] = <uint32_t>(block + <uint64_t>j)
        c1[j] = <uint32_t>((block + <uint64_t>j) >> 32)
        c2[j] = <uint32_t>counter
        c3[j] = <uint32_t>(counter >> 32)
    for j in range(10):
        philox_round(c0, c1, c2, c3, k0, k1)
        k0 += <uint32_t>0x9E3779B9
        k1 += <uint32_t>0xBB67AE85
    for j in range(16):
        words[4 * j] = c0[j]
        words[4 * j + 1] = c1[j]
        words[4 * j + 2] = c2[j]
        words[4 * j + 3] = c3[j]


cdef void draw_longs(int64_t* base, Py_ssize_t group, uint64_t* longs) noexcept nogil:
    """The group as 32 numbers of 64 bits, high word first."""
    cdef uint32_t words[WORDS]
    cdef int j
    draw(base, group, words)
    for j in range(LONGS):
        longs[j] = (<uint64_t>words[2 * j] << 32) | words[2 * j + 1]


cdef int rng_next_run(Launch* L) noexcept nogil:
    """base; state: a copy of [key, counter], then the counter goes up by one."""
    cdef int64_t* state = <int64_t*>L.b[1].data
    memcpy(L.b[0].data, state, 16)
    state[1] = <int64_t>(<uint64_t>state[1] + 1)
    return OK


cdef void uniform_part(Launch* L, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef int64_t* base = <int64_t*>L.b[1].data
    cdef uint32_t words[WORDS]
    cdef uint64_t longs[LONGS]
    cdef float singles[WORDS]
    cdef double doubles[LONGS]
    cdef Py_ssize_t k, n = L.b[0].n
    cdef int j
    for k in range(begin, end):
        if L.b[0].dtype == FLOAT32:
            draw(base, k, words)
            for j in range(WORDS):
                singles[j] = <float><int>(words[j] >> 8) * <float>(1.0 / (1 << 24))
            memcpy(<float*>L.b[0].data + k * WORDS, singles,
                   min(<Py_ssize_t>WORDS, n - k * WORDS) * sizeof(float))
        else:
            draw_longs(base, k, longs)
            for j in range(LONGS):
                doubles[j] = <double><int64_t>(longs[j] >> 11) * (1.0 / (<int64_t>1 << 53))
            memcpy(<double*>L.b[0].data + k * LONGS, doubles,
                   min(<Py_ssize_t>LONGS, n - k * LONGS) * sizeof(double))


cdef void normal_part(Launch* L, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Pairs of neighbours: r cos(2 pi v), r sin(2 pi v)."""
    cdef int64_t* base = <int64_t*>L.b[1].data
    cdef uint32_t words[WORDS]
    cdef uint64_t longs[LONGS]
    cdef float u[WORDS]
    cdef float v[WORDS]
    cdef float singles[WORDS]
    cdef double ud[LONGS]
    cdef double vd[LONGS]
    cdef double doubles[LONGS]
    cdef Py_ssize_t k, n = L.b[0].n
    cdef int j, h
    for k in range(begin, end):
        if L.b[0].dtype == FLOAT32:
            draw(base, k, words)
            for j in range(WORDS // 2):
                u[j] = (<float>words[2 * j] + <float>0.5) * <float>(1.0 / (<int64_t>1 << 32))
                v[j] = <float><int>(words[2 * j + 1] >> 8) * <float>(1.0 / (1 << 24))
            for h in range(0, WORDS // 2, 16):
                row_box_muller_f(u + h, v + h, u + h, v + h)
            for j in range(WORDS // 2):
                singles[2 * j] = u[j]
                singles[2 * j + 1] = v[j]
            memcpy(<float*>L.b[0].data + k * WORDS, singles,
                   min(<Py_ssize_t>WORDS, n - k * WORDS) * sizeof(float))
        else:
            draw_longs(base, k, longs)
            for j in range(LONGS // 2):
                ud[j] = (<double>longs[2 * j] + 0.5) * (0.5 / (<int64_t>1 << 62) / 2)
                vd[j] = <double><int64_t>(longs[2 * j + 1] >> 11) * (1.0 / (<int64_t>1 << 53))
            for h in range(0, LONGS // 2, 8):
                row_box_muller_d(ud + h, vd + h, ud + h, vd + h)
            for j in range(LONGS // 2):
                doubles[2 * j] = ud[j]
                doubles[2 * j + 1] = vd[j]
            memcpy(<double*>L.b[0].data + k * LONGS, doubles,
                   min(<Py_ssize_t>LONGS, n - k * LONGS) * sizeof(double))


cdef int floats(Launch* L, void (*part)(Launch*, Py_ssize_t, Py_ssize_t, int) noexcept nogil
                ) noexcept nogil:
    if L.b[0].dtype == FLOAT32:
        parallel(part, L, (L.b[0].n + WORDS - 1) // WORDS, GRAIN)
    elif L.b[0].dtype == FLOAT64:
        parallel(part, L, (L.b[0].n + LONGS - 1) // LONGS, GRAIN)
    else:
        return BAD_DTYPE
    return OK


cdef int uniform_run(Launch* L) noexcept nogil:
    """out in [0, 1); base.  Contiguous."""
    return floats(L, uniform_part)


cdef int normal_run(Launch* L) noexcept nogil:
    """out; base: standard normal numbers.  Contiguous."""
    return floats(L, normal_part)


cdef void randint_part(Launch* L, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef int64_t* out = <int64_t*>L.b[0].data
    cdef uint64_t longs[LONGS]
    cdef uint64_t span = <uint64_t>(L.ia[1] - L.ia[0])
    cdef Py_ssize_t k, j
    for k in range(begin, end):
        draw_longs(<int64_t*>L.b[1].data, k, longs)
        for j in range(min(<Py_ssize_t>LONGS, L.b[0].n - k * LONGS)):
            out[k * LONGS + j] = L.ia[0] + <int64_t>high_half(longs[j], span)


cdef int randint_run(Launch* L) noexcept nogil:
    """out in [ia[0], ia[1]); base.  Contiguous, int64."""
    parallel(randint_part, L, (L.b[0].n + LONGS - 1) // LONGS, GRAIN)
    return OK


cdef int permutation_run(Launch* L) noexcept nogil:
    """out = 0 ... n - 1 in random order; base.  Serial: each swap depends on those before."""
    cdef int64_t* out = <int64_t*>L.b[0].data
    cdef uint64_t longs[LONGS]
    cdef Py_ssize_t i, j, n = L.b[0].n, group = -1
    for i in range(n):
        out[i] = i
    for i in range(n - 1, 0, -1):
        if i // LONGS != group:
            group = i // LONGS
            draw_longs(<int64_t*>L.b[1].data, group, longs)
        j = <Py_ssize_t>high_half(longs[i % LONGS], <uint64_t>(i + 1))
        out[i], out[j] = out[j], out[i]
    return OK


cdef void dropout_work(Launch* L, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef uint32_t words[WORDS]
    cdef real* out = <real*>L.b[0].data
    cdef real* x = <real*>L.b[1].data
    cdef real scale = <real>(1 / (1 - L.fa[0])) if L.fa[0] < 1 else 0
    cdef uint64_t limit = <uint64_t>rint(L.fa[0] * 4294967296.0)
    cdef uint32_t least = <uint32_t>limit
    cdef Py_ssize_t k, j, last
    for k in range(begin, end):
        last = min(<Py_ssize_t>WORDS, L.b[0].n - k * WORDS)
        if (limit >> 32) != 0:           # p = 1: nothing stays
            for j in range(last):
                out[k * WORDS + j] = 0
            continue
        draw(<int64_t*>L.b[2].data, k, words)
        for j in range(last):
            out[k * WORDS + j] = x[k * WORDS + j] * scale if words[j] >= least else 0


cdef extern from "math.h" nogil:
    double rint(double)


cdef void dropout_part(Launch* L, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    if L.b[0].dtype == FLOAT32:
        dropout_work(L, begin, end, <float*>NULL)
    else:
        dropout_work(L, begin, end, <double*>NULL)


cdef int dropout_run(Launch* L) noexcept nogil:
    """out; x, base: x / (1 - p), or 0 with probability p = fa[0].  Contiguous."""
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    if not 0 <= L.fa[0] <= 1:
        return BAD_VALUE
    parallel(dropout_part, L, (L.b[0].n + WORDS - 1) // WORDS, GRAIN)
    return OK


TABLE = {
    "rng_next": <size_t>&rng_next_run,
    "uniform": <size_t>&uniform_run,
    "normal": <size_t>&normal_run,
    "randint": <size_t>&randint_run,
    "permutation": <size_t>&permutation_run,
    "dropout": <size_t>&dropout_run,
}
