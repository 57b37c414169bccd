/* Products of a few rows with a matrix that is used again and again: c (m, n) (+)= a (m, k) b.
 *
 * b is packed once, in panels of PANEL columns that lie in the order in which they are read; BLAS
 * would pack it anew at each call, which costs as much as a product of 16 rows.  Invariant: each
 * element of c is one sum over k in its order, whatever m, n and the other rows are.
 */
#ifndef AUTODIFF_PANELS_H
#define AUTODIFF_PANELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Two vectors a row and PANEL_ROWS rows fill the registers, and leave some for b and a. */
#ifdef __AVX512F__
#define PANEL_VECTOR 64
#define PANEL_ROWS 8
#elif defined(__AVX__)
#define PANEL_VECTOR 32
#define PANEL_ROWS 4
#else
#define PANEL_VECTOR 16
#define PANEL_ROWS 4
#endif
#define PANEL_MOST 32           /* columns of a panel at most: what scratch is sized by */

#define R float
#define NAME(x) x##_f
#include "panels_loops.h"

#define R double
#define NAME(x) x##_d
#include "panels_loops.h"

#endif
