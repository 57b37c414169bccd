/* Convolution by 3 x 3 in steps of one, by minimal filtering F(2 x 2, 3 x 3): each tile of 2 x 2
 * outputs takes 16 products a channel instead of 36.
 *
 *   tile of out = A^T [sum over channels of (G w G^T) (B^T x B)] A, the inner product by elements
 *
 * Each of the 16 is a matrix product over channels, by panels (panels.h).  An image is turned
 * channels-last in scratch, so that every transform runs along channels.  Invariant: each output is
 * a sum in one order, whatever the split; values beyond WINOGRAD_MOST are not for this file, since
 * an infinity or a NaN would reach its whole tile.
 *
 * Winograd, Arithmetic Complexity of Computations (1980); Lavin and Gray, Fast Algorithms for
 * Convolutional Neural Networks (2016), arXiv:1509.09308.
 */
#ifndef AUTODIFF_WINOGRAD_H
#define AUTODIFF_WINOGRAD_H

#include <math.h>

#include "direct.h"
#include "turn.h"

#define WINOGRAD_MOST 1e30f
#define WINOGRAD_LANES ((ptrdiff_t)(PANEL_VECTOR / sizeof(float)))
#define WINOGRAD_PANEL (2 * WINOGRAD_LANES)
#define WINOGRAD_TILES (2 * PANEL_ROWS)         /* of a block, at most */

typedef panel_vec_f winograd_vec;
typedef int32_t winograd_mask __attribute__((vector_size(PANEL_VECTOR)));

/* What is asked for: the convolution alone, max(0, it), or the largest of each 2 x 2 of that. */
enum { WINOGRAD_PLAIN, WINOGRAD_RELU, WINOGRAD_POOL };

/* Tiles along rows and columns; with pooling a rest of one row or column is left out. */
static inline ptrdiff_t winograd_high(const struct direct* d, int kind) {
    return kind == WINOGRAD_POOL ? d->rows / 2 : (d->rows + 1) / 2;
}
static inline ptrdiff_t winograd_wide(const struct direct* d, int kind) {
    return kind == WINOGRAD_POOL ? d->columns / 2 : (d->columns + 1) / 2;
}

static inline ptrdiff_t winograd_up(ptrdiff_t n, ptrdiff_t step) {
    return (n + step - 1) / step * step;
}

/* Elements of scratch for `rows` rows of tiles. */
static inline ptrdiff_t winograd_room(const struct direct* d, int kind, ptrdiff_t rows) {
    ptrdiff_t wide = winograd_wide(d, kind), c = winograd_up(d->channels, WINOGRAD_LANES);
    ptrdiff_t outs = winograd_up(d->outs, WINOGRAD_PANEL);
    return 16 * WINOGRAD_TILES * (c + WINOGRAD_PANEL) + (2 * rows + 2) * (2 * wide + 2) * c
           + (kind == WINOGRAD_POOL ? 1 : 4) * rows * wide * outs;
}

/* 1 if no value of x is too large, infinite or NaN. */
static int winograd_moderate(const float* x, ptrdiff_t n) {
    int32_t bad = 0;
    for (ptrdiff_t k = 0; k < n; k++)
        bad |= !(fabsf(x[k]) < WINOGRAD_MOST);
    return !bad;
}

/* G w G^T of panels [first, last) of output channels: 16 matrices (channels, outs) in panels.
 * The weight of output o, input c, tap t is w[o * so + c * sc + t], backwards where `flip`. */
