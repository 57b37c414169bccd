"""`apply`: infer, allocate, launch, record.

It runs one operation; the two commonest kinds (elementwise of one and of two tensors) have a
shortcut, everything else takes the general path.  Invariant: without an input that needs a
gradient, or under no_grad, no record is made and nothing is saved.
"""

cimport cython
from libc.stdint cimport int64_t

from autodiff cimport tensor as _tensor
from autodiff.bound cimport BROADCAST, COMPARE, LIKE_INPUT, Bound, bound
from autodiff.door cimport fail, fill, go, launch, refuse_dry
from autodiff.inplace cimport apply_into
from autodiff.layout cimport broadcast, expand, same_shape
from autodiff.modes cimport Modes, modes
from autodiff.plan cimport Prepared, prepare, view_of
from autodiff.record cimport on_tape, record_few
from autodiff.storage cimport detours, wrote
from autodiff.tensor cimport Tensor, binary_t, new_tensor, number_like
from kernels.launch cimport BOOL, FLOAT32, OK, Buf, Launch

from . import call
from .bridge import make


@cython.final
cdef class Operation(Bound):
    """The callable of an operation."""

    def __call__(self, *args, **kwargs):
        cdef int n = len(args)
        cdef list inputs
        cdef tuple attrs
        cdef Tensor number
        if not self.variadic and n >= self.nin and _all_tensors(self, args):
            if n == self.nin and not kwargs:
                if n == 1:
                    return apply1(self, <Tensor>args[0])
                if n == 2 and args[1] is not None:
                    return apply2(self, <Tensor>args[0], <Tensor>args[1])
                return apply(self, list(args), self.default_attrs)
            attrs = _attrs(self, args, kwargs)
            if attrs is not None:
                return apply(self, list(args[:self.nin]), attrs)
        if n == 2 and self.nin == 2 and not kwargs and not self.any_dtype and not self.variadic:
            if type(args[0]) is Tensor:
                number = number_like(<Tensor>args[0], args[1])
                if number is not None:
                    return apply2(self, <Tensor>args[0], number)
            elif type(args[1]) is Tensor:
                number = number_like(<Tensor>args[1], args[0])
                if number is not None:
                    return apply2(self, number, <Tensor>args[1])
        raw, attrs = call.parse(self.op, args, kwargs)
        inputs = call.convert(self.op, raw, Tensor, make)
        return apply(self, inputs, attrs)


cdef bint _all_tensors(Bound b, tuple args) except -1:
    """True if the inputs are Tensors already (or absent), of a dtype that needs no promotion."""
    cdef int k, dtype = -1
    cdef Tensor t
    for k in range(b.nin):
        if type(args[k]) is Tensor:
            t = args[k]
            if dtype < 0:
                dtype = t.buf.dtype
            elif t.buf.dtype != dtype and not b.any_dtype:
                return False
        elif args[k] is not None or b.required[k]:
            return False
    return b.any_dtype or not b.to_float or dtype >= FLOAT32


cdef tuple _attrs(Bound b, tuple args, dict kwargs):
    """Attributes of a call in the order of the block; None where they are not what it names."""
    cdef int k, given = len(args) - b.nin, used = 0
    cdef list values = list(b.default_attrs)
    if given > len(values):
        return None
    for k in range(given):
        values[k] = args[b.nin + k]
    if kwargs:
        for k in range(given, len(values)):
            name = b.attr_names[k]
            if name in kwargs:
                values[k] = kwargs[name]
                used += 1
        if used != len(kwargs):
            return None
    return tuple(values)


def bind(op):
    """The callable of an operation."""
    return Operation(op)


cdef object apply1(Bound b, Tensor x):
    """One input, no attributes given."""
    cdef Modes* m = modes()
    cdef Launch L
    cdef Buf* bufs[2]
    cdef Tensor out
    cdef int code
    if (b.rule != LIKE_INPUT or b.default_attrs or b.nout != 1 or b.nres or detours or b.alias
            or (m.tangents and x.dual is not None) or (b.to_float and x.buf.dtype < FLOAT32)
            or x.buf.dtype == BOOL or not b.strided or b.into >= 0 or b.writes):
        promote = b.to_float and x.buf.dtype < FLOAT32
        return apply(b, call.promoted(b.op, [x]) if promote else [x], b.default_attrs)
    out = new_tensor(x.buf.dtype, x.buf.ndim, x.buf.shape)
    bufs[0], bufs[1] = &out.buf, &x.buf
    fill(&L, b, bufs, 1, 1)
    code = go(&L, x.buf.n)
    if code != OK:
        fail(b, code, &L)
    if b.differentiable and x.node is not None and not m.no_grad:
        record_few(b, m, out, x, None, 1)
    return out


