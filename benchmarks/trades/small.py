"""What else can be traded, one small table each, on one convolutional net.

Micro-batches, optimizers, dtypes, a frozen model, `no_grad` forgotten, a loss kept by accident.
Invariant: the rows of a table are timed in the same rounds and counted by the same ledger; peaks
include parameters, gradients and optimizer state.
"""

from typing import NamedTuple

import numpy as np

import autodiff as ad
import nn
import nn.functional as F

from .. import measure

BATCH, STEPS = 64, 5


class Row(NamedTuple):
    """One choice: seconds (None where none were taken), peak bytes, and one figure of its own."""

    label: str
    seconds: float | None
    peak_bytes: int
    note: str


class Trade(NamedTuple):
    """A table: what is traded, its rows (the first is what others are compared with), a sentence.
    """

    name: str
    rows: list
    sentence: str


def all_trades(budget=1.0):
    """Every Trade; `budget`: seconds of timing for each."""
    return [trade(budget) for trade in (accumulation, optimizers, dtypes, freezing,
                                        forgotten_no_grad, kept_loss)]


def _net(norm=False):
    ad.manual_seed(0)
    block = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
             nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
             nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*(m for m in block if norm or not isinstance(m, nn.BatchNorm2d)))


def _batch(n=BATCH, dtype=np.float32):
    rng = np.random.default_rng(0)
    return (ad.tensor(rng.standard_normal((n, 1, 16, 16)).astype(dtype)),
            ad.tensor(rng.integers(0, 10, n)))


class _Choice:
    """A way to run something: built anew, so that its peak is its own."""

    def __init__(self, label, build, note=lambda made: ""):
        """build() -> (function to run, whatever `note` looks at)."""
        self.label, self.build, self.note = label, build, note

    def peak(self):
        """(peak bytes from before it was built to the end of its second run, the note)."""
        before = measure.live_bytes()
        run, made = self.build()
        run()
        return measure.peak_bytes(run, before)["total"], self.note(made)


def _compare(name, choices, sentence, budget):
    peaks = [choice.peak() for choice in choices]
    timing = measure.interleave({c.label: c.build()[0] for c in choices}, budget)
    rows = [Row(c.label, timing[c.label].median, peak, note)
            for c, (peak, note) in zip(choices, peaks, strict=True)]
    return Trade(name, rows, sentence)


def _step(model, optimizer, batches):
    def run():
        for x, y in batches:
            (F.cross_entropy(model(x), y) / len(batches)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return run


def accumulation(budget=1.0):
    """Gradient accumulation: a batch of 64 as 1, 4, 16 micro-batches; the same gradient."""
    whole = None

    def build(parts):
        x, y = _batch()
        n = BATCH // parts
        batches = [(x[k:k + n], y[k:k + n]) for k in range(0, BATCH, n)]
        model = _net()
        return _step(model, nn.optim.SGD(model.parameters(), lr=1e-3), batches), \
            (model, batches)

    def note(made):
        nonlocal whole
        model, batches = made
        model.load_state_dict(_net().state_dict())
        for x, y in batches:
            (F.cross_entropy(model(x), y) / len(batches)).backward()
        found = np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])
        whole = found if whole is None else whole
        off = np.abs(found - whole).max() / np.abs(whole).max()
        return f"gradient off by {off:.0e}" if off else "the gradient"
    return _compare("micro-batches", [
        _Choice(f"{p} of {BATCH // p}", lambda p=p: build(p), note) for p in (1, 4, 16)],
        "The activations of one micro-batch are alive at a time; the gradients add up in place, so "
        "the sum is the whole batch's but for rounding. Batch norm would see smaller batches.",
        budget)


def optimizers(budget=1.0):
    """Optimizer state: SGD keeps nothing, momentum one array a parameter, Adam two."""
    def build(make):
        model = _net()
        optimizer = make(model.parameters())
        return _step(model, optimizer, [_batch()]), model

    def note(model):
        state = measure.live_bytes()["optimizer state"] - before
        return f"state {state / sum(p.nbytes for p in model.parameters()):.2f} x parameters"
    before = measure.live_bytes()["optimizer state"]
    return _compare("optimizer", [
        _Choice(label, lambda make=make: build(make), note) for label, make in (
            ("SGD", lambda p: nn.optim.SGD(p, lr=1e-3)),
            ("SGD, momentum", lambda p: nn.optim.SGD(p, lr=1e-3, momentum=0.9)),
            ("Adam", lambda p: nn.optim.Adam(p, lr=1e-3)))],
        "State lives as long as training does, whatever the batch; inference has none of it.",
        budget)


