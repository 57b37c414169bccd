"""Elementwise operations: arithmetic, powers, logarithms, selections, comparisons.

Arguments broadcast against each other and are brought to one dtype first.  Invariant: a rule may
answer in the broadcast shape; the engine sums it back.
"""

import math

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, DtypeError, ShapeError, ValueRangeError
from ..infer import broadcast_shape, compare, same
from ..op import Plan, op
from ..samples import Bad, Sample, binary, unary


def per_output(count):
    """`count` floating-point operations for each element of the output."""
    def flops(plan, *inputs, **attrs):
        return count * math.prod(plan.outputs[0][0])
    return flops


def joint(name):
    """Inputs broadcast together; the dtype is that of the first."""
    def infer(*inputs):
        return Plan([(broadcast_shape(name, *(x.shape for x in inputs)), inputs[-1].dtype)])
    infer.shortcut = "broadcast"
    return infer


def numeric(name):
    """`joint`, but not of bools."""
    def infer(*inputs):
        if inputs[0].dtype == dtypes.bool_:
            raise DtypeError(f"{name}: expected numbers, got bool; convert with "
                             "ad.astype(x, ad.int64), or use ad.logical_not or ad.logical_xor")
        return joint(name)(*inputs)
    infer.shortcut = "broadcast"
    return infer


def mismatched(draw):
    return [Bad(ShapeError, "do not broadcast", draw.normal(2, 3), draw.normal(2)),
            Bad(ArgumentError, "missing", draw.normal(3)),
            Bad(ArgumentError, "expected an array", draw.normal(3), "three")]


def not_an_array(draw):
    return [Bad(ArgumentError, "expected an array", "three"),
            Bad(ArgumentError, "at most", draw.normal(3), 1, 2, 3, 4)]


def with_integers(samples):
    """The samples, and the same operation on integers."""
    def more(draw):
        return samples(draw) + [Sample(draw.ints(1, 9, 2, 3), draw.ints(1, 9, 3),
                                       check_grad=False)]
    return more


# ---- arithmetic

def add_vjp(g, needs):
    """d(x + y) = dx + dy: each summand passes g on as it is."""
    return g if needs & 1 else None, g if needs & 2 else None


add = op("add", "x y", "Sum, elementwise, with broadcasting.", formula="x + y", kernel="add",
         layout="strided", infer=joint("add"), promote="same", elementwise=True, linear=True,
         vjp=add_vjp, flops=per_output(1), samples=with_integers(binary()), bad=mismatched)


def subtract_vjp(g, needs):
    """d(x - y) = dx - dy."""
    return g if needs & 1 else None, negative(g) if needs & 2 else None


subtract = op("subtract", "x y", "Difference, elementwise, with broadcasting.", formula="x - y",
              kernel="subtract", layout="strided", infer=numeric("subtract"), promote="same",
              elementwise=True, linear=True, vjp=subtract_vjp, flops=per_output(1),
              samples=with_integers(binary()), bad=mismatched)


def multiply_vjp(g, needs, x, y):
    """Product rule: d(x y) = y dx + x dy, so each factor gets g times the other one."""
    return g * y if needs & 1 else None, g * x if needs & 2 else None


multiply = op("multiply", "x y", "Product, elementwise, with broadcasting.", formula="x * y",
              kernel="multiply", layout="strided", infer=joint("multiply"), promote="same",
              elementwise=True, saves={"x": "y", "y": "x"}, vjp=multiply_vjp,
              flops=per_output(1), samples=with_integers(binary()), bad=mismatched)


def divide_vjp(g, needs, y, out):
    """Quotient rule: d(x / y) = dx / y - (x / y) dy / y, and x / y is the output."""
    gx = g / y
    return gx if needs & 1 else None, negative(gx * out) if needs & 2 else None


