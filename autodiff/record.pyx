"""Recording: what an operation leaves on the tape when an input needs a gradient.

Invariant: only what the block declares is saved, and an output is saved by a handle of its own,
off the tape, so that a record never refers to its own output.
"""

from cpython.ref cimport PyObject, Py_INCREF
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc

from autodiff.bound cimport Bound, Slots
from autodiff.modes cimport Modes, modes
from autodiff.storage cimport add_save
from autodiff.tape cimport OUT, Meta, Record, Save, next_serial, note_caller, room
from autodiff.tensor cimport Tensor, bare, note_meta
from kernels.launch cimport FLOAT32

from . import call
from .errors import OutOfMemoryError


cdef inline void _keep(Record r, Tensor t, int slot) noexcept:
    cdef Save* s = &r.save[r.nsaved]
    Py_INCREF(t)
    s.tensor, s.storage = <PyObject*>t, <PyObject*>t.storage
    s.version, s.slot = t.storage.version, slot
    add_save(t.storage, slot >= OUT)
    r.nsaved += 1


cdef inline void _parent(Record r, int k, Tensor t) noexcept:
    if t.node is not None:
        Py_INCREF(t.node)
        r.parent[k], r.index[k] = <PyObject*>t.node, t.index


cdef inline int _finish_record(Record r, Modes* m) except -1:
    if m.scope != NULL:
        r.scope_name = <object>m.scope
    note_caller(r)
    return 0


cdef int record_few(Bound b, Modes* m, Tensor out, Tensor x, Tensor y, int needs) except -1:
    """Record an operation of one or two inputs, one output and no attributes."""
    cdef Record r = Record.__new__(Record)
    cdef Slots* slots = &b.few[needs]
    cdef int k, slot
    r.serial, r.op, r.needs, r.nout = next_serial(), b.op, needs, 1
    r.attr_values = ()
    room(r, 1 if y is None else 2, slots.n)
    _parent(r, 0, x)
    if y is not None:
        _parent(r, 1, y)
    for k in range(slots.n):
        slot = slots.slot[k]
        _keep(r, x if slot == 0 else y if slot == 1 else bare(out), slot)
    note_meta(&r.meta, &out.buf)
    if b.keeps_metas:
        r.input_metas = [(x.shape, x.dtype)] + ([] if y is None else [(y.shape, y.dtype)])
    _finish_record(r, m)
    if out.buf.dtype >= FLOAT32:
        out.node = r
        out.index = 0
    if m.tapes != NULL:
        hear(m, r, (out,))
    return 0


cdef int _more(Record r, int k, int shown, Tensor t) except -1:
    if r.more == NULL:
        r.more = <Meta*>calloc(shown - 1, sizeof(Meta))
        if r.more == NULL:
            raise OutOfMemoryError("autodiff: out of memory for a record")
    note_meta(&r.more[k - 1], &t.buf)
    return 0


cdef Record record(Bound b, list inputs, list outputs, tuple attrs, int64_t needs):
    """Record any operation. outputs: with residuals."""
    cdef Modes* m = modes()
    cdef Record r = Record.__new__(Record)
    cdef int k, n = len(inputs), shown = len(outputs) - b.nres
    cdef Tensor t
    slots = b.many.get((needs, n))
    if slots is None:
        slots = b.many[needs, n] = b.slots_of(call.saved_names(b.op, needs), n)
    r.serial, r.op, r.needs, r.nout = next_serial(), b.op, needs, shown
    r.attr_values = attrs
    room(r, n, len(slots))
    for k in range(n):
        if inputs[k] is not None:
            _parent(r, k, <Tensor>inputs[k])
    for k in slots:
        t = inputs[k] if k < OUT else outputs[k - OUT]
        if t is not None:
            _keep(r, t if k < OUT else bare(t), k)
    for k in range(shown):
        t = outputs[k]
        if k == 0:
            note_meta(&r.meta, &t.buf)
        else:
            _more(r, k, shown, t)
    if b.keeps_metas:
        r.input_metas = [None if x is None else (x.shape, x.dtype) for x in inputs]
    _finish_record(r, m)
    return r


def custom_record(block, inputs, outputs, attrs, needs=None):
    """Record an operation that ran elsewhere: the recording half of `apply`.

    block: its `call` bound, in the registry or not; inputs: flat; outputs: fresh Tensors off the
    tape, residuals last, which are put on it; needs: bit set of the inputs that want a gradient
    (None: those that require one, and none under no_grad). Returns the Record, or None where no
    input needs a gradient. A block without outputs is kept for its saves; no listener hears of it.
    """
    cdef Bound b = block.call
    if needs is None:
        needs = 0
        if not modes().no_grad:
            needs = sum([1 << k for k, x in enumerate(inputs)
                         if x is not None and x.node is not None])
    return on_tape(b, list(inputs), list(outputs), tuple(attrs), needs) if needs else None


cdef Record on_tape(Bound b, list inputs, list outputs, tuple attrs, int64_t needs):
    """Record, and give the outputs their place."""
    cdef Modes* m = modes()
    cdef Record r = record(b, inputs, outputs, attrs, needs)
    cdef Tensor t
    cdef int k, shown = len(outputs) - b.nres
    for k in range(shown):
        t = outputs[k]
        if t.buf.dtype >= FLOAT32:
            t.node, t.index = r, k
    if shown and m.tapes != NULL:
        hear(m, r, tuple(outputs[:shown]))
    return r


cdef int hear(Modes* m, Record r, tuple outputs) except -1:
    """Tell this thread's tapes of a new record."""
    for listener in list(<object>m.tapes):
        listener(r, outputs)
    return 0
