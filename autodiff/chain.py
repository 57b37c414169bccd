"""A chain of functions run by a checkpointing schedule: the executor of autodiff/schedule.py.

The forward pass records every block, as ever, but the blocks that the schedule does not record let
go of their saves at once.  Before backward enters such a block the operations up to its recording
run, and its records read the saves of their twins.  Invariant: the tape is that of the plain run,
so gradients are bit-identical, and what runs here (the Run) never refers to that tape: no cycles.
"""

from . import core
from .checkpoint import _arguments, _random_state, _set_random_state, _thread
from .errors import ArgumentError, GradientError, SavedTensorChangedError
from .schedule import BACKWARD, CHECKPOINT, DROP, FORWARD, RECORD

__all__ = ["run_chain"]


def run_chain(functions, x, schedule):
    """functions[n-1](... functions[0](x)), whose backward follows `schedule`.

    Each function takes one Tensor and returns one; it must do the same operations when it runs
    again (phase "recompute", the default random generator as it was). One with a method `reads`
    names the Tensors that must not change until then (parameters). Under no_grad, in forward
    mode, inside another checkpoint and with a schedule that records everything it is a plain loop.
    The schedule's bytes hold for one backward without retain_graph or create_graph, which keep
    what was computed again. Raises ArgumentError for a schedule of another length, GradientError
    and SavedTensorChangedError as `checkpoint` does.
    """
    first = schedule.first_pass
    if len(first) != len(functions):
        raise ArgumentError(f"run_chain: the schedule is for {len(first)} blocks, got "
                            f"{len(functions)} functions")
    if (_thread.deferring or not core.is_grad_enabled() or x.dual is not None
            or all(kind == RECORD for kind in first)):
        for f in functions:
            x = f(x)
        return x
    return Run(functions, schedule.operations).first_pass(first, x)


