"""The ledger over time: live bytes by category after each launch, and the highest before it.

`with ad.memory.timeline() as t:` collects one Moment for each launch of any thread, and one at
either end.  Invariant: moments are plain data, and in each the categories add up to the total;
without a timeline running, a launch pays for one branch.
"""

import struct
import time
from typing import NamedTuple

from . import caller, core, text
from .errors import ArgumentError

__all__ = ["CATEGORIES", "Moment", "timeline"]

CATEGORIES = tuple(core.memory_stats()["live"])
_MARK = struct.Struct(f"{2 * (len(CATEGORIES) + 1)}q")      # of core.mark


class Moment(NamedTuple):
    """The ledger after one launch; op is "" where there was none (start and end of a timeline).

    live: bytes by category, in the order of CATEGORIES, live_bytes their total; peak, peak_bytes:
    the same where the total was highest since the moment before, scratch included; seconds: since
    the timeline began; line: of the code outside the library that asked for the launch; made:
    `storage_id` of its outputs.
    """
    op: str
    phase: str
    scope: str
    line: str
    seconds: float
    live: tuple
    live_bytes: int
    peak: tuple
    peak_bytes: int
    made: tuple = ()

    def by_category(self, peak=False):
        """{category: bytes} after the launch, or at its peak."""
        return dict(zip(CATEGORIES, self.peak if peak else self.live, strict=True))

    def __str__(self):
        where = f" in {self.scope}" if self.scope else ""
        return (f"{text.nbytes(self.peak_bytes)} at {self.op or 'no launch'}, {self.phase}{where} "
                f"({self.line.rpartition('/')[2]})")


class timeline:
    """Context that records the ledger over time: `with ad.memory.timeline() as t: ...`.

    t.events: a Moment for each launch, between one at the start and one at the end; t.peak: the
    moment of the highest bytes. Counts the whole process; in a dry run, what a real one would.
    Timelines may nest or overlap; each has its own moments. Prints the highest of each phase.
    """

    def __init__(self):
        self._raw, self._events, self._start = [], [], 0.0

    def __enter__(self):
        if self in _running:
            raise ArgumentError("timeline: this timeline is running already")
        if not _running:
            core.watch(1)
            core.listen(_listener, copies=False)
        _mark(_running)
        _running.append(self)
        self._start = self._start or time.perf_counter()
        _mark([self])
        return self

    def __exit__(self, *exc):
        _mark(_running)
        _running.remove(self)
        if not _running:
            core.unlisten(_listener)
            core.watch(-1)

    @property
    def events(self):
        """A list of Moment, in order."""
        n = len(CATEGORIES)
        for op, phase, scope, at, now, marked, made in (
                self._raw[len(self._events):]):     # what came since the last time
            found = _MARK.unpack(marked)
            self._events.append(Moment(op, phase, scope, caller.resolve(*at), now - self._start,
                                       found[:n], found[n], found[n + 1:-1], found[-1],
                                       tuple(made)))
        return self._events

    @property
    def peak(self):
        """The moment of the highest bytes, the first where several are; None before the start."""
        return max(self.events, key=lambda m: m.peak_bytes, default=None)

    @property
    def peak_bytes(self):
        """The most bytes that were live at once inside; 0 where nothing ran."""
        return self.peak.peak_bytes if self._raw else 0

    def by_phase(self):
        """{phase: its moment of the highest bytes}, in the order of the phases' first launches."""
        found = {}
        for m in self.events:
            if m.op and (m.phase not in found or m.peak_bytes > found[m.phase].peak_bytes):
                found[m.phase] = m
        return found

    def __str__(self):
        events = self.events
        if not events:
            return "timeline: nothing recorded"
        found = {"start": events[0], **self.by_phase(), "end": events[-1]}
        rows = [(c, *(text.nbytes(m.by_category(True)[c]) for m in found.values()))
                for c in CATEGORIES if any(m.by_category(True)[c] for m in found.values())]
        rows.append(("total", *(text.nbytes(m.peak_bytes) for m in found.values())))
        launches = sum(1 for m in events if m.op)
        return f"{text.columns(('highest in', *found), rows)}\n{launches} launches; {self.peak}"

    __repr__ = __str__


# All timelines that run hear of the same moments: asking the ledger starts its next interval.
_running = []


def running():
    """The timelines that run now, the oldest first."""
    return list(_running)


def _mark(timelines):
    """A moment without a launch."""
    _add(timelines, "", core.current_phase(), core.current_scope(), ())


def _listener(event):
    _add(_running, event.op.name, event.phase, event.scope or "",
         [t.storage_id for t in event.outputs if t is not None])


def _add(timelines, op, phase, scope, made):
    raw = (op, phase, scope, core.nearest_caller(), time.perf_counter(), core.mark(), made)
    for t in timelines:
        t._raw.append(raw)
