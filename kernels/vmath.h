/* Scalar mathematics that a compiler can vectorise: exp, expm1, log, log1p, tanh, sigmoid, erf,
 * erfc, sin, cos in float and double, and pow in float, within 2 units in the last place (erfc:
 * 2 + x^2).  Invariant: no branches, no calls, no -ffast-math; NaN, infinities, subnormals and
 * signed zeros come out as in libm.
 *
 * The polynomials interpolate at Chebyshev nodes, computed with 50 digits; the error of each is
 * below a quarter of the last place.
 */
#ifndef AUTODIFF_VMATH_H
#define AUTODIFF_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VM static inline __attribute__((always_inline))

VM int32_t vm_bits_f(float x) { int32_t i; memcpy(&i, &x, sizeof i); return i; }
VM int64_t vm_bits_d(double x) { int64_t i; memcpy(&i, &x, sizeof i); return i; }
VM float vm_float_f(int32_t i) { float x; memcpy(&x, &i, sizeof x); return x; }
VM double vm_float_d(int64_t i) { double x; memcpy(&x, &i, sizeof x); return x; }

/* 2^k for a k within the normal range. */
VM float vm_pow2_f(int32_t k) { return vm_float_f((int32_t)((uint32_t)(k + 127) << 23)); }
VM double vm_pow2_d(int64_t k) { return vm_float_d((int64_t)((uint64_t)(k + 1023) << 52)); }

/* x = k ln 2 + r, |r| <= ln 2 / 2: k comes back, and *p = e^r - 1.  Adding 1.5 * 2^mantissa
 * rounds to an integer and leaves it in the low bits, where SIMD has no conversion. */
VM int32_t vm_reduce_f(float x, float *p) {
    const float magic = 12582912.0f;
    float shifted = x * 1.44269504f + magic, n = shifted - magic;
    float r = (x - n * 0.693145751953125f) - n * 1.4286068203094173e-06f;
    float q = 0.0013926184f;
    q = q * r + 0.008363179f;
    q = q * r + 0.041666556f;
    q = q * r + 0.16666576f;
    q = q * r + 0.5f;
    *p = r + r * r * q;
    return vm_bits_f(shifted) - vm_bits_f(magic);
}

VM int64_t vm_reduce_d(double x, double *p) {
    const double magic = 6755399441055744.0;
    double shifted = x * 1.4426950408889634 + magic, n = shifted - magic;
    double r = (x - n * 0.6931471805582987) - n * 1.6465949582897082e-12;
    double q = 2.510038549551032e-08;
    q = q * r + 2.7620088445409746e-07;
    q = q * r + 2.7557268459997064e-06;
    q = q * r + 2.4801521295954376e-05;
    q = q * r + 0.00019841269863053618;
    q = q * r + 0.0013888888917213717;
    q = q * r + 0.008333333333330062;
    q = q * r + 0.04166666666662413;
    q = q * r + 0.16666666666666669;
    q = q * r + 0.5;
    *p = r + r * r * q;
    return vm_bits_d(shifted) - vm_bits_d(magic);
}

/* log of positive x, finite and normal: x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), and
 * log(1 + f) = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + R)), s = f / (2 + f).  `c` is added last. */
VM float vm_log_core_f(float x, float k0, float c) {
    int32_t i = vm_bits_f(x) - 0x3f3504f3;                  /* bits of sqrt(1/2) */
    float k = k0 + (float)(i >> 23);
    float f = vm_float_f((i & 0x7fffff) + 0x3f3504f3) - 1.0f;
    float s = f / (2.0f + f), z = s * s, half = 0.5f * f * f;
    float q = 0.23331614f;
    q = q * z + 0.2855078f;
    q = q * z + 0.40000123f;
    q = q * z + 0.6666667f;
    return k * 0.693145751953125f - ((half - (s * (half + z * q) + (k * 1.4286068e-06f + c))) - f);
}

