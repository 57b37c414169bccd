"""What is switched on in each thread, and who listens.

Invariant: modes belong to their thread; tensors may cross threads, modes do not.  Only the
listeners of launches are shared by all threads.
"""

import contextlib
import threading


class _Modes(threading.local):
    """Per thread: is recording on, are tangents flowing, which scope and phase, who listens."""
    grad = True
    tangents = 0
    scope = ""
    phase = "forward"
    dry = 0
    tapes = ()
    sweeps = ()


modes = _Modes()
listeners = []              # of launches, all threads


def is_grad_enabled():
    """True while operations are recorded in this thread."""
    return modes.grad


def set_grad_enabled(on):
    """Switch recording on or off in this thread; returns the previous state."""
    previous, modes.grad = modes.grad, bool(on)
    return previous


class _GradMode(contextlib.ContextDecorator):
    def __init__(self, on):
        self.on, self.stack = on, []

    def _recreate_cm(self):
        return type(self)(self.on)

    def __enter__(self):
        self.stack.append(set_grad_enabled(self.on))

    def __exit__(self, *exc):
        set_grad_enabled(self.stack.pop())


def no_grad():
    """Context (and decorator) in which nothing is recorded and nothing saved."""
    return _GradMode(False)


def enable_grad():
    """Context (and decorator) that switches recording on again inside `no_grad`."""
    return _GradMode(True)


def set_tangents(change):
    """Count the running `jvp`s of this thread up or down."""
    modes.tangents += change


def dry_runs(change=0):
    """Enter (1) or leave (-1) a dry run of this thread; returns how many it is inside."""
    modes.dry += change
    return modes.dry


def traces(change=0):
    """In how many traces this thread is: none, for there are no launches to repeat."""
    return 0


def current_scope():
    """The module path that new records carry."""
    return modes.scope


def push_scope(path):
    """Set the module path; returns the previous one, for `pop_scope`."""
    previous, modes.scope = modes.scope, path
    return previous


def pop_scope(previous):
    """Restore the module path that `push_scope` returned."""
    modes.scope = previous


def set_phase(phase):
    """Set the phase (forward, backward, recompute, update); returns the previous one."""
    previous, modes.phase = modes.phase, phase
    return previous


def current_phase():
    """What this thread is doing: forward, backward, recompute or update."""
    return modes.phase


def listen(listener, copies=True):
    """Call listener(event) after each launch of any thread; there are no copies to replay here."""
    listeners.append(listener)


def unlisten(listener):
    """Stop calling `listener`."""
    listeners[:] = [f for f in listeners if f != listener]


def listen_tape(listener):
    """Call listener(record, outputs) for each new record of this thread."""
    modes.tapes = (*modes.tapes, listener)


def unlisten_tape(listener):
    """Stop calling `listener`."""
    modes.tapes = tuple(t for t in modes.tapes if t != listener)


def listen_sweep(listener):
    """Call listener(node, gradients, results) for each node a sweep of this thread leaves."""
    modes.sweeps = (*modes.sweeps, listener)


def unlisten_sweep(listener):
    """Stop calling `listener`."""
    modes.sweeps = tuple(t for t in modes.sweeps if t != listener)
