"""Who listens to launches, and what they are told: an Event for each.

Invariant: `listened` is true exactly while there is a listener, which is one reason to take no
shortcut (storage.pxd), so that nobody listening costs one branch a launch.
"""

cimport cython

from autodiff.bound cimport Bound
from autodiff.modes cimport Modes, modes
from autodiff.storage cimport Storage, detour, in_dry_run, new_storage
from autodiff.tensor cimport Tensor
from kernels.launch cimport OK, Buf, Launch

from .errors import AutodiffError, DryRunError
from .modes import PHASES

cdef list _listeners = []           # of all threads
cdef list _replayers = []           # those of them that want each launch copied
cdef bint listened = False


cdef class Event:
    """One launch, as its listeners see it."""
    cdef readonly object op, plan, inputs, outputs, attrs, phase, scope, seconds, launch


@cython.final
cdef class LaunchCopy:
    """A launch as plain data that outlives its call: run it again with `replay`.

    It holds the storages of its buffers, so that their addresses stay what they were.
    """
    def replay(self):
        """Run the kernel on the same buffers, and on scratch taken at the first time."""
        cdef int code
        if self.dry:
            raise DryRunError(f"replay: {self.name} was launched in a dry run, on buffers without "
                              "bytes; record the launches of a real run")
        if self.L.work_bytes and self.work is None:
            self.work = new_storage(self.L.work_bytes)
            self.L.work = self.work.ptr
        with nogil:
            code = self.L.run(&self.L)
        if code != OK:
            raise AutodiffError(f"replay: {self.name} failed with status {code}")


cdef LaunchCopy _copy_launch(Bound b, Launch* L, list tensors):
    cdef LaunchCopy c = LaunchCopy.__new__(LaunchCopy)
    cdef int k, n = L.nin + L.nout
    cdef Buf* bufs
    cdef Buf** pointers
    c.name, c.dry = b.op.name, in_dry_run()
    c.bufs, c.pointers = bytearray(n * sizeof(Buf)), bytearray(n * sizeof(Buf*))
    bufs, pointers = <Buf*><char*>c.bufs, <Buf**><char*>c.pointers
    c.L = L[0]
    for k in range(n):
        pointers[k] = NULL
        if L.b[k] != NULL:
            bufs[k] = L.b[k][0]
            pointers[k] = &bufs[k]
    c.L.b = pointers
    c.held = [(<Tensor>t).storage for t in tensors if t is not None]
    return c


cdef int tell(Bound b, plan, list inputs, list given, list outputs, tuple attrs, seconds,
               Launch* L) except -1:
    cdef Event e = Event.__new__(Event)
    cdef Modes* m = modes()
    e.op, e.plan, e.inputs, e.outputs, e.attrs = b.op, plan, inputs, outputs, attrs
    e.phase, e.seconds = PHASES[m.phase], seconds
    e.scope = "" if m.scope == NULL else <object>m.scope
    if _replayers:
        e.launch = _copy_launch(b, L, outputs + given)
    for listener in list(_listeners):
        listener(e)
    return 0


def listen(listener, copies=True):
    """Call listener(event) after each launch of any thread.

    copies: event.launch is a copy that can be replayed, else None unless another listener wants it.
    """
    _listeners.append(listener)
    if copies:
        _replayers.append(listener)
    _note()


def unlisten(listener):
    """Stop calling `listener`."""
    _listeners[:] = [f for f in _listeners if f != listener]
    _replayers[:] = [f for f in _replayers if f != listener]
    _note()


cdef void _note():
    global listened
    detour(<int>bool(_listeners) - <int>listened)
    listened = bool(_listeners)
