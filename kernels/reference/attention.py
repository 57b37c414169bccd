"""Twins of attention and self_attention, forward and backward, with the whole matrix of scores.

Invariant: a row whose every key is masked gives zeros, and its log-sum-exp is +inf, so that
exp(score - lse) is 0 there.
"""

import numpy as np


def _scores(q, k, mask, is_causal, scale):
    scores = (q @ np.swapaxes(k, -1, -2)) * q.dtype.type(scale)
    if mask is not None:
        if mask.dtype == bool:
            scores = np.where(mask, scores, -np.inf)
        else:
            scores = scores + mask
    if is_causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    return np.asarray(scores, q.dtype)


def attention(q, k, v, mask, is_causal, scale):
    """(out, lse): softmax(q k^T scale + mask) v."""
    scores = _scores(q, k, mask, is_causal, scale)
    top = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
    top = np.where(np.isneginf(top), 0, top)
    p = np.exp(scores - top)
    total = p.sum(axis=-1, keepdims=True)
    empty = total == 0
    p = p / np.where(empty, 1, total)
    lse = np.where(empty, np.inf, top + np.log(np.where(empty, 1, total)))[..., 0]
    batch = np.broadcast_shapes(p.shape[:-2], v.shape[:-2])
    lse = np.broadcast_to(lse, (*batch, lse.shape[-1]))
    return np.asarray(p @ v, q.dtype), np.asarray(lse, q.dtype)


def attention_backward(g, q, k, v, mask, out, lse, is_causal, scale):
    """(dq, dk, dv), each with the batch axes of the output."""
    p = np.exp(_scores(q, k, mask, is_causal, scale) - lse[..., None])
    ds = p * (g @ np.swapaxes(v, -1, -2) - (g * out).sum(axis=-1, keepdims=True))
    ds = ds * q.dtype.type(scale)
    t = np.swapaxes
    return ds @ k, t(ds, -1, -2) @ q, t(p, -1, -2) @ g


def _heads(x, heads, parts):
    """The parts of x (..., T, parts H d), each (..., H, T, d)."""
    *batch, length, width = x.shape
    split = x.reshape(*batch, length, parts, heads, width // (parts * heads))
    return [np.swapaxes(split[..., n, :, :], -2, -3) for n in range(parts)]


def _joined(parts):
    """The inverse of _heads."""
    x = np.stack([np.swapaxes(p, -2, -3) for p in parts], axis=-3)
    *batch, parts, heads, d = x.shape
    return x.reshape(*batch, parts * heads * d)


def self_attention(x, is_causal, heads, scale):
    """(out, lse): attention of the heads of x (..., T, 3 H d)."""
    out, lse = attention(*_heads(x, heads, 3), None, is_causal, scale)
    return _joined([out]), lse


def self_attention_backward(g, x, out, lse, is_causal, scale):
    """dx, from what attention_backward gives for each head."""
    heads = lse.shape[-2]
    (g,), (out,) = _heads(g, heads, 1), _heads(out, heads, 1)
    return _joined(attention_backward(g, *_heads(x, heads, 3), None, out, lse, is_causal, scale))
