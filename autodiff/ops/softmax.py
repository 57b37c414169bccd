"""Softmax and its logarithm along one axis.

Both save their output alone.  Invariant: the backward operations have rules of their own, so any
order of derivative needs nothing but that output.
"""

import math

from ..errors import ShapeError
from ..infer import need_float, normal_axis
from ..op import Plan, op
from ..samples import Bad, Sample


def softmax_infer(x, axis):
    need_float("softmax", x=x)
    axis = normal_axis("softmax", axis, len(x.shape))
    return Plan([(x.shape, x.dtype)], ia=(axis,), attrs=(axis,))


def softmax_backward_infer(g, y, axis):
    if g.shape != y.shape:
        raise ShapeError(f"softmax_backward: g has shape {g.shape}, y has shape {y.shape}")
    return softmax_infer(y, axis)


def softmax_samples(draw):
    return [Sample(draw.normal(5)), Sample(draw.normal(3, 4)), Sample(draw.normal(3, 4), axis=0),
            Sample(draw.normal(2, 3, 4), axis=1), Sample(draw.normal(2, 17) * 5),
            Sample(draw.normal(0, 3)), Sample(draw.normal(3, 0)), Sample(draw.normal(2, 1))]


def softmax_bad(draw):
    return [Bad(ShapeError, "axis 2", draw.normal(3, 4), axis=2),
            Bad(ShapeError, "axis -1", draw.normal())]


def backward_samples(draw):
    def pair(*shape, axis):
        return Sample(draw.normal(*shape), draw.uniform(0.1, 0.5, *shape), axis=axis)
    return [pair(5, axis=-1), pair(3, 4, axis=0), pair(2, 3, 4, axis=1), pair(2, 0, axis=1)]


def backward_bad(draw):
    return [Bad(ShapeError, "g has shape", draw.normal(3), draw.normal(4))]


def softmax_vjp(g, needs, out, axis):
    """d out_i / d x_j = out_i ([i = j] - out_j), so gx_j = out_j (g_j - sum_i g_i out_i)."""
    return softmax_backward(g, out, axis)


def log_softmax_vjp(g, needs, out, axis):
    """d out_i / d x_j = [i = j] - e^out_j, so gx_j = g_j - e^out_j sum_i g_i."""
    return log_softmax_backward(g, out, axis)


def softmax_backward_vjp(u, needs, g, y, axis):
    dg = softmax_backward(u, y, axis) if needs & 1 else None
    dy = None
    if needs & 2:
        dy = u * (g - (g * y).sum(axis=axis, keepdims=True)) \
            - g * (u * y).sum(axis=axis, keepdims=True)
    return dg, dy


def log_softmax_backward_vjp(u, needs, g, y, axis):
    p = y.exp()
    dg = u - (u * p).sum(axis=axis, keepdims=True) if needs & 1 else None
    dy = -(u * p * g.sum(axis=axis, keepdims=True)) if needs & 2 else None
    return dg, dy


def _flops(per_element):
    return lambda plan, *inputs, **attrs: per_element * math.prod(plan.outputs[0][0])


softmax = op(
    "softmax", "x", "Exponentials along an axis, scaled to sum to 1.",
    formula="exp(x - max(x)) / sum(exp(x - max(x)))", attrs={"axis": -1}, kernel="softmax",
    infer=softmax_infer, promote="float", saves={"x": "out"}, vjp=softmax_vjp,
    flops=_flops(5), samples=softmax_samples, bad=softmax_bad)

log_softmax = op(
    "log_softmax", "x", "Logarithm of the softmax along an axis, without underflow.",
    formula="x - max(x) - log(sum(exp(x - max(x))))", attrs={"axis": -1}, kernel="log_softmax",
    infer=softmax_infer, promote="float", saves={"x": "out"}, vjp=log_softmax_vjp,
    flops=_flops(5), samples=softmax_samples, bad=softmax_bad)

# One pass instead of four, and no temporaries: both run in every classifier's backward.
softmax_backward = op(
    "softmax_backward", "g y", "Gradient of softmax, from its output y.",
    formula="y * (g - sum(g * y))", attrs={"axis": -1}, kernel="softmax_backward",
    infer=softmax_backward_infer, promote="float", saves={"g": "y", "y": "g y"},
    vjp=softmax_backward_vjp, method=False, flops=_flops(4), samples=backward_samples,
    bad=backward_bad)

log_softmax_backward = op(
    "log_softmax_backward", "g y", "Gradient of log_softmax, from its output y.",
    formula="g - exp(y) * sum(g)", attrs={"axis": -1}, kernel="log_softmax_backward",
    infer=softmax_backward_infer, promote="float", saves={"g": "y", "y": "g y"},
    vjp=log_softmax_backward_vjp, method=False, flops=_flops(4), samples=backward_samples,
    bad=backward_bad)
