"""Where the bytes are: live and peak by category, and what a loss keeps for its backward.

The cores count exactly, each storage once, in its highest category: parameter > buffer > optimizer
state > gradient > input > saved > temporary.  Invariant: numbers here are counted, never
estimated; what is not counted (Python, libraries, NumPy's own arrays) is named as a residual.
"""

import os
from dataclasses import dataclass

from . import core, text
from .alive import why_alive
from .tapes import nodes
from .timeline import timeline

__all__ = ["Reconciliation", "SavedArray", "SavedReport", "peak", "reconcile", "reset_peak",
           "saved_bytes", "saved_report", "stats", "timeline", "track", "trim",
           "why_alive"]

_earlier = (0, {})      # the peak from before a `track` started a new one: bytes, by category


def stats():
    """Counts as a dict, in bytes.

    "live": {category: bytes}, "live_bytes", "live_blocks", "peak_bytes", "peak": {category: bytes
    at the moment of the peak}, "dry_bytes" (of the live ones: what a dry run counts without
    taking it), and the pool's "slack_bytes" (rounding), "held_bytes" (free blocks
    kept for reuse), "reserved_bytes" (all that it holds from the system).
    """
    found = core.memory_stats()
    if _earlier[0] > found["peak_bytes"]:
        found["peak_bytes"], found["peak"] = _earlier[0], dict(_earlier[1])
    return found


def peak():
    """The most bytes that were live at once since the last reset_peak()."""
    return stats()["peak_bytes"]


def reset_peak():
    """Start a new peak from the bytes that are live now."""
    global _earlier
    _earlier = (0, {})
    core.reset_peak()


def trim():
    """Give free blocks of the pool back to the system; returns the bytes given back."""
    return core.trim()


class track:
    """Context that measures the memory of what runs inside: `with ad.memory.track() as m: ...`.

    m.peak_bytes: the most bytes live at once inside, m.peak: the same by category;
    m.start_bytes, m.end_bytes: live before and after; m.added_bytes: peak above the start;
    m.saved_bytes: what records inside keep for backward and nothing else did before.
    Counts the whole process. Blocks nest, and the peak outside stays what it would have been.
    """

    def __init__(self):
        self.start_bytes = self.end_bytes = self.peak_bytes = self.saved_bytes = 0
        self.peak, self.start, self.end = {}, {}, {}

    @property
    def added_bytes(self):
        """The peak above what was live at the start."""
        return self.peak_bytes - self.start_bytes

    def __enter__(self):
        before = stats()
        self._outer = (before["peak_bytes"], before["peak"])
        self.start_bytes, self.start = before["live_bytes"], before["live"]
        reset_peak()
        return self

    def __exit__(self, *exc):
        global _earlier
        after = stats()
        self.end_bytes, self.end = after["live_bytes"], after["live"]
        self.peak_bytes, self.peak = after["peak_bytes"], after["peak"]
        self.saved_bytes = self.end["saved"] - self.start["saved"]
        _earlier = max(self._outer, (self.peak_bytes, self.peak), key=lambda p: p[0])

    def __str__(self):
        rows = [(name, text.nbytes(self.start.get(name, 0)), text.nbytes(n),
                 text.nbytes(self.end.get(name, 0)))
                for name, n in self.peak.items() if n or self.end.get(name)]
        rows.append(("total", *map(text.nbytes, (self.start_bytes, self.peak_bytes,
                                                 self.end_bytes))))
        return text.columns(("category", "start", "peak", "end"), rows)


# What a loss keeps ----------------------------------------------------------------------------

@dataclass
class SavedArray:
    """One array kept for backward, and the records that share it.

    nbytes: of its storage, all of which stays alive; shape, dtype: as first saved;
    users: [(serial, op, name in the op, scope, line), ...], the first one saved it first.
    """
    nbytes: int
    shape: tuple
    dtype: object
    category: str
    users: list

    op = property(lambda self: self.users[0][1], doc="Operation that saved it first.")
    name = property(lambda self: self.users[0][2], doc="What that operation calls it.")
    scope = property(lambda self: self.users[0][3], doc="Module path of that operation.")
    line = property(lambda self: self.users[0][4], doc="Line of the user's code that called it.")

    @property
    def shared_with(self):
        """`op.name` of the further records that keep the same bytes."""
        return [f"{op}.{name} #{serial}" for serial, op, name, *_ in self.users[1:]]


