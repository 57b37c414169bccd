"""Scaled dot-product attention without the matrix of scores.

The forward runs over blocks of queries and keys with a running maximum; the backward recomputes
the probabilities of a block from one number a row, the log-sum-exp.  Invariant: memory grows with
L and S, never with L times S (the gradient of a floating mask, which has that shape, excepted).

Source: Dao et al., FlashAttention (2022); Milakov and Gimelshein, Online normalizer calculation
for softmax (2018).
"""

import math

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, DtypeError, ShapeError
from ..infer import broadcast_shape, need_fit, need_float
from ..op import Plan, op, registry
from ..samples import Bad, Sample
from .shape import swapaxes

# Rows and columns of a block of scores; kernels/attention.pyx has the same.
BLOCK_L, BLOCK_S = 64, 256


def attention_check(name, q, k, v, mask, is_causal, scale):
    """(batch shape, L, S, E, Ev, scale); the named error for shapes that do not fit."""
    need_float(name, q=q, k=k, v=v)
    for arg, x in (("q", q), ("k", k), ("v", v)):
        if len(x.shape) < 2:
            raise ShapeError(f"{name}: {arg} must be (..., length, features), got {x.shape}")
    if not q.dtype == k.dtype == v.dtype:
        raise DtypeError(f"{name}: q, k and v must have one dtype, got {q.dtype}, {k.dtype} and "
                         f"{v.dtype}")
    (length, e), (s, ek), (sv, ev) = q.shape[-2:], k.shape[-2:], v.shape[-2:]
    if e != ek:
        raise ShapeError(f"{name}: q has {e} features, k has {ek}: {q.shape} and {k.shape}")
    if s != sv:
        raise ShapeError(f"{name}: k has {s} positions, v has {sv}: {k.shape} and {v.shape}")
    batch = broadcast_shape(name, q.shape[:-2], k.shape[:-2], v.shape[:-2])
    if mask is not None:
        if mask.dtype != dtypes.bool_ and mask.dtype != q.dtype:
            raise DtypeError(f"{name}: mask must be bool or {q.dtype}, got {mask.dtype}")
        full = (*batch, length, s)
        if broadcast_shape(name, mask.shape, full) != full:
            raise ShapeError(f"{name}: mask of shape {mask.shape} does not broadcast to {full}")
    return batch, length, s, e, ev, attention_scale(name, e, is_causal, scale)


def attention_scale(name, e, is_causal, scale):
    """The factor of the scores of e features; the named error for what is neither."""
    if not isinstance(is_causal, (bool, np.bool_)):
        raise ArgumentError(f"{name}: is_causal must be a bool, got {is_causal!r}")
    if scale is None:
        return 1 / math.sqrt(e) if e else 1.0
    if isinstance(scale, str) or not hasattr(scale, "__float__"):
        raise ArgumentError(f"{name}: scale must be a number or None, got {scale!r}")
    return float(scale)


def attention_infer(q, k, v, mask, is_causal, scale):
    batch, length, _, _, ev, scale = attention_check("attention", q, k, v, mask, is_causal, scale)
    causal = bool(is_causal)
    return Plan([((*batch, length, ev), q.dtype), ((*batch, length), q.dtype)],
                ia=(int(causal),), fa=(scale,), attrs=(causal, scale))


def attention_backward_infer(g, q, k, v, mask, out, lse, is_causal, scale):
    name = "attention_backward"
    batch, length, s, e, ev, scale = attention_check(name, q, k, v, mask, is_causal, scale)
    full = (*batch, length, ev)
    need_fit(name, q.dtype, g=(g, full), out=(out, full), lse=(lse, (*batch, length)))
    shapes = (*batch, length, e), (*batch, s, e), (*batch, s, ev)
    return Plan([(shape, q.dtype) for shape in shapes], ia=(int(bool(is_causal)),), fa=(scale,))


