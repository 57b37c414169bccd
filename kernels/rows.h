/* Loops along one row of memory, vectorised by hand: maximum, sums, exp, log, sin and cos.
 *
 * A compiler may not reorder a sum of floats without -ffast-math, which these kernels must not
 * use; here the order is written down, in lanes of 64 bytes.  Invariant: a result depends on the
 * row alone, not on its address, and sums are handed back in double.
 */
#ifndef AUTODIFF_ROWS_H
#define AUTODIFF_ROWS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ROW_CHUNK 2048          /* elements added up in lanes before double takes over */

typedef float row_floats __attribute__((vector_size(32)));
typedef double row_doubles __attribute__((vector_size(64)));
typedef float row_lanes __attribute__((vector_size(64)));

static inline row_doubles row_widen(row_lanes v) {
    row_floats half[2];
    memcpy(half, &v, sizeof v);
    return __builtin_convertvector(half[0], row_doubles)
        + __builtin_convertvector(half[1], row_doubles);
}

static inline double row_tree(row_doubles v) {
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

#define R float
#define I int32_t
#define U uint32_t
#define NAME(x) x##_f
#define LANES 16
#define DOUBLES row_widen
#define MANTISSA 23
#define BIAS 127
#define EXP_HIGH 89.0f
#define EXP_LOW -104.0f
#define LN2_HIGH 0.693145751953125f             /* 15 bits: n * LN2_HIGH is exact */
#define LN2_LOW 1.42860682030941723212e-6f
#define EXP_TERMS 7
#define LOG_TERMS 5
#define TRIG_TERMS 6
#include "rows_loops.h"

#define R double
#define I int64_t
#define U uint64_t
#define NAME(x) x##_d
#define LANES 8
#define DOUBLES(v) (v)
#define MANTISSA 52
#define BIAS 1023
#define EXP_HIGH 710.0
#define EXP_LOW -746.0
#define LN2_HIGH 6.93147180369123816490e-01     /* 32 bits */
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_TERMS 13
#define LOG_TERMS 12
#define TRIG_TERMS 10
#include "rows_loops.h"

#endif
