/* The body of rows.h, included once for float and once for double. */

typedef R NAME(vec) __attribute__((vector_size(64)));
typedef I NAME(ivec) __attribute__((vector_size(64)));
#define V NAME(vec)
#define IV NAME(ivec)

static inline V NAME(load)(const R* p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The last n < LANES elements, the rest filled. */
static inline V NAME(load_part)(const R* p, ptrdiff_t n, R fill) {
    V v;
    for (int k = 0; k < LANES; k++)
        v[k] = fill;
    memcpy(&v, p, n * sizeof(R));
    return v;
}

static inline void NAME(store)(R* p, V v) { memcpy(p, &v, sizeof v); }

static inline V NAME(pick)(IV mask, V yes, V no) {
    return (V)((mask & (IV)yes) | (~mask & (IV)no));
}

static inline double NAME(total)(V v) { return row_tree(DOUBLES(v)); }

/* exp(x): x = n ln 2 + r, |r| <= ln 2 / 2, and the series of exp(r).  Within 2 units in the last
 * place; subnormal results, infinities and NaN as in libm.  What is 0 (a masked score) must not
 * come out of a product of tiny numbers: the processor takes a hundred times as long for one. */
static inline V NAME(vexp)(V x) {
    static const double inverse[] = {1, 1, 1 / 2., 1 / 6., 1 / 24., 1 / 120., 1 / 720., 1 / 5040.,
        1 / 40320., 1 / 362880., 1 / 3628800., 1 / 39916800., 1 / 479001600., 1 / 6227020800.};
    const R magic = (R)1.5 * ((I)1 << MANTISSA);      /* adding it rounds to an integer */
    x = NAME(pick)(x > EXP_HIGH, EXP_HIGH - (V){0}, x);
    IV nothing = x < EXP_LOW;
    x = NAME(pick)(nothing, (V){0}, x);
    V n = x * (R)1.44269504088896340736 + magic;
    IV k = (IV)n - (IV)(magic - (V){0});
    n = n - magic;
    V r = x - n * LN2_HIGH - n * LN2_LOW;
    V p = (R)inverse[EXP_TERMS] - (V){0};
    for (int j = EXP_TERMS - 1; j >= 0; j--)
        p = p * r + (R)inverse[j];
    IV half = k >> 1;                                   /* two factors: no overflow on the way */
    p = p * (V)((half + BIAS) << MANTISSA) * (V)((k - half + BIAS) << MANTISSA);
    return (V)((IV)p & ~nothing);
}

/* log(x) of positive normal x: x = 2^n m, m in [sqrt(1/2), sqrt(2)), by atanh((m-1)/(m+1)). */
static inline V NAME(vlog)(V x) {
    IV bits = (IV)x;
    IV n = ((bits >> MANTISSA) & (2 * BIAS + 1)) - BIAS;
    V m = (V)((bits & (((I)1 << MANTISSA) - 1)) | ((I)BIAS << MANTISSA));
    IV high = m > (R)1.41421356237309504880;
    m = NAME(pick)(high, m * (R)0.5, m);
    n = n - high;                                       /* true is -1 */
    V s = (m - 1) / (m + 1), q = s * s;
    V p = (R)(1. / (2 * LOG_TERMS - 1)) - (V){0};
    for (int j = LOG_TERMS - 2; j >= 0; j--)
        p = p * q + (R)(1. / (2 * j + 1));
    V e = __builtin_convertvector(n, V);
    return e * LN2_HIGH + (2 * s * p + e * LN2_LOW);
}

/* cos and sin of 2 pi v for v in [0, 1). */
static inline void NAME(vsincos_turns)(V v, V* cosine, V* sine) {
    IV quarter = __builtin_convertvector(v * 4 + (R)0.5, IV);
    V r = (v - __builtin_convertvector(quarter, V) * (R)0.25) * (R)6.28318530717958647693;
    V q = r * r, c = (V){0} + 1, s = (V){0} + 1;
    for (int j = TRIG_TERMS - 1; j >= 1; j--) {
        c = 1 - c * q * (R)(1. / ((2 * j) * (2 * j - 1)));
        s = 1 - s * q * (R)(1. / ((2 * j) * (2 * j + 1)));
    }
    s = s * r;
    IV odd = (quarter & 1) != 0, flip_c = ((quarter + 1) & 2) != 0, flip_s = (quarter & 2) != 0;
    V a = NAME(pick)(odd, s, c), b = NAME(pick)(odd, c, s);
    *cosine = NAME(pick)(flip_c, -a, a);
    *sine = NAME(pick)(flip_s, -b, b);
}

/* tanh(x) = sign(x) (1 - 2 / (exp(2|x|) + 1)), and its series where that would cancel. */
static inline V NAME(vtanh)(V x) {
    V q = x * x, sign = (V)((IV)x & ((IV){0} + (I)((U)1 << (8 * sizeof(R) - 1))));
    V a = (V)((IV)x ^ (IV)sign);
    V far = 1 - 2 / (NAME(vexp)(2 * a) + 1);
    far = (V)((IV)far ^ (IV)sign);
    V near = x * (1 + q * (R)(-1 / 3.) + q * q * ((R)(2 / 15.) + q * ((R)(-17 / 315.) + q * (
             (R)(62 / 2835.) + q * ((R)(-1382 / 155925.) + q * (R)(21844 / 6081075.))))));
    return NAME(pick)(q < (R)(sizeof(R) == 4 ? 0.04 : 0.001), near, far);
}

static inline V NAME(vsigmoid)(V x) { return 1 / (1 + NAME(vexp)(-x)); }

static inline R NAME(row_max)(const R* x, ptrdiff_t n) {
    V m = (V){0} - (R)INFINITY;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        V v = NAME(load)(x + i);
        m = NAME(pick)(v > m, v, m);
    }
    V v = NAME(load_part)(x + i, n - i, -(R)INFINITY);
    m = NAME(pick)(v > m, v, m);
    R top[LANES];
    memcpy(top, &m, sizeof m);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            top[k] = top[k + half] > top[k] ? top[k + half] : top[k];
    return top[0];
}

