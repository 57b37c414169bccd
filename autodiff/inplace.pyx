"""Writing in place: into an input of an operation, or into a buffer that the sweep owns.

Invariant: a write counts the storage's version up, and is refused where a gradient would become
silently wrong (a leaf while recording, another live view of the same memory).
"""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from autodiff.bound cimport Bound, bound
from autodiff.door cimport dense_copy, fail, fill, go, launch
from autodiff.layout cimport expand, same_layout, same_shape
from autodiff.modes cimport Modes, modes
from autodiff.plan cimport Prepared, prepare, view_of
from autodiff.record cimport hear, record
from autodiff.storage cimport detours, in_dry_run, wrote
from autodiff.tape cimport Leaf, Record
from autodiff.tensor cimport Tensor, bare
from kernels.launch cimport FLOAT32, OK, Buf, Launch

from . import call
from .errors import DryRunError, DtypeError, InPlaceError, ShapeError

cdef extern from *:
    Py_ssize_t Py_REFCNT(PyObject*)     # of a pointer: an object argument would count itself

cdef Bound _add = None, _add_ = None     # looked up once: gradients add up often


cdef object apply_into(Bound b, Prepared p, list inputs, tuple attrs, int64_t needs):
    """Write the result into one of the inputs; on the tape, that tensor moves to a new record."""
    cdef Tensor x = inputs[b.into], region
    cdef Record r = None
    cdef Modes* m = modes()
    _check_write(b, x, needs)
    region = view_of(x, p) if p.has_view else x
    inputs = _apart(inputs, b.into, region)
    if needs:
        r = record(b, _before_write(b, inputs, needs), [x], attrs, needs)
    launch(b, p, [region], inputs, attrs)
    wrote(x.storage)
    if needs:
        x.node, x.index = r, 0
        if m.tapes != NULL:
            hear(m, r, (x,))
    return x


cdef list _apart(list inputs, int into, Tensor region):
    """The inputs; one that shares bytes with the region written to, but not all, as a copy."""
    cdef Tensor t, copied
    cdef int k
    for k in range(len(inputs)):
        t = inputs[k]
        if (k != into and t is not None and t.storage is region.storage
                and not (t.buf.data == region.buf.data and t.buf.dtype == region.buf.dtype
                         and same_layout(&t.buf, &region.buf))):
            copied = dense_copy(t)
            copied.node, copied.index = t.node, t.index
            inputs = list(inputs)
            inputs[k] = copied
    return inputs


cdef list _before_write(Bound b, list inputs, int64_t needs):
    """The inputs to record; the one written to as a copy, where its old value is saved."""
    cdef Tensor x = inputs[b.into], old
    if b.op.inputs[b.into] not in call.saved_names(b.op, needs):
        return inputs
    old = dense_copy(x)
    old.node, old.index = x.node, x.index
    inputs = list(inputs)
    inputs[b.into] = old
    return inputs


cdef int _check_write(Bound b, Tensor x, int64_t needs) except -1:
    """InPlaceError where a write in place would make a gradient silently wrong."""
    cdef int k
    name = b.op.name
    if x.storage.readonly:
        raise InPlaceError(f"{name}: the tensor shares read-only memory; copy it first")
    for k in range(x.buf.ndim):
        if x.buf.strides[k] == 0 and x.buf.shape[k] > 1 and x.buf.n > 0:
            raise InPlaceError(f"{name}: the tensor is a broadcast view; several elements share "
                               "one place in memory; copy it first")
    if not needs:
        return 0
    if x.buf.dtype < FLOAT32:
        raise DtypeError(f"{name}: a value that needs a gradient cannot be written into "
                         f"{x.dtype}")
    if isinstance(x.node, Leaf):
        raise InPlaceError(f"{name}: a leaf that requires a gradient cannot be changed in place "
                           "while recording; use `with ad.no_grad():`, or write to a copy")
    if detours and not x.storage.dry and in_dry_run():
        raise DryRunError(f"{name}: in a dry run a tensor made outside keeps its values and its "
                          "place on the tape; write to a copy of it")
    if Py_REFCNT(<PyObject*>x.storage) > 1 + x.storage.handles:
        raise InPlaceError(f"{name}: another live tensor is a view of the same memory (or an "
                           "array from its numpy() is still alive), and its gradient would be "
                           "silently wrong; write to a copy")
    return 0


cdef bint add_in_place(Tensor into, Tensor g) except -1:
    """into += g, where the sweep owns `into`; a launch like any other."""
    global _add, _add_
    cdef Launch L
    cdef Buf* bufs[3]
    cdef Buf wide
    cdef int code
    cdef list inputs
    if _add is None:
        _add, _add_ = bound("add"), bound("add_")
    if detours:                             # the long way, by handles off the tape
        inputs = [bare(into), bare(g)]
        launch(_add_, prepare(_add_, inputs, ()), inputs[:1], inputs, ())
        wrote(into.storage)
        return True
    bufs[0] = bufs[1] = &into.buf
    bufs[2] = &g.buf
    if not same_shape(&g.buf, &into.buf):
        if not expand(&g.buf, &into.buf, &wide):
            raise ShapeError(f"backward: a gradient of shape {g.shape} for an array of shape "
                             f"{into.shape}")
        bufs[2] = &wide
    fill(&L, _add, bufs, 1, 2)
    code = go(&L, into.buf.n)
    if code != OK:
        fail(_add, code, &L)
    wrote(into.storage)
    return True