divide = op("divide", "x y", "Quotient, elementwise, with broadcasting; integers become floats.",
            formula="x / y", kernel="divide", layout="strided", infer=joint("divide"),
            promote="float", elementwise=True, saves={"x": "y", "y": "y out"}, vjp=divide_vjp,
            flops=per_output(1), samples=with_integers(binary(right=(0.5, 2.0))), bad=mismatched)

floor_divide = op("floor_divide", "x y", "Quotient rounded down; 0 for integers divided by 0.",
                  formula="floor(x / y)", kernel="floor_divide", layout="strided",
                  infer=numeric("floor_divide"), promote="same", elementwise=True,
                  flops=per_output(1), samples=with_integers(binary(right=(0.5, 2.0))),
                  bad=mismatched)


def remainder_vjp(g, needs, x, y):
    return (g if needs & 1 else None,
            negative(g * floor_divide(x, y)) if needs & 2 else None)


def remainder_samples(draw):
    whole, part = draw.ints(-3, 4, 2, 3), draw.uniform(0.2, 0.8, 2, 3)
    y = draw.uniform(0.5, 2.0, 2, 3)
    return [Sample(((whole + part) * y).astype(draw.dtype), y),
            Sample(draw.ints(-9, 9, 2, 3), draw.ints(1, 5, 3), check_grad=False)]


remainder = op("remainder", "x y", "What floor division leaves; it has the sign of y.",
               formula="x - floor(x / y) y", kernel="remainder", layout="strided",
               infer=numeric("remainder"), promote="same", elementwise=True,
               saves={"y": "x y"}, vjp=remainder_vjp, flops=per_output(3),
               samples=remainder_samples, bad=mismatched)


def pow_vjp(g, needs, x, y, out):
    """Power rule: d(x^y) = y x^(y - 1) dx + x^y log(x) dy."""
    return (g * pow_slope(x, y) if needs & 1 else None,
            g * exponent_slope(x, y, out) if needs & 2 else None)


def exponent_slope(x, y, out):
    """Derivative of out = x ** y in y. 0 ** y is 0 for every y > 0: it is 0, not 0 * log 0."""
    flat = logical_and(equal(x, 0), greater_equal(y, 0))
    return where(flat, 0.0, out * log(where(flat, 1.0, x)))


def pow_samples(draw):
    return binary((0.5, 2.0), (-2.0, 2.0))(draw) + [
        Sample(draw.away(2, 3), 2), Sample(draw.away(3), 3.0), Sample(draw.away(3), -1),
        Sample(draw.positive(2, 3), 0.5), Sample(draw.away(3), 0), Sample(2.0, draw.normal(3)),
        Sample(draw.ints(0, 5, 3), draw.ints(0, 4, 3), check_grad=False)]


pow = op("pow", "x y", "Power, elementwise, with broadcasting.", formula="x ** y", kernel="pow",
         layout="strided", infer=numeric("pow"), promote="same", elementwise=True,
         saves={"x": "x y", "y": "x y out"}, vjp=pow_vjp, flops=per_output(1),
         samples=pow_samples, bad=mismatched)


def pow_slope_vjp(g, needs, x, y):
    gx = g * y * pow_slope(x, y - 1) if needs & 1 else None
    if not needs & 2:
        return gx, None
    out = pow(x, y - 1)
    return gx, g * (out + y * exponent_slope(x, y - 1, out))


pow_slope = op("pow_slope", "x y", "Derivative of x ** y in x; 0 where y = 0.",
               formula="y x ** (y - 1)", kernel="pow_slope", layout="strided",
               infer=joint("pow_slope"), promote="same", elementwise=True, method=False,
               saves={"x y": "x y"}, vjp=pow_slope_vjp, flops=per_output(2),
               samples=binary((0.5, 2.0), (-2.0, 2.0)))


# ---- in place: the result lands in x