VM double vm_log_core_d(double x, double k0, double c) {
    const double magic = 6755399441055744.0;
    int64_t i = vm_bits_d(x) - 0x3fe6a09e667f3bcdLL;
    /* the exponent, as a double, by way of the mantissa of magic */
    double k = k0 + (vm_float_d((i >> 52) + vm_bits_d(magic)) - magic);
    double f = vm_float_d((i & 0xfffffffffffffLL) + 0x3fe6a09e667f3bcdLL) - 1.0;
    double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    double q = 0.14617807153417325;
    q = q * z + 0.15331611722055008;
    q = q * z + 0.1818289243253687;
    q = q * z + 0.22222211089379496;
    q = q * z + 0.28571428626253836;
    q = q * z + 0.3999999999989889;
    q = q * z + 0.666666666666667;
    return k * 0.6931471805582987
        - ((half - (s * (half + z * q) + (k * 1.6465949582897082e-12 + c))) - f);
}

/* erf(x) = x + x P(x^2) for |x| < 1 */
VM float vm_erf_small_f(float x) {
    float z = x * x, q = -9.667045e-06f;
    q = q * z + 0.00011265959f;
    q = q * z + -0.0008484081f;
    q = q * z + 0.0052210316f;
    q = q * z + -0.02686543f;
    q = q * z + 0.11283782f;
    q = q * z + -0.37612638f;
    return x + x * (q * z + 0.12837917f);
}

VM double vm_erf_small_d(double x) {
    double z = x * x, q = 5.957176147748911e-11;
    q = q * z + -1.1372848856791674e-09;
    q = q * z + 1.4659775274047436e-08;
    q = q * z + -1.6350312701054695e-07;
    q = q * z + 1.6461000484121368e-06;
    q = q * z + -1.4925595266831182e-05;
    q = q * z + 0.0001205533111164271;
    q = q * z + -0.000854832698083379;
    q = q * z + 0.0052239776248180145;
    q = q * z + -0.026866170645076792;
    q = q * z + 0.11283791670954879;
    q = q * z + -0.3761263890318375;
    return x + x * (q * z + 0.12837916709551256);
}

/* e^(a^2) erfc(a) (1 + 2a) for 1 <= a, a polynomial in (a - c) / (a + c) */
VM float vm_erfcx_f(float a) {
    float t = (a - 2.0f) / (a + 2.0f), q = -0.0015264173f;
    q = q * t + 0.0011320855f;
    q = q * t + 0.008752931f;
    q = q * t + -0.008016452f;
    q = q * t + -0.05422288f;
    q = q * t + 0.16405028f;
    q = q * t + -0.16603033f;
    q = q * t + -0.09276381f;
    return q * t + 1.2769784f;
}

VM double vm_erfcx_d(double a) {
    double t = (a - 4.0) / (a + 4.0), q = 1.3282086993762182e-07;
    q = q * t + -6.847914713265061e-07;
    q = q * t + 1.7194862436721844e-07;
    q = q * t + 5.634579587355793e-06;
    q = q * t + -1.1132429509585639e-05;
    q = q * t + -2.4380168111618434e-05;
    q = q * t + 0.0001505872132401501;
    q = q * t + -0.0001992584152965338;
    q = q * t + -0.0007577656147267304;
    q = q * t + 0.005031969780193209;
    q = q * t + -0.016197735063101938;
    q = q * t + 0.03716751559615283;
    q = q * t + -0.0663303657378119;
    q = q * t + 0.09373283499351315;
    q = q * t + -0.10103906603908629;
    q = q * t + 0.06809705425484333;
    q = q * t + 0.015379652102660199;
    q = q * t + -0.13962111684056377;
    return q * t + 1.2329951186255523;
}

/* tanh(x) / x - 1 as a polynomial in z = x^2, |x| < 0.5625: where 1 - 2 / (e^2x + 1) cancels */
VM float vm_tanh_small_f(float z) {
    float q = 0.0024876147508621216f;
    q = q * z + -0.008499247953295708f;
    q = q * z + 0.02181190252304077f;
    q = q * z + -0.05396406352519989f;
    q = q * z + 0.133333221077919f;
    return z * (q * z + -0.3333333432674408f);
}

VM double vm_tanh_small_d(double z) {
    double q = -2.0026740085317684e-05;
    q = q * z + 8.426522203958066e-05;
    q = q * z + -0.00023410556936672797;
    q = q * z + 0.0005887537111834804;
    q = q * z + -0.0014556239774192678;
    q = q * z + 0.003592105532132769;
    q = q * z + -0.008863234021529514;
    q = q * z + 0.021869488476962563;
    q = q * z + -0.0539682539670594;
    q = q * z + 0.13333333333332392;
    return z * (q * z + -0.3333333333333333);
}

