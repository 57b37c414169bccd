"""Launches added up: by phase, by layer, by operation, each beside its bound on this machine.

Invariant: every launch of a pass is in exactly one row of each table, so that a table's column adds
up to the pass.
"""

from . import roofline
from .observe import PHASES

COLUMNS = ("inference", *PHASES)


class Accounts:
    """The launches of inference and of a training step (if any), their seconds and bounds.

    Each entry: (Launch, seconds or None, kind of bound, bound in seconds).
    """

    def __init__(self, inference, step, seconds, rates):
        self.rates = rates
        self.entries = list(self._entries(inference.launches, seconds["inference"]))
        if step is not None:
            self.entries += self._entries(step.launches, seconds["step"])

    def _entries(self, launches, seconds):
        if seconds is None or len(seconds) != len(launches):
            seconds = [None] * len(launches)
        for e, t in zip(launches, seconds, strict=True):
            yield (e, t, *roofline.bound(self.rates, column_of(e), e.dtype, e.flops, e.nbytes))

    def total(self, column):
        """One row of the sums of a column: inference, forward, backward or update."""
        return self._sum([x for x in self.entries if column_of(x[0]) == column])

    def by(self, key):
        """{key(launch): {column: sums}} in the order of first appearance."""
        groups = {}
        for x in self.entries:
            groups.setdefault(key(x[0]), []).append(x)
        return {name: {column: self._sum([x for x in found if column_of(x[0]) == column])
                       for column in COLUMNS} for name, found in groups.items()}

    def roofline(self):
        """A row for each operation launched in each phase: calls, seconds, what bounds it."""
        groups = {}
        for x in self.entries:
            groups.setdefault((x[0].op, column_of(x[0])), []).append(x)
        rows = [{"op": op, "phase": phase, **self._sum(found)}
                for (op, phase), found in groups.items()]
        return sorted(rows, key=lambda r: -(r["seconds"] or r["bound_seconds"]))

    def _sum(self, entries):
        """Sums of a group; seconds: in kernels, and the launches' overhead as the machine has it.

        share: bound / seconds, 1 where nothing on this machine could make it faster.
        """
        timed = None not in [t for _, t, _, _ in entries]
        seconds = bound = 0.0
        kinds = dict.fromkeys(roofline.KINDS, 0.0)
        for e, t, kind, least in entries:
            overhead = self.rates["overhead"][column_of(e)]
            seconds += overhead + (t or 0.0)
            bound += least
            kinds[kind] += least
        return {"launches": len(entries), "seconds": seconds if timed else None,
                "flops": sum(e.flops for e, *_ in entries),
                "moved": sum(e.nbytes for e, *_ in entries), "bound_seconds": bound,
                "bound": max(kinds, key=kinds.get) if entries else None,
                "share": bound / seconds if entries and timed else None}


def column_of(launch):
    """inference, forward, backward (what is recomputed there included) or update."""
    return "backward" if launch.phase == "recompute" else launch.phase


def multiples(row):
    """Training over inference of one row: {"seconds", "flops"}, None where inference is 0."""
    return {what: ratio(_training(row, what), row["inference"][what])
            for what in ("seconds", "flops")}


def _training(row, what):
    values = [row[phase][what] for phase in PHASES]
    return None if None in values else sum(values)


def ratio(a, b):
    """a / b; None where that is no number."""
    return a / b if a is not None and b else None


def peaks(inference, step, layer):
    """(inference, training): most bytes alive while a launch of `layer` ran; None without one."""
    found = []
    for seen in (inference, step):
        live = [sum(row) for e, row in zip(seen.launches, seen.live, strict=True)
                if e.layer == layer and e.phase != "update"]
        found.append(max(live, default=None))
    return found
