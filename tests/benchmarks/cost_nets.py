"""Nets for the tests of the cost report: a few by hand, and any that hypothesis draws."""

import numpy as np
from hypothesis import strategies as st

import autodiff as ad
import nn
import nn.functional as F

RNG = np.random.default_rng(0)


def images(n, channels=1, size=8):
    return RNG.random((n, channels, size, size), dtype=np.float32), RNG.integers(0, 3, n)


def mlp():
    """4 rows through 6 -> 5 -> 3."""
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    return model, (RNG.random((4, 6), dtype=np.float32), RNG.integers(0, 3, 4)), F.cross_entropy


def cnn():
    """2 images of 4 x 4 through a convolution, ReLU, pooling and a linear layer."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(8, 3))
    return model, images(2, size=4), F.cross_entropy


def token_loss(output, y):
    return F.cross_entropy(output.reshape((-1, output.shape[-1])), y.reshape((-1,)))


def gpt():
    """2 windows of 4 tokens out of 7 through one layer of width 8 with 2 heads."""
    tokens = RNG.integers(0, 7, (2, 5))
    return nn.GPT(7, 4, 1, 8, 2), (tokens[:, :-1], tokens[:, 1:]), token_loss


class Recurrent(nn.Module):
    """Embedding, LSTM or GRU, linear."""

    def __init__(self, kind=nn.LSTM, hidden=6):
        super().__init__()
        self.embedding, self.cell = nn.Embedding(9, 5), kind(5, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 9)

    def forward(self, ids):
        return self.head(self.cell(self.embedding(ids))[0])


def recurrent(kind=nn.LSTM):
    tokens = RNG.integers(0, 9, (3, 6))
    return Recurrent(kind), (tokens[:, :-1], tokens[:, 1:]), token_loss


class Shared(nn.Module):
    """One layer used three times, a skip, and arithmetic of its own."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(6, 6), nn.Linear(6, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x, scale):
        h = x
        for _ in range(3):
            h = h + self.drop(ad.tanh(self.inner(h))) * scale
        return self.out(h).exp()


def shared():
    x = RNG.random((5, 6), dtype=np.float32)
    return Shared(), ((x, np.float32([0.5])), RNG.random((5, 2), dtype=np.float32)), F.mse_loss


def checkpointed():
    model = nn.Checkpointed(nn.Sequential(*[nn.Sequential(nn.Linear(6, 6), nn.Tanh())
                                            for _ in range(4)], nn.Linear(6, 3)), every=2)
    return model, (RNG.random((4, 6), dtype=np.float32), RNG.integers(0, 3, 4)), F.cross_entropy


NETS = {"mlp": mlp, "cnn": cnn, "gpt": gpt, "lstm": recurrent,
        "gru": lambda: recurrent(nn.GRU), "shared": shared, "checkpointed": checkpointed}

OPTIMIZERS = {"sgd": lambda p: nn.optim.SGD(p, lr=0.1),
              "momentum": lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9),
              "adam": lambda p: nn.optim.Adam(p), "adamw": lambda p: nn.optim.AdamW(p),
              "rmsprop": lambda p: nn.optim.RMSprop(p)}


@st.composite
def nets(draw):
    """(model, batch, loss, optimizer): convolutions, then linear layers, each with a choice."""
    n, channels, size = draw(st.integers(2, 5)), draw(st.integers(1, 3)), 8
    layers, c = [], channels
    for _ in range(draw(st.integers(0, 3))):
        out = draw(st.integers(1, 5))
        layers.append(nn.Conv2d(c, out, 3, padding=1, bias=draw(st.booleans())))
        c = out
        layers += _more(draw, [lambda c=c: nn.BatchNorm2d(c), lambda c=c: nn.GroupNorm(1, c)])
        if size > 2 and draw(st.booleans()):
            layers.append(draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))(2))
            size //= 2
    layers.append(nn.Flatten())
    width = c * size * size
    for _ in range(draw(st.integers(0, 3))):
        out = draw(st.integers(1, 9))
        layers.append(nn.Linear(width, out, bias=draw(st.booleans())))
        width = out
        layers += _more(draw, [lambda w=width: nn.LayerNorm(w), lambda w=width: nn.RMSNorm(w),
                               lambda w=width: nn.BatchNorm1d(w)])
    model = nn.Sequential(*layers, nn.Linear(width, 3))
    kind = draw(st.sampled_from(sorted(OPTIMIZERS)))
    return model, images(n, channels), F.cross_entropy, OPTIMIZERS[kind](model.parameters())


def _more(draw, norms):
    """Perhaps a norm, then an activation, then perhaps dropout."""
    found = [draw(st.sampled_from(norms))()] if draw(st.booleans()) else []
    found.append(draw(st.sampled_from([nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid]))())
    return found + ([nn.Dropout(0.3)] if draw(st.booleans()) else [])