class Run:
    """One call: kept inputs, what was recorded first, and the twins of what ran again."""

    def __init__(self, functions, operations):
        n = len(functions)
        self.functions, self.operations, self.at = functions, operations, n
        self.base = 0
        self.entries = {}               # block -> record that keeps its input
        self.on_tape = [False] * n      # does the block's input require a gradient?
        self.states, self.scopes = [None] * n, [""] * n
        self.noted = {}                 # block -> [(operation, shapes, versions of its saves)]
        self.where = {}                 # block -> {serial of a record that saves: its place}
        self.read = {}                  # block -> [(parameter, version)]
        self.twins = {}                 # block -> its records when it ran again

    def first_pass(self, kinds, x):
        for k, kind in enumerate(kinds):
            self.on_tape[k] = x.node is not None
            if kind == RECORD:
                x = self.functions[k](x)
            else:
                if kind == CHECKPOINT or k == 0:        # the caller has the input anyway
                    self._keep(k, x)
                x = self._deferred(k, x)
        self.base = min(self.entries)       # stays to the end, so that there is always a way
        return x

    def _deferred(self, k, x):
        """Run block k; its records let go of their saves."""
        noted, where, serials, link = [], {}, [], _Link(self, k)
        self.noted[k], self.where[k] = noted, where
        reads = getattr(self.functions[k], "reads", tuple)
        self.read[k] = [(t, t.version) for t in reads()]
        self.states[k], self.scopes[k] = _random_state(), core.current_scope()

        def note(record, outputs):
            versions = record.saved_versions()
            noted.append((record.op, record.shapes, versions))
            if versions:
                where[record.serial] = len(noted) - 1
                record.defer(link)
            serials.append(record.serial)

        _thread.deferring = True
        core.listen_tape(note)
        try:
            y = self.functions[k](x)
        finally:
            core.unlisten_tape(note)
            _thread.deferring = False
        if y.node is not None and serials and y.node.serial >= serials[0]:
            # When the gradient of the output is finished, nothing else of this block is alive yet.
            y.node.add_hook(y.index, link.ready)
        return y

    def _keep(self, k, x):
        self.entries[k] = core.custom_record(_arguments, [self._fresh(k, x)], [], (), 1)

    def _fresh(self, k, x):
        """The same bytes, as a leaf of its own where the block's input was on the tape."""
        x = x.detach()
        if self.on_tape[k]:
            x.requires_grad = True
        return x

    def _kept(self, k):
        entry = self.entries[k]
        x, = entry.saved_tensors()["args"]
        if entry.saved_versions() != (x.version,):
            raise SavedTensorChangedError(
                f"checkpoint: the input of block {k}, of shape {x.shape}, was changed in place "
                "between forward and backward; write to a copy")
        return x

    # In backward

    def ready(self, k):
        """See that block k has its twins."""
        if k in self.twins:
            return
        if _thread.deferring:
            raise GradientError("checkpoint: backward runs inside the checkpointed chain, through "
                                "records whose saves were given up; checkpoint a smaller part")
        now, phase = _random_state(), core.set_phase("recompute")
        scope = core.current_scope()
        try:
            x = None
            for kind, j in self._path(k):
                if kind == DROP:
                    self._forget_input(j)
                else:
                    x = self.again(kind, j, x)
        finally:
            core.pop_scope(scope)
            core.set_phase(phase)
            _set_random_state(now)

    def _path(self, k):
        """The operations from here to the recording of block k."""
        operations, at = self.operations, self.at
        end = next((p for p in range(at, len(operations)) if operations[p] == (RECORD, k)), None)
        if end is not None:
            self.at = end + 1
            path = [(kind, j) for kind, j in operations[at:end + 1] if kind != BACKWARD]
            if next(j for kind, j in path if kind != DROP) in self.entries:
                return path
        # Backward came another way (a second time, say): the plain way from what is kept.
        start = max(j for j in self.entries if j <= k)
        return [*((FORWARD, j) for j in range(start, k)), (RECORD, k)]

    def again(self, kind, k, x):
        """Run block k once more; its input is kept, or x. Returns its output."""
        if k in self.entries:
            x = self._kept(k)
        elif kind == CHECKPOINT:
            self._keep(k, x)
        for t, version in self.read[k]:
            if t.version != version:
                raise SavedTensorChangedError(
                    f"checkpoint: a parameter of block {k}, of shape {t.shape}, was changed in "
                    "place between forward and backward; run backward before the write (an "
                    "optimizer's step, for instance)")
        core.push_scope(self.scopes[k])
        _set_random_state(self.states[k])
        if kind != RECORD:
            with core.no_grad():
                return self.functions[k](x)
        twins = []

        def collect(record, outputs):
            self._compare(k, len(twins), record)
            twins.append(record)

        core.listen_tape(collect)
        try:
            with core.enable_grad():
                x = self.functions[k](self._fresh(k, x)).detach()
        finally:
            core.unlisten_tape(collect)
        if len(twins) != len(self.noted[k]):
            raise GradientError(f"checkpoint: block {k} recorded {len(self.noted[k])} operations "
                                f"in forward, {len(twins)} when it ran again for backward; it must "
                                "do the same both times")
        self.twins[k] = twins
        if k > self.base:
            self._forget_input(k)       # the twins have what is needed of it
        return x

    def _compare(self, k, place, twin):
        noted = self.noted[k]
        op, shapes, versions = noted[place] if place < len(noted) else (None, None, None)
        if twin.op is not op or twin.shapes != shapes:
            was = f"{op.name} {shapes}" if op else "nothing"
            raise GradientError(f"checkpoint: operation {place} of block {k} was {was} in forward "
                                f"and {twin.name} {twin.shapes} when it ran again for backward; "
                                "it must do the same both times")
        if twin.saved_versions() != versions:
            raise SavedTensorChangedError(
                f"checkpoint: something that {twin.name} reads was changed in place between "
                f"forward and backward, at {twin.line}{twin.where()}; run backward before the "
                "write (an optimizer's step, for instance)")

    def forget(self, k, record):
        """Backward is done with one record; nothing is kept of a block after its last."""
        place = self.where[k].pop(record.serial, None)
        twins = self.twins.get(k)
        if place is not None and twins:
            twin, twins[place] = twins[place], None
            twin.release()
        if not self.where[k]:
            self._forget_input(k)
            if twins is not None:
                twins.clear()

    def _forget_input(self, k):
        entry = self.entries.pop(k, None)
        if entry is not None:
            entry.release()


class _Link:
    """What a deferred record knows: its run and its block."""
    __slots__ = ("run", "k")

    def __init__(self, run, k):
        self.run, self.k = run, k

    @property
    def entry(self):
        """The record of the block's kept input, for the report of what is saved."""
        return self.run.entries.get(self.k)

    def twin(self, record):
        self.run.ready(self.k)
        return self.run.twins[self.k][self.run.where[self.k][record.serial]]

    def forget(self, record):
        self.run.forget(self.k, record)

    def ready(self, gradient):
        """The hook on the block's output."""
        self.run.ready(self.k)
