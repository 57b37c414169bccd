"""Losses that earn a kernel: softmax with cross-entropy, and the mean squared error.

Invariant: shapes that would broadcast are refused, and the backward keeps one number a row (the
log-sum-exp) beside the inputs, never the probabilities.
"""

import math

import numpy as np

from ..errors import ArgumentError, DtypeError, IndexRangeError, ShapeError, ValueRangeError
from ..infer import need_fit, need_float
from ..op import Plan, op, registry
from ..samples import Bad, Sample
from .softmax import log_softmax

REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def reduction_code(name, reduction):
    """0, 1, 2 for "none", "mean", "sum"; ArgumentError otherwise."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ArgumentError(f"{name}: reduction must be 'none', 'mean' or 'sum', "
                            f"got {reduction!r}")
    return REDUCTIONS[reduction]


def class_axis(shape):
    """Where the classes are: axis 1 of a batch, axis 0 of a single example."""
    return 1 if len(shape) > 1 else 0


def cross_entropy_check(logits, target, weight, ignore_index, reduction, label_smoothing):
    """The launch's integers and floats, and the shape of the labels."""
    name = "cross_entropy"
    need_float(name, logits=logits, weight=weight)
    if not logits.shape:
        raise ShapeError(f"{name}: logits must be (C,), (N, C) or (N, C, ...), got a scalar")
    axis = class_axis(logits.shape)
    rows = logits.shape[:axis] + logits.shape[axis + 1:]
    if target.dtype.kind not in "iu":
        raise DtypeError(f"{name}: target must hold integer class indices, got {target.dtype}")
    if target.shape != rows:
        raise ShapeError(f"{name}: logits of shape {logits.shape} need a target of shape {rows}, "
                         f"got {target.shape}")
    classes = logits.shape[axis]
    if weight is not None and weight.shape != (classes,):
        raise ShapeError(f"{name}: weight must have shape ({classes},), one for each class, "
                         f"got {weight.shape}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueRangeError(f"{name}: label_smoothing must be between 0 and 1, "
                              f"got {label_smoothing}")
    if not hasattr(ignore_index, "__index__"):
        raise ArgumentError(f"{name}: ignore_index must be an integer, got {ignore_index!r}")
    ia = reduction_code(name, reduction), ignore_index.__index__()
    return ia, (float(label_smoothing),), rows


def cross_entropy_infer(logits, target, weight, *attrs):
    ia, fa, rows = cross_entropy_check(logits, target, weight, *attrs)
    out = rows if ia[0] == 0 else ()
    return Plan([(out, logits.dtype), (rows, logits.dtype)], ia, fa)


def cross_entropy_backward_infer(g, logits, target, weight, lse, *attrs):
    ia, fa, rows = cross_entropy_check(logits, target, weight, *attrs)
    need_fit("cross_entropy_backward", logits.dtype, lse=(lse, rows),
             g=(g, () if ia[0] else rows))
    return Plan([(logits.shape, logits.dtype)], ia, fa)


def cross_entropy_vjp(g, needs, logits, target, weight, lse, out, ignore_index, reduction,
                      label_smoothing):
    """-log softmax(x)_t has slope softmax(x)_j - [j = t] in x_j: what is predicted less what is
    true."""
    attrs = ignore_index, reduction, label_smoothing
    dlogits = dweight = None
    if needs & 1:
        dlogits = cross_entropy_backward(g, logits, target, weight, lse, *attrs)
    if needs & 4:
        dweight = weight_gradient(g, logits, target, weight, lse, out, *attrs)
    return dlogits, None, dweight


def weight_gradient(g, logits, target, weight, lse, out, ignore_index, reduction,
                    label_smoothing):
    """Rarely wanted, so in primitives: the loss is linear in the weights, their mean a quotient."""
    where = registry["where"].call
    axis = class_axis(logits.shape)
    hit, ignored = hits(logits, target, ignore_index)
    rows = tuple(k for k in range(len(logits.shape)) if k != axis)
    spread = target.shape[:axis] + (1,) + target.shape[axis:]
    share = where(ignored, 0.0, g + lse * 0.0).reshape(spread)      # no loss, no gradient
    each = hit.astype(logits.dtype) * (1 - label_smoothing) + label_smoothing / logits.shape[axis]
    total = (share * each * (lse.reshape(spread) - logits)).sum(axis=rows)
    if reduction != "mean":
        return total
    counts = where(ignored.reshape(spread), 0.0, hit.astype(logits.dtype)).sum(axis=rows)
    return (total - g * out * counts) / (counts * weight).sum()


