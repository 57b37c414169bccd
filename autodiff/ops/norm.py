"""Layer and batch normalisation, fused: one kernel forward, one backward.

Both keep one mean and one scale for each group that is normalised, never the normalised array.
Invariant: `needs` in a backward operation says which gradients are computed; the others have no
element.
"""

import math

import numpy as np

from ..errors import ArgumentError, DtypeError, ShapeError, ValueRangeError
from ..infer import need_fit, need_float
from ..op import Plan, op, registry
from ..samples import Bad, Sample


def wanted(shapes, dtype, needs):
    """Outputs of a backward operation: shape (0,) where the gradient is not wanted."""
    return [(shape if needs >> k & 1 else (0,), dtype) for k, shape in enumerate(shapes)]


def per_group(name, shape, what, **arrays):
    """ShapeError unless each of the arrays has `shape`."""
    for arg, x in arrays.items():
        if x is not None and x.shape != shape:
            raise ShapeError(f"{name}: {arg} must have shape {shape} ({what}), got {x.shape}")


def pick(grads, needs, count):
    """The gradients that were wanted, None for the others."""
    return tuple(g if needs >> k & 1 else None for k, g in enumerate(grads[:count]))


def need_eps(name, eps):
    if not eps >= 0:
        raise ValueRangeError(f"{name}: eps must not be negative, got {eps}")
    return float(eps)


# Layer norm -----------------------------------------------------------------------------------

def layer_axes(name, x, normalized_ndim):
    """(leading shape, normalised shape) of x."""
    need_float(name, x=x)
    if isinstance(normalized_ndim, bool) or not hasattr(normalized_ndim, "__index__"):
        raise ArgumentError(f"{name}: normalized_ndim must be an integer, got {normalized_ndim!r}")
    if not 1 <= normalized_ndim <= len(x.shape):
        raise ShapeError(f"{name}: normalized_ndim must be between 1 and {len(x.shape)} for shape "
                         f"{x.shape}, got {normalized_ndim}")
    lead = len(x.shape) - normalized_ndim
    return x.shape[:lead], x.shape[lead:]


def layer_norm_infer(x, weight, bias, normalized_ndim, eps):
    lead, normal = layer_axes("layer_norm", x, normalized_ndim)
    per_group("layer_norm", normal, "the normalised axes of x", weight=weight, bias=bias)
    return Plan([(x.shape, x.dtype), (lead, x.dtype), (lead, x.dtype)],
                ia=(int(normalized_ndim),), fa=(need_eps("layer_norm", eps),))


def layer_norm_backward_infer(g, x, weight, mean, rstd, normalized_ndim, needs):
    name = "layer_norm_backward"
    lead, normal = layer_axes(name, x, normalized_ndim)
    need_fit(name, x.dtype, g=(g, x.shape), weight=(weight, normal), mean=(mean, lead),
             rstd=(rstd, lead))
    return Plan(wanted((x.shape, normal, normal), x.dtype, needs),
                ia=(int(normalized_ndim), int(needs)))


def layer_norm_vjp(g, needs, x, weight, mean, rstd, normalized_ndim):
    grads = layer_norm_backward(g, x, weight, mean, rstd, normalized_ndim, needs)
    return pick(grads, needs, 3)


