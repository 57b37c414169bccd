"""Reductions over axes: sum, mean, var, max, logsumexp, argmax, any, ...

`axis` is None (all axes), an integer or a tuple; `keepdims` keeps reduced axes with size 1.
Invariant: the kernel gets the axes as a bit set (bit d: axis d is reduced).
"""

import math
from math import prod as product

from .. import dtypes
from ..errors import ArgumentError, ShapeError, ValueRangeError
from ..infer import broadcast_shape, normal_axes, normal_axis, reduced_shape
from ..op import Plan, op
from ..samples import Bad, Sample
from .elementwise import astype, equal, exp, sqrt
from .shape import broadcast_to, expand_dims, flip

__all__ = ["std"]


def bits(axes):
    """A tuple of axes as a bit set."""
    return builtin_sum(1 << a for a in axes)


builtin_sum, builtin_any = sum, any     # the names below are the operations


def plan_of(name, x, axis, keepdims, dtype, identity=True, extra=(), fa=()):
    """The Plan of a reduction; ShapeError where nothing is reduced and there is no identity."""
    axes = normal_axes(name, axis, len(x.shape))
    if not isinstance(keepdims, bool):
        raise ArgumentError(f"{name}: keepdims must be True or False, got {keepdims!r}")
    shape = reduced_shape(x.shape, axes, keepdims)
    if not identity and product(shape) and builtin_any(x.shape[a] == 0 for a in axes):
        raise ShapeError(f"{name}: shape {x.shape} has no elements along axis {axis}, and no "
                         f"{name} exists of nothing")
    return Plan([(shape, dtype)], ia=(bits(axes), int(keepdims)), fa=fa,
                attrs=(axes, *extra, keepdims))


def widened(dtype):
    """The dtype of a sum: integers and bools add up to int64."""
    return dtype if dtypes.is_float(dtype) else dtypes.int64


def spread(g, x_shape, axis, keepdims):
    """`g`, the gradient of a reduction, as a view of the shape of its input."""
    if not keepdims and axis:
        g = expand_dims(g, axis)
    return broadcast_to(g, x_shape)


def count(x_shape, axis):
    """How many elements each result comes from."""
    return product(x_shape[a] for a in axis)


def per_input(k):
    """`k` floating-point operations for each element of the input."""
    def flops(plan, x, *rest, **attrs):
        return k * product(x.shape)
    return flops


def reducing(distinct=False, empty=True, finite=True):
    """Samples over none, one, several and all axes."""
    def samples(draw):
        make = draw.distinct if distinct else draw.normal
        found = [Sample(make(2, 3)), Sample(make(2, 3), 0), Sample(make(2, 3), -1, keepdims=True),
                 Sample(make(2, 3, 4), (0, 2)), Sample(make(2, 3, 4), (2, 1), keepdims=True),
                 Sample(make()), Sample(make(3), ()), Sample(make(0, 3), 1)]
        if empty:
            found += [Sample(make(0, 3), 0, check_grad=finite),
                      Sample(make(2, 0), check_grad=finite)]
        return found + [Sample(draw.ints(-5, 5, 2, 3), 1, check_grad=False)]
    return samples


def bad_axes(draw):
    return [Bad(ShapeError, "out of range", draw.normal(2, 3), 2),
            Bad(ShapeError, "twice", draw.normal(2, 3), (0, -2)),
            Bad(ArgumentError, "integer", draw.normal(2, 3), 0.5),
            Bad(ArgumentError, "keepdims", draw.normal(2, 3), keepdims=3)]


def nothing_left(draw):
    return [*bad_axes(draw), Bad(ShapeError, "no elements", draw.normal(0, 3), 0)]


AXES = {"axis": None, "keepdims": False}


# ---- sums

def sum_infer(x, axis, keepdims):
    return plan_of("sum", x, axis, keepdims, widened(x.dtype))


def sum_vjp(g, needs, x_shape, axis, keepdims):
    """Each element enters the sum with slope 1, so each gets the g of its sum."""
    return spread(g, x_shape, axis, keepdims)


sum = op("sum", "x", "Sum over axes; integers and bools add up to int64.", formula="sum_i x_i",
         attrs=AXES, kernel="sum", layout="strided", infer=sum_infer, linear=True, vjp=sum_vjp,
         flops=per_input(1), samples=reducing(), bad=bad_axes)


def sum_to_infer(x, shape):
    shape = tuple(shape)
    if len(shape) > len(x.shape) or broadcast_shape("sum_to", x.shape, shape) != tuple(x.shape):
        raise ShapeError(f"sum_to: shape {shape} does not broadcast to {x.shape}")
    return Plan([(shape, widened(x.dtype))], ia=shape, attrs=(shape,))


def sum_to_vjp(g, needs, x_shape):
    return broadcast_to(g, x_shape)