def hits(logits, target, ignore_index):
    """(where the class is the label, which labels are ignored), both bool."""
    equal = registry["equal"].call
    axis = class_axis(logits.shape)
    classes = logits.shape[axis]
    label = target.reshape(target.shape[:axis] + (1,) + target.shape[axis:])
    index = np.arange(classes).reshape((classes,) + (1,) * (len(logits.shape) - axis - 1))
    return equal(label, index), equal(target, ignore_index)


def cross_entropy_composite(logits, target, weight, ignore_index=-100, reduction="mean",
                            label_smoothing=0.0):
    where = registry["where"].call
    axis = class_axis(logits.shape)
    classes = logits.shape[axis]
    column = (classes,) + (1,) * (len(logits.shape) - axis - 1)
    log_p = log_softmax(logits, axis)
    hit, ignored = hits(logits, target, ignore_index)
    if weight is not None:
        log_p = log_p * weight.reshape(column)
    loss = -(1 - label_smoothing) * where(hit, log_p, 0.0).sum(axis=axis)
    if label_smoothing:
        loss = loss - label_smoothing / classes * log_p.sum(axis=axis)
    loss = where(ignored, 0.0, loss)
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    share = 1.0 if weight is None else where(hit, weight.reshape(column), 0.0).sum(axis=axis)
    counted = where(ignored, 0.0, share)
    return loss.sum() / counted.astype(logits.dtype).sum()


def cross_entropy_flops(plan, logits, *inputs, **attrs):
    return 5 * math.prod(logits.shape)


def cross_entropy_scratch(plan, logits, *inputs, threads=1, **attrs):
    """One loss a row, in double, to be summed in one order."""
    return 8 * math.prod(plan.outputs[1][0]) if plan.ia[0] else 0


def cross_entropy_samples(draw):
    x = draw.normal(5, 4)
    t = draw.ints(0, 4, 5)
    skip = np.array([0, -100, 3, 1, -100])
    image = (draw.normal(2, 3, 2, 2), draw.ints(0, 3, 2, 2, 2))
    w = draw.positive(4)
    return [Sample(x, t), Sample(x, t.astype(np.int32), reduction="sum"),
            Sample(x, skip, reduction="none"), Sample(x, skip, label_smoothing=0.1),
            Sample(x, skip, w), Sample(x, skip, w, label_smoothing=0.2, reduction="sum"),
            Sample(x, t, ignore_index=2), Sample(*image), Sample(*image, label_smoothing=0.3),
            Sample(draw.normal(4), np.array(2)), Sample(draw.normal(1, 40) * 20, np.array([7])),
            Sample(draw.normal(0, 4), draw.ints(0, 4, 0), reduction="sum")]


def cross_entropy_bad(draw):
    x, t = draw.normal(5, 4), draw.ints(0, 4, 5)
    return [Bad(IndexRangeError, "out of range", x, np.full(5, 4)),
            Bad(IndexRangeError, "out of range", x, np.full(5, -1)),
            Bad(ShapeError, "need a target of shape", x, draw.ints(0, 4, 5, 1)),
            Bad(DtypeError, "integer class indices", x, draw.normal(5)),
            Bad(ShapeError, "one for each class", x, t, draw.normal(3)),
            Bad(ArgumentError, "reduction", x, t, reduction="average"),
            Bad(ValueRangeError, "label_smoothing", x, t, label_smoothing=1.5)]


def cross_entropy_backward_samples(draw):
    x, t = draw.normal(5, 4), np.array([0, -100, 3, 1, 2])
    lse = np.asarray(np.log(np.exp(x).sum(axis=1)), x.dtype)
    w = draw.positive(4)
    return [Sample(draw.normal(), x, t, None, lse, check_grad=False),
            Sample(draw.normal(5), x, t, w, lse, reduction="none", label_smoothing=0.1,
                   check_grad=False)]


def cross_entropy_backward_bad(draw):
    x = draw.normal(5, 4)
    return [Bad(ShapeError, "target", draw.normal(), x, draw.ints(0, 4, 4), None, draw.normal(5))]


