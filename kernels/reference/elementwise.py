"""Twins of the elementwise kernels.

Invariant: inputs have one shape or broadcast, the answer has the dtype of the (value) inputs, or
bool for tests; NaN goes in and comes out.
"""

import math

import numpy as np

# ---- arithmetic


def add(x, y):
    return np.add(x, y)


def subtract(x, y):
    return np.subtract(x, y)


def multiply(x, y):
    return np.multiply(x, y)


def divide(x, y):
    return np.divide(x, y)


def floor_divide(x, y):
    return np.floor_divide(x, y)


def remainder(x, y):
    return np.remainder(x, y)


def pow(x, y):
    if x.dtype.kind in "iu":        # NumPy refuses negative exponents: 1 / x, truncated, instead
        return np.where(y >= 0, np.power(x, np.maximum(y, 0)),
                        np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y % 2), 0))).astype(x.dtype)
    return np.power(x, y)


def pow_slope(x, y):
    """dx**y / dx = y x**(y - 1); 0 where y = 0, at x = 0 too."""
    return np.where(y == 0, y, y * np.power(x, y - 1))


def maximum(x, y):
    return np.maximum(x, y)


def minimum(x, y):
    return np.minimum(x, y)


def select_greater(g, x, y):
    """g where x > y, g / 2 where x = y, else 0: the gradient that x gets from maximum(x, y)."""
    return np.where(x > y, g, np.where(x == y, g / 2, np.zeros_like(g)))


def where(cond, x, y):
    return np.where(cond, x, y)


def negative(x):
    return np.negative(x)


def abs(x):
    return np.abs(x)


def sign(x):
    return np.sign(x)


def square(x):
    return np.square(x)


def floor(x):
    return np.floor(x)


def ceil(x):
    return np.ceil(x)


def round(x):
    """To the nearest integer, halves to even."""
    return np.rint(x)


def clip(x, low_int, high_int, low, high):
    """low <= out <= high; the first pair of bounds holds for integers, the second for floats."""
    if x.dtype.kind == "f":
        return np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high))
    return np.minimum(np.maximum(x.astype(np.int64), low_int), high_int).astype(x.dtype)


def clip_backward(g, x, low, high):
    """g where x is within the bounds, edges included; else 0."""
    return np.where((x >= x.dtype.type(low)) & (x <= x.dtype.type(high)), g, np.zeros_like(g))


# ---- roots, powers of e, logarithms, trigonometry

def sqrt(x):
    return np.sqrt(x)


def rsqrt(x):
    return 1 / np.sqrt(x)


def exp(x):
    return np.exp(x)


def expm1(x):
    return np.expm1(x)


def log(x):
    return np.log(x)


def log1p(x):
    return np.log1p(x)


def sin(x):
    return np.sin(x)


def cos(x):
    return np.cos(x)


def erf(x):
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


# ---- activations

def tanh(x):
    return np.tanh(x)


def tanh_backward(g, out):
    return g * (1 - out * out)


def sigmoid(x):
    small = np.exp(-np.abs(x))              # never overflows
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def sigmoid_backward(g, out):
    return g * (out * (1 - out))


def relu(x):
    return np.maximum(x, x.dtype.type(0))


def relu_backward(g, out):
    return np.where(out > 0, g, np.zeros_like(g))


def silu(x):
    return x * sigmoid(x)


def silu_backward(g, x):
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def _gelu_inner(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)


def gelu(x, tanh_form):
    """x Phi(x), Phi the normal distribution; or its tanh approximation."""
    if tanh_form:
        return (0.5 * x * (1 + np.tanh(_gelu_inner(x)))).astype(x.dtype)
    x64 = x.astype(np.float64)
    return (0.5 * x64 * np.vectorize(math.erfc, otypes=[np.float64])(-x64 / math.sqrt(2))
            ).astype(x.dtype)


def gelu_backward(g, x, tanh_form):
    x64 = x.astype(np.float64)
    if tanh_form:
        t = np.tanh(_gelu_inner(x64))
        inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x64 * x64)
        slope = 0.5 * (1 + t) + 0.5 * x64 * (1 - t * t) * inner
    else:
        cdf = 0.5 * np.vectorize(math.erfc, otypes=[np.float64])(-x64 / math.sqrt(2))
        slope = cdf + x64 * np.exp(-0.5 * x64 * x64) / math.sqrt(2 * math.pi)
    return (g * slope).astype(x.dtype)


# ---- tests

def equal(x, y):
    return np.equal(x, y)


def not_equal(x, y):
    return np.not_equal(x, y)


def less(x, y):
    return np.less(x, y)


def less_equal(x, y):
    return np.less_equal(x, y)


def greater(x, y):
    return np.greater(x, y)


def greater_equal(x, y):
    return np.greater_equal(x, y)


def logical_and(x, y):
    return np.logical_and(x, y)


def logical_or(x, y):
    return np.logical_or(x, y)


def logical_xor(x, y):
    return np.logical_xor(x, y)


def logical_not(x):
    return np.logical_not(x)


def isnan(x):
    return np.isnan(x)


def isinf(x):
    return np.isinf(x)


def isfinite(x):
    return np.isfinite(x)