def into_infer(name, floats=False):
    def infer(x, y):
        if x.dtype != y.dtype:
            raise DtypeError(f"{name}: x is {x.dtype} and y {y.dtype}; convert y with "
                             f"ad.astype(y, {x.dtype}), for x keeps its dtype")
        if floats and not dtypes.is_float(x.dtype):
            raise DtypeError(f"{name}: {x.dtype} cannot hold a quotient; convert x to a float")
        if broadcast_shape(name, x.shape, y.shape) != tuple(x.shape):
            raise ShapeError(f"{name}: y of shape {y.shape} does not fit into x of shape {x.shape}")
        return Plan([(x.shape, x.dtype)])
    return infer


def into_samples(draw):
    return [Sample(draw.positive(2, 3), draw.positive(*s), check_grad=False)
            for s in [(2, 3), (3,), (), (2, 1)]]


def into_bad(draw):
    return [Bad(ShapeError, "does not fit", draw.normal(3), draw.normal(2, 3)),
            Bad(DtypeError, "convert", draw.normal(3), draw.ints(0, 2, 3))]


add_ = op("add_", "x y", "x += y, in place.", formula="x + y", kernel="add", layout="strided",
          infer=into_infer("add_"), elementwise=True, linear=True, into="x", vjp=add_vjp,
          flops=per_output(1), samples=into_samples, bad=into_bad)

subtract_ = op("subtract_", "x y", "x -= y, in place.", formula="x - y", kernel="subtract",
               layout="strided", infer=into_infer("subtract_"), elementwise=True, linear=True,
               into="x", vjp=subtract_vjp, flops=per_output(1), samples=into_samples,
               bad=into_bad)

multiply_ = op("multiply_", "x y", "x *= y, in place.", formula="x * y", kernel="multiply",
               layout="strided", infer=into_infer("multiply_"), elementwise=True, into="x",
               saves={"x": "y", "y": "x"}, vjp=multiply_vjp, flops=per_output(1),
               samples=into_samples, bad=into_bad)


def divide_into_vjp(g, needs, x, y):
    gx = g / y
    # Not g x / (y * y): the square overflows long before the quotient does.
    return gx if needs & 1 else None, negative(gx * (x / y)) if needs & 2 else None


divide_ = op("divide_", "x y", "x /= y, in place.", formula="x / y", kernel="divide",
             layout="strided", infer=into_infer("divide_", floats=True), elementwise=True,
             into="x", saves={"x": "y", "y": "x y"}, vjp=divide_into_vjp, flops=per_output(1),
             samples=into_samples, bad=into_bad)


# ---- larger, smaller, selected

def separated(draw):
    """Pairs that differ by at least 0.1: away from the kink where they tie."""
    both = draw.distinct(2, 2, 3)
    return [Sample(both[0], both[1]), Sample(both[0], both[1, 0]), Sample(both[0, 0, 0], both[1]),
            Sample(draw.normal(0, 3), draw.normal(1, 3)),
            Sample(draw.ints(0, 9, 3), draw.ints(0, 9, 3), check_grad=False)]


def maximum_vjp(g, needs, x, y):
    """max(x, y) follows the larger one: that one gets g, the other 0 (half each at a tie)."""
    return (select_greater(g, x, y) if needs & 1 else None,
            select_greater(g, y, x) if needs & 2 else None)


maximum = op("maximum", "x y", "The larger of two, elementwise; NaN wins. At a tie each gets half "
             "of the gradient.", formula="max(x, y)", kernel="maximum", layout="strided",
             infer=joint("maximum"), promote="same", elementwise=True, saves={"x y": "x y"},
             vjp=maximum_vjp, flops=per_output(1), samples=separated, bad=mismatched)


def minimum_vjp(g, needs, x, y):
    return (select_greater(g, y, x) if needs & 1 else None,
            select_greater(g, x, y) if needs & 2 else None)


minimum = op("minimum", "x y", "The smaller of two, elementwise; NaN wins. At a tie each gets half "
             "of the gradient.", formula="min(x, y)", kernel="minimum", layout="strided",
             infer=joint("minimum"), promote="same", elementwise=True, saves={"x y": "x y"},
             vjp=minimum_vjp, flops=per_output(1), samples=separated, bad=mismatched)


