/* Transposition of a float matrix, four by four in registers.
 *
 * Invariant: reads and writes the m n elements alone; the last rows and columns are turned again
 * with their neighbours where four do not divide.
 */
#ifndef AUTODIFF_TURN_H
#define AUTODIFF_TURN_H

#include <stddef.h>
#include <string.h>

typedef float turn_vec __attribute__((vector_size(16)));

#ifdef __clang__
#define TURN_MIX(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, c, d)
#else
typedef int turn_index __attribute__((vector_size(16)));
#define TURN_MIX(x, y, a, b, c, d) __builtin_shuffle(x, y, (turn_index){a, b, c, d})
#endif

static inline void turn_four(float* to, ptrdiff_t ldt, const float* from, ptrdiff_t ldf) {
    turn_vec row[4], low, high, low2, high2;
    for (int i = 0; i < 4; i++)
        memcpy(&row[i], from + i * ldf, sizeof row[i]);
    low = TURN_MIX(row[0], row[1], 0, 4, 1, 5);
    high = TURN_MIX(row[0], row[1], 2, 6, 3, 7);
    low2 = TURN_MIX(row[2], row[3], 0, 4, 1, 5);
    high2 = TURN_MIX(row[2], row[3], 2, 6, 3, 7);
    row[0] = TURN_MIX(low, low2, 0, 1, 4, 5);
    row[1] = TURN_MIX(low, low2, 2, 3, 6, 7);
    row[2] = TURN_MIX(high, high2, 0, 1, 4, 5);
    row[3] = TURN_MIX(high, high2, 2, 3, 6, 7);
    for (int j = 0; j < 4; j++)
        memcpy(to + j * ldt, &row[j], sizeof row[j]);
}

/* to[j * ldt + i] = from[i * ldf + j], i < m, j < n. */
static void turn(float* to, ptrdiff_t ldt, const float* from, ptrdiff_t ldf, ptrdiff_t m,
                 ptrdiff_t n) {
    if (m < 4 || n < 4) {
        for (ptrdiff_t i = 0; i < m; i++)
            for (ptrdiff_t j = 0; j < n; j++)
                to[j * ldt + i] = from[i * ldf + j];
        return;
    }
    for (ptrdiff_t i = 0; i < m; i += 4) {
        ptrdiff_t top = i < m - 4 ? i : m - 4;
        for (ptrdiff_t j = 0; j < n; j += 4) {
            ptrdiff_t left = j < n - 4 ? j : n - 4;
            turn_four(to + left * ldt + top, ldt, from + top * ldf + left, ldf);
        }
    }
}

#endif