/* The functions themselves, once for each type.  Comparisons are written so that NaN passes. */
#define VM_FUNCTIONS(R, I, S, FABS, SIGN, EXP_LOW, EXP_HIGH, ONE, TWO_END, ERFC_END, TINY, SCALE, \
                     SHIFT)                                                                        \
VM R vm_exp_##S(R x) {                                                                             \
    R p;                                                                                           \
    x = x > (R)EXP_HIGH ? (R)EXP_HIGH : x;                                                         \
    x = x < (R)EXP_LOW ? (R)EXP_LOW : x;                                                           \
    I k = vm_reduce_##S(x, &p), half = k >> 1;  /* two factors: 2^k may not be a number */         \
    return ((R)1 + p) * vm_pow2_##S(half) * vm_pow2_##S(k - half);                                 \
}                                                                                                  \
VM R vm_expm1_##S(R v) {                                                                           \
    R p, x = v > (R)EXP_HIGH ? (R)EXP_HIGH : v;                                                    \
    x = x < (R)-ONE ? (R)-ONE : x;              /* -1 from here down */                            \
    R s = vm_pow2_##S(vm_reduce_##S(x, &p) - 1);                                                   \
    R e = ((s - (R)0.5) + s * p) * (R)2;                                                           \
    return FABS(v) < (R)TINY ? v : e;           /* -0, subnormals */                               \
}                                                                                                  \
VM R vm_tanh_##S(R x) {                                                                            \
    R a = FABS(x), p, small = a + a * vm_tanh_small_##S(a * a);                                    \
    R b = a > (R)TWO_END ? (R)TWO_END : a;      /* 1 from here up */                               \
    R s = vm_pow2_##S(vm_reduce_##S(b + b, &p));                                                   \
    R large = (R)1 - (R)2 / ((s + s * p) + (R)1);                                                  \
    return SIGN(a < (R)0.5625 ? small : large, x);                                                 \
}                                                                                                  \
VM R vm_sigmoid_##S(R x) {                                                                         \
    R e = vm_exp_##S(-FABS(x));                                                                    \
    return (x < 0 ? e : (R)1) / ((R)1 + e);                                                        \
}                                                                                                  \
VM R vm_log_##S(R v) {                                                                             \
    R low = v < (R)TINY ? (R)1 : (R)0;          /* subnormals are scaled up */                     \
    R x = v < (R)TINY ? v * (R)SCALE : v;                                                          \
    R y = vm_log_core_##S(x, -low * (R)SHIFT, (R)0);                                               \
    y = v < (R)INFINITY ? y : v;                /* infinity, NaN */                                \
    y = v > 0 ? y : (R)-INFINITY;                                                                  \
    return v >= 0 ? y : (R)NAN;                                                                    \
}                                                                                                  \
VM R vm_log1p_##S(R v) {                                                                           \
    R u = (R)1 + v;                                                                                \
    R d = u - (R)1, lost = v >= (R)1 ? (R)1 - (u - v) : v - d;      /* v - d, both ways exact */   \
    R y = vm_log_core_##S(u > 0 ? u : (R)1, (R)0, lost / u);                                       \
    y = v < (R)INFINITY ? y : v;                                                                   \
    y = u > 0 ? y : (R)-INFINITY;                                                                  \
    y = v >= (R)-1 ? y : (R)NAN;                                                                   \
    return v == 0 ? v : y;                                                                         \
}                                                                                                  \
VM R vm_erf_##S(R x) {                                                                             \
    R a = FABS(x), small = vm_erf_small_##S(x);                                                    \
    R b = a > (R)ERFC_END ? (R)ERFC_END : a;                                                       \
    R tail = vm_exp_##S(-b * b) * vm_erfcx_##S(b) / ((R)1 + (b + b));                              \
    R large = SIGN((R)1 - tail, x);                                                                \
    return a < (R)1 ? small : large;                                                               \
}                                                                                                  \
VM R vm_erfc_##S(R x) {                                                                            \
    R a = FABS(x), small = (R)1 - vm_erf_small_##S(x);                                             \
    R b = a > (R)ERFC_END ? (R)ERFC_END : a;                                                       \
    R tail = vm_exp_##S(-b * b) * vm_erfcx_##S(b) / ((R)1 + (b + b));                              \
    R large = x < 0 ? (R)2 - tail : tail;                                                          \
    return a < (R)1 ? small : large;                                                               \
}

