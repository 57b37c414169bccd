"""Root-mean-square normalisation, fused: a composition takes eight passes, and keeps two arrays.

Invariant: one scale is kept for each row that is normalised, never the normalised array.
"""

import math

from ..errors import ShapeError, ValueRangeError
from ..infer import need_fit
from ..op import Plan, op
from ..samples import Bad, Sample
from .norm import layer_axes, layer_chunks, need_eps, per_group, pick, wanted


def rms_norm_infer(x, weight, normalized_ndim, eps):
    lead, normal = layer_axes("rms_norm", x, normalized_ndim)
    per_group("rms_norm", normal, "the normalised axes of x", weight=weight)
    return Plan([(x.shape, x.dtype), (lead, x.dtype)], ia=(int(normalized_ndim),),
                fa=(need_eps("rms_norm", eps),))


def rms_norm_backward_infer(g, x, weight, rstd, normalized_ndim, needs):
    name = "rms_norm_backward"
    lead, normal = layer_axes(name, x, normalized_ndim)
    need_fit(name, x.dtype, g=(g, x.shape), weight=(weight, normal), rstd=(rstd, lead))
    return Plan(wanted((x.shape, normal), x.dtype, needs), ia=(int(normalized_ndim), int(needs)))


def rms_norm_vjp(g, needs, x, weight, rstd, normalized_ndim):
    return pick(rms_norm_backward(g, x, weight, rstd, normalized_ndim, needs), needs, 2)


def rms_norm_composite(x, weight=None, normalized_ndim=1, eps=1e-5):
    axes = tuple(range(-normalized_ndim, 0))
    out = x / ((x * x).mean(axis=axes, keepdims=True) + eps).sqrt()
    return out if weight is None else out * weight


def rms_norm_scratch(plan, g, x, weight, *inputs, threads=1, normalized_ndim=1, needs=3):
    if not needs & 2:
        return 0
    lead = len(x.shape) - normalized_ndim
    return layer_chunks(math.prod(x.shape[:lead])) * math.prod(x.shape[lead:]) * x.dtype.itemsize


def rms_norm_samples(draw):
    x = draw.normal(4, 5)
    return [Sample(x), Sample(x, draw.positive(5)), Sample(x, None, eps=0.1),
            Sample(draw.normal(2, 3, 4), draw.positive(3, 4), 2),
            Sample(draw.normal(6), draw.positive(6)), Sample(draw.normal(0, 3), draw.normal(3))]


def rms_norm_bad(draw):
    x = draw.normal(4, 5)
    return [Bad(ShapeError, "weight must have shape", x, draw.normal(4)),
            Bad(ShapeError, "normalized_ndim", x, normalized_ndim=3),
            Bad(ValueRangeError, "eps", x, eps=-1.0)]


def rms_norm_backward_samples(draw):
    x, rstd = draw.normal(4, 5), draw.positive(4)
    return [Sample(draw.normal(4, 5), x, w, rstd, 1, needs, check_grad=False)
            for w, needs in [(None, 1), (draw.positive(5), 3), (draw.positive(5), 2)]]


rms_norm = op(
    "rms_norm", "x weight?", "Unit mean square over the last axes, then a scale; x is "
    "(..., *normalized), weight (*normalized).", formula="x / sqrt(mean(x**2) + eps) * weight",
    attrs={"normalized_ndim": 1, "eps": 1e-5}, residuals="rstd", kernel="rms_norm",
    infer=rms_norm_infer, promote="float", vjp=rms_norm_vjp, composite=rms_norm_composite,
    saves={"x weight": "x weight rstd"},
    flops=lambda plan, x, *inputs, **attrs: 4 * math.prod(x.shape), samples=rms_norm_samples,
    bad=rms_norm_bad, source="Zhang and Sennrich, Root Mean Square Layer Normalization (2019)")

rms_norm_backward = op(
    "rms_norm_backward", "g x weight? rstd", "Gradients of rms_norm.",
    formula="rstd * (gw - n * mean(gw * n)), n = x * rstd, gw = g * weight",
    attrs={"normalized_ndim": 1, "needs": 3}, outputs="dx dweight", kernel="rms_norm_backward",
    infer=rms_norm_backward_infer, method=False,
    flops=lambda plan, g, x, *inputs, **attrs: 9 * math.prod(x.shape), scratch=rms_norm_scratch,
    samples=rms_norm_backward_samples,
    bad=lambda draw: [Bad(ShapeError, "rstd must have shape", draw.normal(4, 5), draw.normal(4, 5),
                          None, draw.normal(5))])
