"""Binary cross-entropy of logits: one pass forward and one backward.

A primitive for its speed: as a composition it is ten operations, and its backward as many again.
Invariant: no exponential overflows, and at 0 the slope is 1/2 - y.
"""

import math

from ..errors import ShapeError
from ..infer import need_fit, need_float
from ..op import Plan, op
from ..samples import Bad, Sample
from .elementwise import exp, log1p, where
from .loss import reduction_code


def check(name, x, y, reduction):
    need_float(name, x=x, y=y)
    if x.shape != y.shape:
        raise ShapeError(f"{name}: x has shape {x.shape}, y has shape {y.shape}; a loss does not "
                         "broadcast, reshape one of them")
    return (reduction_code(name, reduction),)


def bce_infer(x, y, reduction):
    ia = check("bce_with_logits", x, y, reduction)
    return Plan([(() if ia[0] else x.shape, x.dtype)], ia)


def bce_backward_infer(g, x, y, reduction):
    ia = check("bce_with_logits_backward", x, y, reduction)
    need_fit("bce_with_logits_backward", x.dtype, g=(g, () if ia[0] else x.shape))
    return Plan([(x.shape, x.dtype)], ia)


def bce_vjp(g, needs, x, y, reduction):
    """The slope is sigmoid(x) - y in x and -x in y, over n for a mean."""
    dx = bce_with_logits_backward(g, x, y, reduction) if needs & 1 else None
    if not needs & 2:
        return dx, None
    share = 1 / max(math.prod(x.shape), 1) if reduction == "mean" else 1.0
    return dx, -x * (g * share)


def bce_composite(x, y, reduction="mean"):
    """Smooth at 0, as the loss is."""
    positive = x > 0
    loss = where(positive, x, 0.0) - x * y + log1p(exp(where(positive, -x, x)))
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def bce_scratch(plan, x, *inputs, threads=1, **attrs):
    """One partial sum, in double, for each block of 4096 elements."""
    return 8 * (math.prod(x.shape) // 4096 + 1) if plan.ia[0] else 0


def bce_samples(draw):
    def pair(*shape, **attrs):
        return Sample(draw.normal(*shape), draw.uniform(0, 1, *shape), **attrs)
    return [pair(), pair(5), pair(2, 3), pair(2, 3, reduction="sum"),
            pair(4, 3, reduction="none"), pair(0, 3, reduction="sum")]


def bce_bad(draw):
    return [Bad(ShapeError, "does not broadcast", draw.normal(5, 1), draw.normal(5))]


def bce_backward_samples(draw):
    return [Sample(draw.normal(), draw.normal(2, 3), draw.normal(2, 3), check_grad=False),
            Sample(draw.normal(3), draw.normal(3), draw.normal(3), reduction="none",
                   check_grad=False)]


def bce_backward_bad(draw):
    return [Bad(ShapeError, "g must have shape", draw.normal(3), draw.normal(3), draw.normal(3))]


bce_with_logits = op(
    "bce_with_logits", "x y", "Binary cross-entropy of logits x with targets y in [0, 1], of one "
    "shape: mean, sum or each.",
    formula="mean(max(x, 0) - x * y + log(1 + exp(-|x|)))", attrs={"reduction": "mean"},
    kernel="bce_with_logits", infer=bce_infer, promote="float", method=False,
    saves={"x": "x y", "y": "x"}, vjp=bce_vjp, composite=bce_composite,
    flops=lambda plan, x, y, **attrs: 8 * math.prod(x.shape), scratch=bce_scratch,
    samples=bce_samples, bad=bce_bad)

bce_with_logits_backward = op(
    "bce_with_logits_backward", "g x y",
    "Gradient of bce_with_logits with respect to x.",
    formula="g * (sigmoid(x) - y) / n", attrs={"reduction": "mean"},
    kernel="bce_with_logits_backward", infer=bce_backward_infer, method=False,
    flops=lambda plan, g, x, y, **attrs: 6 * math.prod(x.shape), samples=bce_backward_samples,
    bad=bce_backward_bad)
