"""A small GPT (`nn.GPT`, without dropout) that learns to continue the text, character by character.

Invariant: the documented run is the same workload with more layers, steps and text to judge by.
"""

import nn

from .base import Goal
from .text import TextWorkload


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
        return nn.GPT(self.vocabulary, self.block, self.layers, self.width, self.heads)

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
