"""A small GPT over characters: causal self-attention and a two-layer MLP per block, norms first.

Radford et al., Language Models are Unsupervised Multitask Learners (2019), in its smallest form,
without dropout.  Invariant: position t sees the characters up to t and no later ones.
"""

import numpy as np

import autodiff as ad
import nn
import nn.functional as F

from .base import Goal
from .text import TextWorkload


class Attention(nn.Module):
    """Multi-head causal self-attention on (N, T, width)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        n, t, width = x.shape
        qkv = self.qkv(x).reshape((n, t, 3, self.heads, width // self.heads))
        qkv = ad.permute_dims(qkv, (2, 0, 3, 1, 4))                     # (3, N, heads, T, d)
        y = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        return self.out(ad.permute_dims(y, (0, 2, 1, 3)).reshape((n, t, width)))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                 nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Token ids (N, T) to logits (N, T, vocabulary), T at most `block`."""

    def __init__(self, vocabulary, block, layers, width, heads):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(block, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        for name, p in self.named_parameters():
            if p.ndim == 2:         # as in GPT-2; residual branches start smaller
                deep = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(p, 0.0, 0.02 / (2 * layers) ** 0.5 if deep else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids):
        positions = ad.tensor(np.arange(ids.shape[1]))
        x = self.tokens(ids) + self.positions(positions)
        return self.head(self.norm(self.blocks(x)))


class GPTSmall(TextWorkload):
    name = "gpt"
    batch_size, steps, lr, warmup = 16, 800, 4e-3, 30
    goal = Goal("nats/char", 2.3, least=False)
    layers, width, heads = 2, 96, 4

    @property
    def title(self):
        return (f"GPT {self.layers} layers, width {self.width}, {self.heads} heads, "
                f"T {self.block} on text")

    def model(self):
        return GPT(self.vocabulary, self.block, self.layers, self.width, self.heads)

    def optimizer(self, model):
        return nn.optim.AdamW(model.parameters(), lr=self.lr, betas=(0.9, 0.99),
                              weight_decay=0.1)


class GPTLong(GPTSmall):
    """The documented run: below 2.0 nats a character on the whole validation part."""

    name, full = "gpt-long", True
    block, batch_size, steps, lr, warmup = 128, 16, 2500, 2e-3, 100
    layers, width, heads = 4, 128, 4
    validation = None
    goal = Goal("nats/char", 2.0, least=False)
    generated = 400