sum_to = op("sum_to", "x", "Sum over the axes that broadcasting `shape` to x repeats: the "
            "transpose of broadcast_to.", formula="sum_i x_i", attrs={"shape": ()},
            kernel="sum_to", layout="strided", infer=sum_to_infer, linear=True, method=False,
            vjp=sum_to_vjp, flops=per_input(1),
            samples=lambda draw: [
                Sample(draw.normal(2, 3), (3,)), Sample(draw.normal(4, 2, 3), (2, 1)),
                Sample(draw.normal(2, 3), ()), Sample(draw.normal(2, 3), (2, 3)),
                Sample(draw.normal(0, 3), (1, 3)), Sample(draw.normal(), ())],
            bad=lambda draw: [Bad(ShapeError, "broadcast", draw.normal(2, 3), (2,)),
                              Bad(ShapeError, "broadcast", draw.normal(3), (2, 3))])


def mean_infer(x, axis, keepdims):
    return plan_of("mean", x, axis, keepdims, x.dtype)


def mean_vjp(g, needs, x_shape, axis, keepdims):
    """Each of n elements enters the mean with slope 1 / n."""
    return spread(g * (1 / max_int(count(x_shape, axis))), x_shape, axis, keepdims)


def max_int(n):
    return n if n > 1 else 1            # the mean of nothing is NaN; no gradient has a place to go


mean = op("mean", "x", "Arithmetic mean over axes; NaN of nothing.", formula="sum_i x_i / n",
          attrs=AXES, kernel="mean", layout="strided", infer=mean_infer, promote="float",
          linear=True, vjp=mean_vjp, flops=per_input(1), samples=reducing(empty=False),
          bad=bad_axes)


def var_infer(x, axis, correction, keepdims):
    if isinstance(correction, bool) or not isinstance(correction, (int, float)):
        raise ArgumentError(f"var: correction must be a number, got {correction!r}")
    if not math.isfinite(correction):
        raise ValueRangeError(f"var: correction must be finite, got {correction}")
    return plan_of("var", x, axis, keepdims, x.dtype, extra=(correction,),
                   fa=(float(correction),))


def var_vjp(g, needs, x, axis, correction, keepdims):
    n = count(x.shape, axis) - correction
    scale = 2 / n if n > 0 else float("nan")
    centred = x - mean(x, axis, True)
    return centred * spread(g * scale, x.shape, axis, keepdims)


def var_samples(draw):
    return [Sample(draw.normal(2, 3)), Sample(draw.normal(2, 3), 0), Sample(draw.normal(3), 0, 1),
            Sample(draw.normal(2, 3, 4), (0, -1), 1, True), Sample(draw.normal(2, 3), (), 0.5),
            Sample(draw.normal(0, 3), 1), Sample(draw.ints(0, 9, 4), check_grad=False)]


var = op("var", "x", "Variance over axes, divided by n - correction.",
         formula="sum_i (x_i - mean)^2 / (n - correction)",
         attrs={"axis": None, "correction": 0, "keepdims": False}, kernel="var", layout="strided",
         infer=var_infer, promote="float", saves={"x": "x"}, vjp=var_vjp, flops=per_input(4),
         samples=var_samples,
         bad=lambda draw: [Bad(ShapeError, "out of range", draw.normal(2, 3), 2),
                           Bad(ArgumentError, "correction", draw.normal(3), 0, "one")])


def std(x, axis=None, correction=0, keepdims=False):
    """Standard deviation over axes: sqrt(var(x)). The gradient is NaN where it is 0."""
    return sqrt(var(x, axis, correction, keepdims))


# ---- extremes

def extreme_vjp(g, needs, x, out, x_shape, axis, keepdims):
    ties = astype(equal(x, spread(out, x_shape, axis, keepdims)), g.dtype)
    return ties * spread(g, x_shape, axis, keepdims) / sum(ties, axis, True)


def max_infer(x, axis, keepdims):
    return plan_of("max", x, axis, keepdims, x.dtype, identity=False)


max = op("max", "x", "Largest element over axes; NaN wins. Ties share the gradient evenly.",
         formula="max_i x_i", attrs=AXES, kernel="max", layout="strided", infer=max_infer,
         saves={"x": "x out"}, vjp=extreme_vjp, flops=per_input(1),
         samples=reducing(distinct=True, empty=False), bad=nothing_left)


def min_infer(x, axis, keepdims):
    return plan_of("min", x, axis, keepdims, x.dtype, identity=False)


min = op("min", "x", "Smallest element over axes; NaN wins. Ties share the gradient evenly.",
         formula="min_i x_i", attrs=AXES, kernel="min", layout="strided", infer=min_infer,
         saves={"x": "x out"}, vjp=extreme_vjp, flops=per_input(1),
         samples=reducing(distinct=True, empty=False), bad=nothing_left)


