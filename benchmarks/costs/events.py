"""The ledger over time: live bytes by category at each launch, thinned to a bounded number.

Invariant: the moment of the peak is among the events, and so is the highest moment of each stretch
that was thinned.
"""

from ..measure import CATEGORIES
from .accounts import column_of

MOST = 300


def ledger(seen, times, most=MOST):
    """{"peak", "at", "slack", "launches", "events"} of a Pass, as the report holds it.

    peak: bytes by category at the highest of the phases' peaks; at: the launch of that moment;
    slack: bytes that the pool's size classes add then.
    """
    totals = [sum(row) for row in seen.live]
    top = max(range(len(totals)), key=totals.__getitem__)
    kept = thin(totals, most)
    clock = _clock(seen.launches, times)
    launches = seen.launches
    return {
        "peak": seen.peak, "slack": seen.slack[top], "launches": len(launches),
        "at": {"launch": top, "phase": column_of(launches[top]), "layer": launches[top].layer,
               "op": launches[top].op, "bytes": totals[top]},
        "events": {
            "launch": kept, "seconds": [clock[k] for k in kept],
            "phase": [column_of(launches[k]) for k in kept],
            "layer": [launches[k].layer for k in kept], "op": [launches[k].op for k in kept],
            "live": {c: [seen.live[k][j] for k in kept] for j, c in enumerate(CATEGORIES)}}}


def thin(totals, most):
    """Indices of at most `most` entries: the highest of each of as many equal stretches."""
    if len(totals) <= most:
        return list(range(len(totals)))
    edges = [k * len(totals) // most for k in range(most + 1)]
    return [max(range(a, b), key=totals.__getitem__)
            for a, b in zip(edges, edges[1:], strict=False)]


def _clock(launches, times):
    """When each launch ends, in seconds from the start of the pass.

    A launch takes its kernel's measured seconds, and an equal part of what its phase took beside
    the kernels, so that the last ends when the unobserved pass does.
    """
    inference = not launches or launches[0].phase == "inference"
    kernels = times["launches"]["inference" if inference else "step"]
    if kernels is None or len(kernels) != len(launches):
        kernels = [0.0] * len(launches)
    rest = {}
    for phase in dict.fromkeys(map(column_of, launches)):
        own = [t for e, t in zip(launches, kernels, strict=True) if column_of(e) == phase]
        rest[phase] = max(0.0, times["passes"][phase].median - sum(own)) / len(own)
    now, found = 0.0, []
    for e, t in zip(launches, kernels, strict=True):
        now += t + rest[column_of(e)]
        found.append(now)
    return found
