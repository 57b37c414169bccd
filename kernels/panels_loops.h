/* The body of panels.h, included once for float and once for double. */

typedef R NAME(panel_vec) __attribute__((vector_size(PANEL_VECTOR)));
#define V NAME(panel_vec)
#define LANES ((ptrdiff_t)(PANEL_VECTOR / sizeof(R)))
#define PANEL (2 * LANES)

/* Panels [first, last) of b (k, n), whose element (l, j) is b[l * rs + j * cs]; zeros beyond n. */
static void NAME(panels_pack)(R* packed, const R* b, ptrdiff_t rs, ptrdiff_t cs, ptrdiff_t k,
                              ptrdiff_t n, ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t p = first; p < last; p++) {
        ptrdiff_t width = n - p * PANEL < PANEL ? n - p * PANEL : PANEL;
        const R* from = b + p * PANEL * cs;
        R* to = packed + p * PANEL * k;
        if (width < PANEL)
            memset(to, 0, k * PANEL * sizeof(R));
        if (cs == 1)
            for (ptrdiff_t l = 0; l < k; l++)
                memcpy(to + l * PANEL, from + l * rs, width * sizeof(R));
        else
            for (ptrdiff_t j = 0; j < width; j++)
                for (ptrdiff_t l = 0; l < k; l++)
                    to[l * PANEL + j] = from[l * rs + j * cs];
    }
}

static inline V NAME(panel_load)(const R* p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* `rows` is a constant where this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void NAME(panel_rows)(
        int rows, R* c, ptrdiff_t ldc, const R* a, ptrdiff_t lda, const R* b, ptrdiff_t k,
        ptrdiff_t width, int add) {
    V sum[PANEL_ROWS][2];
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = (V){0};
    for (ptrdiff_t l = 0; l < k; l++) {
        V low = NAME(panel_load)(b + l * PANEL), high = NAME(panel_load)(b + l * PANEL + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            R s = a[r * lda + l];
            sum[r][0] += low * s;
            sum[r][1] += high * s;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        R out[PANEL];
        if (width == PANEL && add) {
            sum[r][0] += NAME(panel_load)(c + r * ldc);
            sum[r][1] += NAME(panel_load)(c + r * ldc + LANES);
        }
        memcpy(out, &sum[r][0], sizeof(V));
        memcpy(out + LANES, &sum[r][1], sizeof(V));
        if (width == PANEL)
            memcpy(c + r * ldc, out, sizeof out);
        else
            for (ptrdiff_t j = 0; j < width; j++)
                c[r * ldc + j] = add ? c[r * ldc + j] + out[j] : out[j];
    }
}

static void NAME(panels_product)(R* c, ptrdiff_t ldc, const R* a, ptrdiff_t lda, const R* packed,
                                 ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, int add) {
    for (ptrdiff_t j = 0; j < n; j += PANEL) {
        const R* b = packed + j * k;
        ptrdiff_t width = n - j < PANEL ? n - j : PANEL, i = 0;
        for (; i + PANEL_ROWS <= m; i += PANEL_ROWS)
            NAME(panel_rows)(PANEL_ROWS, c + i * ldc + j, ldc, a + i * lda, lda, b, k, width, add);
        for (; i + 2 <= m; i += 2)
            NAME(panel_rows)(2, c + i * ldc + j, ldc, a + i * lda, lda, b, k, width, add);
        if (i < m)
            NAME(panel_rows)(1, c + i * ldc + j, ldc, a + i * lda, lda, b, k, width, add);
    }
}

#undef R
#undef NAME
#undef V
#undef LANES
#undef PANEL
