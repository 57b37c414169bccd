/* Maxima of two by two, eight columns of two rows at a time, and their way back.
 *
 * Invariant: of equals, and of NaNs, the first in the window's order is chosen; nothing but the
 * rows is read or written, the last columns again with their neighbours where eight do not divide.
 */
#ifndef AUTODIFF_HALVES_H
#define AUTODIFF_HALVES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HALVES_LEAST 4          /* windows of a row at least */

typedef uint8_t halves_byte __attribute__((vector_size(8)));

#ifdef __clang__
#define HALVES_MIX(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define HALVES_MIX(x, y, ...) __builtin_shuffle(x, y, (INDEX){__VA_ARGS__})
#endif

#define R float
#define I int32_t
#define NAME(x) x##_f
#include "halves_loops.h"

#define R double
#define I int64_t
#define NAME(x) x##_d
#include "halves_loops.h"

#endif
