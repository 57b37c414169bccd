/* The body of panels.h, included once for float and once for double. */

typedef R NAME(panel_vec) __attribute__((vector_size(PANEL_VECTOR)));
typedef I NAME(panel_index) __attribute__((vector_size(PANEL_VECTOR)));
#define V NAME(panel_vec)
#define LANES ((ptrdiff_t)(PANEL_VECTOR / sizeof(R)))
#define PANEL (2 * LANES)

static inline V NAME(panel_load)(const R* p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void NAME(panel_store)(R* p, V v) { memcpy(p, &v, sizeof v); }

/* to[l * ldt + j] = from[j * ldf + l], LANES by LANES: pairs of rows are interleaved, log2 LANES
 * times. */
static inline void NAME(panel_transpose)(R* to, ptrdiff_t ldt, const R* from, ptrdiff_t ldf) {
    V v[LANES], w[LANES];
    NAME(panel_index) low, high;
    for (int k = 0; k < LANES; k++) {
        low[k] = k / 2 + k % 2 * LANES;
        high[k] = low[k] + LANES / 2;
    }
#pragma GCC unroll 16
    for (int k = 0; k < LANES; k++)
        v[k] = NAME(panel_load)(from + k * ldf);
#pragma GCC unroll 4
    for (int round = 1; round < LANES; round *= 2) {
#pragma GCC unroll 8
        for (int k = 0; k < LANES / 2; k++) {
            w[2 * k] = __builtin_shuffle(v[k], v[k + LANES / 2], low);
            w[2 * k + 1] = __builtin_shuffle(v[k], v[k + LANES / 2], high);
        }
#pragma GCC unroll 16
        for (int k = 0; k < LANES; k++)
            v[k] = w[k];
    }
#pragma GCC unroll 16
    for (int k = 0; k < LANES; k++)
        NAME(panel_store)(to + k * ldt, v[k]);
}

/* Copy n <= TILE_ROWS elements without a call. */
static inline void NAME(panel_few)(R* to, const R* from, ptrdiff_t n) {
#define FEW(size) if (n & size) { memcpy(to, from, size * sizeof(R)); to += size; from += size; }
    FEW(8) FEW(4) FEW(2) FEW(1)
#undef FEW
}

/* `width` columns of b (k, .), whose element (l, j) is b[l * rb + j * cb], zeros up to PANEL. */
static void NAME(panel_pack)(R* packed, const R* b, ptrdiff_t rb, ptrdiff_t cb, ptrdiff_t k,
                             ptrdiff_t width) {
    if (width < PANEL)
        memset(packed, 0, k * PANEL * sizeof(R));
    if (cb == 1 && width == PANEL) {
        for (ptrdiff_t l = 0; l < k; l++)
            memcpy(packed + l * PANEL, b + l * rb, PANEL * sizeof(R));
        return;
    }
    if (cb == 1) {
        for (ptrdiff_t l = 0; l < k; l++)
            memcpy(packed + l * PANEL, b + l * rb, width * sizeof(R));
        return;
    }
    ptrdiff_t j = 0;
    if (rb == 1)
        for (; j + LANES <= width; j += LANES) {
            ptrdiff_t l = 0;
            for (; l + LANES <= k; l += LANES)
                NAME(panel_transpose)(packed + l * PANEL + j, PANEL, b + j * cb + l, cb);
            for (; l < k; l++)
                for (ptrdiff_t i = j; i < j + LANES; i++)
                    packed[l * PANEL + i] = b[i * cb + l];
        }
    for (; j < width; j++)
        for (ptrdiff_t l = 0; l < k; l++)
            packed[l * PANEL + j] = b[l * rb + j * cb];
}

/* Panels [first, last) of b (k, n). */
static void NAME(panels_pack)(R* packed, const R* b, ptrdiff_t rb, ptrdiff_t cb, ptrdiff_t k,
                              ptrdiff_t n, ptrdiff_t first, ptrdiff_t last) {
    for (ptrdiff_t p = first; p < last; p++)
        NAME(panel_pack)(packed + p * PANEL * k, b + p * PANEL * cb, rb, cb, k,
                         n - p * PANEL < PANEL ? n - p * PANEL : PANEL);
}

/* A row of a tile that is narrower than its vectors: apart, for it would be inlined 20 times. */
static __attribute__((noinline)) void NAME(panel_rest)(R* c, const R* from, const R* sum,
                                                       ptrdiff_t width, R scale) {
    for (ptrdiff_t j = 0; j < width; j++)
        c[j] = from ? sum[j] * scale + from[j] : sum[j] * scale;
}

/* One tile of c. `rows`, `vectors` and `columnar` are constants where this is inlined, so that the
 * sums stay in registers. Element (r, l) of a: a[r * lda + l], or a[l * lda + r] if columnar. */
static inline __attribute__((always_inline)) void NAME(tile)(
        int rows, int vectors, int columnar, R* c, ptrdiff_t ldc, const R* from, ptrdiff_t ldf,
        const R* a, ptrdiff_t lda, const R* b, ptrdiff_t ldb, ptrdiff_t k, ptrdiff_t width,
        R scale) {
    V sum[TILE_ROWS][2];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        sum[r][0] = sum[r][1] = (V){0};
        __builtin_prefetch(c + r * ldc, 1);
        __builtin_prefetch(c + r * ldc + width - 1, 1);
    }
    for (ptrdiff_t l = 0; l < k; l++, b += ldb) {
        V low = NAME(panel_load)(b), high = vectors > 1 ? NAME(panel_load)(b + LANES) : low;
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            R s = columnar ? a[l * lda + r] : a[r * lda + l];
            sum[r][0] += low * s;
            if (vectors > 1)
                sum[r][1] += high * s;
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++, c += ldc) {
        const R* f = from ? from + r * ldf : from;
        if (width == vectors * LANES) {
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                NAME(panel_store)(c + v * LANES, from
                                  ? sum[r][v] * scale + NAME(panel_load)(f + v * LANES)
                                  : sum[r][v] * scale);
        } else {
            R out[PANEL];
            memcpy(out, sum[r], sizeof out);
            NAME(panel_rest)(c, f, out, width, scale);
        }
    }
}

