/* Convolution without columns: eight places times a panel of output channels in registers.
 *
 * The weights are packed by panels of output channels (as in panels.h), the image's rows are copied
 * once with their padding, and each tap adds a place's value times a panel's row.  Invariant: each
 * output is one sum over channels and taps in their order, whatever the split.
 */
#ifndef AUTODIFF_DIRECT_H
#define AUTODIFF_DIRECT_H

#include "panels.h"

struct direct {                 /* one group of one image */
    ptrdiff_t channels, height, width;          /* of the input */
    ptrdiff_t outs, rows, columns;              /* of the output */
    ptrdiff_t kh, kw, sh, sw, ph, pw, dh, dw;
};

/* Sizes of the padded copy that `rows` rows of the output read. */
static inline ptrdiff_t direct_high(const struct direct* d, ptrdiff_t rows) {
    return (rows - 1) * d->sh + (d->kh - 1) * d->dh + 1;
}
static inline ptrdiff_t direct_wide(const struct direct* d) {
    return (d->columns - 1) * d->sw + (d->kw - 1) * d->dw + 1;
}

#define R float
#define NAME(x) x##_f
#include "direct_loops.h"

#define R double
#define NAME(x) x##_d
#include "direct_loops.h"

#endif