def select_greater_vjp(g, needs, x, y):
    return select_greater(g, x, y) if needs & 1 else None, None, None


def select_greater_samples(draw):
    x, y = draw.distinct(2, 2, 3)
    return [Sample(draw.normal(2, 3), x, y), Sample(draw.normal(2, 3), x[0], y)]


select_greater = op("select_greater", "g x y", "g where x > y, half of it where x = y, else 0.",
                    formula="g H(x - y)", kernel="select_greater", layout="strided",
                    infer=joint("select_greater"), promote="same", elementwise=True,
                    method=False, saves={"g": "x y"}, vjp=select_greater_vjp,
                    flops=per_output(1), samples=select_greater_samples)


def where_infer(cond, x, y):
    if cond.dtype != dtypes.bool_:
        raise DtypeError(f"where: cond must be bool, got {cond.dtype}; compare it, or use "
                         "ad.astype(cond, ad.bool)")
    return joint("where")(cond, x, y)


def where_vjp(g, needs, cond):
    """Each element was copied from x or from y: its gradient goes back to where it came from."""
    return (None, where(cond, g, 0.0) if needs & 2 else None,
            where(cond, 0.0, g) if needs & 4 else None)


where = op("where", "cond x y", "x where cond is true, else y, with broadcasting.",
           formula="cond ? x : y", kernel="where", layout="strided", infer=where_infer,
           promote="same x y", elementwise=True, method=False, saves={"x y": "cond"},
           vjp=where_vjp,
           samples=lambda draw: [
               Sample(draw.bools(2, 3), draw.normal(2, 3), draw.normal(2, 3)),
               Sample(draw.bools(3), draw.normal(2, 1), draw.normal()),
               Sample(draw.bools(2, 3), draw.normal(2, 3), 0.0),
               Sample(draw.bools(), 1, 2, check_grad=False),
               Sample(draw.bools(0, 3), draw.normal(3), draw.normal(1))],
           bad=lambda draw: [
               Bad(DtypeError, "cond must be bool", draw.normal(3), draw.normal(3), 0.0),
               Bad(ShapeError, "do not broadcast", draw.bools(2), draw.normal(3), 0.0)])


def clip_bounds(name, min, max):
    for arg, value in (("min", min), ("max", max)):
        if value is not None and not isinstance(value, (int, float, np.integer, np.floating)):
            raise ArgumentError(f"{name}: {arg} must be a number or None, got {value!r}; for "
                                "arrays use ad.maximum and ad.minimum")
        if value is not None and math.isnan(value):
            raise ValueRangeError(f"{name}: {arg} must not be nan; leave it out for no bound")
    return (-math.inf if min is None else float(min), math.inf if max is None else float(max))


def clip_infer(x, min, max):
    low, high = clip_bounds("clip", min, max)
    if not dtypes.is_float(x.dtype) and not all(v is None or v == int(v) for v in (min, max)):
        raise DtypeError(f"clip: bounds {min} and {max} do not fit {x.dtype}; use integers")
    ends = (-2 ** 63 if min is None else int(min) if math.isfinite(low) else 0,
            2 ** 63 - 1 if max is None else int(max) if math.isfinite(high) else 0)
    return Plan([(x.shape, x.dtype)], ia=ends, fa=(low, high))


def clip_vjp(g, needs, x, min, max):
    return clip_backward(g, x, min, max)


