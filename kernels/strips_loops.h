/* The body of strips.h, included once for float and once for double. */

#define V NAME(panel_vec)
#define LANES ((ptrdiff_t)(PANEL_VECTOR / sizeof(R)))

typedef I NAME(strips_mask) __attribute__((vector_size(PANEL_VECTOR)));

/* Weights as (blocks, all, STRIP), zeros beyond outs; so, sc, flip as in direct_pack. */
static void NAME(strips_pack)(const struct direct* d, R* packed, const R* w, ptrdiff_t so,
                              ptrdiff_t sc, int flip) {
    ptrdiff_t taps = d->kh * d->kw;
    for (ptrdiff_t o = 0; o < d->outs; o += STRIP)
        for (ptrdiff_t c = 0; c < d->channels; c++)
            for (ptrdiff_t t = 0; t < taps; t++)
                for (ptrdiff_t k = o; k < o + STRIP; k++)
                    *packed++ = k < d->outs ? w[k * so + c * sc + (flip ? taps - 1 - t : t)] : 0;
}

/* The larger, or the NaN. */
static inline V NAME(strips_larger)(V a, V b) {
    NAME(strips_mask) ia, ib, first = (a > b) | (a != a);
    memcpy(&ia, &a, sizeof a);
    memcpy(&ib, &b, sizeof b);
    ia = (ia & first) | (ib & ~first);
    memcpy(&a, &ia, sizeof a);
    return a;
}

/* to[j] = the larger of lanes 2 j and 2 j + 1. */
static inline void NAME(strips_pairs)(R* to, V v) {
#ifdef __clang__
    R lane[LANES];
    memcpy(lane, &v, sizeof v);
    for (ptrdiff_t j = 0; j < LANES / 2; j++)
        to[j] = (lane[2 * j] > lane[2 * j + 1]) | (lane[2 * j] != lane[2 * j]) ? lane[2 * j]
                                                                             : lane[2 * j + 1];
#else
    NAME(strips_mask) even;
    for (I j = 0; j < LANES; j++)
        even[j] = 2 * j % LANES;
    v = NAME(strips_larger)(__builtin_shuffle(v, even), __builtin_shuffle(v, even + 1));
    memcpy(to, &v, sizeof v / 2);
#endif
}

/* to[j] = max(0, the largest of two by two) of rows a and b, n columns, n even. */
static void NAME(strips_pool)(R* to, const R* a, const R* b, ptrdiff_t n) {
    ptrdiff_t at = 0;
    for (; at + LANES <= n; at += LANES) {
        V high = NAME(strips_larger)(NAME(panel_load)(a + at), NAME(panel_load)(b + at));
        NAME(strips_pairs)(to + at / 2, NAME(strips_larger)(high, (V){0}));
    }
    for (; at < n; at += 2) {
        R four[4] = {a[at], a[at + 1], b[at], b[at + 1]}, most = 0;
        for (int i = 0; i < 4; i++)
            most = (four[i] > most) | (four[i] != four[i]) ? four[i] : most;
        to[at / 2] = most;
    }
}

/* `rows` rows (1 or 2, a constant where this is inlined) of a strip, for STRIP channels. */
static inline __attribute__((always_inline)) void NAME(strip)(
        int rows, const struct direct* d, V sum[2][STRIP], const R* x, ptrdiff_t plane,
        ptrdiff_t wide, const R* packed, const R* bias) {
#pragma GCC unroll 8
    for (int k = 0; k < STRIP; k++)
        for (int r = 0; r < rows; r++)
            sum[r][k] = (V){0} + bias[k];
    for (ptrdiff_t c = 0; c < d->channels; c++)
        for (ptrdiff_t i = 0; i < d->kh; i++) {
            const R* from = x + c * plane + i * d->dh * wide;
            for (ptrdiff_t j = 0; j < d->kw; j++, from += d->dw, packed += STRIP) {
                V a = NAME(panel_load)(from), b = a;
                if (rows == 2)
                    b = NAME(panel_load)(from + d->sh * wide);
#pragma GCC unroll 8
                for (int k = 0; k < STRIP; k++) {
                    sum[0][k] += a * packed[k];
                    if (rows == 2)
                        sum[1][k] += b * packed[k];
                }
            }
        }
}

/* Rows [top, bottom) of the output, pairs of rows where they are pooled; room holds the copy. */
static void NAME(strips_band)(const struct direct* d, int kind, R* out, const R* x,
                              const R* packed, const R* bias, ptrdiff_t top, ptrdiff_t bottom,
                              R* room) {
    ptrdiff_t wide = direct_wide(d), plane = direct_high(d, bottom - top) * wide;
    ptrdiff_t all = d->channels * d->kh * d->kw, columns = d->columns, places = d->rows * columns;
    if (kind == STRIPS_POOL) {
        columns = columns / 2 * 2;
        places = d->rows / 2 * (columns / 2);
    }
    NAME(direct_pad)(d, room, x, top, bottom - top);
    for (ptrdiff_t o = 0; o < d->outs; o += STRIP) {
        ptrdiff_t width = d->outs - o < STRIP ? d->outs - o : STRIP;
        R start[STRIP] = {0};
        if (bias)
            memcpy(start, bias + o, width * sizeof(R));
        for (ptrdiff_t row = top, rows; row < bottom; row += rows) {
            rows = bottom - row < 2 ? 1 : 2;
            for (ptrdiff_t c = 0; c < columns; c += LANES) {
                /* The last strip of a row ends where the row does. */
                ptrdiff_t at = c < columns - LANES ? c : columns - LANES;
                const R* from = room + (row - top) * d->sh * wide + at;
                V sum[2][STRIP], zero = {0};
                if (rows == 2)
                    NAME(strip)(2, d, sum, from, plane, wide, packed + o * all, start);
                else
                    NAME(strip)(1, d, sum, from, plane, wide, packed + o * all, start);
#pragma GCC unroll 8
                for (ptrdiff_t k = 0; k < STRIP; k++) {
                    if (k >= width)
                        break;
                    R* to = out + (o + k) * places;
                    if (kind == STRIPS_POOL) {
                        V high = NAME(strips_larger)(sum[0][k], sum[1][k]);
                        NAME(strips_pairs)(to + row / 2 * (columns / 2) + at / 2,
                                           NAME(strips_larger)(high, zero));
                        continue;
                    }
                    for (ptrdiff_t r = 0; r < rows; r++) {
                        V one = sum[r][k];
                        if (kind == STRIPS_RELU)
                            one = NAME(strips_larger)(one, zero);
                        memcpy(to + (row + r) * columns + at, &one, sizeof one);
                    }
                }
            }
        }
    }
}

#undef R
#undef I
#undef NAME
#undef V
#undef LANES
