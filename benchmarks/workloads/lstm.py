"""A character LSTM: embedding, one LSTM layer over the window, a linear layer to the vocabulary.

Invariant: every window starts from a zero state; when text is generated the state is carried on.
"""

import numpy as np

import autodiff as ad
import nn

from .base import Goal
from .text import TextWorkload


class CharModel(nn.Module):
    """Token ids (N, T) to logits (N, T, vocabulary)."""

    def __init__(self, vocabulary, embed, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embed)
        self.lstm = nn.LSTM(embed, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, ids, state=None):
        return self.run(ids, state)[0]

    def run(self, ids, state):
        """Logits and the state after the last character."""
        out, state = self.lstm(self.embedding(ids), state)
        return self.head(out), state


class CharLSTM(TextWorkload):
    name = "lstm"
    batch_size, steps, lr, warmup = 32, 600, 5e-3, 20
    goal = Goal("nats/char", 2.3, least=False)
    embed, hidden = 64, 128

    @property
    def title(self):
        return f"LSTM embed {self.embed}, hidden {self.hidden}, T {self.block} on text"

    def model(self):
        return CharModel(self.vocabulary, self.embed, self.hidden)

    def next_logits(self, model, ids, count):
        state, fresh = None, ids
        for _ in range(count):
            logits, state = model.run(ad.tensor(np.array(fresh)[None]), state)
            yield logits.numpy()[0, -1]
            fresh = ids[-1:]