clip = op("clip", "x", "Limited to [min, max]; either may be None. The gradient passes at the "
          "bounds.", formula="min(max(x, low), high)", attrs={"min": None, "max": None},
          kernel="clip", layout="strided", infer=clip_infer, elementwise=True, saves={"x": "x"},
          vjp=clip_vjp, flops=per_output(2),
          samples=lambda draw: [
              Sample(draw.away(2, 3, points=(-1.0, 1.0)), -1.0, 1.0),
              Sample(draw.away(3, points=(0.5,)), min=0.5), Sample(draw.away(3), max=0),
              Sample(draw.normal(2, 0), -1.0, 1.0), Sample(draw.normal(3)),
              Sample(draw.ints(0, 9, 3), 2, 5, check_grad=False)],
          bad=lambda draw: [Bad(ArgumentError, "must be a number", draw.normal(3), "a"),
                            Bad(DtypeError, "use integers", draw.ints(0, 9, 3), 0.5)])


def clip_backward_infer(g, x, min, max):
    return Plan(joint("clip_backward")(g, x).outputs, fa=clip_bounds("clip", min, max))


def clip_backward_vjp(g, needs, x, min, max):
    return clip_backward(g, x, min, max) if needs & 1 else None, None


clip_backward = op("clip_backward", "g x", "g where x is within [min, max], else 0.",
                   formula="low <= x <= high ? g : 0", attrs={"min": None, "max": None},
                   kernel="clip_backward", layout="strided", infer=clip_backward_infer,
                   promote="same", elementwise=True, method=False, saves={"g": "x"},
                   vjp=clip_backward_vjp, flops=per_output(2),
                   samples=lambda draw: [
                       Sample(draw.normal(2, 3), draw.away(2, 3, points=(-1.0, 1.0)), -1.0, 1.0)])


# ---- functions of one array

def function(name, doc, formula, vjp=None, saves="x", low=-2.0, high=2.0, avoid=(),
             promote="float", infer=same, flops=1, elementwise=True, **fields):
    """A function of one array, in floating point unless `promote` says otherwise."""
    return op(name, "x", doc, formula=formula, kernel=name, layout="strided", infer=infer,
              promote=promote, elementwise=elementwise, flops=per_output(flops), vjp=vjp,
              saves={"x": saves} if vjp is not None and saves else {},
              samples=unary(low, high, avoid), bad=not_an_array, **fields)


def negative_vjp(g, needs):
    """d(-x) = -dx."""
    return negative(g)


negative = function("negative", "Negated.", "-x", negative_vjp, None, promote=None,
                    infer=numeric("negative"), linear=True)


def abs_vjp(g, needs, x):
    """|x| has slope 1 where x > 0 and -1 where x < 0."""
    return g * sign(x)


abs = function("abs", "Absolute value; the derivative at 0 is 0.", "|x|", abs_vjp, avoid=(0.0,),
               promote=None)

sign = function("sign", "-1, 0 or 1 as x is negative, zero or positive; treated as constant.",
                "sign x", avoid=(0.0,), promote=None, infer=numeric("sign"))
floor = function("floor", "Rounded down; treated as constant.", "floor x", avoid=(-1.0, 0.0, 1.0))
ceil = function("ceil", "Rounded up; treated as constant.", "ceil x", avoid=(-1.0, 0.0, 1.0))
round = function("round", "Rounded to the nearest integer, halves to even; treated as constant.",
                 "round x", avoid=(-1.5, -0.5, 0.5, 1.5))


def square_vjp(g, needs, x):
    """d(x^2) = 2 x dx."""
    return g * (x + x)


square = function("square", "Square.", "x^2", square_vjp, promote=None, infer=numeric("square"))


def sqrt_vjp(g, needs, out):
    """d(x^(1/2)) = 1/2 x^(-1/2) dx = dx / (2 out): the output alone gives the slope."""
    return g / (out + out)


sqrt = function("sqrt", "Square root.", "x^(1/2)", sqrt_vjp, "out", 0.5, 2.0)


def rsqrt_vjp(g, needs, out):
    return g * (out * out * out * -0.5)


rsqrt = function("rsqrt", "Reciprocal of the square root.", "x^(-1/2)", rsqrt_vjp, "out", 0.5, 2.0,
                 flops=2)


