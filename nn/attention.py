"""MultiheadAttention.

Without dropout and without asked-for weights it never makes an L x S array.  Invariant: parameter
names and the meaning of the masks are PyTorch's (in a bool mask True is *left out*).
"""

import math

import autodiff as ad

from . import functional as F
from . import init
from .errors import (
    ArgumentError,
    DtypeError,
    ShapeError,
    ValueRangeError,
    need_like,
    need_ndim,
    need_size,
    positive_int,
    probability,
    where,
)
from .linear import Linear
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """concat(head_1, ..., head_h) W_out, head = softmax(q k^T / sqrt(d) + mask) v.

    query (L, N, E), key (S, N, kdim), value (S, N, vdim); batch axis first with batch_first, or
    none at all. Returns (output, weights); pass need_weights=False for the fused form, which is
    faster and makes no L x S array. Vaswani et al. (2017).
    """

    def __init__(self, embed_dim, num_heads, dropout=0.0, bias=True, *, kdim=None, vdim=None,
                 batch_first=False, dtype=None):
        super().__init__()
        self.embed_dim = e = positive_int("MultiheadAttention", "embed_dim", embed_dim)
        self.num_heads = positive_int("MultiheadAttention", "num_heads", num_heads)
        if e % num_heads:
            raise ValueRangeError(f"MultiheadAttention: embed_dim={e} must be a multiple of "
                                  f"num_heads={num_heads}")
        self.kdim, self.vdim = kdim or e, vdim or e
        self.dropout, self.batch_first = probability("MultiheadAttention", dropout), batch_first
        self.head_dim = e // num_heads
        one = self.kdim == e and self.vdim == e
        shapes = {"in_proj_weight": (3 * e, e) if one else None,
                  "q_proj_weight": None if one else (e, e),
                  "k_proj_weight": None if one else (e, self.kdim),
                  "v_proj_weight": None if one else (e, self.vdim),
                  "in_proj_bias": (3 * e,) if bias else None}
        for name, shape in shapes.items():
            self.register_parameter(name, None if shape is None else
                                    Parameter(ad.empty(shape, dtype=dtype)))
        self.out_proj = Linear(e, e, bias=bias, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self, generator=None):
        """Draw all weights anew; biases start at zero."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name), generator=generator)
        self.out_proj.reset_parameters(generator)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
                average_attn_weights=True, is_causal=False):
        """Attend from query to key and value.

        key_padding_mask (N, S) and attn_mask (L, S) or (N * num_heads, L, S): bool, True is left
        out, or added to the scores. is_causal lets each query see keys up to its own position; it
        needs no attn_mask.
        """
        batched = self._check(query, key, value)
        if (query is key and key is value and self.in_proj_weight is not None
                and (self.batch_first or not batched) and attn_mask is None
                and key_padding_mask is None and not need_weights
                and not (self.training and self.dropout)):
            qkv = ad.linear(query, self.in_proj_weight, self.in_proj_bias)
            return self.out_proj(ad.self_attention(qkv, self.num_heads, is_causal)), None
        q, k, v = self._project(query, key, value, batched)
        mask = self._mask(attn_mask, key_padding_mask, q.shape, k.shape[2], batched, q.dtype)
        p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            weights = F.attention_weights(q, k, mask, is_causal)
            weights = F.dropout(weights, p) if p else weights
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, p, is_causal)
        out = self.out_proj(self._merge(out, batched))
        if weights is not None:
            weights = weights.mean(axis=1) if average_attn_weights else weights
            weights = weights if batched else weights[0]
        return out, weights

    def _check(self, query, key, value):
        like = self.out_proj.weight
        rank = getattr(query, "ndim", 3)
        for name, x, size in (("query", query, self.embed_dim), ("key", key, self.kdim),
                              ("value", value, self.vdim)):
            need_like("MultiheadAttention", x, like, name)
            form = "(N, L, E)" if self.batch_first else "(L, N, E)"
            need_ndim("MultiheadAttention", x, (2, 3) if name == "query" else (rank,),
                      form + ", or (L, E) for one sequence", name)
            need_size("MultiheadAttention", x, -1, size,
                      {"query": "embed_dim", "key": "kdim", "value": "vdim"}[name], name)
        return query.ndim == 3

    def _project(self, query, key, value, batched):
        """q, k, v as (N, heads, length, head_dim)."""
        e, w, b = self.embed_dim, self.in_proj_weight, self.in_proj_bias
        if w is not None and query is key and key is value:
            qkv = ad.linear(query, w, b)        # one product; its last axis is q, k, v
            parts = [qkv[..., k * e:(k + 1) * e] for k in range(3)]
        else:
            ws = ([w[k * e:(k + 1) * e] for k in range(3)] if w is not None else
                  [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight])
            bs = [None if b is None else b[k * e:(k + 1) * e] for k in range(3)]
            parts = [ad.linear(x, wk, bk)
                     for x, wk, bk in zip((query, key, value), ws, bs, strict=True)]
        return [self._heads(x, batched) for x in parts]

    def _heads(self, x, batched):
        h, d = self.num_heads, self.head_dim
        if not batched:
            return ad.permute_dims(x.reshape((1, x.shape[0], h, d)), (0, 2, 1, 3))
        x = x.reshape((*x.shape[:2], h, d))
        return ad.permute_dims(x, (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3))

    def _merge(self, out, batched):
        n, _, length, _ = out.shape
        if not batched:
            return ad.permute_dims(out, (0, 2, 1, 3)).reshape((length, self.embed_dim))
        if self.batch_first:
            return ad.permute_dims(out, (0, 2, 1, 3)).reshape((n, length, self.embed_dim))
        return ad.permute_dims(out, (2, 0, 1, 3)).reshape((length, n, self.embed_dim))

    def _mask(self, attn_mask, padding, shape, s, batched, dtype):
        """Both masks as one, as the attention operation takes it (True takes part, or added)."""
        n, h, length, _ = shape
        masks = []
        if attn_mask is not None:
            m = _as_mask("attn_mask", attn_mask, dtype)
            if m.shape == (n * h, length, s):
                m = m.reshape((n, h, length, s))
            elif m.shape != (length, s):
                raise ShapeError(f"MultiheadAttention: attn_mask must have shape {(length, s)} or "
                                 f"{(n * h, length, s)}, got {m.shape}{where()}")
            masks.append(m)
        if padding is not None:
            m = _as_mask("key_padding_mask", padding, dtype)
            expected = (n, s) if batched else (s,)
            if m.shape != expected:
                raise ShapeError(f"MultiheadAttention: key_padding_mask must have shape "
                                 f"{expected}, got {m.shape}{where()}")
            masks.append(m.reshape((n, 1, 1, s)))
        if not masks:
            return None
        if all(m.dtype == ad.bool_ for m in masks):
            left_out = masks[0] if len(masks) == 1 else ad.logical_or(*masks)
            return ad.logical_not(left_out)
        zero = ad.tensor(0.0, dtype=dtype)
        added = [ad.where(m, -math.inf, zero) if m.dtype == ad.bool_ else m for m in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def extra_repr(self):
        text = f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"
        return text + (", batch_first=True" if self.batch_first else "")


def _as_mask(name, mask, dtype):
    if not isinstance(mask, ad.Tensor):
        raise ArgumentError(f"MultiheadAttention: {name} must be a Tensor, got "
                            f"{type(mask).__name__}{where()}")
    if mask.dtype != ad.bool_ and mask.dtype != dtype:
        raise DtypeError(f"MultiheadAttention: {name} must be bool or {dtype}, got {mask.dtype}"
                         f"{where()}")
    return mask
