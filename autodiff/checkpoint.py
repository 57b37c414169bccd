"""Checkpointing: compute again in backward instead of keeping.

The forward pass records as ever, but the records inside let go of their saves at once. The first
of them that backward reaches runs the function again, which makes a second, equal sequence of
records; each record then reads the saves of its twin.  Invariant: the tape is the same with and
without a checkpoint, so gradients, hooks and higher orders do not know of it.
"""

import threading

from . import core
from .errors import ArgumentError, GradientError, SavedTensorChangedError
from .op import Op

__all__ = ["checkpoint"]


class _Thread(threading.local):
    deferring = False       # a checkpoint's first run is under way in this thread


_thread = _Thread()


def checkpoint(f, *args, **kwargs):
    """f(*args, **kwargs), which keeps nothing but its Tensor arguments for backward.

    Backward runs `f` again (phase "recompute"), from the state that the default random generator
    had. `f` must do the same operations both times. Checkpoints nest: inside another one, this is
    kept as little as the rest. Under no_grad and in forward mode it is a plain call.
    Raises GradientError where the second run differs from the first or where `f` itself calls
    backward, SavedTensorChangedError where an argument or a parameter changed in between.
    Source: Chen, Xu, Zhang and Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016.
    """
    if not callable(f):
        raise ArgumentError(f"checkpoint: f must be callable, got {type(f).__name__}")
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, core.Tensor)]
    plain = _thread.deferring or not core.is_grad_enabled()
    if plain or any(t.dual is not None for t in tensors):
        return f(*args, **kwargs)
    return _Segment(f, args, kwargs).run()


class _Segment:
    """One checkpointed call: its arguments, what was recorded, and the twins once it ran again."""

    def __init__(self, f, args, kwargs):
        self.f, self.scope, self.random = f, core.current_scope(), _random_state()
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, core.Tensor)]
        # A record without outputs: it counts the arguments as saved and knows their versions.
        self.entry = core.custom_record(_arguments, tensors, [], (), 1)
        self.args = [_place if isinstance(a, core.Tensor) else a for a in args]
        self.kwargs = {k: _place if isinstance(a, core.Tensor) else a for k, a in kwargs.items()}
        self.noted = []             # (operation, shapes, versions of its saves) in order
        self.where = {}             # serial of a record that saves something -> its place
        self.twins = None

    def run(self):
        """The first run: records defer their saves to this segment."""
        args, kwargs = self.arguments()
        note = self._note           # one object: listeners are told apart by identity
        _thread.deferring = True
        core.listen_tape(note)
        try:
            return self.f(*args, **kwargs)
        finally:
            core.unlisten_tape(note)
            _thread.deferring = False

    def _note(self, record, outputs):
        versions = record.saved_versions()
        self.noted.append((record.op, record.shapes, versions))
        if versions:
            self.where[record.serial] = len(self.noted) - 1
            record.defer(self)

    def arguments(self):
        """args and kwargs with the Tensors in their places, on the tape where they were."""
        kept = self.entry.saved_tensors().get("args", [])
        tensors = []
        for t, version, node, index in zip(kept, self.entry.saved_versions(), self.entry.parents,
                                           self.entry.indices, strict=True):
            if t.version != version:
                raise SavedTensorChangedError(
                    f"checkpoint: an argument of shape {t.shape} was changed in place between "
                    f"forward and backward (called at {self.entry.line}); write to a copy")
            handle = t.detach()
            if node is not None:
                handle._place(node, index)
            tensors.append(handle)
        left = iter(tensors)
        return ([next(left) if a is _place else a for a in self.args],
                {k: next(left) if a is _place else a for k, a in self.kwargs.items()})

    def twin(self, record):
        """The record of the second run that has what `record` let go of."""
        if self.twins is None:
            self._run_again()
        return self.twins[self.where[record.serial]]

    def forget(self, record):
        """Backward is done with `record`; after the last one nothing is kept."""
        place = self.where.pop(record.serial, None)
        if place is not None and self.twins is not None:
            twin, self.twins[place] = self.twins[place], None
            twin.release()
        if not self.where:
            self.entry.release()
            self.f = self.args = self.kwargs = self.twins = None

    def _run_again(self):
        if _thread.deferring:
            raise GradientError("checkpoint: backward runs inside the checkpointed function, "
                                "through records whose saves were given up; checkpoint a smaller "
                                f"part of it (called at {self.entry.line})")
        args, kwargs = self.arguments()
        twins = []

        def collect(record, outputs):
            self._compare(len(twins), record)
            twins.append(record)

        now = _random_state()
        _set_random_state(self.random)
        phase, scope = core.set_phase("recompute"), core.push_scope(self.scope)
        core.listen_tape(collect)
        try:
            with core.enable_grad():
                self.f(*args, **kwargs)
        finally:
            core.unlisten_tape(collect)
            core.pop_scope(scope)
            core.set_phase(phase)
            _set_random_state(now)
        if len(twins) != len(self.noted):
            raise GradientError(f"checkpoint: the function recorded {len(self.noted)} operations "
                                f"in forward, {len(twins)} when it ran again for backward; it must "
                                f"do the same both times (called at {self.entry.line})")
        self.twins = twins

    def _compare(self, k, twin):
        op, shapes, versions = self.noted[k] if k < len(self.noted) else (None, None, None)
        if twin.op is not op or twin.shapes != shapes:
            was = f"{op.name} {shapes}" if op else "nothing"
            raise GradientError(f"checkpoint: operation {k} was {was} in forward and {twin.name} "
                                f"{twin.shapes} when the function ran again for backward; it must "
                                f"do the same both times (called at {self.entry.line})")
        if twin.saved_versions() != versions:
            raise SavedTensorChangedError(
                f"checkpoint: something that {twin.name} reads was changed in place between "
                f"forward and backward, at {twin.line}{twin.where()}; run backward before the "
                "write (an optimizer's step, for instance)")


_place = object()           # stands for a Tensor argument
_arguments = Op("checkpoint", ("args",), "The arguments that a checkpoint keeps.", outputs=(),
                variadic=True, saves={"args": ("args",)}, method=False,
                vjp=lambda g, needs: ())
_arguments.call = core.bind(_arguments)


def _random_state():
    from .ops.random import random_state
    return random_state().numpy().copy()


def _set_random_state(values):
    from .ops.random import random_state
    with core.no_grad(), random_state().writable() as state:
        state[...] = values