/* c (rows, width) = a times one packed panel, or added. */
static inline __attribute__((always_inline)) void NAME(panel_rows)(
        int rows, R* c, ptrdiff_t ldc, const R* a, ptrdiff_t lda, const R* b, ptrdiff_t k,
        ptrdiff_t width, int add) {
    NAME(tile)(rows, 2, 0, c, ldc, add ? c : NULL, ldc, a, lda, b, PANEL, k, width, 1);
}

/* All rows of c by one panel of b. */
static inline __attribute__((always_inline)) void NAME(tiles)(
        int columnar, R* c, ptrdiff_t ldc, const R* from, ptrdiff_t ldf, const R* a, ptrdiff_t lda,
        const R* b, ptrdiff_t ldb, ptrdiff_t m, ptrdiff_t k, ptrdiff_t width, R scale) {
#define TILE(rows)                                                                                \
    {                                                                                             \
        if (width > LANES)                                                                        \
            NAME(tile)(rows, 2, columnar, c, ldc, from, ldf, a, lda, b, ldb, k, width, scale);    \
        else                                                                                      \
            NAME(tile)(rows, 1, columnar, c, ldc, from, ldf, a, lda, b, ldb, k, width, scale);    \
        done = rows;                                                                              \
    }
    for (ptrdiff_t left = m, done; left > 0; left -= done) {
        if (left >= TILE_ROWS && left != TILE_ROWS + 4)     /* 4 more: better two tiles alike */
            TILE(TILE_ROWS)
        else if (left >= 8 && TILE_ROWS > 8)
            TILE(8)
        else if (left >= 4)
            TILE(4)
        else if (left >= 2)
            TILE(2)
        else
            TILE(1)
        c += done * ldc;
        a += columnar ? done : done * lda;
        from = from ? from + done * ldf : from;
    }
#undef TILE
}

static void NAME(tiles_of_rows)(R* c, ptrdiff_t ldc, const R* from, ptrdiff_t ldf, const R* a,
                                ptrdiff_t lda, const R* b, ptrdiff_t ldb, ptrdiff_t m, ptrdiff_t k,
                                ptrdiff_t width, R scale) {
    NAME(tiles)(0, c, ldc, from, ldf, a, lda, b, ldb, m, k, width, scale);
}

static void NAME(tiles_of_columns)(R* c, ptrdiff_t ldc, const R* from, ptrdiff_t ldf, const R* a,
                                   ptrdiff_t lda, const R* b, ptrdiff_t ldb, ptrdiff_t m,
                                   ptrdiff_t k, ptrdiff_t width, R scale) {
    NAME(tiles)(1, c, ldc, from, ldf, a, lda, b, ldb, m, k, width, scale);
}

/* c = from + a b, b packed by panels_pack. */
static void NAME(panels_product)(R* c, ptrdiff_t ldc, const R* from, ptrdiff_t ldf, const R* a,
                                 ptrdiff_t lda, const R* packed, ptrdiff_t m, ptrdiff_t n,
                                 ptrdiff_t k) {
    for (ptrdiff_t j = 0; j < n; j += PANEL)
        NAME(tiles_of_rows)(c + j, ldc, from ? from + j : from, ldf, a, lda, packed + j * k, PANEL,
                            m, k, n - j < PANEL ? n - j : PANEL, 1);
}

