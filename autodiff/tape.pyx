"""The tape: a Record for each operation that needs a gradient, a Leaf at each end.

Serial numbers grow, process-wide, and a record's parents are older than itself: descending serial
is a topological order.  Invariant: a record never refers to its own output, so the library makes
no reference cycles, and freeing is iterative: a chain of a million records is no special case.
"""

cimport cython
from cpython.ref cimport PyObject, Py_INCREF, Py_DECREF, Py_XDECREF
from libc.stdint cimport int64_t
from libc.stdlib cimport malloc, free, realloc

from autodiff.storage cimport Storage, drop_save

import threading

from . import call, caller, dtypes
from .errors import OutOfMemoryError, ReleasedTapeError

cdef extern from "frame.h":
    ctypedef struct ad_frame:
        pass
    ad_frame* ad_first_frame()
    PyObject* ad_code(ad_frame*)
    int ad_instruction(ad_frame*)
    ad_frame* ad_outer(ad_frame*)
    int ad_lookup(PyObject*)
    void ad_remember(PyObject*, int)

cdef int64_t _serial = 0


cdef int64_t next_serial() noexcept:
    global _serial
    _serial += 1
    return _serial


# Nodes ----------------------------------------------------------------------------------------

cdef tuple _shape(Meta* meta):
    return tuple([meta.shape[k] for k in range(meta.ndim)])


@cython.no_gc
cdef class Node:
    """What a tensor that needs a gradient hangs on: a Leaf or a Record."""

    # Hidden from the garbage collector, which would else walk every record of a long tape.  A
    # user's hook may close a cycle all the same: `hooks` is a Leaf's own, so that it sees those.

    def __dealloc__(self):
        if self.more != NULL:
            free(self.more)

    def __lt__(self, other):
        return self.serial < (<Node?>other).serial

    def __hash__(self):
        return self.serial

    @property
    def shapes(self):
        """Shapes of the outputs."""
        return tuple([_shape(meta_of(self, k)) for k in range(self.nout)])

    @property
    def dtypes(self):
        """Dtypes of the outputs."""
        return tuple([dtypes.ALL[meta_of(self, k).dtype] for k in range(self.nout)])

    def add_hook(self, index, hook):
        """Call hook(gradient) when the gradient of output `index` is finished."""
        if self.hooks is None:
            self.hooks = {}
        self.hooks.setdefault(index, []).append(hook)
        return lambda: self.hooks[index].remove(hook)


@cython.final
cdef class Leaf(Node):
    """The end of the tape: a tensor whose gradient was asked for. Holds `.grad`."""

    is_leaf = True
    name = "leaf"
    parents = ()

    def __cinit__(self):
        self.serial = next_serial()
        self.nout = 1
        self.lock = threading.Lock()
        self.after = []


# Records waiting to be freed: their parents are let go here instead of by recursion.
cdef PyObject** _waiting = NULL
cdef Py_ssize_t _nwaiting = 0, _capacity = 0
cdef bint _draining = False


cdef void _later(PyObject* p) noexcept:
    global _waiting, _nwaiting, _capacity
    cdef PyObject** bigger
    if _nwaiting == _capacity:
        bigger = <PyObject**>realloc(_waiting, (2 * _capacity + 64) * sizeof(PyObject*))
        if bigger == NULL:          # no memory for the list: free by recursion after all
            Py_DECREF(<object>p)
            return
        _waiting, _capacity = bigger, 2 * _capacity + 64
    _waiting[_nwaiting] = p
    _nwaiting += 1


cdef void _drain() noexcept:
    global _draining, _nwaiting
    if _draining:
        return
    _draining = True
    while _nwaiting > 0:
        _nwaiting -= 1
        Py_XDECREF(_waiting[_nwaiting])
    _draining = False


cdef int room(Record r, int nin, int nsaved) except -1:
    """Make place for the parents and saves of a new record."""
    r.nin = nin
    if nin <= FEW:
        r.parent, r.index = r.parent_few, r.index_few
    else:
        r.parent = <PyObject**>malloc(nin * (sizeof(PyObject*) + sizeof(int)))
        if r.parent == NULL:
            r.nin = 0
            raise OutOfMemoryError("autodiff: out of memory for a record")
        r.index = <int*>(r.parent + nin)
    if nsaved <= FEW:
        r.save = r.save_few
    else:
        r.save = <Save*>malloc(nsaved * sizeof(Save))
        if r.save == NULL:
            raise OutOfMemoryError("autodiff: out of memory for a record")
    cdef int k
    for k in range(nin):
        r.parent[k] = NULL
        r.index[k] = 0
    return 0


cdef int release(Record r) except -1:
    """Let go of everything saved; a later backward through this record errors."""
    r.released = True
    r.duals = None
    drop_saves(r)
    if r.deferred is not None:
        r.deferred.forget(r)
        r.deferred = None
    return 0


