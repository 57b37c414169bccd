"""Predicted against tracked against resident: each model alone in a fresh process.

`python -m benchmarks.costs.check` prints the table; the batches are large enough for the model, not
the process, to be what grows.  Invariant: the prediction is made first, from shapes, when nothing
of the model has run in that process.
"""

import numpy as np

import autodiff as ad
import nn
import nn.functional as F
from autodiff.text import columns

from .. import fresh, process
from ..units import BYTES, quantity
from . import observe
from .subject import Subject, protected

BATCHES = {"mlp": 32768, "cnn": 16384, "regression": 131072, "lstm": 512, "gpt": 128,
           "residual": 96}
CLOSE, RESIDUAL = 0.02, 0.10        # of the tracked peak; of the resident growth


class Block(nn.Module):
    """x + f(x), f two convolutions of 3 x 3 with batch norm."""

    def __init__(self, channels):
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_a = nn.BatchNorm2d(channels)
        self.b = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_b = nn.BatchNorm2d(channels)

    def forward(self, x):
        h = F.relu(self.norm_a(self.a(x)))
        return F.relu(x + self.norm_b(self.b(h)))


def residual_cnn(channels=16, blocks=9, classes=10):
    """20 layers with weights: a convolution, 9 blocks of two, a linear layer."""
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
                         *[Block(channels) for _ in range(blocks)], nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(channels, classes))


def subject(name, batch=None):
    """(model, batch, loss, optimizer) of a workload, or of the residual CNN, for any batch."""
    ad.manual_seed(0)
    n = BATCHES[name] if batch is None else batch
    if name == "residual":
        model, rng = residual_cnn(), np.random.default_rng(0)
        x = rng.random((n, 3, 16, 16), dtype=np.float32)
        return (model, (x, rng.integers(0, 10, n)), F.cross_entropy,
                nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    from ..workloads import WORKLOADS
    from .families import with_batch
    workload = WORKLOADS[name]()
    model = workload.model()
    arguments = (model, next(iter(workload.loader(seed=0))), workload.loss,
                 workload.optimizer(model))
    return with_batch(arguments, n)


def one(name, batch=None):
    """Bytes of one training step: {"predicted_saved", "saved", "predicted_peak", "peak",
    "growth"}; growth is None where the system does not tell."""
    what = Subject(*subject(name, batch))
    with protected():
        with ad.dry_run():
            predicted = observe.step(what)
        ad.memory.trim()
        before, exact = process.resident(), process.reset_high_water()
        measured = observe.step(what)
        growth = process.high_water() - before if exact and before is not None else None
    return {"predicted_saved": predicted.saved_bytes, "saved": measured.saved_bytes,
            "predicted_peak": predicted.peak["total"], "peak": measured.peak["total"],
            "growth": growth}


def main():
    """Print a row for each model; returns 0 where all that must be equal or close is."""
    rows, good = [], True
    for name in BATCHES:
        r = fresh.call("benchmarks.costs.check:one", name=name)
        off = r["predicted_peak"] / r["peak"] - 1
        rest = None if r["growth"] is None else (r["growth"] - r["peak"]) / r["growth"]
        fine = (r["saved"] == r["predicted_saved"] and abs(off) <= CLOSE
                and (rest is None or abs(rest) <= RESIDUAL))
        good &= fine
        rows.append((name, BATCHES[name], f"{r['predicted_saved']:,}", f"{r['saved']:,}",
                     quantity(r["predicted_peak"], BYTES), quantity(r["peak"], BYTES),
                     f"{100 * off:.2f} %", "-" if rest is None else quantity(r["growth"], BYTES),
                     "-" if rest is None else f"{100 * rest:.1f} %", "" if fine else "MISSED"))
    print(columns(("model", "batch", "saved, predicted", "saved", "peak, predicted", "tracked",
                   "off", "resident", "rest", ""), rows))
    return int(not good)


if __name__ == "__main__":
    raise SystemExit(main())
