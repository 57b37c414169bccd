/* The gradient of a 3 x 3 convolution for its weight by minimal filtering: the adjoint of winograd.h.
 *
 *   gw = G^T [sum over tiles of (A g A^T) (B^T x B), elements with elements] G
 *
 * 16 products a tile instead of 36, as 16 matrix products over the tiles of an image.  Invariant:
 * a sum takes images, bands and tiles in their order; values are of moderate size (winograd.h).
 */
#ifndef AUTODIFF_WINOGRAD_WEIGHT_H
#define AUTODIFF_WINOGRAD_WEIGHT_H

#include "winograd.h"

/* Elements of scratch for `rows` rows of tiles, and of one sum: 16 matrices (channels, outs). */
static inline ptrdiff_t winograd_weight_room(const struct direct* d, ptrdiff_t rows) {
    ptrdiff_t wide = winograd_wide(d, WINOGRAD_PLAIN);
    ptrdiff_t c = winograd_up(d->channels, WINOGRAD_LANES);
    ptrdiff_t k = winograd_up(d->outs, WINOGRAD_PANEL);
    return (2 * rows + 2) * (2 * wide + 2) * c + rows * wide * (16 * c + 20 * k);
}
static inline ptrdiff_t winograd_weight_sum(const struct direct* d) {
    return 16 * winograd_up(d->channels, WINOGRAD_LANES) * winograd_up(d->outs, WINOGRAD_PANEL);
}

/* A g A^T of one tile of the output, as winograd_spread. */
static inline void winograd_spread_out(float* to, ptrdiff_t step, const float* g, ptrdiff_t line,
                                       ptrdiff_t outs) {
    for (ptrdiff_t k = 0; k < outs; k += WINOGRAD_LANES) {
        winograd_vec half[4][2];
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            winograd_vec a = panel_load_f(g + j * outs + k);
            winograd_vec b = panel_load_f(g + line + j * outs + k);
            half[0][j] = a;
            half[1][j] = a + b;
            half[2][j] = a - b;
            half[3][j] = -b;
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            winograd_vec out[4] = {half[i][0], half[i][0] + half[i][1], half[i][0] - half[i][1],
                                   -half[i][1]};
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
                memcpy(to + (4 * i + j) * step + k, &out[j], sizeof out[j]);
        }
    }
}

/* sum (PANEL_ROWS, PANEL) += a^T b over `tiles` rows of a and of b. */
static inline void winograd_outer(float* sum, ptrdiff_t lds, const float* a, ptrdiff_t lda,
                                  const float* b, ptrdiff_t ldb, ptrdiff_t tiles) {
    winograd_vec total[PANEL_ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < PANEL_ROWS; r++) {
        total[r][0] = panel_load_f(sum + r * lds);
        total[r][1] = panel_load_f(sum + r * lds + WINOGRAD_LANES);
    }
    for (ptrdiff_t t = 0; t < tiles; t++, a += lda, b += ldb) {
        winograd_vec low = panel_load_f(b), high = panel_load_f(b + WINOGRAD_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < PANEL_ROWS; r++) {
            total[r][0] += low * a[r];
            total[r][1] += high * a[r];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < PANEL_ROWS; r++) {
        memcpy(sum + r * lds, &total[r][0], sizeof(winograd_vec));
        memcpy(sum + r * lds + WINOGRAD_LANES, &total[r][1], sizeof(winograd_vec));
    }
}

/* sum += rows [top, bottom) of tiles of one image x and the gradient g of its output. */
static void winograd_weight_band(const struct direct* d, float* sum, const float* x,
                                 const float* g, ptrdiff_t top, ptrdiff_t bottom, float* room) {
    ptrdiff_t c = winograd_up(d->channels, WINOGRAD_LANES);
    ptrdiff_t k = winograd_up(d->outs, WINOGRAD_PANEL);
    ptrdiff_t tiles = winograd_wide(d, WINOGRAD_PLAIN), wide = 2 * tiles + 2;
    ptrdiff_t count = (bottom - top) * tiles;
    float *image = room, *grads = image + (2 * (bottom - top) + 2) * wide * c;
    float *left = grads + 4 * count * k, *right = left + 16 * count * c;
    winograd_pad(d, image, x, top, bottom, wide, c);
    memset(grads, 0, 4 * count * k * sizeof(float));
    for (ptrdiff_t i = 2 * top; i < 2 * bottom && i < d->rows; i++)
        turn(grads + (i - 2 * top) * 2 * tiles * k, k, g + i * d->columns, d->rows * d->columns,
             d->outs, d->columns);
    for (ptrdiff_t t = 0; t < count; t++) {
        ptrdiff_t row = t / tiles, column = t % tiles;
        winograd_spread(left + t * c, count * c, image + (2 * row * wide + 2 * column) * c,
                        wide * c, c);
        winograd_spread_out(right + t * k, count * k,
                            grads + (2 * row * 2 * tiles + 2 * column) * k, 2 * tiles * k, k);
    }
    for (int f = 0; f < 16; f++, left += count * c, right += count * k, sum += c * k)
        for (ptrdiff_t o = 0; o < k; o += WINOGRAD_PANEL)
            for (ptrdiff_t i = 0; i < c; i += PANEL_ROWS)
                winograd_outer(sum + i * k + o, k, left + i, c, right + o, k, count);
}

/* Input channels [first, last) of gw (outs, channels, 3, 3) from `parts` sums, in their order. */
static void winograd_weight_finish(const struct direct* d, float* gw, const float* sums,
                                   ptrdiff_t parts, int add, ptrdiff_t first, ptrdiff_t last) {
    const ptrdiff_t P = WINOGRAD_PANEL;
    ptrdiff_t k = winograd_up(d->outs, P), one = winograd_weight_sum(d), line = 9 * d->channels;
    float taps[9 * WINOGRAD_PANEL] = {0}, before[9 * WINOGRAD_PANEL] = {0};  /* lanes: outputs */
    for (ptrdiff_t c = first; c < last; c++)
        for (ptrdiff_t o = 0; o < k; o += P) {
            ptrdiff_t width = d->outs - o < P ? d->outs - o : P;
            float* to = gw + o * line + 9 * c;
            if (add)
                turn(before, P, to, line, width, 9);
            for (ptrdiff_t j = 0; j < P; j += WINOGRAD_LANES) {
                winograd_vec p[4][4], half[3][4];
                for (int f = 0; f < 16; f++) {
                    const float* from = sums + f * (one / 16) + c * k + o + j;
                    winograd_vec total = panel_load_f(from);
                    for (ptrdiff_t s = 1; s < parts; s++)
                        total += panel_load_f(from + s * one);
                    p[f / 4][f % 4] = total;
                }
                for (int i = 0; i < 4; i++) {
                    half[0][i] = p[0][i] + 0.5f * (p[1][i] + p[2][i]);
                    half[1][i] = 0.5f * (p[1][i] - p[2][i]);
                    half[2][i] = 0.5f * (p[1][i] + p[2][i]) + p[3][i];
                }
                for (int t = 0; t < 9; t++) {
                    winograd_vec* h = half[t / 3];
                    winograd_vec w = t % 3 == 0 ? h[0] + 0.5f * (h[1] + h[2])
                                   : t % 3 == 1 ? 0.5f * (h[1] - h[2])
                                                : 0.5f * (h[1] + h[2]) + h[3];
                    w += panel_load_f(before + t * P + j);
                    memcpy(taps + t * P + j, &w, sizeof w);
                }
            }
            turn(to, line, taps, P, 9, width);
        }
}

#endif