class SavedReport(list):
    """The arrays a tensor keeps for backward, each once, the largest first; prints as a table."""

    def __init__(self, arrays):
        super().__init__(sorted(arrays, key=lambda a: -a.nbytes))

    @property
    def total_bytes(self):
        """Bytes of all saved arrays, each counted once."""
        return sum(a.nbytes for a in self)

    @property
    def by_category(self):
        """Bytes by category: parameters and inputs are alive anyway, "temporary" is the cost."""
        found = {}
        for a in self:
            found[a.category] = found.get(a.category, 0) + a.nbytes
        return found

    def by_scope(self):
        """Bytes by the module path of the record that saved first."""
        found = {}
        for a in self:
            found[a.scope] = found.get(a.scope, 0) + a.nbytes
        return found

    def __str__(self):
        rows = [(text.nbytes(a.nbytes), text.shape(a.shape, a.dtype), f"{a.op}.{a.name}",
                 a.scope or "-", a.line.rpartition("/")[2], _category(a),
                 ", ".join(a.shared_with) or "-") for a in self]
        head = ("bytes", "array", "saved by", "scope", "line", "counts as", "also by")
        table = text.columns(head, rows, left=7)
        parts = ", ".join(f"{text.nbytes(n)} {'saved' if c == 'temporary' else c}"
                          for c, n in self.by_category.items())
        return f"{table}\n{text.nbytes(self.total_bytes)} in {len(self)} arrays ({parts or 'none'})"

    __repr__ = __str__


def _category(array):
    return "saved" if array.category == "temporary" else array.category


def saved_report(*tensors):
    """What backward through `tensors` needs kept: each array once, as a SavedReport.

    Says bytes, operation, module path, source line, and with whom an array is shared. Arrays that
    a checkpoint will compute again are not kept and do not show; its arguments do. Raises
    GradientError for a tensor off the tape.
    """
    found = {}
    for record in _records(nodes(*tensors)):
        for name, saved in ({} if record.released else record.saved_tensors()).items():
            several = isinstance(saved, list)
            for k, t in enumerate(saved if several else [saved]):
                entry = found.get(t.storage_id)
                if entry is None:
                    entry = found[t.storage_id] = SavedArray(t.storage_nbytes, t.shape, t.dtype,
                                                             t.category, [])
                label = f"{name}[{k}]" if several else name
                entry.users.append((record.serial, record.name, label, record.scope, record.line))
    return SavedReport(found.values())


def _records(tape):
    """The records of a tape; before the first record of a checkpoint, the one of its arguments."""
    seen = set()
    for node in tape:
        if node.is_leaf:
            continue
        entry = getattr(node.deferred, "entry", None)
        if entry is not None and entry.serial not in seen:
            seen.add(entry.serial)
            yield entry
        yield node


def saved_bytes(*tensors):
    """Bytes kept for backward through `tensors`, each array once, inputs and parameters too."""
    return saved_report(*tensors).total_bytes


# The process ----------------------------------------------------------------------------------

@dataclass
class Reconciliation:
    """Tracked bytes against the process: resident = live + slack + held + residual."""
    resident_bytes: int
    live_bytes: int
    slack_bytes: int
    held_bytes: int

    @property
    def tracked_bytes(self):
        """All that the engine holds from the system."""
        return self.live_bytes + self.slack_bytes + self.held_bytes

    @property
    def residual_bytes(self):
        """Resident beyond what is tracked; below zero where reserved pages were never touched."""
        return self.resident_bytes - self.tracked_bytes

    def __str__(self):
        rows = [("live", self.live_bytes), ("slack", self.slack_bytes), ("held", self.held_bytes),
                ("residual", self.residual_bytes), ("resident", self.resident_bytes)]
        notes = ["tensors and scratch", "rounding to size classes", "free blocks, kept for reuse",
                 "Python, libraries, NumPy arrays", "the process, as the system sees it"]
        cells = [(name, note, text.nbytes(n)) for (name, n), note in zip(rows, notes, strict=True)]
        return text.columns(("part", "which is", "bytes"), cells, left=2)


def reconcile():
    """The tracked bytes beside the resident size of the process (/proc/self/statm; Linux).

    Raises OSError where the system has no such file.
    """
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    found = core.memory_stats()
    return Reconciliation(resident, found["live_bytes"] - found["dry_bytes"],
                          found["slack_bytes"], found["held_bytes"])
