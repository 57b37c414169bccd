/* Convolution of few taps: strips of a row of the output, for several channels, in registers.
 *
 * Lanes lie along the row, so that nothing is turned on the way out; the image's rows are copied
 * once with their padding (direct.h).  Invariant: each output is one sum over channels and taps in
 * their order, whatever the split; rows are at least a vector long and steps along them are one.
 */
#ifndef AUTODIFF_STRIPS_H
#define AUTODIFF_STRIPS_H

#include "direct.h"

/* Channels whose two rows of a strip fill half the registers. */
#ifdef __AVX512F__
#define STRIP 8
#else
#define STRIP 4
#endif

/* What is asked for: the convolution alone, max(0, it), or the largest of each 2 x 2 of that. */
enum { STRIPS_PLAIN, STRIPS_RELU, STRIPS_POOL };

#define R float
#define I int32_t
#define NAME(x) x##_f
#include "strips_loops.h"

#define R double
#define I int64_t
#define NAME(x) x##_d
#include "strips_loops.h"

#endif
