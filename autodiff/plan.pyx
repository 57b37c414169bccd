"""Plans: what the shape rule of an operation says, unpacked for C and kept for the next call.

Invariant: a shape rule sees metadata and attributes alone, so a plan holds for every call with
the same shapes, dtypes and attributes (and strides, where the result is a view).
"""

cimport cython
from libc.math cimport copysign
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from autodiff.bound cimport Bound
from autodiff.tape cimport Meta
from autodiff.tensor cimport Tensor
from kernels.launch cimport contiguous

from . import call, dtypes, modes
from .errors import AutodiffError, OutOfMemoryError, ShapeError


@cython.final
cdef class Prepared:
    """A Plan, unpacked for C.  Shape rules see metadata alone, so it holds for every call with
    the same shapes, dtypes and attributes."""

    def __dealloc__(self):
        free(self.out)


cdef object _plan(Bound b, list inputs, tuple attrs):
    """What the shape rule says; its error gets the module path."""
    try:
        plan = b.infer(*call.group(b.op, inputs), *attrs)
    except AutodiffError as error:
        where = modes.current_scope()
        if where and error.args:
            error.args = (f"{error.args[0]}; in {where}", *error.args[1:])
        raise
    for shape, _ in plan.outputs:
        if len(shape) > 8:
            raise ShapeError(f"{b.op.name}: the result would have {len(shape)} dimensions; at "
                             "most 8 are supported")
    if len(plan.ia) > 12 or len(plan.fa) > 4:
        raise AutodiffError(f"{b.op.name}: its shape rule gives too many static arguments")
    return plan


cdef Prepared _unpack(plan, tuple attrs):
    cdef Prepared p = Prepared.__new__(Prepared)
    cdef int k, j
    p.plan = plan
    p.attrs = attrs if plan.attrs is None else tuple(plan.attrs)
    p.nout, p.nia, p.nfa, p.threads = len(plan.outputs), len(plan.ia), len(plan.fa), -1
    p.out = <Meta*>calloc(p.nout + 1, sizeof(Meta))
    if p.out == NULL:
        raise OutOfMemoryError("autodiff: out of memory for a plan")
    for k, (shape, dtype) in enumerate(plan.outputs):
        p.out[k].dtype, p.out[k].ndim = dtypes.CODE[dtype], len(shape)
        for j in range(p.out[k].ndim):
            p.out[k].shape[j] = shape[j]
            if p.out[k].shape[j] < 0:
                raise ShapeError(f"a shape has no negative sizes, got {tuple(shape)}")
    for k in range(p.nia):
        p.ia[k] = plan.ia[k]
    for k in range(p.nfa):
        p.fa[k] = plan.fa[k]
    if plan.view is not None:
        shape, strides, offset = plan.view
        p.has_view, p.view.ndim, p.view_offset = True, len(shape), offset
        for k in range(p.view.ndim):
            p.view.shape[k], p.view_strides[k] = shape[k], strides[k]
    return p


cdef extern from "Python.h":
    void* Py_TYPE(object v)


cdef object kinds(tuple values):
    """The types inside a tuple where they are not all int; == does not tell 1, 1.0, True apart."""
    for v in values:
        if type(v) is not int:
            return tuple([kinds(v) if type(v) is tuple else type(v) for v in values])
    return None


cdef Prepared prepare(Bound b, list inputs, tuple attrs):
    """The plan of a call, from the cache where its like was made before."""
    cdef int64_t code[161]              # 8 inputs of at most 17 numbers, 1, 24 attributes
    cdef int k, j, n = 0
    cdef Tensor t
    cdef Prepared p
    cdef object inside = None
    if not b.cacheable or len(inputs) > 8 or len(attrs) > 24:
        return _unpack(_plan(b, inputs, attrs), attrs)
    for x in inputs:
        if x is None:
            code[n] = -1
            n += 1
            continue
        t = x
        code[n] = t.buf.dtype * 16 + t.buf.ndim
        for j in range(t.buf.ndim):
            code[n + 1 + j] = t.buf.shape[j]
        n += 1 + t.buf.ndim
        if b.by_strides:
            for j in range(t.buf.ndim):
                code[n + j] = t.buf.strides[j]
            n += t.buf.ndim
    code[n] = dtypes._default is dtypes.float64     # what dtype=None stands for
    n += 1
    for v in attrs:
        code[n] = <int64_t>Py_TYPE(v)
        if type(v) is tuple:
            found = kinds(<tuple>v)
            inside = inside if found is None else (inside, n, found)
        elif type(v) is float and copysign(1, <double>v) < 0:
            code[n] += 1                # -0.0 == 0.0
        n += 1
    key = ((<char*>code)[:n * sizeof(int64_t)], attrs, inside)
    try:
        found = b.prepared.get(key)
    except TypeError:                   # an attribute that cannot be a key, such as a slice
        return _unpack(_plan(b, inputs, attrs), attrs)
    if found is not None:
        return <Prepared>found
    p = _unpack(_plan(b, inputs, attrs), attrs)
    if len(b.prepared) >= 256:
        b.prepared.clear()
    b.prepared[key] = p
    return p


cdef Tensor view_of(Tensor x, Prepared p):
    """The part of `x` that the plan of an aliasing operation shows."""
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int k
    t.storage = x.storage
    t.buf.dtype, t.buf.ndim, t.buf.n = x.buf.dtype, p.view.ndim, 1
    for k in range(t.buf.ndim):
        t.buf.shape[k], t.buf.strides[k] = p.view.shape[k], p.view_strides[k]
        t.buf.n *= t.buf.shape[k]
    t.buf.data = x.buf.data + p.view_offset
    t.dense = contiguous(&t.buf)
    return t
