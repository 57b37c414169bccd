"""The rule of one record: its arguments gathered, its vjp called.

Invariant: a saved tensor reaches a rule only after the check that nobody has written to it since.
Most rules get their arguments by the tables of Bound; under create_graph and forward mode they
are gathered by name, with the saved tensors back on the tape.
"""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from autodiff.bound cimport (
    FROM_ATTR, FROM_DTYPE, FROM_INPUT, FROM_OUTPUT, FROM_SHAPE, Bound)
from autodiff.storage cimport Storage
from autodiff.tape cimport OUT, Node, Record, Save
from autodiff.tensor cimport Tensor, bare

from . import call, rules
from .errors import ReleasedTapeError, SavedTensorChangedError

cdef extern from *:
    object PyObject_Vectorcall(object f, PyObject** args, size_t n, void* names)


cdef object pull(Record r, object pending, int64_t needs, bint connect):
    """Gradients of the inputs of one record, as its rule returns them."""
    cdef Bound b = <Bound>r.op.call
    if r.released:
        raise ReleasedTapeError(
            f"{r.name}: backward ran through this record already and released what it saved; pass "
            f"retain_graph=True to the first backward (recorded at {r.line}{r.where()})")
    if b.plain_args and not connect and r.duals is None:
        return _call_rule(b, r, pending, needs)
    return _by_name(b, r, pending, needs, connect)


cdef Record _source(Record r):
    """The record that has the saves of `r`: itself, unless they are computed again."""
    while r.deferred is not None:
        r = r.deferred.twin(r)
    return r


cdef inline PyObject* _checked(Record r, Save* s) except NULL:
    """A saved tensor (borrowed), after the check that nobody wrote to it."""
    if (<Storage>s.storage).version != s.version:
        _changed(r, s)
    return s.tensor


cdef int _changed(Record r, Save* s) except -1:
    raise SavedTensorChangedError(
        f"{r.name}: its {r.slot_name(s.slot)}, of shape {(<Tensor>s.tensor).shape}, was saved for "
        f"backward at {r.line}{r.where()} and has been changed in place since; write to a copy, "
        "or run backward before the write")


cdef inline PyObject* _saved(Record r, Record source, int slot) except NULL:
    """What was saved in a slot (borrowed), or None."""
    cdef int i
    for i in range(source.nsaved):
        if source.save[i].slot == slot:
            return _checked(r, &source.save[i])
    return <PyObject*>None


cdef object _call_rule(Bound b, Record r, object pending, int64_t needs):
    """Call the vjp with its arguments in a C array; the records hold them."""
    cdef PyObject* args[18]
    cdef int k, kind, at
    cdef Record source = _source(r)
    cdef object want = needs
    args[0], args[1] = <PyObject*>pending, <PyObject*>want
    for k in range(b.nargs):
        kind, at = b.arg_kind[k], b.arg_k[k]
        args[2 + k] = <PyObject*>None
        if kind == FROM_INPUT:
            args[2 + k] = _saved(r, source, at)
        elif kind == FROM_OUTPUT:
            args[2 + k] = _saved(r, source, OUT + at)
        elif kind == FROM_ATTR:
            args[2 + k] = <PyObject*>(<tuple>r.attr_values)[at]
        elif kind == FROM_SHAPE or kind == FROM_DTYPE:
            known = (<list>r.input_metas)[at]
            if known is not None:
                args[2 + k] = <PyObject*>(<tuple>known)[kind == FROM_DTYPE]
    return PyObject_Vectorcall(b.vjp, args, 2 + b.nargs, NULL)


cdef object _by_name(Bound b, Record r, object pending, int64_t needs, bint connect):
    """By name, with saved tensors back on the tape for create_graph or carrying tangents."""
    cdef int k, n = len(r.op.outputs) + len(r.op.residuals)
    cdef list flat = [None] * r.nin, outs = [None] * n
    cdef Save* s
    cdef Tensor t
    cdef Record source = _source(r)
    for k in range(source.nsaved):
        s = &source.save[k]
        t = bare(<Tensor>_checked(r, s))
        if s.slot < OUT:
            if connect and r.parent[s.slot] != NULL:
                t.node, t.index = <Node>r.parent[s.slot], r.index[s.slot]
            flat[s.slot] = t
        else:
            if connect and s.slot - OUT < r.nout:
                t.node, t.index = r, s.slot - OUT
            outs[s.slot - OUT] = t
        if r.duals is not None:
            t.dual = r.duals.get(s.slot)
    g = tuple(pending) if r.nout > 1 or b.variadic_out else pending
    if (connect or r.duals is not None) and r.op.composite is not None:
        from . import core
        return rules.composite_vjp(r.op, flat, r.attr_values, g, needs, core)
    names = dict(zip(r.op.inputs, call.group(r.op, flat)))
    names.update(zip(r.op.outputs + r.op.residuals, outs))
    return b.vjp(g, needs, *rules.arguments(b.vjp, 2, r.op, names, r.attr_values,
                                            r.input_shapes, r.input_dtypes))