/* Strips of a^T by all panels of b: a is stored (k, m), b row by row. `sums` (m), if not NULL, +=
 * the sums of a over k. */
static void NAME(product_by_strips)(R* c, ptrdiff_t ldc, const R* from, ptrdiff_t ldf, const R* a,
                                    ptrdiff_t lda, const R* b, ptrdiff_t ldb, ptrdiff_t m,
                                    ptrdiff_t n, ptrdiff_t k, R scale, R* sums, R* panel) {
    R strip[DEPTH * TILE_ROWS] __attribute__((aligned(64)));
    ptrdiff_t whole = n - n % LANES;
    if (whole < n)
        NAME(panel_pack)(panel, b + whole, ldb, 1, k, n - whole);
    for (ptrdiff_t i = 0; i < m; i += TILE_ROWS) {
        ptrdiff_t rows = m - i < TILE_ROWS ? m - i : TILE_ROWS;
        R total[TILE_ROWS] = {0};
        for (ptrdiff_t l = 0; l < k; l++)
            NAME(panel_few)(strip + l * TILE_ROWS, a + l * lda + i, rows);
        if (sums) {
            for (ptrdiff_t l = 0; l < k; l++)
                for (ptrdiff_t r = 0; r < rows; r++)
                    total[r] += strip[l * TILE_ROWS + r];
            for (ptrdiff_t r = 0; r < rows; r++)
                sums[i + r] += total[r];
        }
        for (ptrdiff_t j = 0; j < n; j += PANEL) {
            const R* start = from ? from + i * ldf + j : from;
            ptrdiff_t width = whole - j < PANEL ? whole - j : PANEL;
            if (width > 0)
                NAME(tiles_of_columns)(c + i * ldc + j, ldc, start, ldf, strip, TILE_ROWS, b + j,
                                       ldb, rows, k, width, scale);
        }
        if (whole < n)
            NAME(tiles_of_columns)(c + i * ldc + whole, ldc, from ? from + i * ldf + whole : from,
                                   ldf, strip, TILE_ROWS, panel, PANEL, rows, k, n - whole, scale);
    }
}

/* c (m, n) = from + scale a (m, k) b (k, n): element (i, l) of a is a[i * ra + l * ca], of b
 * b[l * rb + j * cb], with ra or ca and rb or cb 1. from: c itself, NULL, or a row for all (ldf 0).
 * sums (m), where a is stored (k, m) and b row by row: += the sums of a over k; else NULL. */
static void NAME(product)(R* c, ptrdiff_t ldc, const R* from, ptrdiff_t ldf, const R* a,
                          ptrdiff_t ra, ptrdiff_t ca, const R* b, ptrdiff_t rb, ptrdiff_t cb,
                          ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, R scale, R* sums) {
    R panel[DEPTH * PANEL] __attribute__((aligned(64)));
    ptrdiff_t l = 0;
    do {
        ptrdiff_t depth = k - l < DEPTH ? k - l : DEPTH;
        const R* al = a + l * ca;
        const R* bl = b + l * rb;
        if (ca != 1 && cb == 1 && (n > 2 * PANEL || sums))
            NAME(product_by_strips)(c, ldc, from, ldf, al, ca, bl, rb, m, n, depth, scale, sums,
                                    panel);
        else
            for (ptrdiff_t i = 0; i < m; i += HEIGHT)
                for (ptrdiff_t j = 0; j < n; j += PANEL) {
                    ptrdiff_t rows = m - i < HEIGHT ? m - i : HEIGHT;
                    ptrdiff_t width = n - j < PANEL ? n - j : PANEL;
                    const R* start = from ? from + i * ldf + j : from;
                    const R* p = bl + j * cb;
                    ptrdiff_t ldp = rb;
                    if (cb != 1 || rows > FEW_ROWS || width % LANES) {
                        NAME(panel_pack)(panel, p, rb, cb, depth, width);
                        p = panel;
                        ldp = PANEL;
                    }
                    if (ca == 1)
                        NAME(tiles_of_rows)(c + i * ldc + j, ldc, start, ldf, al + i * ra, ra, p,
                                            ldp, rows, depth, width, scale);
                    else
                        NAME(tiles_of_columns)(c + i * ldc + j, ldc, start, ldf, al + i * ra, ca,
                                               p, ldp, rows, depth, width, scale);
                }
        from = c;
        ldf = ldc;
        l += DEPTH;
    } while (l < k);
}

#undef R
#undef I
#undef NAME
#undef V
#undef LANES
#undef PANEL
