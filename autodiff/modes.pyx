"""Modes of a thread: recording on or off, the phase, the module path, who listens.

Invariant: each thread has its own, in C, and asking costs one load.  A thread that ends inside a
scope or a listener's context (a generator left unfinished, say) leaves that one string or list
behind; one that leaves its contexts leaves nothing, since empty is NULL.
"""

from cpython.ref cimport PyObject, Py_INCREF, Py_XDECREF

import contextlib

cdef extern from *:
    """
    static __thread struct ad_modes_t {
        int no_grad; int tangents; int phase;
        PyObject *scope; PyObject *tapes; PyObject *sweeps;
    } ad_modes;
    #define AD_MODES() ((void*)&ad_modes)
    """
    void* AD_MODES() noexcept

cdef str _root_scope = ""


cdef Modes* modes() noexcept:
    return <Modes*>AD_MODES()


PHASES = ("forward", "backward", "recompute", "update")


def is_grad_enabled():
    """True while operations are recorded in this thread."""
    return not modes().no_grad


def set_grad_enabled(on):
    """Switch recording on or off in this thread; returns the previous state."""
    cdef Modes* m = modes()
    previous = not m.no_grad
    m.no_grad = not on
    return previous


class _GradMode(contextlib.ContextDecorator):
    __slots__ = ("on", "stack")

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


def set_tangents(int change):
    """Count the running `jvp`s of this thread up or down."""
    modes().tangents += change


def current_scope():
    """The module path that new records carry."""
    cdef Modes* m = modes()
    return _root_scope if m.scope == NULL else <object>m.scope


def push_scope(path):
    """Set the module path; returns the previous one, for `pop_scope`."""
    cdef Modes* m = modes()
    cdef PyObject* old = m.scope
    previous = _root_scope if old == NULL else <object>old
    m.scope = NULL
    if path:                        # outside all scopes: NULL, so that a record asks one load
        Py_INCREF(path)
        m.scope = <PyObject*>path
    Py_XDECREF(old)
    return previous


def pop_scope(previous):
    """Restore the module path that `push_scope` returned."""
    push_scope(previous)


def set_phase(phase):
    """Set the phase (forward, backward, recompute, update); returns the previous one."""
    cdef Modes* m = modes()
    previous = PHASES[m.phase]
    m.phase = PHASES.index(phase)
    return previous


def current_phase():
    """What this thread is doing: forward, backward, recompute or update."""
    return PHASES[modes().phase]


cdef void _set_list(PyObject** where, list new) noexcept:
    """Thread-local lists of listeners; NULL when empty, so that asking costs one load."""
    Py_XDECREF(where[0])
    where[0] = NULL
    if new:
        Py_INCREF(new)
        where[0] = <PyObject*>new


def listen_tape(listener):
    """Call listener(record, outputs) for each new record of this thread."""
    cdef Modes* m = modes()
    _set_list(&m.tapes, ([] if m.tapes == NULL else list(<object>m.tapes)) + [listener])


def unlisten_tape(listener):
    """Stop calling `listener`."""
    cdef Modes* m = modes()
    old = [] if m.tapes == NULL else <object>m.tapes
    _set_list(&m.tapes, [t for t in old if t != listener])


def listen_sweep(listener):
    """Call listener(node, gradients, results) for each node a sweep of this thread leaves."""
    cdef Modes* m = modes()
    _set_list(&m.sweeps, ([] if m.sweeps == NULL else list(<object>m.sweeps)) + [listener])


def unlisten_sweep(listener):
    """Stop calling `listener`."""
    cdef Modes* m = modes()
    old = [] if m.sweeps == NULL else <object>m.sweeps
    _set_list(&m.sweeps, [t for t in old if t != listener])
