"""What the two character models share: the text, its windows, their loss and their evaluation.

Invariant: the validation loss is of the first `validation` characters of the validation part (the
last tenth of the text), or of all of it where that is None; the report says how many.
"""

import functools

import numpy as np

import autodiff as ad
import nn.data
import nn.functional as F

from .base import Workload
from .evaluate import char_loss


@functools.cache
def text(block):
    """The shipped text as windows of `block` characters, read once."""
    return nn.data.text(block=block)


class TextWorkload(Workload):
    """Predict the next character at every position of a window."""

    block = 64
    validation = 8192       # characters; None for the whole validation part
    prompt, generated, temperature = "ROMEO", 200, 0.8

    def data(self):
        return text(self.block)

    def dataset(self):
        return self.data().train

    @property
    def vocabulary(self):
        return len(self.data().vocabulary)

    def loss(self, output, y):
        n = y.shape[0] * y.shape[1]
        return F.cross_entropy(output.reshape((n, output.shape[-1])), y.reshape((n,)))

    def evaluate(self, model):
        tokens = self.data().validation.tokens
        part = tokens if self.validation is None else tokens[:self.validation]
        return {"nats/char": char_loss(model, part, self.block),
                "validation characters": float(len(part) - 1),
                "share of validation": (len(part) - 1) / (len(tokens) - 1)}

    def sample(self, model, seed):
        """`generated` characters that follow `prompt`, drawn one by one from the softmax."""
        vocabulary = self.data().vocabulary
        rng = np.random.default_rng(seed)
        ids = list(vocabulary.encode(self.prompt))
        with ad.no_grad():
            for logits in self.next_logits(model, ids, self.generated):
                p = np.exp((logits - logits.max()) / self.temperature, dtype=np.float64)
                ids.append(int(rng.choice(len(p), p=p / p.sum())))
        return vocabulary.decode(ids)

    def next_logits(self, model, ids, count):
        """Logits (an array) of the character after `ids`, `count` times; `ids` grows between."""
        for _ in range(count):
            window = np.array(ids[-self.block:])[None]
            yield model(ad.tensor(window)).numpy()[0, -1]