def logsumexp_infer(x, axis, keepdims):
    return plan_of("logsumexp", x, axis, keepdims, x.dtype)


def logsumexp_vjp(g, needs, x, out, x_shape, axis, keepdims):
    return (exp(x - spread(out, x_shape, axis, keepdims))
            * spread(g, x_shape, axis, keepdims))


logsumexp = op("logsumexp", "x", "Logarithm of the sum of exponentials, without overflow; -inf of "
               "nothing.", formula="log sum_i e^x_i", attrs=AXES, kernel="logsumexp",
               layout="strided", infer=logsumexp_infer, promote="float", saves={"x": "x out"},
               vjp=logsumexp_vjp, flops=per_input(3), samples=reducing(finite=False),
               bad=bad_axes)


def arg_infer(name):
    def infer(x, axis, keepdims):
        if isinstance(axis, (tuple, list)):
            raise ArgumentError(f"{name}: axis must be one integer or None, got {axis!r}")
        plan = plan_of(name, x, axis, keepdims, dtypes.int64, identity=False)
        one = -1 if axis is None else normal_axis(name, axis, len(x.shape))
        return plan._replace(ia=(one, int(keepdims)))
    return infer


def arg_samples(draw):
    return [Sample(draw.distinct(2, 3), check_grad=False),
            Sample(draw.distinct(2, 3), 0, check_grad=False),
            Sample(draw.distinct(2, 3, 2), -2, keepdims=True, check_grad=False),
            Sample(draw.ints(0, 3, 3, 4), 1, check_grad=False),
            Sample(draw.normal(), check_grad=False), Sample(draw.normal(0, 3), 1, check_grad=False)]


def arg_bad(draw):
    return [Bad(ShapeError, "out of range", draw.normal(2, 3), 2),
            Bad(ShapeError, "no elements", draw.normal(0)),
            Bad(ArgumentError, "one integer", draw.normal(2, 3), (0, 1))]


argmax = op("argmax", "x", "Index of the largest element along an axis (None: of x flattened); the "
            "first of ties; NaN wins.", formula="argmax_i x_i", attrs=AXES, kernel="argmax",
            layout="strided", infer=arg_infer("argmax"), flops=per_input(1), samples=arg_samples,
            bad=arg_bad)

argmin = op("argmin", "x", "Index of the smallest element along an axis (None: of x flattened); "
            "the first of ties; NaN wins.", formula="argmin_i x_i", attrs=AXES, kernel="argmin",
            layout="strided", infer=arg_infer("argmin"), flops=per_input(1), samples=arg_samples,
            bad=arg_bad)


# ---- truth

def any_infer(x, axis, keepdims):
    return plan_of("any", x, axis, keepdims, dtypes.bool_)


def truth_samples(draw):
    return [Sample(draw.bools(2, 3)), Sample(draw.bools(2, 3), 0),
            Sample(draw.normal(2, 3, 2), (0, 2), keepdims=True, check_grad=False),
            Sample(draw.bools(0, 3), 0), Sample(draw.ints(0, 2, 4), check_grad=False)]


any = op("any", "x", "True where at least one element is not 0.", formula="or_i x_i != 0",
         attrs=AXES, kernel="any", layout="strided", infer=any_infer, samples=truth_samples,
         bad=bad_axes)


def all_infer(x, axis, keepdims):
    return plan_of("all", x, axis, keepdims, dtypes.bool_)


all = op("all", "x", "True where no element is 0.", formula="and_i x_i != 0", attrs=AXES,
         kernel="all", layout="strided", infer=all_infer, samples=truth_samples, bad=bad_axes)


# ---- running sum

def cumulative_sum_infer(x, axis):
    axis = normal_axis("cumulative_sum", axis, len(x.shape))
    return Plan([(x.shape, widened(x.dtype))], ia=(axis,), attrs=(axis,))


def cumulative_sum_vjp(g, needs, axis):
    return flip(cumulative_sum(flip(g, axis), axis), axis)


cumulative_sum = op("cumulative_sum", "x", "Running sum along an axis.",
                    formula="out_i = sum_{j <= i} x_j", attrs={"axis": -1},
                    kernel="cumulative_sum", layout="strided", infer=cumulative_sum_infer,
                    linear=True, vjp=cumulative_sum_vjp, flops=per_input(1),
                    samples=lambda draw: [
                        Sample(draw.normal(4)), Sample(draw.normal(2, 3), 0),
                        Sample(draw.normal(2, 3), -1), Sample(draw.normal(2, 0), 1),
                        Sample(draw.ints(0, 5, 4), check_grad=False)],
                    bad=lambda draw: [Bad(ShapeError, "out of range", draw.normal(2, 3), 2),
                                      Bad(ShapeError, "out of range", draw.normal())])