/* A sum over a row: TERM is computed from the vectors that LOAD makes of elements i to i + LANES,
 * and must be 0 where they are filled. */
#define ROW_SUM(LOAD, LOAD_PART, TERM)                                              \
    double sum = 0;                                                                 \
    ptrdiff_t i = 0;                                                                \
    while (n - i >= LANES) {                                                        \
        ptrdiff_t end = n - i > ROW_CHUNK ? i + ROW_CHUNK : n;                      \
        V s0 = (V){0}, s1 = (V){0};                                                 \
        for (; i + 2 * LANES <= end; i += 2 * LANES) {                              \
            { const ptrdiff_t at = i; LOAD; s0 += TERM; }                           \
            { const ptrdiff_t at = i + LANES; LOAD; s1 += TERM; }                   \
        }                                                                           \
        if (i + LANES <= end) {                                                     \
            const ptrdiff_t at = i;                                                 \
            LOAD;                                                                   \
            s0 += TERM;                                                             \
            i += LANES;                                                             \
        }                                                                           \
        sum += NAME(total)(s0 + s1);                                                \
    }                                                                               \
    if (i < n) {                                                                    \
        LOAD_PART;                                                                  \
        sum += NAME(total)(TERM);                                                   \
    }                                                                               \
    return sum;

static inline double NAME(row_sum)(const R* x, ptrdiff_t n) {
    ROW_SUM(V a = NAME(load)(x + at), V a = NAME(load_part)(x + i, n - i, 0), a)
}

static inline double NAME(row_dot)(const R* x, const R* y, ptrdiff_t n) {
    ROW_SUM(V a = NAME(load)(x + at); V b = NAME(load)(y + at),
            V a = NAME(load_part)(x + i, n - i, 0); V b = NAME(load_part)(y + i, n - i, 0), a * b)
}

static inline double NAME(row_dot3)(const R* x, const R* y, const R* z, ptrdiff_t n) {
    ROW_SUM(V a = NAME(load)(x + at); V b = NAME(load)(y + at); V c = NAME(load)(z + at),
            V a = NAME(load_part)(x + i, n - i, 0); V b = NAME(load_part)(y + i, n - i, 0);
            V c = NAME(load_part)(z + i, n - i, 0), a * b * c)
}

/* sum (x - mean)^2 */
static inline double NAME(row_deviation)(const R* x, R mean, ptrdiff_t n) {
    ROW_SUM(V a = NAME(load)(x + at) - mean, V a = NAME(load_part)(x + i, n - i, mean) - mean,
            a * a)
}

/* sum y (x - mean) */
static inline double NAME(row_centred_dot)(const R* y, const R* x, R mean, ptrdiff_t n) {
    ROW_SUM(V a = NAME(load)(y + at); V b = NAME(load)(x + at) - mean,
            V a = NAME(load_part)(y + i, n - i, 0);
            V b = NAME(load_part)(x + i, n - i, mean) - mean, a * b)
}

/* sum (x - y)^2 */
static inline double NAME(row_distance)(const R* x, const R* y, ptrdiff_t n) {
    ROW_SUM(V a = NAME(load)(x + at) - NAME(load)(y + at),
            V a = NAME(load_part)(x + i, n - i, 0) - NAME(load_part)(y + i, n - i, 0), a * a)
}

/* out = exp(x - shift), and its sum; out may be x, or NULL where the sum alone is wanted. */
static inline double NAME(row_exp)(R* out, const R* x, R shift, ptrdiff_t n) {
    double sum = 0;
    ptrdiff_t i = 0;
    while (n - i >= LANES) {
        ptrdiff_t end = n - i > ROW_CHUNK ? i + ROW_CHUNK : n;
        V s = (V){0};
        for (; i + LANES <= end; i += LANES) {
            V e = NAME(vexp)(NAME(load)(x + i) - shift);
            s += e;
            if (out)
                NAME(store)(out + i, e);
        }
        sum += NAME(total)(s);
    }
    if (i < n) {
        V e = NAME(vexp)(NAME(load_part)(x + i, n - i, shift) - shift);
        for (int k = 0; k < n - i; k++)
            sum += e[k];
        if (out)
            memcpy(out + i, &e, (n - i) * sizeof(R));
    }
    return sum;
}