def attention_vjp(g, needs, q, k, v, mask, out, lse, is_causal, scale):
    dq = dk = dv = dmask = None
    if needs & 7:
        dq, dk, dv = attention_backward(g, q, k, v, mask, out, lse, is_causal, scale)
    if needs & 8:
        # Has the shape of the scores anyway: plain primitives.
        scores = masked_scores(q, k, mask, is_causal, scale)
        p = (scores - lse.reshape((*lse.shape, 1))).exp()
        dmask = p * (g @ v.mT - (g * out).sum(axis=-1, keepdims=True))
    return tuple(d if needs >> n & 1 else None for n, d in enumerate((dq, dk, dv, dmask)))


def masked_scores(q, k, mask, is_causal, scale):
    """q k^T scale + mask in primitives, -inf where a key takes no part."""
    where = registry["where"].call
    scores = (q @ k.mT) * scale
    if mask is not None:
        scores = where(mask, scores, -math.inf) if mask.dtype == dtypes.bool_ else scores + mask
    if is_causal:
        lower = np.tri(q.shape[-2], k.shape[-2], dtype=bool)
        scores = where(lower, scores, -math.inf)
    return scores


def attention_composite(q, k, v, mask=None, is_causal=False, scale=None):
    where, equal = registry["where"].call, registry["equal"].call
    scale = (1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0) if scale is None else scale
    if k.shape[-2] == 0:
        return (q @ k.mT) @ v
    scores = masked_scores(q, k, mask, is_causal, scale)
    # The softmax does not depend on what is taken out before exp: no gradient flows there.
    top = scores.detach().max(axis=-1, keepdims=True)
    top = where(equal(top, -math.inf), 0.0, top)
    p = (scores - top).exp()
    total = p.sum(axis=-1, keepdims=True)
    return (p / where(equal(total, 0.0), 1.0, total)) @ v


def attention_flops(plan, q, k, v, *inputs, **attrs):
    *batch, length, ev = plan.outputs[0][0]
    s, e = k.shape[-2:]
    return math.prod(batch) * length * s * (2 * e + 2 * ev + 5)


def attention_backward_flops(plan, g, q, k, v, *inputs, **attrs):
    *batch, length, e = plan.outputs[0][0]
    s, ev = v.shape[-2:]
    return math.prod(batch) * length * s * (6 * e + 4 * ev + 5)


def attention_scratch(plan, q, k, *inputs, threads=1, **attrs):
    """A block of scores, and the running maximum and sum of its rows, for each thread."""
    return threads * BLOCK_L * (BLOCK_S + 2) * q.dtype.itemsize


def attention_backward_scratch(plan, g, q, *inputs, threads=1, **attrs):
    """Two blocks of scores for each thread, and sum(g * out) for each row."""
    *batch, length, _ = plan.outputs[0][0]
    return (threads * 2 * BLOCK_L * BLOCK_S + math.prod(batch) * length) * q.dtype.itemsize


def attention_samples(draw):
    def qkv(*batch, length=3, s=4, e=2, ev=2):
        return draw.normal(*batch, length, e), draw.normal(*batch, s, e), draw.normal(*batch, s, ev)
    keep = np.array([[True, False, True, True], [False] * 4, [True, True, False, False]])
    return [Sample(*qkv()), Sample(*qkv(2, ev=3)), Sample(*qkv(2, 2), is_causal=True),
            Sample(*qkv(2), keep), Sample(*qkv(2, 2), draw.normal(2, 1, 3, 4)),
            Sample(*qkv(length=5, s=3), is_causal=True, scale=0.3),
            Sample(draw.normal(2, 3, 2), draw.normal(1, 4, 2), draw.normal(4, 2)),
            Sample(*qkv(s=0)), Sample(*qkv(length=0)), Sample(*qkv(1, length=70, s=9), scale=1.0)]


def attention_bad(draw):
    q, k, v = draw.normal(3, 2), draw.normal(4, 2), draw.normal(4, 2)
    return [Bad(ShapeError, "q has 3 features", draw.normal(3, 3), k, v),
            Bad(ShapeError, "v has 5", q, k, draw.normal(5, 2)),
            Bad(ShapeError, "length, features", q, k, draw.normal(4)),
            Bad(ShapeError, "mask of shape", q, k, v, np.ones((2, 3, 4), bool)),
            Bad(DtypeError, "mask must be bool", q, k, v, np.ones((3, 4), np.int64))]


