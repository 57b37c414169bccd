"""Whole training steps: what a dry run predicts is what the ledger counts, to the byte.

Nets drawn at random, the benchmarks' workloads and a residual network of 20 layers; the workloads
are predicted in a fresh process, which computes nothing.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
from autodiff import core, memory
from benchmarks.workloads import WORKLOADS

pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

DTYPES = (ad.float32, ad.float64)


def step(model, optimizer, loss_of, x, y, clip=False):
    """One training step; bytes at its stages."""
    optimizer.zero_grad()
    loss = loss_of(model(x), y)
    found = {"saved": memory.saved_bytes(loss), "forward": memory.stats()["live"]}
    loss.backward()
    found["backward"] = memory.stats()["live"]
    if clip:
        nn.utils.clip_grad_norm_(model.parameters(), 0.0)
    optimizer.step()
    return found


# Nets at random ---------------------------------------------------------------------------------

class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.body(x)


class Again(nn.Module):
    """A block that keeps its input alone, and runs again in backward."""

    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return ad.checkpoint(self.body, x)


class First(nn.Module):
    """The output of a layer that returns more than one."""

    def __init__(self, layer, times=1):
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, x):
        return self.layer(*[x] * self.times)[0]


PLAIN = [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, lambda: nn.Dropout(0.3)]


def vectors(draw, width):
    """A layer from (N, width) to (N, another width)."""
    kind = draw(st.sampled_from(["linear", "plain", "norm", "residual", "again"]))
    if kind == "linear":
        new = draw(st.integers(1, 40))
        return nn.Linear(width, new, bias=draw(st.booleans())), new
    if kind == "plain":
        return draw(st.sampled_from(PLAIN))(), width
    if kind == "norm":
        return draw(st.sampled_from([nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm]))(width), width
    inner = [nn.Linear(width, width), draw(st.sampled_from(PLAIN))(), nn.Linear(width, width)]
    return (Residual if kind == "residual" else Again)(*inner), width


def images(draw, channels):
    """A layer from (N, channels, H, W) to (N, other channels, ...)."""
    kind = draw(st.sampled_from(["conv", "conv", "plain", "norm", "pool", "residual", "again"]))
    if kind == "conv":
        new, size = draw(st.sampled_from([2, 4, 6])), draw(st.sampled_from([1, 3, 5]))
        groups = draw(st.sampled_from([1, 2]))
        return nn.Conv2d(channels, new, size, padding=size // 2, groups=groups,
                         stride=draw(st.sampled_from([1, 2]))), new
    if kind == "plain":
        return draw(st.sampled_from(PLAIN))(), channels
    if kind == "norm":
        return draw(st.sampled_from([nn.BatchNorm2d, lambda n: nn.GroupNorm(2, n)]))(
            channels), channels
    if kind == "pool":
        return draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))(3, 2, 1), channels
    inner = [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
             nn.Conv2d(channels, channels, 3, padding=1)]
    return (Residual if kind == "residual" else Again)(*inner), channels


def sequences(draw, width):
    """A layer from (N, T, width) to (N, T, another width)."""
    kind = draw(st.sampled_from(["recurrent", "attention", "transformer", "linear", "norm",
                                 "plain"]))
    if kind == "recurrent":
        layer, new = draw(st.sampled_from([nn.LSTM, nn.GRU, nn.RNN])), draw(st.integers(1, 5)) * 4
        two = draw(st.booleans())
        return First(layer(width, new // (1 + two), num_layers=draw(st.integers(1, 2)),
                           batch_first=True, bidirectional=two)), new
    if kind == "attention":
        return Residual(First(nn.MultiheadAttention(width, 2, batch_first=True), 3)), width
    if kind == "transformer":
        return nn.TransformerEncoderLayer(width, 2, 24, dropout=0.1, batch_first=True), width
    if kind == "linear":
        new = draw(st.integers(1, 6)) * 4
        return nn.Linear(width, new), new
    return (nn.LayerNorm(width) if kind == "norm" else draw(st.sampled_from(PLAIN))()), width


OPTIMIZERS = {
    "sgd": lambda p: nn.optim.SGD(p, lr=0.1), "adam": lambda p: nn.optim.Adam(p, amsgrad=True),
    "momentum": lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: nn.optim.AdamW(p), "rmsprop": lambda p: nn.optim.RMSprop(p, centered=True),
    "adagrad": lambda p: nn.optim.Adagrad(p)}


@st.composite
def nets(draw):
    """A function that builds a net, trains it for two steps and returns what was counted.

    It draws nothing: the recipe is drawn here, so that every run is of the same net.
    """
    family = draw(st.sampled_from([vectors, images, sequences]))
    depth, n = draw(st.integers(1, 6)), draw(st.integers(2, 9))
    start, dtype = draw(st.integers(1, 4)) * 4, draw(st.sampled_from(DTYPES))
    choices = []

    def note(strategy):
        choices.append(draw(strategy))
        return choices[-1]

    with ad.dry_run():
        layers, width = _layers(family, note, start, depth)
        del layers
    optimizer, clip = draw(st.sampled_from(sorted(OPTIMIZERS))), draw(st.booleans())
    tokens = family is sequences and draw(st.booleans())

    def run():
        left = iter(choices)
        with memory.track() as m:
            layers, _ = _layers(family, lambda strategy: next(left), start, depth)
            if tokens:
                layers.insert(0, nn.Embedding(11, start))
            if family is images:
                layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 5)]
            model = nn.Sequential(*layers).to(dtype)
            shape = {vectors: (n, start), images: (n, start, 9, 8),
                     sequences: (n, 6, start)}[family]
            x = (ad.tensor(np.arange(n * 6).reshape(n, 6) % 11) if tokens
                 else ad.tensor(np.ones(shape), dtype=dtype))
            opt = OPTIMIZERS[optimizer](model.parameters())
            stages = [step(model, opt, lambda out, y: F.mse_loss(out, ad.zeros_like(out)), x, None,
                           clip) for _ in range(2 if list(model.parameters()) else 0)]
        return m.added_bytes, m.peak, m.end, stages
    return run


def _layers(family, draw, width, depth):
    layers = []
    for _ in range(depth):
        layer, width = family(draw, width)
        layers.append(layer)
    # Something to train, whatever was drawn.
    layers.append({vectors: nn.Linear, images: lambda a, b: nn.Conv2d(a, b, 1),
                   sequences: nn.Linear}[family](width, width))
    return layers, width


@settings(max_examples=60 if core.name == "compiled" else 15)
@given(nets())
def test_nets_at_random(run):
    """Saved bytes at each forward, live ones at each stage, the peak by category: all equal."""
    run()                               # what is made once and kept: the random state
    with ad.dry_run():
        predicted = run()
    assert predicted == run()


# Workloads and a residual network ---------------------------------------------------------------

def residual20():
    """20 layers with weights: 3 x 3 convolutions, nine residual pairs, a classifier.

    He et al., Deep Residual Learning (2016), section 4.2, n = 3, narrow.
    """
    def pair(a, b, stride):
        body = nn.Sequential(nn.Conv2d(a, b, 3, stride=stride, padding=1), nn.BatchNorm2d(b),
                             nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b))
        return Shortcut(body, None if a == b else nn.AvgPool2d(1, stride), b - a)

    widths = [8, 8, 8, 8, 16, 16, 16, 32, 32, 32]
    blocks = [pair(a, b, 1 if a == b else 2) for a, b in zip(widths, widths[1:], strict=False)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), *blocks,
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


class Shortcut(nn.Module):
    """relu(body(x) + x), x subsampled and padded with zero channels where the body narrows."""

    def __init__(self, body, pool, more):
        super().__init__()
        self.body, self.pool, self.more = body, pool, more

    def forward(self, x):
        y = self.body(x)
        if self.pool is not None:
            x = self.pool(x)
            x = ad.concat([x, ad.zeros((x.shape[0], self.more, *x.shape[2:]))], axis=1)
        return F.relu(x + y)


SMALL = [name for name, w in WORKLOADS.items() if not w.full]


def workload_step(name):
    """Bytes of the second training step of a workload, from nothing at all."""
    with memory.track() as m:
        if name == "residual20":
            model, loss_of = residual20(), F.cross_entropy
            x, y = ad.tensor(np.ones((8, 3, 16, 16), np.float32)), ad.tensor(np.arange(8))
            optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        else:
            w = WORKLOADS[name]()
            model, loss_of = w.model(), w.loss
            optimizer = w.optimizer(model)
            x, y = next(iter(w.loader(seed=0)))
        stages = [step(model, optimizer, loss_of, x, y) for _ in range(2)]
    return {"peak": m.added_bytes, "at_peak": {k: m.peak[k] - m.start[k] for k in m.peak},
            "saved": [s["saved"] for s in stages]}


def test_workloads_predicted_in_a_fresh_process():
    names = [*SMALL, "residual20"]
    code = ("import json, sys; sys.path[:0] = sys.argv[1:3]; import autodiff as ad\n"
            "import test_dry_nets as t; ad.random_state()\n"
            f"with ad.dry_run(): print(json.dumps([t.workload_step(n) for n in {names}]))")
    here = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code, here, here + "/../.."], check=True,
                          capture_output=True, text=True)
    ad.random_state()
    for name, predicted in zip(names, json.loads(done.stdout), strict=True):
        measured = workload_step(name)
        assert predicted["saved"] == measured["saved"], name
        assert abs(predicted["peak"] / measured["peak"] - 1) < 0.02, name
        assert predicted == measured, name