cdef object apply2(Bound b, Tensor x, Tensor y):
    """Two inputs, no attributes given."""
    cdef Modes* m = modes()
    cdef Launch L
    cdef Buf* bufs[3]
    cdef Buf wide_x, wide_y
    cdef Tensor out
    cdef Py_ssize_t shape[8]
    cdef int ndim, code, needs
    if (b.rule < BROADCAST or x.buf.dtype != y.buf.dtype or x.buf.dtype == BOOL or detours
            or (m.tangents and (x.dual is not None or y.dual is not None))
            or (b.to_float and x.buf.dtype < FLOAT32) or b.default_attrs or b.nres
            or not b.expands or b.into >= 0 or b.writes):
        if b.any_dtype or (x.buf.dtype == y.buf.dtype
                           and not (b.to_float and x.buf.dtype < FLOAT32)):
            return apply(b, [x, y], b.default_attrs)
        return apply(b, call.promoted(b.op, [x, y]), b.default_attrs)
    ndim = broadcast(&x.buf, &y.buf, shape)
    if ndim < 0:
        return apply(b, [x, y], b.default_attrs)     # which raises
    out = new_tensor(BOOL if b.rule == COMPARE else x.buf.dtype, ndim, shape)
    bufs[0], bufs[1], bufs[2] = &out.buf, &x.buf, &y.buf
    if not same_shape(&x.buf, &out.buf):
        expand(&x.buf, &out.buf, &wide_x)
        bufs[1] = &wide_x
    if not same_shape(&y.buf, &out.buf):
        expand(&y.buf, &out.buf, &wide_y)
        bufs[2] = &wide_y
    fill(&L, b, bufs, 1, 2)
    code = go(&L, out.buf.n)
    if code != OK:
        fail(b, code, &L)
    if b.differentiable and not m.no_grad:
        needs = (x.node is not None) | (y.node is not None) << 1
        if needs:
            record_few(b, m, out, x, y, needs)
    return out


cdef object apply(Bound b, list inputs, tuple attrs):
    """Run one operation on Tensors (None where an optional input is absent)."""
    cdef Modes* m = modes()
    cdef int64_t needs = 0
    cdef int k, n = len(inputs)
    cdef list outputs
    cdef Prepared p
    if m.tangents:
        for x in inputs:
            if x is not None and (<Tensor>x).dual is not None:
                from .forward import apply_dual
                return apply_dual(b.op, inputs, attrs)
    p = prepare(b, inputs, attrs)
    if b.alias and not p.has_view:
        inputs = [bound("copy")(inputs[0])] + inputs[1:]
        p = prepare(b, inputs, attrs)
    attrs = p.attrs
    if b.differentiable and not m.no_grad:
        for k in range(n):
            if inputs[k] is not None and (<Tensor>inputs[k]).node is not None:
                needs |= <int64_t>1 << k
    if b.into >= 0:
        return apply_into(b, p, inputs, attrs, needs)
    if b.alias:
        if detours:
            refuse_dry(b, inputs[:1])
        outputs = [view_of(<Tensor>inputs[0], p)]
    else:
        outputs = []
        for k in range(p.nout):
            if k >= p.nout - b.nres and not needs:
                outputs.append(None)        # a residual that nobody will read
            else:
                outputs.append(new_tensor(p.out[k].dtype, p.out[k].ndim, p.out[k].shape))
        launch(b, p, outputs, inputs, attrs)
        for k in b.writes:
            if inputs[k] is not None:
                wrote((<Tensor>inputs[k]).storage)
    if needs:
        on_tape(b, inputs, outputs, attrs, needs)
    n = len(outputs) - b.nres
    if n == 0:
        return None
    if n == 1 and not b.variadic_out:
        return outputs[0]
    return tuple(outputs[:n])


_tensor.binary = <binary_t>apply2       # for the operators of Tensor; a Bound is an object
