/* The body of dots.h, included once for float and once for double. */

#define V NAME(panel_vec)
#define QUAD NAME(dots_quad)
#define INDEX NAME(dots_index)
#define LANE NAME(dots_lane)
#define LANES ((ptrdiff_t)(PANEL_VECTOR / sizeof(R)))

typedef R QUAD __attribute__((vector_size(4 * sizeof(R))));
typedef I INDEX __attribute__((vector_size(4 * sizeof(R))));
typedef I LANE __attribute__((vector_size(PANEL_VECTOR)));

/* sum[i][j] (+)= the lanes of a[i] times those of b[j] over `steps` vectors and `rest` elements;
 * rows and columns are constants where this is inlined. */
static inline __attribute__((always_inline)) void NAME(dots_tile)(
        int rows, int columns, V sum[DOTS_A][DOTS_B], int add, const R* a, ptrdiff_t lda,
        const R* b, ptrdiff_t ldb, ptrdiff_t steps, ptrdiff_t rest) {
    V total[DOTS_A][DOTS_B];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < columns; j++)
            total[i][j] = add ? sum[i][j] : (V){0};
    for (ptrdiff_t l = 0; l < steps * LANES; l += LANES) {
        V right[DOTS_B];
#pragma GCC unroll 8
        for (int j = 0; j < columns; j++)
            right[j] = NAME(panel_load)(b + j * ldb + l);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            V left = NAME(panel_load)(a + i * lda + l);
#pragma GCC unroll 8
            for (int j = 0; j < columns; j++)
                total[i][j] += left * right[j];
        }
    }
    if (rest) {
        V right[DOTS_B] = {{0}};
        for (int j = 0; j < columns; j++)
            memcpy(&right[j], b + j * ldb + steps * LANES, rest * sizeof(R));
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            V left = {0};
            memcpy(&left, a + i * lda + steps * LANES, rest * sizeof(R));
#pragma GCC unroll 8
            for (int j = 0; j < columns; j++)
                total[i][j] += left * right[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < columns; j++)
            sum[i][j] = total[i][j];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)                  /* four are summed over their lanes */
#pragma GCC unroll 8
        for (int j = columns; j < DOTS_B; j++)
            sum[i][j] = (V){0};
}

static void NAME(dots_some)(int rows, int columns, V sum[DOTS_A][DOTS_B], int add, const R* a,
                            ptrdiff_t lda, const R* b, ptrdiff_t ldb, ptrdiff_t steps,
                            ptrdiff_t rest) {
#define TILE(i, j) case 8 * i + j: \
        NAME(dots_tile)(i, j, sum, add, a, lda, b, ldb, steps, rest); break;
#define TILES(i) TILE(i, 1) TILE(i, 2) TILE(i, 3) TILE(i, 4)
    switch (8 * rows + columns) {
    TILES(1) TILES(2)
#if DOTS_A > 2
    TILES(3) TILES(4) TILES(5) TILES(6)
#endif
    }
#undef TILES
#undef TILE
}

/* The sums over the lanes of four vectors, by halves: first two vectors in one, then four. */
static inline QUAD NAME(dots_lanes)(const V v[DOTS_B]) {
    QUAD out;
#if defined(__clang__) || PANEL_VECTOR < 32
    for (int j = 0; j < 4; j++) {
        R lane[LANES];
        memcpy(lane, &v[j], sizeof lane);
        for (ptrdiff_t n = LANES / 2; n > 0; n /= 2)
            for (ptrdiff_t i = 0; i < n; i++)
                lane[i] += lane[i + n];
        out[j] = lane[0];
    }
#else
    const I half = LANES / 2, quarter = LANES / 4;
    V a = __builtin_shuffle(v[0], v[1], EACH(TWO)) + __builtin_shuffle(v[0], v[1], EACH(TWO) + half);
    V b = __builtin_shuffle(v[2], v[3], EACH(TWO)) + __builtin_shuffle(v[2], v[3], EACH(TWO) + half);
    a = __builtin_shuffle(a, b, EACH(FOUR)) + __builtin_shuffle(a, b, EACH(FOUR) + quarter);
    if (quarter > 2)
        a += __builtin_shuffle(a, EACH(PAST2));
    if (quarter > 1)
        a += __builtin_shuffle(a, EACH(PAST1));
    a = __builtin_shuffle(a, EACH(FIRST));
    memcpy(&out, &a, sizeof out);
#endif
    return out;
}

/* A tile of c from its sums; start is the bias. */
static inline void NAME(dots_finish)(int rows, int columns, R* c, ptrdiff_t ldc,
                                     const V sum[DOTS_A][DOTS_B], QUAD start) {
    for (int i = 0; i < rows; i++) {
        QUAD total = NAME(dots_lanes)(sum[i]) + start;
        INDEX bits, kept = (total > 0) | (total != total);
        memcpy(&bits, &total, sizeof bits);
        bits &= kept;
        if (columns == DOTS_B)
            memcpy(c + i * ldc, &bits, sizeof bits);
        else
            memcpy(c + i * ldc, &bits, columns * sizeof(R));
    }
}

/* c = max(0, a b^T + bias) for rows [first, last) of b; bias may be NULL. */
static void NAME(dots_relu)(R* c, ptrdiff_t ldc, const R* a, ptrdiff_t lda, const R* b,
                            ptrdiff_t ldb, const R* bias, ptrdiff_t m, ptrdiff_t k,
                            ptrdiff_t first, ptrdiff_t last) {
    ptrdiff_t block = DOTS_BYTES / PANEL_VECTOR, steps = k / LANES, rest = k % LANES;
    ptrdiff_t next = steps > block;                 /* tiles whose sums wait for the next block */
    V sum[DOTS_CHUNK / DOTS_A][DOTS_A][DOTS_B];
    for (ptrdiff_t top = 0; top < m; top += DOTS_CHUNK) {
        ptrdiff_t bottom = m - top < DOTS_CHUNK ? m : top + DOTS_CHUNK;
        for (ptrdiff_t j = first; j < last; j += DOTS_B) {
            int columns = last - j < DOTS_B ? (int)(last - j) : DOTS_B;
            QUAD start = {0};
            if (bias)
                memcpy(&start, bias + j, columns * sizeof(R));
            ptrdiff_t l = 0, n;
            do {
                n = steps - l < block ? steps - l : block;
                int end = l + n == steps;
                for (ptrdiff_t i = top; i < bottom; i += DOTS_A) {
                    int rows = bottom - i < DOTS_A ? (int)(bottom - i) : DOTS_A;
                    V (*tile)[DOTS_B] = sum[next * (i - top) / DOTS_A];
                    NAME(dots_some)(rows, columns, tile, l > 0, a + i * lda + l * LANES, lda,
                                    b + j * ldb + l * LANES, ldb, n, end ? rest : 0);
                    if (end)
                        NAME(dots_finish)(rows, columns, c + i * ldc + j, ldc, tile, start);
                }
                l += n;
            } while (l < steps);
        }
    }
}

#undef R
#undef I
#undef NAME
#undef V
#undef QUAD
#undef INDEX
#undef LANE
#undef LANES
#undef EACH