def attention_backward_samples(draw):
    q, k, v = draw.normal(2, 3, 2), draw.normal(2, 4, 2), draw.normal(2, 4, 2)
    lse = np.asarray(np.log(np.exp(q @ k.swapaxes(-1, -2)).sum(-1)), q.dtype)
    return [Sample(draw.normal(2, 3, 2), q, k, v, None, draw.normal(2, 3, 2), lse, False, 1.0,
                   check_grad=False)]


def attention_backward_bad(draw):
    q, k = draw.normal(3, 2), draw.normal(4, 2)
    return [Bad(ShapeError, "g must have shape", draw.normal(3, 3), q, k, k, None, q,
                draw.normal(3))]


SOURCE = "Vaswani et al., Attention Is All You Need (2017); Dao et al., FlashAttention (2022)"

attention = op(
    "attention", "q k v mask?", "Scaled dot-product attention; q is (..., L, E), k (..., S, E), "
    "v (..., S, Ev). mask, broadcast to (..., L, S), is bool (True takes part) or added to the "
    "scores; a row with no key that takes part gives zeros.",
    formula="softmax(q @ k.T * scale + mask) @ v", attrs={"is_causal": False, "scale": None},
    residuals="lse", kernel="attention", layout="matrix", infer=attention_infer,
    promote="float q k v", saves={"q k v mask": "q k v mask out lse"}, vjp=attention_vjp,
    composite=attention_composite, method=False, flops=attention_flops,
    scratch=attention_scratch, samples=attention_samples, bad=attention_bad, source=SOURCE)

attention_backward = op(
    "attention_backward", "g q k v mask? out lse", "Gradients of attention; the probabilities "
    "are recomputed by blocks from the log-sum-exp.",
    formula="ds = p * (g @ v.T - sum(g * out)) * scale; ds @ k, ds.T @ q, p.T @ g",
    attrs={"is_causal": False, "scale": None}, outputs="dq dk dv", kernel="attention_backward",
    layout="matrix", infer=attention_backward_infer, method=False,
    flops=attention_backward_flops, scratch=attention_backward_scratch,
    samples=attention_backward_samples, bad=attention_backward_bad, source=SOURCE)


# The heads of one array --------------------------------------------------------------------------

def heads_check(name, x, heads, is_causal, scale):
    """(batch shape, T, H, d, scale) of x (..., T, 3 H d)."""
    need_float(name, x=x)
    if isinstance(heads, bool) or not hasattr(heads, "__index__") or heads < 1:
        raise ArgumentError(f"{name}: heads must be a positive integer, got {heads!r}")
    if len(x.shape) < 2 or x.shape[-1] % (3 * heads):
        raise ShapeError(f"{name}: x must be (..., length, 3 * heads * features) with heads="
                         f"{heads}, got shape {x.shape}")
    *batch, length, width = x.shape
    d = width // (3 * heads)
    return tuple(batch), length, int(heads), d, attention_scale(name, d, is_causal, scale)


def self_attention_infer(x, heads, is_causal, scale):
    batch, length, heads, d, scale = heads_check("self_attention", x, heads, is_causal, scale)
    causal = bool(is_causal)
    return Plan([((*batch, length, heads * d), x.dtype), ((*batch, heads, length), x.dtype)],
                ia=(int(causal), heads), fa=(scale,), attrs=(heads, causal, scale))


def self_attention_backward_infer(g, x, out, lse, is_causal, scale):
    name = "self_attention_backward"
    if len(lse.shape) < 2:
        raise ShapeError(f"{name}: lse must be (..., heads, length), got {lse.shape}")
    batch, length, heads, d, scale = heads_check(name, x, lse.shape[-2], is_causal, scale)
    full = (*batch, length, heads * d)
    need_fit(name, x.dtype, g=(g, full), out=(out, full), lse=(lse, (*batch, heads, length)))
    return Plan([(x.shape, x.dtype)], ia=(int(bool(is_causal)),), fa=(scale,))


def self_attention_vjp(g, needs, x, out, lse, is_causal, scale):
    return self_attention_backward(g, x, out, lse, is_causal, scale)


