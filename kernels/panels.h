/* Matrix products on one thread, from registers: c (m, n) = from + scale a (m, k) b (k, n).
 *
 * A tile of c, TILE_ROWS rows of a panel's PANEL columns, stays in registers while k passes by.
 * What lies badly is copied to the stack first, a panel of b or a strip of a, DEPTH of k at a time;
 * a matrix that is used again and again can be packed once (panels_pack).  BLAS copies both
 * operands in each call.  Invariant: each element of c is one sum over k in its order, whatever m,
 * n and the other rows are; nothing is read or written beyond the matrices.
 */
#ifndef AUTODIFF_PANELS_H
#define AUTODIFF_PANELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Two vectors a row and TILE_ROWS rows fill the registers, and leave some for b and a; PANEL_ROWS
 * are enough to keep the arithmetic busy, where rows come by powers of two. */
#ifdef __AVX512F__
#define PANEL_VECTOR 64
#define PANEL_ROWS 8
#define TILE_ROWS 12
#elif defined(__AVX__)
#define PANEL_VECTOR 32
#define PANEL_ROWS 4
#define TILE_ROWS 6
#else
#define PANEL_VECTOR 16
#define PANEL_ROWS 4
#define TILE_ROWS 6
#endif
#define PANEL_MOST 32           /* columns of a panel at most: what scratch is sized by */
#define DEPTH 256               /* steps of k between two visits to c: what the copies hold */
#define HEIGHT 480              /* rows of a that the panels of b pass by: they stay in cache */
#define FEW_ROWS 64             /* so few do not pay for a copy of b */

#define R float
#define I int32_t
#define NAME(x) x##_f
#include "panels_loops.h"

#define R double
#define I int64_t
#define NAME(x) x##_d
#include "panels_loops.h"

#endif
