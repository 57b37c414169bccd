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

#ifdef __clang__
#define DOTS_MIX(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, c, d)
#else
#define DOTS_MIX(x, y, a, b, c, d) __builtin_shuffle(x, y, (INDEX){a, b, c, d})
#endif

#define R float
#define I int32_t
#define NAME(x) x##_f
#include "dots_loops.h"

#define R double
#define I int64_t
#define NAME(x) x##_d
#include "dots_loops.h"

#endif