def self_attention_composite(x, heads, is_causal=False, scale=None):
    *batch, length, width = x.shape
    split = x.reshape((*batch, length, 3, heads, width // (3 * heads)))
    q, k, v = (swapaxes(split[..., n, :, :], -2, -3) for n in range(3))
    out = attention(q, k, v, None, is_causal, scale)
    return swapaxes(out, -2, -3).reshape((*batch, length, width // 3))


def self_attention_flops(plan, x, heads, **attrs):
    *batch, length, width = x.shape
    return math.prod(batch) * length * length * (4 * width // 3 + 5 * heads)


def self_attention_backward_flops(plan, g, x, out, lse, **attrs):
    *batch, length, width = g.shape
    return math.prod(batch) * length * length * (10 * width + 5 * lse.shape[-2])


def self_attention_scratch(plan, x, threads=1, **attrs):
    return threads * BLOCK_L * (BLOCK_S + 2) * x.dtype.itemsize


def self_attention_backward_scratch(plan, g, x, out, lse, threads=1, **attrs):
    return (threads * 2 * BLOCK_L * BLOCK_S + math.prod(lse.shape)) * x.dtype.itemsize


def self_attention_samples(draw):
    return [Sample(draw.normal(3, 6), 1), Sample(draw.normal(2, 3, 12), 2, is_causal=True),
            Sample(draw.normal(2, 1, 3, 6), 2, scale=0.3), Sample(draw.normal(0, 3, 6), 1),
            Sample(draw.normal(2, 0, 6), 1), Sample(draw.normal(70, 3), 1, is_causal=True)]


def self_attention_bad(draw):
    return [Bad(ShapeError, "3 \\* heads", draw.normal(3, 8), 2),
            Bad(ShapeError, "3 \\* heads", draw.normal(6), 2),
            Bad(ArgumentError, "heads must be", draw.normal(3, 6), 0),
            Bad(ArgumentError, "scale must be", draw.normal(3, 6), 2, scale="1")]


def self_attention_backward_samples(draw):
    x = draw.normal(2, 3, 12)
    q, k = (x.reshape(2, 3, 3, 2, 2)[:, :, n].swapaxes(1, 2) for n in range(2))
    lse = np.asarray(np.log(np.exp(q @ k.swapaxes(-1, -2)).sum(-1)), x.dtype)
    return [Sample(draw.normal(2, 3, 4), x, draw.normal(2, 3, 4), lse, False, 1.0,
                   check_grad=False)]


def self_attention_backward_bad(draw):
    return [Bad(ShapeError, "g must have shape", draw.normal(3, 3), draw.normal(3, 6),
                draw.normal(3, 2), draw.normal(1, 3)),
            Bad(ShapeError, "lse must be", draw.normal(3, 2), draw.normal(3, 6),
                draw.normal(3, 2), draw.normal(3))]


# An operation of its own for memory: the heads of a projection to q, k and v, and those of their
# gradients, are never copied apart or together.
self_attention = op(
    "self_attention", "x", "Attention of each position to the others, by heads; x (..., T, 3 H d) "
    "holds q, k and v side by side, each the heads side by side; the result is (..., T, H d).",
    formula="softmax(q @ k.T * scale) @ v for each head",
    attrs={"heads": 1, "is_causal": False, "scale": None}, residuals="lse",
    kernel="self_attention", infer=self_attention_infer, saves={"x": "x out lse"},
    vjp=self_attention_vjp, composite=self_attention_composite, method=False,
    flops=self_attention_flops, scratch=self_attention_scratch, samples=self_attention_samples,
    bad=self_attention_bad, source=SOURCE)

self_attention_backward = op(
    "self_attention_backward", "g x out lse", "Gradient of self_attention, as attention_backward.",
    formula="ds = p * (g @ v.T - sum(g * out)) * scale; ds @ k, ds.T @ q, p.T @ g",
    attrs={"is_causal": False, "scale": None}, outputs="dx", kernel="self_attention_backward",
    infer=self_attention_backward_infer, method=False, flops=self_attention_backward_flops,
    scratch=self_attention_backward_scratch, samples=self_attention_backward_samples,
    bad=self_attention_backward_bad, source=SOURCE)