def exp_vjp(g, needs, out):
    """(e^x)' = e^x: the output is its own slope."""
    return g * out


exp = function("exp", "Exponential.", "e^x", exp_vjp, "out")


def expm1_vjp(g, needs, out):
    return g * (out + 1)


expm1 = function("expm1", "e^x - 1, exact near 0.", "e^x - 1", expm1_vjp, "out")


def log_vjp(g, needs, x):
    """(log x)' = 1 / x."""
    return g / x


log = function("log", "Natural logarithm.", "log x", log_vjp, "x", 0.5, 2.0)


def log1p_vjp(g, needs, x):
    return g / (x + 1)


log1p = function("log1p", "log(1 + x), exact near 0.", "log(1 + x)", log1p_vjp, "x", -0.5, 2.0)


def sin_vjp(g, needs, x):
    """(sin x)' = cos x."""
    return g * cos(x)


sin = function("sin", "Sine of an angle in radians.", "sin x", sin_vjp)


def cos_vjp(g, needs, x):
    """(cos x)' = -sin x."""
    return negative(g * sin(x))


cos = function("cos", "Cosine of an angle in radians.", "cos x", cos_vjp)


def erf_vjp(g, needs, x):
    return g * (exp(negative(square(x))) * (2 / math.sqrt(math.pi)))


erf = function("erf", "Error function.", "2 / sqrt(pi) integral from 0 to x of exp(-t^2) dt",
               erf_vjp)


def astype_infer(x, dtype):
    dtype = dtypes.as_dtype(dtype)
    return Plan([(x.shape, dtype)], attrs=(dtype,))


def astype_vjp(g, needs, x_dtype):
    return astype(g, x_dtype)


astype = op("astype", "x", "The same values in another dtype; floats truncate to integers.",
            formula="x", attrs={"dtype": None}, kernel="copy", layout="strided",
            infer=astype_infer, linear=True, vjp=astype_vjp,
            samples=lambda draw: [
                Sample(draw.normal(2, 3), "float64"), Sample(draw.normal(), dtypes.float64),
                Sample(draw.normal(2, 3), "float32", check_grad=False),
                Sample(draw.ints(0, 5, 3), "float32", check_grad=False),
                Sample(draw.normal(2, 0), "int64", check_grad=False)],
            bad=lambda draw: [Bad(ArgumentError, "dtype", draw.normal(3), "number"),
                              Bad(DtypeError, "not supported", draw.normal(3), "complex64")])


# ---- tests: bool out, no gradient

def test(name, doc, formula):
    return op(name, "x y", doc, formula=formula, kernel=name, layout="strided", infer=compare,
              promote="same", elementwise=True, flops=per_output(1),
              samples=with_integers(binary()), bad=mismatched)


equal = test("equal", "True where equal.", "x == y")
not_equal = test("not_equal", "True where not equal.", "x != y")
less = test("less", "True where smaller.", "x < y")
less_equal = test("less_equal", "True where smaller or equal.", "x <= y")
greater = test("greater", "True where larger.", "x > y")
greater_equal = test("greater_equal", "True where larger or equal.", "x >= y")
logical_and = test("logical_and", "True where both are true (not 0).", "x and y")
logical_or = test("logical_or", "True where one or both are true (not 0).", "x or y")
logical_xor = test("logical_xor", "True where just one is true (not 0).", "x xor y")


def to_bool(x):
    return Plan([(x.shape, dtypes.bool_)])


logical_not = function("logical_not", "True where x is false (0).", "not x", promote=None,
                       infer=to_bool)
isnan = function("isnan", "True where NaN.", "x != x", promote=None, infer=to_bool)
isinf = function("isinf", "True where positive or negative infinity.", "|x| == inf", promote=None,
                 infer=to_bool)
isfinite = function("isfinite", "True where neither NaN nor infinite.", "|x| < inf", promote=None,
                    infer=to_bool)
