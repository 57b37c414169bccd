"""Measuring: medians of interleaved rounds, peak bytes by category, floating-point operations.

Invariant: what is compared is measured in turns within the same rounds, after a warm-up and with
the garbage collector off, so that a slow second of the machine falls on all alike.
"""

import gc
import time
from dataclasses import asdict, dataclass

import numpy as np

import autodiff as ad
from autodiff import memory, profile

BLOCKS = 4
CATEGORIES = ("parameter", "buffer", "optimizer state", "gradient", "input", "saved", "temporary")


@dataclass(frozen=True)
class Timing:
    """Seconds: the median of `rounds` measurements, their quartiles, and the medians of `blocks`,
    consecutive quarters of the rounds: how far they lie apart is the noise of the machine."""

    median: float
    q1: float
    q3: float
    rounds: int
    blocks: tuple = ()

    @classmethod
    def of(cls, seconds):
        """Summary of a sequence of measurements."""
        q1, median, q3 = np.percentile(seconds, (25, 50, 75))
        parts = np.array_split(np.asarray(seconds), min(BLOCKS, len(seconds)))
        blocks = tuple(float(np.median(part)) for part in parts)
        return cls(float(median), float(q1), float(q3), len(seconds), blocks)

    @classmethod
    def merged(cls, parts):
        """One Timing of several of the same thing: medians of theirs, each a block."""
        median, q1, q3 = (float(np.median([getattr(p, what) for p in parts]))
                          for what in ("median", "q1", "q3"))
        return cls(median, q1, q3, sum(p.rounds for p in parts), tuple(p.median for p in parts))

    def to_dict(self):
        """As it stands in the report file."""
        return asdict(self)


def interleave(parts, budget=2.0, least=7, most=200, warmup=2, tick=None):
    """Time `parts` in turns: {name: Timing}; see `rounds`."""
    found = rounds(parts, budget, least, most, warmup, tick)
    return {name: Timing.of(s) for name, s in found.items()}


def rounds(parts, budget=2.0, least=7, most=200, warmup=2, tick=None):
    """Time `parts` in turns: {name: [seconds in each round]}.

    parts: {name: function} or {name: (prepare, function)}; `prepare` runs untimed before it.
    Rounds go on until `budget` seconds are spent, but at least `least` and at most `most`;
    `tick(fraction done)` is called between rounds.  Within a round the order is that of `parts`,
    so that parts may build on each other (forward, backward, update).
    """
    parts = {name: p if isinstance(p, tuple) else (None, p) for name, p in parts.items()}
    seconds = {name: [] for name in parts}
    for _ in range(warmup):
        _round(parts, {name: [] for name in parts})
    enabled = gc.isenabled()
    if enabled:
        gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for k in range(most):
            _round(parts, seconds)
            spent = time.perf_counter() - start
            if tick is not None:
                tick(min(1.0, max(spent / budget if budget else 1.0, (k + 1) / most)))
            if k + 1 >= least and spent >= budget:
                break
    finally:
        if enabled:
            gc.enable()
    return seconds


def _round(parts, seconds):
    clock = time.perf_counter
    for name, (prepare, function) in parts.items():
        if prepare is not None:
            prepare()
        start = clock()
        function()
        seconds[name].append(clock() - start)


def live_bytes():
    """{category: bytes} of everything the engine holds now."""
    live = memory.stats()["live"]
    return {c: int(live.get(c, 0)) for c in CATEGORIES}


def peak_bytes(function, baseline=None):
    """Run `function`; {"total": bytes at the peak, category: its bytes at that moment}.

    `baseline` ({category: bytes}), what was held before the model was made, is taken off.
    """
    baseline = baseline or {}
    memory.reset_peak()
    kept = function()
    at_peak = memory.stats()["peak"]
    del kept
    peak = {c: int(at_peak.get(c, 0)) - baseline.get(c, 0) for c in CATEGORIES}
    return {"total": sum(peak.values()), **peak}


def flops(function):
    """Run `function`; {phase: floating-point operations}, counted from the operations' shapes."""
    with profile.profile() as seen:
        kept = function()
    del kept
    return {phase: int(count) for phase, count in seen.flops.items()}


class Step:
    """One training step in its three phases, and inference, on one fixed batch.

    forward: model and loss under recording, in train mode.  backward: the sweep; the tape is freed.
    update: the optimizer's step, and the gradients dropped.  predict: the model alone, in eval mode
    under no_grad; `predict_one` the same on the first sample.
    """

    def __init__(self, workload, model, optimizer, x, y):
        """`x` and `y` are arrays: a batch."""
        self.workload, self.model, self.optimizer = workload, model, optimizer
        self.x, self.y, self.first = ad.tensor(x), ad.tensor(y), ad.tensor(x[:1])
        self.loss = None

    def infer_mode(self):
        self.model.eval()

    def train_mode(self):
        self.model.train()

    def predict(self):
        with ad.no_grad():
            return self.model(self.x)

    def predict_one(self):
        with ad.no_grad():
            return self.model(self.first)

    def forward(self):
        self.loss = self.workload.loss(self.model(self.x), self.y)

    def backward(self):
        self.loss.backward()
        self.loss = None

    def update(self):
        self.optimizer.step()
        self.optimizer.zero_grad()

    def run(self):
        """The whole step."""
        self.forward()
        self.backward()
        self.update()

    def parts(self):
        """What `interleave` times, in order."""
        return {"inference": (self.infer_mode, self.predict),
                "prediction": (self.infer_mode, self.predict_one),
                "forward": (self.train_mode, self.forward),
                "backward": self.backward,
                "update": self.update}