def dtypes(budget=1.0):
    """float32 against float64: twice the bytes everywhere, and half the lanes."""
    def build(dtype):
        model = _net()
        model = model.double() if dtype == np.float64 else model
        return _step(model, nn.optim.Adam(model.parameters(), lr=1e-3),
                     [_batch(dtype=dtype)]), model
    return _compare("dtype", [
        _Choice(np.dtype(d).name, lambda d=d: build(d)) for d in (np.float32, np.float64)],
        "float64 is for checking derivatives; training gains nothing from it.", budget)


def freezing(budget=1.0):
    """Batch norm, ReLU and pooling part of the layer before them, dropout gone, read-only."""
    def build(frozen):
        model = _net(norm=True).eval()
        model = nn.freeze(model) if frozen else model
        x, _ = _batch()

        def run():
            with ad.no_grad():
                return model(x)
        return run, model

    def note(model):
        with ad.profile.profile() as seen, ad.no_grad():
            model(_batch()[0])
        return f"{len(seen.events)} launches"
    return _compare("nn.freeze (inference)", [
        _Choice("as trained", lambda: build(False), note),
        _Choice("frozen", lambda: build(True), note)],
        "weight' = weight s, bias' = (bias - mean) s + b: the norms cost nothing any more; ReLU "
        "and pooling follow on rows that still lie in cache.", budget)


def forgotten_no_grad(budget=1.0):
    """The same forward pass with recording left on: what is kept and what keeping costs."""
    def build(recording):
        model = _net().eval()
        x, _ = _batch()

        def run():
            with ad.enable_grad() if recording else ad.no_grad():
                return model(x)
        return run, run

    def note(run):
        with ad.memory.track() as m:
            out = run()                         # kept to the end of the block: so are the saves
        del out
        return f"{m.saved_bytes / 1e3:,.0f} kB kept"
    return _compare("no_grad forgotten (inference)", [
        _Choice("no_grad", lambda: build(False), note),
        _Choice("recording", lambda: build(True), note)],
        "Nothing goes wrong but the memory: every activation that backward would want is kept for "
        "as long as the output lives.", budget)


def kept_loss(budget=1.0):
    """`losses.append(loss)` instead of `loss.item()`: the whole tape of each step stays."""
    rows = []
    held = None
    for label, keep in (("loss.item()", lambda loss: loss.item()), ("loss", lambda loss: loss)):
        before = measure.live_bytes()
        model, (x, y) = _net(), _batch()
        losses = []

        def run(model=model, x=x, y=y, losses=losses, keep=keep):
            for _ in range(STEPS):
                losses.append(keep(F.cross_entropy(model(x), y)))
        peak = measure.peak_bytes(run, before)["total"]
        note = f"{STEPS} numbers"
        if isinstance(losses[0], ad.Tensor):
            held = ad.memory.saved_report(*losses)
            note = f"{held.total_bytes / 1e6:.2f} MB on {STEPS} tapes"
        rows.append(Row(label, None, peak, note))
        del losses, model, run
    largest = held[0]
    return Trade("a loss kept by accident (validation loop)", rows,
                 f"The list holds the losses, each its tape, each tape what it saved; the largest: "
                 f"{largest.nbytes:,} bytes by {largest.op} in module {largest.scope or '-'} "
                 f"({largest.line.rpartition('/')[2]}).")


def read(data):
    """[Trade] of what stands in a report."""
    return [Trade(t["name"], [Row(**row) for row in t["rows"]], t["sentence"]) for t in data]


def describe(trades):
    """The tables as text of at most 100 columns."""
    import textwrap
    lines = []
    for name, rows, sentence in trades:
        first = rows[0]
        lines += [name, f"  {'':22} {'ms':>9} {'x':>6} {'peak kB':>10} {'x':>6}  "]
        for r in rows:
            timed = ("-", "-") if r.seconds is None else \
                (f"{1e3 * r.seconds:.3f}", f"{r.seconds / first.seconds:.2f}")
            lines.append(f"  {r.label:22} {timed[0]:>9} {timed[1]:>6} {r.peak_bytes / 1e3:10,.0f} "
                         f"{r.peak_bytes / first.peak_bytes:6.2f}  {r.note}")
        lines += [textwrap.fill(sentence, 98, initial_indent="  ", subsequent_indent="  "), ""]
    return "\n".join(lines)
