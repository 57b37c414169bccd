"""Seconds: of whole passes, in turns and unobserved; and of each launch, from profiled passes.

Invariant: passes are compared within the same rounds (measure.interleave); what a profile adds to
a pass never enters the seconds of a pass.
"""

import statistics
import time

import autodiff as ad

from .. import process
from ..measure import BLOCKS, Timing, interleave

SHARE = 0.65                # of the budget that goes to whole passes
ROUNDS = 3                  # of each block, at least
LEAST, MOST = 5, 40         # profiled rounds


def measure(subject, inference, budget, tick=None):
    """{"passes": {name: Timing}, "launches": {"inference": [seconds], "step": [seconds]},
    "faults": pages touched for the first time in one round}, within about `budget` seconds.

    passes: yardstick (see there), inference, prediction (absent where the model takes no batch of
    one), forward, backward, update.  launches: kernel seconds of each, medians over rounds; None
    where the number of launches changes from round to round.  inference: the Pass seen before.
    """
    found, kept = [], None
    for k in range(BLOCKS):
        # What went before stays until the new copies are made: they lie at other addresses, and
        # so the blocks also show what that does to the caches.
        kept = predictor, trainer, one = subject.predictor(), subject.trainer(), prediction(subject)
        parts = {"yardstick": yardstick(inference), "inference": predictor.predict}
        if one is not None:
            parts["prediction"] = one.predict
        parts.update(forward=trainer.forward, backward=trainer.backward, update=trainer.update)
        found.append(interleave(parts, SHARE * budget / BLOCKS, least=ROUNDS, tick=tick and (
            lambda done, k=k: tick(SHARE * (k + done) / BLOCKS))))
    passes = {name: Timing.merged([block[name] for block in found]) for name in found[0]}
    predictor, trainer, _ = kept
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


def yardstick(inference):
    """A function of fixed work, timed among the passes: where it runs slower, the machine does.

    One product, one copy and a chain of launches on one number: about the operations, bytes and
    launches of an inference pass, so that it suffers from what the passes suffer from.
    """
    side = 32 * max(2, min(16, round((inference.flops() / 2) ** (1 / 3) / 32)))
    length = min(1 << 21, max(1, sum(e.nbytes for e in inference.launches) // 8))
    a, b, c, x = ad.ones((side, side)), ad.zeros((length,)), ad.zeros((length,)), ad.ones(())
    launches = range(len(inference.launches))

    def work():
        with ad.no_grad():
            ad.matmul(a, a)
            b.copy_(c)
            h = x
            for _ in launches:
                h = ad.tanh(h)
    return work


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
