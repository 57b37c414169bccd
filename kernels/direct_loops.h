/* The body of direct.h, included once for float and once for double. */

#define V NAME(panel_vec)
#define LANES ((ptrdiff_t)(PANEL_VECTOR / sizeof(R)))
#define PANEL (2 * LANES)

/* Panels [first, last): weight of output channel o, input channel c, tap t is
 * w[o * so + c * sc + t], the taps backwards where `flip`. */
static void NAME(direct_pack)(const struct direct* d, R* packed, const R* w, ptrdiff_t so,
                              ptrdiff_t sc, int flip, ptrdiff_t first, ptrdiff_t last) {
    ptrdiff_t taps = d->kh * d->kw, all = d->channels * taps;
    for (ptrdiff_t p = first; p < last; p++)
        for (ptrdiff_t j = 0; j < PANEL; j++) {
            ptrdiff_t o = p * PANEL + j;
            R* to = packed + p * PANEL * all + j;
            for (ptrdiff_t c = 0; c < d->channels; c++)
                for (ptrdiff_t t = 0; t < taps; t++, to += PANEL)
                    *to = o < d->outs ? w[o * so + c * sc + (flip ? taps - 1 - t : t)] : 0;
        }
}

/* The rows of x that output rows [top, top + rows) read, with zeros around. */
static void NAME(direct_pad)(const struct direct* d, R* room, const R* x, ptrdiff_t top,
                             ptrdiff_t rows) {
    ptrdiff_t high = direct_high(d, rows), wide = direct_wide(d);
    ptrdiff_t low = d->pw < wide ? d->pw : wide, n = wide - low;
    if (n > d->width)
        n = d->width;
    for (ptrdiff_t c = 0; c < d->channels; c++, x += d->height * d->width)
        for (ptrdiff_t i = 0; i < high; i++, room += wide) {
            ptrdiff_t at = top * d->sh - d->ph + i;
            if (at < 0 || at >= d->height) {
                memset(room, 0, wide * sizeof(R));
                continue;
            }
            for (ptrdiff_t j = 0; j < low; j++)
                room[j] = 0;
            memcpy(room + low, x + at * d->width, n * sizeof(R));
            for (ptrdiff_t j = low + n; j < wide; j++)
                room[j] = 0;
        }
}

/* `n` places of one row, a constant where this is inlined, for `width` channels of a panel. */
static inline __attribute__((always_inline)) void NAME(direct_places)(
        int n, const struct direct* d, R* out, const R* x, ptrdiff_t plane, ptrdiff_t wide,
        const R* panel, const R* bias, ptrdiff_t width) {
    V sum[8][2];
#pragma GCC unroll 8
    for (int r = 0; r < n; r++) {
        sum[r][0] = NAME(panel_load)(bias);
        sum[r][1] = NAME(panel_load)(bias + LANES);
    }
    ptrdiff_t sw = d->sw;
    for (ptrdiff_t c = 0; c < d->channels; c++)
        for (ptrdiff_t i = 0; i < d->kh; i++) {
            const R* from = x + c * plane + i * d->dh * wide;
            for (ptrdiff_t j = 0; j < d->kw; j++, from += d->dw, panel += PANEL) {
                V low = NAME(panel_load)(panel), high = NAME(panel_load)(panel + LANES);
#pragma GCC unroll 8
                for (int r = 0; r < n; r++) {
                    R s = from[r * sw];
                    sum[r][0] += low * s;
                    sum[r][1] += high * s;
                }
            }
        }
    R tile[8][PANEL];
#pragma GCC unroll 8
    for (int r = 0; r < n; r++)
        memcpy(tile[r], sum[r], sizeof tile[r]);
    ptrdiff_t places = d->rows * d->columns;
    for (ptrdiff_t j = 0; j < width; j++)
#pragma GCC unroll 8
        for (int r = 0; r < n; r++)
            out[j * places + r] = tile[r][j];
}

/* Rows [top, bottom) of the output; bias may be NULL, room holds the padded copy. */
static void NAME(direct_band)(const struct direct* d, R* out, const R* x, const R* packed,
                              const R* bias, ptrdiff_t top, ptrdiff_t bottom, R* room) {
    ptrdiff_t wide = direct_wide(d), plane = direct_high(d, bottom - top) * wide;
    ptrdiff_t all = d->channels * d->kh * d->kw, places = d->rows * d->columns;
    NAME(direct_pad)(d, room, x, top, bottom - top);
    for (ptrdiff_t o = 0; o < d->outs; o += PANEL) {
        ptrdiff_t width = d->outs - o < PANEL ? d->outs - o : PANEL;
        const R* panel = packed + o * all;
        R start[PANEL] = {0};
        if (bias)
            memcpy(start, bias + o, width * sizeof(R));
        for (ptrdiff_t row = top; row < bottom; row++) {
            R* to = out + o * places + row * d->columns;
            const R* from = room + (row - top) * d->sh * wide;
            ptrdiff_t at = 0, left;
            for (; (left = d->columns - at) > 0; at += left < 8 ? left : 8) {
                const R* here = from + at * d->sw;
#define PLACES(n) NAME(direct_places)(n, d, to + at, here, plane, wide, panel, start, width); break
                switch (left) {
                case 1: PLACES(1);
                case 2: PLACES(2);
                case 3: PLACES(3);
                case 4: PLACES(4);
                case 5: PLACES(5);
                case 6: PLACES(6);
                case 7: PLACES(7);
                default: PLACES(8);
                }
#undef PLACES
            }
        }
    }
}

#undef R
#undef NAME
#undef V
#undef LANES
#undef PANEL