#define ROW_MAP(FUNCTION)                                                           \
    ptrdiff_t i = 0;                                                                \
    for (; i + LANES <= n; i += LANES)                                              \
        NAME(store)(out + i, FUNCTION(NAME(load)(x + i)));                          \
    if (i < n) {                                                                    \
        V v = FUNCTION(NAME(load_part)(x + i, n - i, 1));                           \
        memcpy(out + i, &v, (n - i) * sizeof(R));                                   \
    }

static inline void NAME(row_map_exp)(R* out, const R* x, ptrdiff_t n) { ROW_MAP(NAME(vexp)) }
static inline void NAME(row_sigmoid)(R* out, const R* x, ptrdiff_t n) { ROW_MAP(NAME(vsigmoid)) }
static inline void NAME(row_tanh)(R* out, const R* x, ptrdiff_t n) { ROW_MAP(NAME(vtanh)) }
static inline void NAME(row_log)(R* out, const R* x, ptrdiff_t n) { ROW_MAP(NAME(vlog)) }

/* Elements i to i + LANES of a row of n; beyond its end zeros are read and nothing is written. */
static inline V NAME(load_at)(const R* p, ptrdiff_t i, ptrdiff_t n) {
    return n - i >= LANES ? NAME(load)(p + i) : NAME(load_part)(p + i, n - i, 0);
}

static inline void NAME(store_at)(R* p, V v, ptrdiff_t i, ptrdiff_t n) {
    if (n - i >= LANES)
        NAME(store)(p + i, v);
    else
        memcpy(p + i, &v, (n - i) * sizeof(R));
}

/* One row of h LSTM cells: a (4 h) holds what the gates i, f, g, o are of, and is set to them if
 * `keep`; c = f old + i g, out = o tanh(c). c may be old. */
static inline void NAME(row_lstm)(R* out, R* c, R* a, const R* old, ptrdiff_t h, int keep) {
    for (ptrdiff_t k = 0; k < h; k += LANES) {
        V i = NAME(vsigmoid)(NAME(load_at)(a, k, h));
        V f = NAME(vsigmoid)(NAME(load_at)(a + h, k, h));
        V g = NAME(vtanh)(NAME(load_at)(a + 2 * h, k, h));
        V o = NAME(vsigmoid)(NAME(load_at)(a + 3 * h, k, h));
        V now = f * NAME(load_at)(old, k, h) + i * g;
        NAME(store_at)(c, now, k, h);
        NAME(store_at)(out, o * NAME(vtanh)(now), k, h);
        if (keep) {
            NAME(store_at)(a, i, k, h);
            NAME(store_at)(a + h, f, k, h);
            NAME(store_at)(a + 2 * h, g, k, h);
            NAME(store_at)(a + 3 * h, o, k, h);
        }
    }
}

/* Its backward: da (4 h) from dh + g (g may be NULL) and dc, which is set to that of old. */
static inline void NAME(row_lstm_backward)(R* da, R* dc, const R* dh, const R* g, const R* a,
                                           const R* c, const R* old, ptrdiff_t h) {
    for (ptrdiff_t k = 0; k < h; k += LANES) {
        V i = NAME(load_at)(a, k, h), f = NAME(load_at)(a + h, k, h);
        V n = NAME(load_at)(a + 2 * h, k, h), o = NAME(load_at)(a + 3 * h, k, h);
        V d = NAME(load_at)(dh, k, h), t = NAME(vtanh)(NAME(load_at)(c, k, h));
        if (g)
            d += NAME(load_at)(g, k, h);
        V e = NAME(load_at)(dc, k, h) + d * o * (1 - t * t);
        NAME(store_at)(da, e * n * i * (1 - i), k, h);
        NAME(store_at)(da + h, e * NAME(load_at)(old, k, h) * f * (1 - f), k, h);
        NAME(store_at)(da + 2 * h, e * i * (1 - n * n), k, h);
        NAME(store_at)(da + 3 * h, d * t * o * (1 - o), k, h);
        NAME(store_at)(dc, e * f, k, h);
    }
}

/* Box-Muller on LANES pairs: u in (0, 1], v in [0, 1). */
static inline void NAME(row_box_muller)(R* first, R* second, const R* u, const R* v) {
    V c, s, r = -2 * NAME(vlog)(NAME(load)(u));
    NAME(vsincos_turns)(NAME(load)(v), &c, &s);
    for (int k = 0; k < LANES; k++)
        r[k] = sizeof(R) == 4 ? sqrtf(r[k]) : sqrt(r[k]);
    NAME(store)(first, r * c);
    NAME(store)(second, r * s);
}

#undef ROW_SUM
#undef ROW_MAP
#undef V
#undef IV
#undef R
#undef I
#undef U
#undef NAME
#undef LANES
#undef DOUBLES
#undef MANTISSA
#undef BIAS
#undef EXP_HIGH
#undef EXP_LOW
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_TERMS
#undef LOG_TERMS
#undef TRIG_TERMS
