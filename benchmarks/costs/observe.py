"""One pass under observation: its bytes by category, its launches, what it keeps for backward.

The same functions run for real and inside `ad.dry_run()`: the first is the measurement, the second
the prediction.  Invariant: what was alive before the run's copies were made is taken off, so the
bytes are those of the model, the batch and the optimizer alone.
"""

import bisect
import gc
from dataclasses import dataclass, field
from typing import NamedTuple

import autodiff as ad

from ..measure import CATEGORIES, live_bytes
from . import subject
from .subject import LOSS

OPTIMIZER = "(optimizer)"
PHASES = ("forward", "backward", "update")


class Launch(NamedTuple):
    """One launch; layer: path of the module it belongs to, "" for the outermost; origin: the
    operation that the model called, whose forward or gradient it computes."""
    op: str
    phase: str
    layer: str
    origin: str
    flops: int
    nbytes: int
    dtype: str


@dataclass
class Pass:
    """What was seen of an inference pass or a training step.

    peaks: {phase: {"total", category: bytes at the phase's peak}}; launches; live: one tuple of
    bytes by category (in the order of CATEGORIES) for each launch, slack: the pool's rounding
    then; saved: arrays kept for backward; undeclared: operations that declare no arithmetic (they
    only move bytes).
    """
    peaks: dict
    launches: list
    live: list
    slack: list
    saved: list = field(default_factory=list)
    saved_bytes: int = 0
    undeclared: list = field(default_factory=list)

    @property
    def peak(self):
        """The highest of the phases' peaks."""
        return max(self.peaks.values(), key=lambda p: p["total"])

    def flops(self, phase=None):
        """Floating-point operations of a phase, or of all."""
        return sum(e.flops for e in self.launches if phase in (None, e.phase))


def inference(what, inputs=None):
    """One pass in eval mode under no_grad, with nothing alive but the model and its input."""
    return _alone(_inference, what, inputs)


def _inference(before, what, inputs):
    run = what.predictor(inputs)
    run.predict()                                   # what a model makes once is made
    peak = _peak(run.predict, before)
    seen, live, slack = _listen(run.predict, before)
    names = Names(run.model)
    launches = [_launch(e, "inference", names) for e in seen.events]
    return Pass({"inference": peak}, launches, live, slack,
                undeclared=sorted(seen.undeclared))


def step(what, input_gradient=False):
    """One training step, with the optimizer's state there: forward, backward, update."""
    return _alone(_step, what, input_gradient)


def _step(before, what, input_gradient):
    run = what.trainer(input_gradient)
    run.step()
    names = Names(run.model)
    kept = live_bytes()["saved"]
    peaks = {"forward": _peak(run.forward, before)}
    saved_bytes = live_bytes()["saved"] - kept
    peaks.update((phase, _peak(getattr(run, phase), before)) for phase in PHASES[1:])
    seen, live, slack = _listen(run.forward, before)
    saved = _saved(run.loss, names.module)
    for phase in PHASES[1:]:
        more, rows, rounding = _listen(getattr(run, phase), before)
        seen.events += more.events
        seen.undeclared |= more.undeclared
        live += rows
        slack += rounding
    with ad.profile.profile(origins=True) as named:
        run.step()
    launches = [_launch(e, e.phase, names, e.op if e.phase == "forward" else e.origin)
                for e in named.events]
    return Pass(peaks, launches, live, slack, saved, saved_bytes,
                sorted(seen.undeclared))


def _alone(observe, *args):
    """Observe with nothing left of what went before, and leave nothing behind."""
    before = base()
    found = observe(before, *args)
    if sum(live_bytes().values()) > sum(before[c] for c in CATEGORIES):
        gc.collect()                # the copies were part of a cycle of references
    return found


def base():
    """Bytes by category that are alive now, and the slack of the pool."""
    return {**live_bytes(), "slack": ad.memory.stats()["slack_bytes"]}


def _peak(function, before):
    """{"total", category: bytes at the peak of `function`}, above `before`."""
    with ad.memory.track() as m:
        kept = function()
    del kept
    found = {c: int(m.peak.get(c, 0)) - before[c] for c in CATEGORIES}
    return {"total": sum(found.values()), **found}


class Listener(ad.profile.Profile):
    """A profile that also notes, for each launch, the highest moment since the one before it.

    live: {category: bytes} then, scratch included; slack: what the pool's size classes add.
    """

    def __init__(self):
        super().__init__()
        self.slack, self._ledger = [], ad.memory.timeline()

    def __enter__(self):
        self._ledger.__enter__()
        return super().__enter__()

    def __exit__(self, *exc):
        super().__exit__(*exc)
        self._ledger.__exit__(*exc)

    def heard(self, event):
        super().heard(event)
        self.slack.append(ad.memory.stats()["slack_bytes"])

    @property
    def live(self):
        return [m.by_category(peak=True) for m in self._ledger.events if m.op]


def _listen(function, before):
    """(profile, bytes by category at each launch, slack of the pool at each)."""
    with Listener() as seen:
        kept = function()
    del kept
    return (seen, [tuple(int(row[c]) - before[c] for c in CATEGORIES) for row in seen.live],
            [n - before["slack"] for n in seen.slack])


class Names:
    """From scopes and parameters to the paths of modules."""

    def __init__(self, model):
        modules = list(model.named_modules()) if hasattr(model, "named_modules") else [("", model)]
        self.paths = {path for path, _ in modules}
        self.owner = {}
        for path, m in modules:
            for p in (m.parameters(recurse=False) if hasattr(model, "named_modules")
                      else m.parameters()):
                self.owner.setdefault(p.storage_id, path)

    def layer(self, event):
        """The module whose work the launch is; the parameter's owner where it is an update."""
        if event.phase == "update":
            return next((self.owner[s] for s in event.storages if s in self.owner), OPTIMIZER)
        return self.module(event.scope)

    def module(self, scope):
        """The module that a scope is of, or is within."""
        if scope == LOSS or scope.startswith(LOSS + "."):
            return LOSS
        while scope not in self.paths and scope:
            scope = scope.rpartition(".")[0]
        return scope


def _launch(e, phase, names, origin=None):
    return Launch(e.op, phase, names.layer(e), e.op if origin is None else origin or e.op,
                  e.flops, e.nbytes, e.dtype)


def _line(line):
    """`file.py:12` of the user's code; None where the model is called from here."""
    return None if line.rpartition(":")[0] == subject.__file__ else line


def _saved(loss, layer_of):
    """Each array that the loss keeps, and the record whose leaving in backward frees it.

    Backward visits records by descending serial: an array goes with the oldest that shares it.
    """
    entries = {e.serial: e for e in ad.Tape.of(loss)}
    order = sorted(entries)
    found = []
    for a in ad.memory.saved_report(loss):
        # What a checkpoint keeps of its arguments goes with its first record, the next on the tape.
        at = bisect.bisect_left(order, min(serial for serial, *_ in a.users))
        last = entries[order[at]]
        found.append({
            "bytes": a.nbytes, "shape": list(a.shape), "dtype": str(a.dtype),
            "category": "saved" if a.category == "temporary" else a.category, "op": a.op,
            "name": a.name, "layer": layer_of(a.scope), "line": _line(a.line),
            "shared_with": [f"{op}.{name}" for _, op, name, *_ in a.users[1:]],
            "freed_by": {"op": last.op, "layer": layer_of(last.scope), "turn": len(order) - at,
                         "of": len(order)}})
    return found