cdef void drop_saves(Record r) noexcept:
    cdef int k, n = r.nsaved
    r.nsaved = 0
    for k in range(n):
        drop_save(<Storage>r.save[k].storage, r.save[k].slot >= OUT)
        _later(r.save[k].tensor)
    _drain()


@cython.final
@cython.no_gc
cdef class Record(Node):
    """One operation that ran: what it needs for its derivative, and nothing else."""

    is_leaf = False

    def __dealloc__(self):
        cdef int k
        drop_saves(self)
        for k in range(self.nin):
            if self.parent[k] != NULL:
                _later(self.parent[k])
        if self.nin > FEW:
            free(self.parent)
        if self.save != NULL and self.save != self.save_few:
            free(self.save)
        Py_XDECREF(self.code)
        _drain()

    @property
    def name(self):
        return self.op.name

    @property
    def attrs(self):
        """Attributes in normal form, in the order of the block."""
        return self.attr_values

    @property
    def parents(self):
        """The nodes of the inputs; None where an input is not on the tape."""
        return tuple([None if self.parent[k] == NULL else <object>self.parent[k]
                      for k in range(self.nin)])

    @property
    def indices(self):
        """Which output of its parent each input is."""
        return tuple([self.index[k] for k in range(self.nin)])

    def _input_meta(self, k, part):
        cdef Meta* meta
        if self.input_metas is not None:
            return self.input_metas[k] and self.input_metas[k][part]
        if self.parent[<int>k] == NULL:
            return None
        meta = meta_of(<Node>self.parent[<int>k], self.index[<int>k])
        return dtypes.ALL[meta.dtype] if part else _shape(meta)

    @property
    def input_shapes(self):
        """Shapes of the inputs; None where it was not kept (an input off the tape)."""
        return tuple([self._input_meta(k, 0) for k in range(self.nin)])

    @property
    def input_dtypes(self):
        """Dtypes of the inputs; None where it was not kept."""
        return tuple([self._input_meta(k, 1) for k in range(self.nin)])

    @property
    def scope(self):
        return self.scope_name or ""

    def where(self):
        return f" in {self.scope_name}" if self.scope_name else ""

    @property
    def line(self):
        return caller.resolve(None if self.code == NULL else <object>self.code, self.instruction)

    def slot_name(self, int slot):
        """The name, in the block, of what is saved in a slot."""
        if slot < OUT:
            return call.input_name(self.op, slot)
        return (self.op.outputs + self.op.residuals)[slot - OUT]

    def saved_tensors(self):
        """What is kept for backward: name -> Tensor (a list for a variadic input)."""
        if self.released:
            raise ReleasedTapeError(f"{self.name}: what it saved was released by backward")
        found = {}
        for k in range(self.nsaved):
            name = self.slot_name(self.save[k].slot)
            tensor = <object>self.save[k].tensor
            if self.op.variadic and name == self.op.inputs[len(self.op.inputs) - 1]:
                found.setdefault(name, []).append(tensor)
            else:
                found[name] = tensor
        return found

    @property
    def saved_nbytes(self):
        """Bytes of the saved arrays, each counted where it is saved."""
        return sum([(<object>self.save[k].tensor).nbytes for k in range(self.nsaved)])

    def note_duals(self, inputs, outputs):
        """Remember the tangents of inputs and outputs, for a sweep inside a jvp."""
        if self.duals is None:
            self.duals = {}
        for first, tensors in ((0, inputs), (OUT, outputs)):
            for k, t in enumerate(tensors):
                if t is not None and t.dual is not None:
                    self.duals[first + k] = t.dual

    def saved_versions(self):
        """How often each saved array had been written to when it was saved."""
        return tuple([self.save[k].version for k in range(self.nsaved)])

    def defer(self, source):
        """Let the saves go; source.twin(record) gives a record that has them, when needed."""
        drop_saves(self)
        self.deferred = source

    def release(self):
        """Let go of everything saved; a later backward through this record errors."""
        release(self)


cdef ad_frame* _caller() except? NULL:
    """The nearest frame outside the library, NULL where there is none."""
    cdef ad_frame* f = ad_first_frame()
    cdef PyObject* code
    cdef int internal
    while f != NULL:
        code = ad_code(f)
        if code != NULL:
            internal = ad_lookup(code)
            if internal < 0:
                internal = caller.is_internal(<object>code)
                ad_remember(code, internal)
            if not internal:
                return f
        f = ad_outer(f)
    return NULL


cdef int note_caller(Record r) except -1:
    """Remember the nearest line outside the library."""
    cdef ad_frame* f = _caller()
    if f != NULL:
        r.code = ad_code(f)
        Py_INCREF(<object>r.code)
        r.instruction = ad_instruction(f)
    return 0


def nearest_caller():
    """(code object, instruction) of the nearest frame outside the library; (None, 0): none is."""
    cdef ad_frame* f = _caller()
    return (None, 0) if f == NULL else (<object>ad_code(f), ad_instruction(f))
