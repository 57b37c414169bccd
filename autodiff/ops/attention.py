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
    if scale is None:
        scale = 1 / math.sqrt(e) if e else 1.0
    elif isinstance(scale, str) or not hasattr(scale, "__float__"):
        raise ArgumentError(f"{name}: scale must be a number or None, got {scale!r}")
    if not isinstance(is_causal, (bool, np.bool_)):
        raise ArgumentError(f"{name}: is_causal must be a bool, got {is_causal!r}")
    scale = float(scale)
    return batch, length, s, e, ev, scale


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