static void winograd_pack(const struct direct* d, float* packed, const float* w, ptrdiff_t so,
                          ptrdiff_t sc, int flip, ptrdiff_t first, ptrdiff_t last) {
    const ptrdiff_t P = WINOGRAD_PANEL;
    ptrdiff_t matrix = winograd_up(d->outs, P) * d->channels;
    float taps[9 * WINOGRAD_PANEL] = {0};           /* of one input channel, lanes along outputs */
    for (ptrdiff_t p = first; p < last; p++) {
        ptrdiff_t width = d->outs - p * P < P ? d->outs - p * P : P;
        if (width < P)
            memset(taps, 0, sizeof taps);
        for (ptrdiff_t c = 0; c < d->channels; c++) {
            turn(taps, P, w + p * P * so + c * sc, so, width, 9);
            for (ptrdiff_t j = 0; j < P; j += WINOGRAD_LANES) {
                float* to = packed + (p * d->channels + c) * P + j;
                winograd_vec g[9], half[4][3];
#pragma GCC unroll 9
                for (int t = 0; t < 9; t++)
                    g[t] = panel_load_f(taps + (flip ? 8 - t : t) * P + j);
#pragma GCC unroll 3
                for (int i = 0; i < 3; i++) {
                    half[0][i] = g[i];
                    half[1][i] = 0.5f * (g[i] + g[6 + i] + g[3 + i]);
                    half[2][i] = 0.5f * (g[i] + g[6 + i] - g[3 + i]);
                    half[3][i] = g[6 + i];
                }
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) {
                    winograd_vec out[4] = {half[i][0],
                                           0.5f * (half[i][0] + half[i][2] + half[i][1]),
                                           0.5f * (half[i][0] + half[i][2] - half[i][1]),
                                           half[i][2]};
#pragma GCC unroll 4
                    for (int k = 0; k < 4; k++)
                        memcpy(to + (4 * i + k) * matrix, &out[k], sizeof out[k]);
                }
            }
        }
    }
}

/* The larger, or the NaN. */
static inline winograd_vec winograd_larger(winograd_vec a, winograd_vec b) {
    winograd_mask ia, ib, first = (winograd_mask)((a > b) | (a != a));
    memcpy(&ia, &a, sizeof a);
    memcpy(&ib, &b, sizeof b);
    ia = (ia & first) | (ib & ~first);
    memcpy(&a, &ia, sizeof a);
    return a;
}

/* B^T x B of one tile for all channels: x is channels-last with rows of `line` elements, the
 * results are `step` elements apart. */
static inline void winograd_spread(float* to, ptrdiff_t step, const float* x, ptrdiff_t line,
                                   ptrdiff_t channels) {
    for (ptrdiff_t c = 0; c < channels; c += WINOGRAD_LANES) {
        winograd_vec half[4][4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const float* from = x + j * channels + c;
            winograd_vec a = panel_load_f(from), b = panel_load_f(from + line);
            winograd_vec e = panel_load_f(from + 2 * line), f = panel_load_f(from + 3 * line);
            half[0][j] = a - e;
            half[1][j] = b + e;
            half[2][j] = e - b;
            half[3][j] = b - f;
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            winograd_vec out[4] = {half[i][0] - half[i][2], half[i][1] + half[i][2],
                                   half[i][2] - half[i][1], half[i][1] - half[i][3]};
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
                memcpy(to + (4 * i + j) * step + c, &out[j], sizeof out[j]);
        }
    }
}

/* A^T m A of one tile for the lanes at m: y[i][j], output row i, column j. */
static inline void winograd_gather(winograd_vec y[2][2], const float* m, ptrdiff_t step) {
    winograd_vec half[2][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        winograd_vec a = panel_load_f(m + j * step), b = panel_load_f(m + (4 + j) * step);
        winograd_vec e = panel_load_f(m + (8 + j) * step), f = panel_load_f(m + (12 + j) * step);
        half[0][j] = a + b + e;
        half[1][j] = b - e - f;
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        y[i][0] = half[i][0] + half[i][1] + half[i][2];
        y[i][1] = half[i][1] - half[i][2] - half[i][3];
    }
}

/* c (m, PANEL) = a (m, k) times one panel, in pieces of `piece` rows. */
static void winograd_product(float* c, const float* a, ptrdiff_t lda, const float* panel,
                             ptrdiff_t m, ptrdiff_t k, ptrdiff_t piece) {
    for (ptrdiff_t i = 0, n; i < m; i += n) {
        n = m - i < piece ? m - i : piece;
        float* to = c + i * WINOGRAD_PANEL;
        const float* from = a + i * lda;
#define ROWS(n) case n: \
        panel_rows_f(n, to, WINOGRAD_PANEL, from, lda, panel, k, WINOGRAD_PANEL, 0); break;
        switch (n) {
        ROWS(1) ROWS(2) ROWS(3) ROWS(4)
#if PANEL_ROWS > 4
        ROWS(5) ROWS(6) ROWS(7) ROWS(8)
#endif
        }
#undef ROWS
    }
}

