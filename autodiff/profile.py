"""What ran, how long it took, how much it computed and moved: a listener at the door of launches.

`with ad.profile.profile() as p:` collects one line for each launch of any thread; views launch
nothing.  Floating-point operations come from the blocks' own declarations.  Invariant: the profile
keeps numbers, never tensors, so that it changes nothing of what it measures; without one running,
a launch pays for one branch.
"""

import time
from typing import NamedTuple

from . import core, text
from .call import group
from .errors import ArgumentError

__all__ = ["Launched", "Profile", "Row", "Table", "flops", "profile"]


class Launched(NamedTuple):
    """One launch: operation, phase, module path, seconds, floating-point operations, bytes.

    shapes, storages: of the inputs, None for an absent one (`storage_id` tells arrays apart while
    they live); dtype: of what is computed; end: when it was heard of, on the clock of
    time.perf_counter; origin: in backward, the operation whose gradient it computes (see profile).
    """
    op: str
    phase: str
    scope: str
    seconds: float
    flops: int
    nbytes: int
    shapes: tuple
    storages: tuple = ()
    dtype: str = ""
    end: float = 0.0
    origin: str = ""


class Row(NamedTuple):
    """Launches added up under one key."""
    key: str
    calls: int
    ms: float
    flops: int
    nbytes: int

    @property
    def gflops_per_s(self):
        """10^9 floating-point operations a second; 0 where no time was measured."""
        return self.flops / self.ms / 1e6 if self.ms else 0.0


class Table(list):
    """Rows, the slowest first, that print as a table."""

    def __init__(self, what, rows):
        super().__init__(sorted(rows, key=lambda r: -r.ms))
        self.what = what

    def __getitem__(self, key):
        """A row by position, or by its key."""
        if isinstance(key, str):
            for row in self:
                if row.key == key:
                    return row
            raise KeyError(key)
        return super().__getitem__(key)

    def __str__(self):
        total = sum(r.ms for r in self) or 1.0
        rows = [(r.key or "(none)", r.calls, f"{r.ms:.3f}", f"{100 * r.ms / total:.1f}",
                 text.count(r.flops), text.nbytes(r.nbytes), f"{r.gflops_per_s:.2f}")
                for r in self]
        return text.columns((self.what, "calls", "ms", "%", "flops", "bytes", "GFLOP/s"), rows)

    __repr__ = __str__


class Profile:
    """The launches of a stretch of code; see `profile`."""

    def __init__(self, origins=False):
        self.origins = origins
        self.events = []
        self._named = 0             # events so far whose origin is settled
        self.undeclared = set()     # operations whose blocks declare no flops
        self.seconds = 0.0          # wall time inside
        self._start = self._listener = None

    def __enter__(self):
        if self._start is not None:
            raise ArgumentError("profile: this profile is running already")
        self._listener = self.heard     # one object: listeners are told apart by identity
        core.listen(self._listener)
        if self.origins:
            self._left = self._name_origin
            core.listen_sweep(self._left)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exc):
        self.seconds += time.perf_counter() - self._start
        core.unlisten(self._listener)
        if self.origins:
            core.unlisten_sweep(self._left)
        self._start = self._listener = None

    def heard(self, event):
        """Note one launch; a subclass may note more of it."""
        end = time.perf_counter()
        flops = self._flops(event)
        shapes = tuple(None if t is None else t.shape for t in event.inputs)
        storages = tuple(None if t is None else t.storage_id for t in event.inputs)
        first = next((t for t in (*event.outputs, *event.inputs) if t is not None), None)
        self.events.append(Launched(
            event.op.name, event.phase, event.scope or "", event.seconds, flops,
            _moved(event, flops), shapes, storages, "" if first is None else str(first.dtype),
            end))

    def _name_origin(self, node, gradients, results):
        """A sweep leaves a record: what was launched since the last one computed its gradient."""
        name = "" if node.is_leaf else node.name
        for k in range(self._named, len(self.events)):
            if self.events[k].phase == "backward":
                self.events[k] = self.events[k]._replace(origin=name)
        self._named = len(self.events)

    def _flops(self, event):
        block = event.op
        if block.flops is None:
            self.undeclared.add(block.name)
            return 0
        attrs = dict(zip(block.attrs, event.attrs, strict=False))
        return int(block.flops(event.plan, *group(block, list(event.inputs)), **attrs))

    def table(self):
        """By operation: calls, milliseconds, flops, bytes read and written, GFLOP/s."""
        return self._by("op", lambda e: e.op)

    def by_phase(self):
        """By phase: forward, backward, recompute, update."""
        return self._by("phase", lambda e: e.phase)

    def by_scope(self, depth=None):
        """By module path; `depth` keeps that many parts of it."""
        def key(e):
            return e.scope if depth is None else ".".join(e.scope.split(".")[:depth])
        return self._by("scope", key)

    def _by(self, what, key):
        groups = {}
        for e in self.events:
            groups.setdefault(key(e), []).append(e)
        return Table(what, [_sum(k, found) for k, found in groups.items()])

    @property
    def flops(self):
        """Floating-point operations by phase, as the blocks declare them."""
        found = {}
        for e in self.events:
            found[e.phase] = found.get(e.phase, 0) + e.flops
        return found

    @property
    def total(self):
        """All launches in one Row; `seconds` is the wall time around them."""
        return _sum("total", self.events)

    def __str__(self):
        t = self.total
        lines = [str(self.table()), "",
                 f"{t.calls} launches, {t.ms:.3f} ms in kernels of {1e3 * self.seconds:.3f} ms, "
                 f"{text.count(t.flops)} flops"]
        if self.undeclared:
            lines.append(f"flops not declared: {', '.join(sorted(self.undeclared))}")
        return "\n".join(lines)

    __repr__ = __str__


def _moved(event, flops):
    """Bytes that a launch cannot do without: each array once, a broadcast one as it is stored.

    What computes nothing reads no more than it writes (some rows of a table, not all of it).
    """
    arrays = [t for t in (*event.outputs, *event.inputs) if t is not None]
    total = sum(min(t.nbytes, t.storage_nbytes) for t in arrays)
    written = sum(t.nbytes for t in event.outputs if t is not None)
    return total if flops or not written else min(total, 2 * written)


def _sum(key, events):
    return Row(key, len(events), 1e3 * sum(e.seconds for e in events),
               sum(e.flops for e in events), sum(e.nbytes for e in events))


def profile(origins=False):
    """Context that collects what runs inside: `with ad.profile.profile() as p: ...; print(p)`.

    p.table(), p.by_phase(), p.by_scope(depth), p.flops (phase -> count), p.total, p.events.
    Launches of all threads count. Arithmetic done in NumPy outside of operations is not seen.
    origins: also name the operation whose gradient each backward launch computes; the sweeps of
    this thread then keep each gradient until its record is done, so don't measure bytes with it.
    """
    return Profile(origins)


def flops(f, *args, **kwargs):
    """Floating-point operations of `f(*args)`, as declared by the operations it runs.

    A backward inside `f` counts too. Unit: one operation on one number; a multiply-add is two.
    """
    with Profile() as p:
        f(*args, **kwargs)
    return sum(e.flops for e in p.events)
