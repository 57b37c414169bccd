/* Products of rows with rows, c (m, n) = a (m, k) b (n, k)^T, both as they lie: several inner
 * products at once in registers, lanes along k.
 *
 * What a product with a weight is where nothing may be packed: the weight is read once, in its
 * order, and no copy of it is made.  Invariant: each inner product is summed in lanes and then over
 * the lanes in one order, whatever m, n and the other rows are.
 */
#ifndef AUTODIFF_DOTS_H
#define AUTODIFF_DOTS_H

#include "panels.h"

#define DOTS_B 4                /* rows of b at once: their sums over lanes end up in one vector */
#ifdef __AVX512F__
#define DOTS_A 6                /* rows of a whose products with those fill the registers */
#else
#define DOTS_A 2
#endif
#define DOTS_CHUNK 132          /* rows of a that meet a few rows of b while those are in cache */
#define DOTS_BYTES 4096         /* of a row taken at a time: the tiles' rows stay in L1 */

/* Lanes of two vectors, (LANE){...} of each number: halves of both, the first half of each; quarters
 * of both, the first of each half; a quarter's lanes turned round; the first lane of each quarter. */
#define TWO(l) (l) < LANES / 2 ? (l) : (l) + LANES / 2
#define FOUR(l) (l) / QUARTER / 2 * LANES + (l) / QUARTER % 2 * (LANES / 2) + (l) % QUARTER
#define PAST2(l) (l) / QUARTER * QUARTER + ((l) + 2) % QUARTER
#define PAST1(l) (l) / QUARTER * QUARTER + ((l) + 1) % QUARTER
#define FIRST(l) (l) % 4 * QUARTER
#define QUARTER (LANES / 4)
#define EACH_2(f, l) f(l), f(l + 1)
#define EACH_4(f, l) EACH_2(f, l), EACH_2(f, l + 2)
#define EACH_8(f, l) EACH_4(f, l), EACH_4(f, l + 4)
#define EACH_16(f, l) EACH_8(f, l), EACH_8(f, l + 8)

#define R float
#define I int32_t
#define NAME(x) x##_f
#if PANEL_VECTOR == 64
#define EACH(f) (LANE){EACH_16(f, 0)}
#else
#define EACH(f) (LANE){EACH_8(f, 0)}
#endif
#include "dots_loops.h"

#define R double
#define I int64_t
#define NAME(x) x##_d
#if PANEL_VECTOR == 64
#define EACH(f) (LANE){EACH_8(f, 0)}
#else
#define EACH(f) (LANE){EACH_4(f, 0)}
#endif
#include "dots_loops.h"

#endif
