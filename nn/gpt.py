"""GPT: a decoder-only transformer over tokens, with a cache of keys and values for generation.

Norms first, learned positions.  Invariant: position t sees the tokens up to t and no later ones,
and the logits are the same with and without the cache.

Source: Radford et al., Language Models are Unsupervised Multitask Learners (2019).
"""

import numpy as np

import autodiff as ad

from . import functional as F
from . import init
from .activation import GELU
from .containers import ModuleList, Sequential
from .dropout import Dropout
from .embedding import Embedding
from .errors import ShapeError, ValueRangeError, positive_int, where
from .linear import Linear
from .module import Module
from .norm import LayerNorm

__all__ = ["GPT", "KeyValueCache"]


class KeyValueCache:
    """Keys and values (N, heads, T, d) of the tokens seen so far, of each layer.

    The buffers are filled in place, so only under `no_grad`; `length` counts the tokens.
    """

    def __init__(self, layers, most):
        self.most, self.length = most, 0
        self._buffers = [None] * layers

    def extend(self, layer, k, v):
        """Append the keys and values of new tokens; returns those of all tokens."""
        end = self.length + k.shape[2]
        if self._buffers[layer] is None:
            n, heads, _, d = k.shape
            self._buffers[layer] = [ad.zeros((n, heads, self.most, d), dtype=k.dtype)
                                    for _ in range(2)]
        both = self._buffers[layer]
        for buffer, new in zip(both, (k, v), strict=True):
            buffer[:, :, self.length:end] = new
        return [buffer[:, :, :end] for buffer in both]


class CausalSelfAttention(Module):
    """Multi-head attention of each position to itself and the ones before: (N, T, width)."""

    def __init__(self, width, heads, dropout=0.0):
        super().__init__()
        if width % heads:
            raise ValueRangeError(f"GPT: width={width} must be a multiple of heads={heads}")
        self.heads, self.dropout = heads, dropout
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)

    def forward(self, x, cache=None, layer=0):
        n, t, width = x.shape
        qkv = self.qkv(x)
        if cache is None and not (self.training and self.dropout):
            return self.out(ad.self_attention(qkv, self.heads, t > 1))
        qkv = qkv.reshape((n, t, 3, self.heads, width // self.heads))
        q, k, v = ad.permute_dims(qkv, (2, 0, 3, 1, 4))                 # each (N, heads, T, d)
        mask, causal = None, t > 1
        if cache is not None:
            before = cache.length
            k, v = cache.extend(layer, k, v)
            if before and t > 1:        # query i stands at position before + i
                mask, causal = F.causal_mask(before + t, before + t)[before:], False
        y = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0,
                                           is_causal=causal)
        return self.out(ad.permute_dims(y, (0, 2, 1, 3)).reshape((n, t, width)))


class GPTBlock(Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width, heads, dropout=0.0):
        super().__init__()
        self.norm1, self.attention = LayerNorm(width), CausalSelfAttention(width, heads, dropout)
        self.norm2 = LayerNorm(width)
        self.mlp = Sequential(Linear(width, 4 * width), GELU(), Linear(4 * width, width))
        self.drop = Dropout(dropout)

    def forward(self, x, cache=None, layer=0):
        x = x + self.drop(self.attention(self.norm1(x), cache, layer))
        return x + self.drop(self.mlp(self.norm2(x)))


class GPT(Module):
    """Token ids (N, T) to logits (N, T, vocabulary), T at most `block`.

    Weights start normal(0, 0.02), those into the residual stream by 1 / sqrt(2 layers) smaller.
    """

    def __init__(self, vocabulary, block, layers, width, heads, dropout=0.0):
        super().__init__()
        self.block = positive_int("GPT", "block", block)
        self.tokens = Embedding(vocabulary, width)
        self.positions = Embedding(block, width)
        self.drop = Dropout(dropout)
        self.blocks = ModuleList([GPTBlock(width, heads, dropout) for _ in range(layers)])
        self.norm = LayerNorm(width)
        self.head = Linear(width, vocabulary)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                deep = name.endswith(("out.weight", "mlp.2.weight"))
                init.normal_(p, 0.0, 0.02 / (2 * layers) ** 0.5 if deep else 0.02)
            elif name.endswith("bias"):
                init.zeros_(p)

    def make_cache(self):
        """An empty cache; pass it to the calls that continue one text."""
        return KeyValueCache(len(self.blocks), self.block)

    def forward(self, ids, cache=None):
        start = 0 if cache is None else cache.length
        end = start + ids.shape[1]
        if end > self.block:
            raise ShapeError(f"GPT: {end} tokens are more than block={self.block}; keep the last "
                             f"ones, or make a model with a larger block{where()}")
        x = self.drop(self.tokens(ids) + self.positions(ad.tensor(np.arange(start, end))))
        for k, block in enumerate(self.blocks):
            x = block(x, cache, k)
        if cache is not None:
            cache.length = end
        return self.head(self.norm(x))