CROSS_ENTROPY = {"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0}

cross_entropy = op(
    "cross_entropy", "logits target weight?",
    "Cross-entropy of integer labels under the softmax of logits (N, C) or (N, C, ...).",
    formula="weight[target] * (log(sum(exp(logits))) - logits[target])", attrs=CROSS_ENTROPY,
    residuals="lse", kernel="cross_entropy", infer=cross_entropy_infer,
    promote="float logits weight",
    saves={"logits": "logits target weight lse", "weight": "logits target weight lse out"},
    vjp=cross_entropy_vjp, composite=cross_entropy_composite, flops=cross_entropy_flops,
    scratch=cross_entropy_scratch, samples=cross_entropy_samples, bad=cross_entropy_bad)

cross_entropy_backward = op(
    "cross_entropy_backward", "g logits target weight? lse",
    "Gradient of cross_entropy, its probabilities recomputed from the log-sum-exp.",
    formula="g * weight[target] * (exp(logits - lse) - one_hot(target))", attrs=CROSS_ENTROPY,
    kernel="cross_entropy_backward", infer=cross_entropy_backward_infer, method=False,
    flops=lambda plan, g, logits, *inputs, **attrs: 4 * math.prod(logits.shape),
    samples=cross_entropy_backward_samples,
    bad=cross_entropy_backward_bad)


# The fused form makes no temporary of the inputs' size, and keeps none for backward.

def mse_check(name, x, y, reduction):
    need_float(name, x=x, y=y)
    if x.shape != y.shape:
        raise ShapeError(f"{name}: x has shape {x.shape}, y has shape {y.shape}; a loss does not "
                         "broadcast, reshape one of them")
    return (reduction_code(name, reduction),)


def mse_infer(x, y, reduction):
    ia = mse_check("mse", x, y, reduction)
    return Plan([(() if ia[0] else x.shape, x.dtype)], ia)


def mse_backward_infer(g, x, y, reduction):
    ia = mse_check("mse_backward", x, y, reduction)
    need_fit("mse_backward", x.dtype, g=(g, () if ia[0] else x.shape))
    return Plan([(x.shape, x.dtype)], ia)


def mse_vjp(g, needs, x, y, reduction):
    """(x - y)^2 has slope 2 (x - y) in x and its negative in y, over n for a mean."""
    dx = mse_backward(g, x, y, reduction)
    return dx if needs & 1 else None, -dx if needs & 2 else None


def mse_composite(x, y, reduction="mean"):
    d = x - y
    squares = d * d
    if reduction == "none":
        return squares
    return squares.mean() if reduction == "mean" else squares.sum()


def mse_scratch(plan, x, *inputs, threads=1, **attrs):
    """One partial sum, in double, for each block of 4096 elements."""
    return 8 * (math.prod(x.shape) // 4096 + 1) if plan.ia[0] else 0


def mse_samples(draw):
    def pair(*shape, **attrs):
        return Sample(draw.normal(*shape), draw.normal(*shape), **attrs)
    return [pair(), pair(5), pair(2, 3), pair(2, 3, reduction="sum"),
            pair(4, 3, reduction="none"), pair(0, 3, reduction="sum")]


def mse_bad(draw):
    return [Bad(ShapeError, "does not broadcast", draw.normal(5, 1), draw.normal(5)),
            Bad(ArgumentError, "reduction", draw.normal(5), draw.normal(5), reduction=None)]


def mse_backward_samples(draw):
    return [Sample(draw.normal(), draw.normal(2, 3), draw.normal(2, 3), check_grad=False),
            Sample(draw.normal(3), draw.normal(3), draw.normal(3), reduction="none",
                   check_grad=False)]


def mse_backward_bad(draw):
    return [Bad(ShapeError, "g must have shape", draw.normal(3), draw.normal(3), draw.normal(3))]


mse = op(
    "mse", "x y", "Squared error of two arrays of one shape: mean, sum or each.",
    formula="mean((x - y)**2)", attrs={"reduction": "mean"}, kernel="mse", infer=mse_infer,
    promote="float", saves={"x": "x y", "y": "x y"}, vjp=mse_vjp, composite=mse_composite,
    flops=lambda plan, x, y, **attrs: 3 * math.prod(x.shape), scratch=mse_scratch,
    samples=mse_samples, bad=mse_bad)

mse_backward = op(
    "mse_backward", "g x y", "Gradient of mse with respect to x (that of y is its negative).",
    formula="g * 2 * (x - y) / n", attrs={"reduction": "mean"}, kernel="mse_backward",
    infer=mse_backward_infer, method=False,
    flops=lambda plan, g, x, y, **attrs: 3 * math.prod(x.shape), samples=mse_backward_samples,
    bad=mse_backward_bad)
