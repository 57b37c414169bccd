"""Seconds: of whole passes, in turns and unobserved; and of each launch, from profiled passes.

Invariant: passes are compared within the same rounds (measure.interleave); what a profile adds to
a pass never enters the seconds of a pass.
"""

import statistics
import time

import autodiff as ad

from .. import process
from ..measure import interleave

SHARE = 0.65                # of the budget that goes to whole passes
LEAST, MOST = 5, 40         # profiled rounds


def measure(subject, budget, tick=None):
    """{"passes": {name: Timing}, "launches": {"inference": [seconds], "step": [seconds]},
    "faults": pages touched for the first time in one round}, within about `budget` seconds.

    passes: inference, prediction (None where the model takes no batch of one), forward, backward,
    update.  launches: kernel seconds of each, medians over rounds; None where the number of
    launches changes from round to round.
    """
    predictor, trainer = subject.predictor(), subject.trainer()
    parts = {"inference": predictor.predict}
    one = prediction(subject)
    if one is not None:
        parts["prediction"] = one.predict
    parts.update(forward=trainer.forward, backward=trainer.backward, update=trainer.update)
    passes = interleave(parts, SHARE * budget, tick=tick)
    faults = _faults(lambda: (predictor.predict(), trainer.step()))
    rows = {"inference": [], "step": []}
    start = time.perf_counter()
    while len(rows["step"]) < LEAST or (len(rows["step"]) < MOST and
                                        time.perf_counter() - start < (1 - SHARE) * budget):
        for name, function in (("inference", predictor.predict), ("step", trainer.step)):
            with ad.profile.profile() as seen:
                function()
            rows[name].append([e.seconds for e in seen.events])
    return {"passes": passes, "faults": faults,
            "launches": {name: _medians(found) for name, found in rows.items()}}


def prediction(subject):
    """An InferenceRun on the first sample, or None where the model takes no batch of one."""
    try:
        run = subject.predictor(subject.one())
        run.predict()
    except (ad.errors.AutodiffError, TypeError, ValueError, IndexError):
        return None
    return run


def _medians(rounds):
    if len({len(row) for row in rounds}) != 1:
        return None
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def _faults(function, rounds=5):
    before = process.minor_faults()
    for _ in range(rounds):
        function()
    return (process.minor_faults() - before) // rounds