VM_FUNCTIONS(float, int32_t, f, fabsf, copysignf, -104, 89, 18, 9.5, 10.9, 1.17549435e-38f,
             8388608, 23)
VM_FUNCTIONS(double, int64_t, d, fabs, copysign, -746, 710, 38, 20, 28, 2.2250738585072014e-308,
             4503599627370496, 52)

/* P(X <= x) of the standard normal distribution, and e^(-x^2 / 2) beside it, with one exponential
 * for both: erfc by the one polynomial from 0 on, its two quotients by one division. */
VM float vm_normal_f(float x, float* e) {
    float a = fabsf(x), b = (a > 15.4f ? 15.4f : a) * 0.70710678f;
    float low = b + 2.0f, high = b + b + 1.0f, r = 1.0f / (low * high);
    float t = (b - 2.0f) * high * r, q = -0.00041673551f;
    q = q * t + -0.0012485082f;
    q = q * t + 0.0013314044f;
    q = q * t + 0.0086535485f;
    q = q * t + -0.0080661578f;
    q = q * t + -0.054212227f;
    q = q * t + 0.16405617f;
    q = q * t + -0.16603051f;
    q = q * t + -0.092764013f;
    q = q * t + 1.2769784f;
    *e = vm_exp_f(-0.5f * (x * x));
    float tail = 0.5f * *e * (q * (low * r));
    return x > 0 ? 1.0f - tail : tail;
}

VM double vm_normal_d(double x, double* e) {
    *e = vm_exp_d(-0.5 * (x * x));
    return 0.5 * vm_erfc_d(x * -0.7071067811865476);
}

/* sin(x + quarter * pi / 2) for |x| <= VM_SIN_END: x = k pi / 2 + r, pi / 2 in three parts of which
 * k times the first two is exact. */
#define VM_SIN_END 1e6

VM double vm_sin_turn_d(double x, int64_t quarter) {
    const double magic = 6755399441055744.0;
    double shifted = x * 0.6366197723675814 + magic, n = shifted - magic;
    int64_t k = vm_bits_d(shifted) + quarter;               /* its low bits count quarters */
    double r = ((x - n * 1.5707963267341256) - n * 6.077100506303966e-11)
        - n * 2.0222662487959506e-21;
    double z = r * r, s = 1.5917988979397435e-10, c = -1.138254464534925e-11;
    s = s * z + -2.5051129896450185e-08;
    s = s * z + 2.7557316093198404e-06;
    s = s * z + -0.00019841269836740532;
    s = s * z + 0.008333333333330936;
    s = s * z + -0.16666666666666666;
    s = r + r * z * s;
    c = c * z + 2.087614504941318e-09;
    c = c * z + -2.755731726587808e-07;
    c = c * z + 2.48015872987544e-05;
    c = c * z + -0.0013888888888887389;
    c = c * z + 0.041666666666666664;
    c = 1.0 - (0.5 * z - z * z * c);
    double y = k & 1 ? c : s;
    return k & 2 ? -y : y;
}

VM double vm_sin_d(double x) { return x == 0 ? x : vm_sin_turn_d(x, 0); }    /* -0 */
VM double vm_cos_d(double x) { return vm_sin_turn_d(x, 1); }
VM float vm_sin_f(float x) { return (float)vm_sin_d((double)x); }
VM float vm_cos_f(float x) { return (float)vm_sin_turn_d((double)x, 1); }

/* x^y = e^(y log |x|) in double, where the product loses nothing that a float could show; then
 * the cases of IEEE 754: 1 for y = 0, signs for odd y, NaN for roots of negative numbers. */
VM float vm_pow_f(float x, float y) {
    float a = fabsf(x);
    float r = (float)vm_exp_d((double)y * vm_log_d((double)a));
    int whole = rintf(y) == y, odd = whole & (rintf(0.5f * y) != 0.5f * y);
    r = (y == 0) | (a == 1) ? 1.0f : r;
    r = odd ? copysignf(r, x) : r;
    r = (x < 0) & (a < INFINITY) & !whole ? NAN : r;
    return (x == 1) | (y == 0) ? 1.0f : r;
}

#endif
