"""Scaled dot-product attention, fused or with its probabilities.

Invariant: in these masks True takes part, as in PyTorch's function (its module's are the other
way round).
"""

import math

import autodiff as ad

from .normalisation import dropout


def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0,
                                 is_causal=False, scale=None):
    """softmax(query key^T * scale + mask) value.

    query (..., L, E), key (..., S, E), value (..., S, Ev). attn_mask broadcasts to (..., L, S):
    bool (True takes part), or added to the scores. Without dropout no L x S array is made; a row
    in which nothing takes part gives zeros.
    """
    if not dropout_p:
        return ad.attention(query, key, value, attn_mask, is_causal, scale)
    weights = attention_weights(query, key, attn_mask, is_causal, scale)
    return dropout(weights, dropout_p) @ value


def attention_weights(query, key, attn_mask=None, is_causal=False, scale=None):
    """The probabilities (..., L, S) of scaled_dot_product_attention."""
    length, s = query.shape[-2], key.shape[-2]
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query @ key.mT) * scale
    if attn_mask is not None:
        if attn_mask.dtype == ad.bool_:
            scores = ad.where(attn_mask, scores, -math.inf)
        else:
            scores = scores + attn_mask
    if is_causal:
        scores = ad.where(causal_mask(length, s), scores, -math.inf)
    if attn_mask is None or s == 0:
        return ad.softmax(scores, -1)
    # A row in which nothing takes part: zeros, and no NaN in the gradient either.
    with ad.no_grad():
        dead = scores.detach().max(axis=-1, keepdims=True) == -math.inf
    return ad.where(dead, 0.0, ad.softmax(ad.where(dead, 0.0, scores), -1))


def causal_mask(length, s):
    """Bool (length, s): True where the key is not after the query."""
    return ad.expand_dims(ad.arange(length), 1) >= ad.arange(s)