def layer_norm_composite(x, weight=None, bias=None, normalized_ndim=1, eps=1e-5):
    axes = tuple(range(-normalized_ndim, 0))
    centred = x - x.mean(axis=axes, keepdims=True)
    out = centred / ((centred * centred).mean(axis=axes, keepdims=True) + eps).sqrt()
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def layer_chunks(rows):
    """Parts of the rows whose sums are added up in one order, whatever the threads."""
    return max(1, min(32, rows // 16))


def layer_norm_scratch(plan, g, x, weight, *inputs, threads=1, normalized_ndim=1, needs=7):
    if not needs & 6:
        return 0
    lead = len(x.shape) - normalized_ndim
    return (layer_chunks(math.prod(x.shape[:lead])) * 2 * math.prod(x.shape[lead:])
            * x.dtype.itemsize)


def layer_norm_samples(draw):
    x = draw.normal(4, 5)
    return [Sample(x), Sample(x, draw.positive(5), draw.normal(5)), Sample(x, draw.positive(5)),
            Sample(x, None, draw.normal(5), eps=0.1),
            Sample(draw.normal(2, 3, 4), draw.positive(3, 4), draw.normal(3, 4), 2),
            Sample(draw.normal(6), draw.positive(6)), Sample(draw.normal(0, 3), draw.normal(3))]


def layer_norm_bad(draw):
    x = draw.normal(4, 5)
    return [Bad(ShapeError, "weight must have shape", x, draw.normal(4)),
            Bad(ShapeError, "bias must have shape", x, None, draw.normal(5, 1)),
            Bad(ShapeError, "normalized_ndim", x, normalized_ndim=3),
            Bad(ValueRangeError, "eps", x, eps=-1.0)]


def layer_norm_backward_samples(draw):
    x = draw.normal(4, 5)
    rest = (draw.normal(4), draw.positive(4))
    return [Sample(draw.normal(4, 5), x, w, *rest, 1, needs, check_grad=False)
            for w, needs in [(None, 1), (draw.positive(5), 7), (draw.positive(5), 6)]]


def layer_norm_backward_bad(draw):
    return [Bad(ShapeError, "mean must have shape", draw.normal(4, 5), draw.normal(4, 5), None,
                draw.normal(5), draw.normal(4))]


layer_norm = op(
    "layer_norm", "x weight? bias?", "Zero mean and unit variance over the last axes, then an "
    "affine map; x is (..., *normalized), weight and bias (*normalized).",
    formula="(x - mean(x)) / sqrt(var(x) + eps) * weight + bias",
    attrs={"normalized_ndim": 1, "eps": 1e-5}, residuals="mean rstd", kernel="layer_norm",
    infer=layer_norm_infer, promote="float", vjp=layer_norm_vjp, composite=layer_norm_composite,
    saves={"x weight bias": "x weight bias mean rstd"},
    flops=lambda plan, x, *inputs, **attrs: 8 * math.prod(x.shape), samples=layer_norm_samples,
    bad=layer_norm_bad, source="Ba et al., Layer Normalization (2016)")

layer_norm_backward = op(
    "layer_norm_backward", "g x weight? mean rstd", "Gradients of layer_norm.",
    formula="rstd * (gw - mean(gw) - n * mean(gw * n)), n = (x - mean) * rstd, gw = g * weight",
    attrs={"normalized_ndim": 1, "needs": 7}, outputs="dx dweight dbias",
    kernel="layer_norm_backward", infer=layer_norm_backward_infer, method=False,
    flops=lambda plan, g, x, *inputs, **attrs: 14 * math.prod(x.shape),
    scratch=layer_norm_scratch, samples=layer_norm_backward_samples, bad=layer_norm_backward_bad)


# Batch norm -----------------------------------------------------------------------------------

def channels(name, x):
    """(C,) of x, which is (N, C) or (N, C, ...)."""
    need_float(name, x=x)
    if len(x.shape) < 2:
        raise ShapeError(f"{name}: x must be (N, C) or (N, C, ...), got shape {x.shape}")
    return (x.shape[1],)


def batch_norm_infer(x, weight, bias, eps):
    c = channels("batch_norm", x)
    per_group("batch_norm", c, "one for each channel", weight=weight, bias=bias)
    if c[0] and math.prod(x.shape) == c[0]:
        raise ShapeError("batch_norm: the statistics need more than one value for each channel, "
                         f"got shape {x.shape}")
    return Plan([(x.shape, x.dtype), (c, x.dtype), (c, x.dtype)],
                fa=(need_eps("batch_norm", eps),))


def batch_norm_backward_infer(g, x, weight, mean, var, eps, needs):
    name = "batch_norm_backward"
    c = channels(name, x)
    need_fit(name, x.dtype, g=(g, x.shape), weight=(weight, c), mean=(mean, c), var=(var, c))
    return Plan(wanted((x.shape, c, c), x.dtype, needs), ia=(int(needs),), fa=(float(eps),))


def batch_norm_vjp(g, needs, x, weight, mean, var, eps):
    """Gradients through the output, and through the statistics where these were used."""
    g_out, g_mean, g_var = g
    grads = (None, None, None)
    if g_out is not None:
        grads = pick(batch_norm_backward(g_out, x, weight, mean, var, eps, needs), needs, 3)
    if not needs & 1 or (g_mean is None and g_var is None):
        return grads
    column = (1, x.shape[1]) + (1,) * (len(x.shape) - 2)
    share = x.shape[1] / max(math.prod(x.shape), 1)
    dx = grads[0]
    if g_var is not None:
        part = (x - mean.reshape(column)) * (g_var * (2 * share)).reshape(column)
        dx = part if dx is None else dx + part
    if g_mean is not None:
        part = (g_mean * share).reshape(column)
        dx = registry["broadcast_to"].call(part, x.shape) if dx is None else dx + part
    return (dx, *grads[1:])


def batch_norm_composite(x, weight=None, bias=None, eps=1e-5):
    axes = (0, *range(2, len(x.shape)))
    column = (1, x.shape[1]) + (1,) * (len(x.shape) - 2)
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    var = (centred * centred).mean(axis=axes, keepdims=True)
    out = centred / (var + eps).sqrt()
    out = out if weight is None else out * weight.reshape(column)
    out = out if bias is None else out + bias.reshape(column)
    return out, mean.reshape((x.shape[1],)), var.reshape((x.shape[1],))


def batch_norm_samples(draw):
    x = draw.normal(6, 3)
    return [Sample(x), Sample(x, draw.positive(3), draw.normal(3)), Sample(x, draw.positive(3)),
            Sample(draw.normal(2, 3, 2, 2), draw.positive(3), draw.normal(3), eps=0.1),
            Sample(draw.normal(2, 2, 5), None, draw.normal(2)), Sample(draw.normal(3, 0))]


def batch_norm_bad(draw):
    return [Bad(ShapeError, r"\(N, C\)", draw.normal(4)),
            Bad(ShapeError, "more than one value", draw.normal(1, 4)),
            Bad(ShapeError, "weight must have shape", draw.normal(4, 3), draw.normal(4))]


def batch_norm_backward_samples(draw):
    x, g = draw.normal(4, 3, 2), draw.normal(4, 3, 2)
    rest = (draw.normal(3), draw.positive(3))
    return [Sample(g, x, w, *rest, 1e-5, needs, check_grad=False)
            for w, needs in [(None, 1), (draw.positive(3), 7), (draw.positive(3), 6)]]


def batch_norm_backward_bad(draw):
    x = draw.normal(4, 3)
    return [Bad(ShapeError, "var must have shape", x, x, None, draw.normal(3), draw.normal(4))]


batch_norm = op(
    "batch_norm", "x weight? bias?", "Zero mean and unit variance of each channel over the batch, "
    "then an affine map; x is (N, C) or (N, C, ...). Returns (out, mean, biased variance).",
    formula="(x - mean) / sqrt(var + eps) * weight + bias", attrs={"eps": 1e-5},
    outputs="out mean var", kernel="batch_norm", infer=batch_norm_infer, promote="float",
    vjp=batch_norm_vjp, composite=batch_norm_composite,
    saves={"x weight bias": "x weight bias mean var"},
    flops=lambda plan, x, *inputs, **attrs: 8 * math.prod(x.shape), samples=batch_norm_samples,
    bad=batch_norm_bad, source="Ioffe and Szegedy, Batch Normalization (2015)")

batch_norm_backward = op(
    "batch_norm_backward", "g x weight? mean var", "Gradients of batch_norm's output.",
    formula="rstd * weight * (g - mean(g) - n * mean(g * n)), n = (x - mean) * rstd",
    attrs={"eps": 1e-5, "needs": 7}, outputs="dx dweight dbias", kernel="batch_norm_backward",
    infer=batch_norm_backward_infer, method=False,
    flops=lambda plan, g, x, *inputs, **attrs: 12 * math.prod(x.shape),
    samples=batch_norm_backward_samples, bad=batch_norm_backward_bad)


# With given statistics ------------------------------------------------------------------------

def inference_infer(x, mean, var, weight, bias, eps):
    name = "batch_norm_inference"
    c = channels(name, x)
    per_group(name, c, "one for each channel", mean=mean, var=var, weight=weight, bias=bias)
    return Plan([(x.shape, x.dtype)], fa=(need_eps(name, eps),))


def inference_vjp(g, needs, x, mean, var, weight, eps):
    """Plain primitives: the map is affine in x."""
    c, nd = g.shape[1], len(g.shape)
    axes, column = (0, *range(2, nd)), (1, c) + (1,) * (nd - 2)
    rstd = 1 / (var + eps).sqrt()
    scale = rstd if weight is None else rstd * weight
    dx = g * scale.reshape(column) if needs & 1 else None
    dmean = dvar = dweight = dbias = None
    if needs & (2 | 16):
        dbias = g.sum(axis=axes)
        dmean = -dbias * scale if needs & 2 else None
        dbias = dbias if needs & 16 else None
    if needs & (4 | 8):
        dweight = (g * (x - mean.reshape(column))).sum(axis=axes) * rstd
        if needs & 4:
            dvar = dweight * scale * rstd * -0.5
        dweight = dweight if needs & 8 else None
    return dx, dmean, dvar, dweight, dbias


def inference_samples(draw):
    def make(*shape, affine=True):
        c = shape[1]
        rest = (draw.positive(c), draw.normal(c)) if affine else ()
        return Sample(draw.normal(*shape), draw.normal(c), draw.positive(c), *rest)
    return [make(4, 3), make(2, 3, 2, 2), make(1, 2, 3, affine=False), make(0, 3)]


def inference_bad(draw):
    return [Bad(ShapeError, "mean must have shape", draw.normal(4, 3), draw.normal(4),
                draw.positive(3))]


batch_norm_inference = op(
    "batch_norm_inference", "x mean var weight? bias?",
    "Batch normalisation with given statistics, as a trained model uses it.",
    formula="(x - mean) / sqrt(var + eps) * weight + bias", attrs={"eps": 1e-5},
    kernel="batch_norm_inference", infer=inference_infer, promote="float", vjp=inference_vjp,
    saves={"x": "var weight", "mean": "var weight", "bias": "var weight",
           "var weight": "x mean var weight"}, method=False,
    flops=lambda plan, x, *inputs, **attrs: 2 * math.prod(x.shape), samples=inference_samples,
    bad=inference_bad)


def update_infer(running_mean, running_var, mean, var, count, n, momentum):
    name = "batch_norm_update_"
    need_float(name, running_mean=running_mean, running_var=running_var, mean=mean, var=var)
    per_group(name, running_mean.shape, "that of running_mean", running_var=running_var,
              mean=mean, var=var)
    per_group(name, (), "a number", count=count)
    return Plan([], ia=(int(n),), fa=(float(momentum),))


batch_norm_update_ = op(
    "batch_norm_update_", "running_mean running_var mean var count?",
    "Move running statistics toward those of a batch of n values a channel, in place; by "
    "1 / count where a count is given. The running variance is the unbiased one.",
    formula="running += momentum * (batch - running)", attrs={"n": 2, "momentum": 0.1},
    outputs="", writes="running_mean running_var", kernel="batch_norm_update_",
    infer=update_infer, method=False,
    flops=lambda plan, mean, *inputs, **attrs: 7 * math.prod(mean.shape),
    samples=lambda draw: [
        Sample(draw.normal(3), draw.positive(3), draw.normal(3), draw.positive(3), None, 10,
               check_grad=False),
        Sample(draw.normal(3), draw.positive(3), draw.normal(3), draw.positive(3), np.array(4), 2,
               check_grad=False)],
    bad=lambda draw: [Bad(ShapeError, "var must have shape", draw.normal(3), draw.positive(3),
                          draw.normal(3), draw.positive(2)),
                      Bad(DtypeError, "running_var must be float", draw.normal(3),
                          draw.ints(1, 9, 3), draw.normal(3), draw.positive(3)),
                      Bad(DtypeError, "var must be float", draw.normal(3), draw.positive(3),
                          draw.normal(3), draw.ints(1, 9, 3))])