/* The rows of x that rows [top, bottom) of tiles read, channels last, with zeros around. */
static void winograd_pad(const struct direct* d, float* image, const float* x, ptrdiff_t top,
                         ptrdiff_t bottom, ptrdiff_t wide, ptrdiff_t channels) {
    ptrdiff_t high = 2 * (bottom - top) + 2, low = d->pw < wide ? d->pw : wide;
    ptrdiff_t n = wide - low < d->width ? wide - low : d->width;
    memset(image, 0, high * wide * channels * sizeof(float));
    for (ptrdiff_t i = 0; i < high; i++) {
        ptrdiff_t at = 2 * top - d->ph + i;
        if (at >= 0 && at < d->height)
            turn(image + (i * wide + low) * channels, channels, x + at * d->width,
                 d->height * d->width, d->channels, n);
    }
}

/* Rows [top, bottom) of tiles of one image; bias may be NULL. */
static void winograd_band(const struct direct* d, int kind, float* out, const float* x,
                          const float* packed, const float* bias, ptrdiff_t top, ptrdiff_t bottom,
                          float* room) {
    const ptrdiff_t L = WINOGRAD_LANES, P = WINOGRAD_PANEL;
    ptrdiff_t channels = winograd_up(d->channels, L), outs = winograd_up(d->outs, P);
    ptrdiff_t tiles = winograd_wide(d, kind), wide = 2 * tiles + 2, high = 2 * (bottom - top) + 2;
    ptrdiff_t matrix = outs * d->channels, all = (bottom - top) * tiles;
    ptrdiff_t piece = (all + PANEL_ROWS - 1) / PANEL_ROWS;      /* even pieces, two to a block */
    piece = (all + piece - 1) / piece;
    float *spread = room, *sums = spread + 16 * WINOGRAD_TILES * channels;
    float *image = sums + 16 * WINOGRAD_TILES * P, *result = image + high * wide * channels;

    winograd_pad(d, image, x, top, bottom, wide, channels);
    for (ptrdiff_t first = 0; first < all; first += 2 * piece) {
        ptrdiff_t count = all - first < 2 * piece ? all - first : 2 * piece;
        for (ptrdiff_t t = 0; t < count; t++) {
            ptrdiff_t row = (first + t) / tiles, column = (first + t) % tiles;
            winograd_spread(spread + t * channels, count * channels,
                            image + (2 * row * wide + 2 * column) * channels, wide * channels,
                            channels);
        }
        for (ptrdiff_t o = 0; o < outs; o += P) {
            float start[WINOGRAD_PANEL] = {0};
            if (bias)
                memcpy(start, bias + o, (d->outs - o < P ? d->outs - o : P) * sizeof(float));
            for (int f = 0; f < 16; f++)
                winograd_product(sums + f * count * P, spread + f * count * channels, channels,
                                 packed + f * matrix + o * d->channels, count, d->channels, piece);
            for (ptrdiff_t t = 0; t < count; t++) {
                ptrdiff_t row = (first + t) / tiles, column = (first + t) % tiles;
                for (ptrdiff_t j = 0; j < P; j += L) {
                    winograd_vec y[2][2], shift = panel_load_f(start + j), zero = {0};
                    winograd_gather(y, sums + t * P + j, count * P);
                    if (kind == WINOGRAD_POOL) {
                        winograd_vec most = winograd_larger(winograd_larger(y[0][0], y[0][1]),
                                                            winograd_larger(y[1][0], y[1][1]));
                        most = winograd_larger(most + shift, zero);
                        memcpy(result + (row * tiles + column) * outs + o + j, &most, sizeof most);
                        continue;
                    }
                    for (int i = 0; i < 4; i++) {
                        winograd_vec one = y[i / 2][i % 2] + shift;
                        if (kind == WINOGRAD_RELU)
                            one = winograd_larger(one, zero);
                        memcpy(result + ((2 * row + i / 2) * 2 * tiles + 2 * column + i % 2) * outs
                               + o + j, &one, sizeof one);
                    }
                }
            }
        }
    }
    /* Channels first again: rows of the output lie together, and so do those of the result where
     * no column is left over. */
    if (kind == WINOGRAD_POOL) {
        turn(out + top * tiles, winograd_high(d, kind) * tiles, result, outs, all, d->outs);
        return;
    }
    ptrdiff_t rows = d->rows - 2 * top < 2 * (bottom - top) ? d->rows - 2 * top : 2 * (bottom - top);
    ptrdiff_t step = d->columns == 2 * tiles ? rows : 1;
    for (ptrdiff_t i = 0; i < rows; i += step)
        turn(out + (2 * top + i) * d->columns, d->rows * d->columns, result + i * 2 * tiles * outs,
             outs, step * d->columns, d->outs);
}

#endif
