"""Tensor, and `apply`: infer, allocate, launch, record.

A Tensor is a Storage with dtype, shape and strides inline, and its place on the tape.  `apply`
runs one operation; the two commonest kinds (elementwise of one and of two tensors) have a
shortcut, everything else takes the general path.  Invariant: without an input that needs a
gradient, or under no_grad, no record is made and nothing is saved.
"""

cimport cython
cimport numpy as cnp
from cpython.ref cimport PyObject, Py_INCREF, Py_DECREF, Py_XDECREF
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from autodiff.storage cimport (
    PARAMETER, Storage, add_save, new_storage, recount, scratch_alloc, scratch_free)
from autodiff.tape cimport (
    FEW, OUT, Leaf, Meta, Modes, Node, Record, Save, modes, next_serial, note_caller, room)
from kernels.launch cimport (
    BAD_DTYPE, BAD_INDEX, BOOL, FLOAT32, FLOAT64, OK, Buf, Launch, contiguous, itemsize,
    num_threads, run_t)

import time

import numpy as np

import kernels

from . import call, dtypes, tape as _tape
from .errors import (ArgumentError, AutodiffError, DtypeError, IndexRangeError, InPlaceError,
                     ShapeError, ValueRangeError)
from .op import registry, rule_parameters
from .storage import CATEGORY_NAMES

cnp.import_array()

cdef tuple DTYPES = dtypes.ALL
cdef int[8] NUMPY_TYPE
for _code, _dtype in enumerate(dtypes.ALL):
    NUMPY_TYPE[<int>_code] = _dtype.num

cdef list _listeners = []           # of launches, all threads
cdef bint _listened = False
cdef Py_ssize_t GIL_GRAIN = 1 << 15     # elements from which a launch lets the GIL go


cdef PyObject* _storage_of(PyObject* t) noexcept:
    return <PyObject*>(<Tensor>t).storage


_tape._set_storage_of(<size_t>&_storage_of)


# Tensor ---------------------------------------------------------------------------------------

cdef dict _operators = {}           # '__getitem__' -> function, set by methods.py
cdef Bound _add, _subtract, _multiply, _divide, _matmul, _pow, _negative


@cython.final
@cython.freelist(4096)
cdef class Tensor:
    """An array that remembers how it was made (`node`), so that it can be differentiated.

    Make one with `ad.tensor(data, dtype=None, requires_grad=False)`.
    """

    __array_priority__ = 1000

    def __init__(self, *args, **kwargs):
        raise TypeError("use ad.tensor(data, dtype=None, requires_grad=False) to make a Tensor")

    @property
    def shape(self):
        return tuple([self.buf.shape[k] for k in range(self.buf.ndim)])

    @property
    def strides(self):
        """Bytes from one element to the next along each axis."""
        return tuple([self.buf.strides[k] for k in range(self.buf.ndim)])

    @property
    def dtype(self):
        return DTYPES[self.buf.dtype]

    @property
    def ndim(self):
        return self.buf.ndim

    @property
    def size(self):
        return self.buf.n

    @property
    def nbytes(self):
        return self.buf.n * itemsize(self.buf.dtype)

    @property
    def version(self):
        """Writes to the storage so far."""
        return self.storage.version

    @property
    def is_leaf(self):
        return self.node is None or isinstance(self.node, Leaf)

    @property
    def is_contiguous(self):
        return self.dense

    @property
    def category(self):
        """What the bytes count as: parameter, buffer, input, temporary, ..."""
        return CATEGORY_NAMES[self.storage.category]

    @category.setter
    def category(self, name):
        if name not in CATEGORY_NAMES:
            raise ArgumentError(f"category: expected one of {CATEGORY_NAMES}, got {name!r}")
        self.storage.category = CATEGORY_NAMES.index(name)
        recount(self.storage)

    @property
    def requires_grad(self):
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, on):
        if bool(on) == (self.node is not None):
            return
        if self.node is not None and not isinstance(self.node, Leaf):
            raise InPlaceError("requires_grad: this tensor is the output of an operation; use "
                               "detach() to get one without gradient")
        if not on:
            self.node = None
            return
        if self.buf.dtype < FLOAT32:
            raise DtypeError(f"requires_grad: only float32 and float64 can be differentiated, "
                             f"got {self.dtype}")
        cdef Leaf leaf = Leaf.__new__(Leaf)
        _note_meta(&leaf.meta, &self.buf)
        self.node, self.index = leaf, 0

    @property
    def grad(self):
        """Gradient accumulated by backward; None before."""
        if self.node is None:
            return None
        if isinstance(self.node, Leaf):
            return (<Leaf>self.node).grad
        return ((<Record>self.node).retained or {}).get(self.index)

    @grad.setter
    def grad(self, value):
        if not isinstance(self.node, Leaf):
            raise InPlaceError("grad: only a leaf with requires_grad=True holds a gradient")
        if value is not None:
            if not isinstance(value, Tensor):
                raise ArgumentError(f"grad: expected a Tensor or None, got "
                                    f"{type(value).__name__}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ShapeError(f"grad: expected {self.dtype} {self.shape}, got {value.dtype} "
                                 f"{value.shape}")
        (<Leaf>self.node).grad = value

    def detach(self):
        """The same bytes, not on the tape."""
        return bare(self)

    def _place(self, Node node, int index):
        """Put this handle at a place on the tape (for the engine's own aliases)."""
        self.node, self.index = node, index

    def numpy(self):
        """The bytes as a read-only ndarray, without a copy."""
        return _ndarray(self, 0)

    def _array(self):
        """A writable ndarray over the bytes (for `writable()`)."""
        if self.storage.readonly:
            raise InPlaceError("writable: the tensor shares read-only memory; copy it first")
        return _ndarray(self, cnp.NPY_ARRAY_WRITEABLE)

    def _bump(self):
        self.storage.version += 1

    @property
    def storage_id(self):
        """The same number for all tensors that share a storage."""
        return <size_t><void*>self.storage

    @property
    def storage_nbytes(self):
        """Bytes of the whole storage, of which a view may show a part."""
        return self.storage.nbytes

    def data_ptr(self):
        """Address of the first element."""
        return <size_t>self.buf.data

    def __add__(self, other):
        return apply2(_add, self, <Tensor>other) if type(other) is Tensor else _add(self, other)

    def __radd__(self, other):
        return _add(other, self)

    def __sub__(self, other):
        return (apply2(_subtract, self, <Tensor>other) if type(other) is Tensor
                else _subtract(self, other))

    def __rsub__(self, other):
        return _subtract(other, self)

    def __mul__(self, other):
        return (apply2(_multiply, self, <Tensor>other) if type(other) is Tensor
                else _multiply(self, other))

    def __rmul__(self, other):
        return _multiply(other, self)

    def __truediv__(self, other):
        return (apply2(_divide, self, <Tensor>other) if type(other) is Tensor
                else _divide(self, other))

    def __rtruediv__(self, other):
        return _divide(other, self)

    def __matmul__(self, other):
        return _matmul(self, other)

    def __rmatmul__(self, other):
        return _matmul(other, self)

    def __pow__(self, other, modulo):
        return _pow(self, other)

    def __rpow__(self, other, modulo):
        return _pow(other, self)

    def __neg__(self):
        return _negative(self)

    def __pos__(self):
        return self

    def __abs__(self):
        return _operators["__abs__"](self)

    def __invert__(self):
        return _operators["__invert__"](self)

    def __floordiv__(self, other):
        return _operators["__floordiv__"](self, other)

    def __rfloordiv__(self, other):
        return _operators["__rfloordiv__"](self, other)

    def __mod__(self, other):
        return _operators["__mod__"](self, other)

    def __rmod__(self, other):
        return _operators["__rmod__"](self, other)

    def __and__(self, other):
        return _operators["__and__"](self, other)

    def __rand__(self, other):
        return _operators["__rand__"](self, other)

    def __or__(self, other):
        return _operators["__or__"](self, other)

    def __ror__(self, other):
        return _operators["__ror__"](self, other)

    def __xor__(self, other):
        return _operators["__xor__"](self, other)

    def __rxor__(self, other):
        return _operators["__rxor__"](self, other)

    def __iadd__(self, other):
        return _operators["__iadd__"](self, other)

    def __isub__(self, other):
        return _operators["__isub__"](self, other)

    def __imul__(self, other):
        return _operators["__imul__"](self, other)

    def __itruediv__(self, other):
        return _operators["__itruediv__"](self, other)

    def __eq__(self, other):
        return _operators["__eq__"](self, other)

    def __ne__(self, other):
        return _operators["__ne__"](self, other)

    def __lt__(self, other):
        return _operators["__lt__"](self, other)

    def __le__(self, other):
        return _operators["__le__"](self, other)

    def __gt__(self, other):
        return _operators["__gt__"](self, other)

    def __ge__(self, other):
        return _operators["__ge__"](self, other)

    def __hash__(self):
        return <Py_ssize_t><void*>self >> 4

    def __getitem__(self, key):
        return _operators["__getitem__"](self, key)

    def __setitem__(self, key, value):
        _operators["__setitem__"](self, key, value)

    def __len__(self):
        return _operators["__len__"](self)

    def __iter__(self):
        return _operators["__iter__"](self)

    def __contains__(self, value):
        return _operators["__contains__"](self, value)

    def __bool__(self):
        return _operators["__bool__"](self)

    def __float__(self):
        return _operators["__float__"](self)

    def __int__(self):
        return _operators["__int__"](self)

    def __index__(self):
        return _operators["__index__"](self)

    def __repr__(self):
        return _operators["__repr__"](self)


cdef extern from "numpy/arrayobject.h":
    # numpy's own declaration takes no NULL for `parent`
    object _PyArray_New "PyArray_New" (void* kind, int ndim, cnp.npy_intp* dims, int dtype,
                                       cnp.npy_intp* strides, void* data, int itemsize, int flags,
                                       void* parent)
    void* _PyArray_Type "(&PyArray_Type)"


cdef object _ndarray(Tensor t, int flags):
    cdef cnp.npy_intp dims[8]
    cdef cnp.npy_intp steps[8]
    cdef int k
    for k in range(t.buf.ndim):
        dims[k], steps[k] = t.buf.shape[k], t.buf.strides[k]
    array = _PyArray_New(_PyArray_Type, t.buf.ndim, dims, NUMPY_TYPE[t.buf.dtype], steps,
                         t.buf.data, 0, flags | cnp.NPY_ARRAY_ALIGNED, NULL)
    Py_INCREF(t.storage)
    cnp.PyArray_SetBaseObject(array, t.storage)
    return array


cdef inline void _note_meta(Meta* meta, Buf* b) noexcept:
    meta.dtype, meta.ndim = b.dtype, b.ndim
    memcpy(meta.shape, b.shape, b.ndim * sizeof(Py_ssize_t))


cdef Tensor new_tensor(int dtype, int ndim, Py_ssize_t* shape):
    """A C-ordered tensor with bytes of its own, undefined."""
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef Py_ssize_t n = 1, size = itemsize(dtype)
    cdef int k
    for k in range(ndim - 1, -1, -1):
        t.buf.shape[k] = shape[k]
        t.buf.strides[k] = n * size
        n *= shape[k]
    t.buf.n, t.buf.dtype, t.buf.ndim = n, dtype, ndim
    t.dense = True
    t.storage = new_storage(n * size)
    t.buf.data = t.storage.ptr
    return t


cdef Tensor bare(Tensor t):
    """Another handle on the same bytes, not on the tape."""
    cdef Tensor new = Tensor.__new__(Tensor)
    new.storage, new.buf, new.dense = t.storage, t.buf, t.dense
    return new


def make(data, dtype=None, category="input"):
    """A Tensor from a copy of `data`."""
    cdef Tensor t
    cdef double value
    if type(data) is float and dtype is not None and dtype.kind == "f":     # the commonest
        t = new_tensor(dtypes.CODE[dtype], 0, NULL)
        value = data
        if t.buf.dtype == FLOAT32:
            (<float*>t.buf.data)[0] = <float>value
        else:
            (<double*>t.buf.data)[0] = value
        return t
    array = np.asarray(data, dtype=None if dtype is None else dtypes.as_dtype(dtype))
    t = empty(array.shape, dtypes.as_dtype(array.dtype), category)
    _ndarray(t, cnp.NPY_ARRAY_WRITEABLE)[...] = array
    return t


def from_numpy(array):
    """A Tensor that shares the memory of `array`; writes to the array go unnoticed."""
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"from_numpy: expected an ndarray, got {type(array).__name__}")
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int k
    if not array.dtype.isnative or not array.flags.aligned:
        raise DtypeError("from_numpy: the array must be aligned and of native byte order; use "
                         "ad.tensor(array), which copies")
    if array.ndim > 8:
        raise ShapeError(f"from_numpy: at most 8 dimensions, got {array.ndim}")
    t.buf.dtype = dtypes.CODE[dtypes.as_dtype(array.dtype)]
    t.buf.ndim, t.buf.n = array.ndim, array.size
    for k in range(t.buf.ndim):
        t.buf.shape[k], t.buf.strides[k] = array.shape[k], array.strides[k]
    t.storage = Storage.__new__(Storage)
    t.storage.owner, t.storage.nbytes = array, array.nbytes
    t.storage.readonly = not array.flags.writeable
    t.storage.ptr = t.buf.data = <char*>cnp.PyArray_DATA(array)
    t.dense = contiguous(&t.buf)
    return t


def empty(shape, dtype, category="temporary"):
    """A Tensor with undefined values."""
    cdef Py_ssize_t sizes[8]
    cdef int k, ndim = len(shape)
    if ndim > 8:
        raise ShapeError(f"a tensor has at most 8 dimensions, got {ndim}")
    for k in range(ndim):
        sizes[k] = shape[k]
        if sizes[k] < 0:
            raise ShapeError(f"a shape has no negative sizes, got {tuple(shape)}")
    cdef Tensor t = new_tensor(dtypes.CODE[dtype], ndim, sizes)
    if category != "temporary":
        t.category = category
    return t


cdef extern from *:
    """
    static void ad_set_in_type(PyObject *type, PyObject *name, PyObject *value) {
        PyDict_SetItem(((PyTypeObject *)type)->tp_dict, name, value);
        PyType_Modified((PyTypeObject *)type);
    }
    """
    void ad_set_in_type(object type, object name, object value)


def set_method(name, function):
    """Add a method or property to Tensor."""
    # An extension type takes no attributes by assignment; its dict does.
    ad_set_in_type(Tensor, name, function)


def set_operator(name, function):
    """Set the function behind an operator of Tensor ('__mul__', ...)."""
    global _add, _subtract, _multiply, _divide, _matmul, _pow, _negative
    _operators[name] = function
    if name == "__add__":
        _add = function
    elif name == "__sub__":
        _subtract = function
    elif name == "__mul__":
        _multiply = function
    elif name == "__truediv__":
        _divide = function
    elif name == "__matmul__":
        _matmul = function
    elif name == "__pow__":
        _pow = function
    elif name == "__neg__":
        _negative = function


# Bound: an operation made ready for launching ---------------------------------------------------

cdef int _count_of_ops = 0


@cython.final
cdef class Bound:
    """The callable of an operation: its block, its kernel's address, and tables for speed."""

    def __init__(self, op):
        global _count_of_ops
        self.op, self.kernel = op, op.kernel
        self.__name__ = self.__qualname__ = op.name
        self.__doc__ = op.doc
        self.number, _count_of_ops = _count_of_ops, _count_of_ops + 1
        self.variadic, self.variadic_out, self.alias = op.variadic, op.variadic_out, op.alias
        self.nin, self.nout, self.nres = len(op.inputs), len(op.outputs), len(op.residuals)
        self.strided, self.matrix = op.layout == "strided", op.layout == "matrix"
        self.elementwise = op.elementwise
        self.rule = {"same": LIKE_INPUT, "compare": COMPARE, None: BY_RULE,
                     "broadcast": LIKE_INPUT if self.nin == 1 else BROADCAST}[
                         getattr(op.infer, "shortcut", None)]
        self.expands = self.strided and (op.elementwise or op.into is not None
                                         or self.rule in (BROADCAST, COMPARE))
        self.any_dtype = op.promote is None
        self.to_float = (op.promote or "").startswith("float")
        self.vjp, self.infer, self.scratch = op.vjp, op.infer, op.scratch
        self.differentiable = op.vjp is not None
        self.default_attrs, self.attr_names = tuple(op.attrs.values()), tuple(op.attrs)
        self.required = bytes([name not in op.optional for name in op.inputs])
        self.prepared, self.cacheable = {}, not op.dynamic_shape and not op.variadic
        self.by_strides = op.alias or op.into is not None
        self.into = -1 if op.into is None else op.inputs.index(op.into)
        self.writes = tuple(op.inputs.index(n) for n in op.writes)
        self.many = {}
        self._prepare_saves()
        self._prepare_vjp()

    def _prepare_saves(self):
        cdef int needs, k
        if self.variadic or self.nin > 3:
            return
        for needs in range(1 << self.nin):
            names = self.op.save_names(needs)
            slots = self._slots_of(names, self.nin)
            self.few[needs].n = len(slots)
            for k in range(len(slots)):
                self.few[needs].slot[k] = slots[k]

    def _slots_of(self, names, nin):
        outs = self.op.outputs + self.op.residuals
        slots = [k for k in range(nin) if call.input_name(self.op, k) in names]
        return slots + [OUT + k for k, name in enumerate(outs) if name in names]

    def _prepare_vjp(self):
        """Where each parameter of the vjp comes from, so that the sweep looks nothing up."""
        self.plain_args = False
        self.keeps_metas = self.variadic
        if self.vjp is None:
            return
        names = rule_parameters(self.vjp)[2:]
        outs, attrs = self.op.outputs + self.op.residuals, list(self.op.attrs)
        self.keeps_metas |= any(n.endswith(("_shape", "_dtype")) for n in names)
        if self.variadic or len(names) > 16:
            return
        self.plain_args = True
        self.nargs = len(names)
        for k, name in enumerate(names):
            if name in self.op.inputs:
                kind, where = FROM_INPUT, self.op.inputs.index(name)
            elif name in outs:
                kind, where = FROM_OUTPUT, outs.index(name)
            elif name in attrs:
                kind, where = FROM_ATTR, attrs.index(name)
            elif name.endswith("_shape") and name[:len(name) - 6] in self.op.inputs:
                kind, where = FROM_SHAPE, self.op.inputs.index(name[:len(name) - 6])
            elif name.endswith("_dtype") and name[:len(name) - 6] in self.op.inputs:
                kind, where = FROM_DTYPE, self.op.inputs.index(name[:len(name) - 6])
            else:
                kind, where = FROM_NOTHING, 0
            self.arg_kind[k], self.arg_k[k] = kind, where

    cdef int load_kernel(self) except -1:
        try:
            self.run = <run_t><size_t>kernels.address(self.kernel)
        except KeyError:
            raise AutodiffError(f"{self.op.name}: its kernel {self.kernel!r} is not built; build "
                                "the package again") from None
        return 0

    def __call__(self, *args, **kwargs):
        cdef int n = len(args)
        cdef list inputs
        cdef tuple attrs
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
        raw, attrs = call.parse(self.op, args, kwargs)
        inputs = call.convert(self.op, raw, Tensor, make)
        return apply(self, inputs, attrs)

    def __repr__(self):
        return f"<operation {self.op.signature()}>"


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
    return Bound(op)


cdef Bound bound(name):
    return <Bound>registry[name].call


# The shortcuts --------------------------------------------------------------------------------

cdef object apply1(Bound b, Tensor x):
    """One input, no attributes given."""
    cdef Modes* m = modes()
    cdef Launch L
    cdef Buf* bufs[2]
    cdef Tensor out
    cdef int code
    if (b.rule != LIKE_INPUT or b.default_attrs or b.nout != 1 or b.nres or _listened or b.alias
            or (m.tangents and x.dual is not None) or (b.to_float and x.buf.dtype < FLOAT32)
            or x.buf.dtype == BOOL or not b.strided or b.into >= 0 or b.writes):
        promote = b.to_float and x.buf.dtype < FLOAT32
        return apply(b, call.promoted(b.op, [x]) if promote else [x], b.default_attrs)
    out = new_tensor(x.buf.dtype, x.buf.ndim, x.buf.shape)
    bufs[0], bufs[1] = &out.buf, &x.buf
    _fill(&L, b, bufs, 1, 1)
    code = _go(&L, x.buf.n)
    if code != OK:
        _fail(b, code, &L)
    if b.differentiable and x.node is not None and not m.no_grad:
        _record_few(b, m, out, x, None, 1)
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
    if (b.rule < BROADCAST or x.buf.dtype != y.buf.dtype or x.buf.dtype == BOOL or _listened
            or (m.tangents and (x.dual is not None or y.dual is not None))
            or (b.to_float and x.buf.dtype < FLOAT32) or b.default_attrs or b.nres
            or not b.expands or b.into >= 0 or b.writes):
        if b.any_dtype or (x.buf.dtype == y.buf.dtype
                           and not (b.to_float and x.buf.dtype < FLOAT32)):
            return apply(b, [x, y], b.default_attrs)
        return apply(b, call.promoted(b.op, [x, y]), b.default_attrs)
    ndim = _broadcast(&x.buf, &y.buf, shape)
    if ndim < 0:
        return apply(b, [x, y], b.default_attrs)     # which raises
    out = new_tensor(BOOL if b.rule == COMPARE else x.buf.dtype, ndim, shape)
    bufs[0], bufs[1], bufs[2] = &out.buf, &x.buf, &y.buf
    if not _same_shape(&x.buf, &out.buf):
        _expand(&x.buf, &out.buf, &wide_x)
        bufs[1] = &wide_x
    if not _same_shape(&y.buf, &out.buf):
        _expand(&y.buf, &out.buf, &wide_y)
        bufs[2] = &wide_y
    _fill(&L, b, bufs, 1, 2)
    code = _go(&L, out.buf.n)
    if code != OK:
        _fail(b, code, &L)
    if b.differentiable and not m.no_grad:
        needs = (x.node is not None) | (y.node is not None) << 1
        if needs:
            _record_few(b, m, out, x, y, needs)
    return out


cdef inline bint _same_shape(Buf* a, Buf* b) noexcept nogil:
    cdef int k
    if a.ndim != b.ndim:
        return False
    for k in range(a.ndim):
        if a.shape[k] != b.shape[k]:
            return False
    return True


cdef inline int _broadcast(Buf* x, Buf* y, Py_ssize_t* shape) noexcept nogil:
    """The broadcast shape and its number of axes; -1 where the shapes do not fit."""
    cdef int k, kx, ky, ndim = max(x.ndim, y.ndim)
    cdef Py_ssize_t nx, ny
    for k in range(ndim):
        kx, ky = k - ndim + x.ndim, k - ndim + y.ndim
        nx = x.shape[kx] if kx >= 0 else 1
        ny = y.shape[ky] if ky >= 0 else 1
        if nx != ny and nx != 1 and ny != 1:
            return -1
        shape[k] = ny if nx == 1 else nx
    return ndim


cdef inline bint _expand(Buf* a, Buf* like, Buf* out) noexcept nogil:
    """`a` seen in the shape of `like`, stride 0 along broadcast axes; False if it cannot be."""
    cdef int k, ka
    out.data, out.dtype, out.ndim, out.n = a.data, a.dtype, like.ndim, like.n
    if a.ndim > like.ndim:
        return False
    for k in range(like.ndim):
        ka = k - like.ndim + a.ndim
        out.shape[k] = like.shape[k]
        if ka < 0 or a.shape[ka] == 1:
            out.strides[k] = 0
        elif a.shape[ka] == like.shape[k]:
            out.strides[k] = a.strides[ka]
        else:
            return False
        if like.shape[k] == 1 and ka >= 0:
            out.strides[k] = a.strides[ka]
    return True


cdef inline int _fill(Launch* L, Bound b, Buf** bufs, int nout, int nin) except -1:
    if b.run == NULL:
        b.load_kernel()
    L.run = b.run
    L.op, L.nin, L.nout, L.beta, L.phase, L.scope = b.number, nin, nout, 0, 0, 0
    L.serial = 0
    L.b = bufs
    L.work, L.work_bytes, L.threads = NULL, 0, 0
    return 0


cdef inline int _go(Launch* L, Py_ssize_t n) noexcept:
    """The door: every write of the engine passes here."""
    cdef int code
    if n >= GIL_GRAIN:
        with nogil:
            code = L.run(L)
    else:
        code = L.run(L)
    return code


cdef object _fail(Bound b, int code, Launch* L):
    where = _tape.current_scope()
    where = f"; in {where}" if where else ""
    name = b.op.name
    if code == BAD_DTYPE:
        given = [str(DTYPES[L.b[k].dtype]) for k in range(L.nout, L.nout + L.nin)
                 if L.b[k] != NULL]
        raise DtypeError(f"{name}: not defined for {', '.join(given)}; convert with ad.astype"
                         f"{where}")
    if code == BAD_INDEX:
        raise IndexRangeError(f"{name}: index {L.ia[11]} is out of range{where}")
    raise ValueRangeError(f"{name}: a value is out of range{where}")


# Recording ------------------------------------------------------------------------------------

cdef inline void _keep(Record r, Tensor t, int slot) noexcept:
    cdef Save* s = &r.save[r.nsaved]
    Py_INCREF(t)
    s.tensor, s.version, s.slot = <PyObject*>t, t.storage.version, slot
    add_save(t.storage, slot >= OUT)
    r.nsaved += 1


cdef inline void _parent(Record r, int k, Tensor t) noexcept:
    if t.node is not None:
        Py_INCREF(t.node)
        r.parent[k], r.index[k] = <PyObject*>t.node, t.index


cdef int _record_few(Bound b, Modes* m, Tensor out, Tensor x, Tensor y, int needs) except -1:
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
    _note_meta(&r.meta, &out.buf)
    if b.keeps_metas:
        r.input_metas = [(x.shape, x.dtype)] + ([] if y is None else [(y.shape, y.dtype)])
    _finish_record(r, m)
    if out.buf.dtype >= FLOAT32:
        out.node = r
        out.index = 0
    if m.tapes != NULL:
        for listener in list(<object>m.tapes):
            listener(r, (out,))
    return 0


cdef inline int _finish_record(Record r, Modes* m) except -1:
    if m.scope != NULL:
        r.scope_name = <object>m.scope
    note_caller(r)
    return 0


cdef Record _record(Bound b, list inputs, list outputs, tuple attrs, int64_t needs):
    """Record any operation. outputs: with residuals."""
    cdef Modes* m = modes()
    cdef Record r = Record.__new__(Record)
    cdef int k, n = len(inputs), shown = len(outputs) - b.nres
    cdef Tensor t
    slots = b.many.get((needs, n))
    if slots is None:
        slots = b.many[needs, n] = b._slots_of(call.saved_names(b.op, needs), n)
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
            _note_meta(&r.meta, &t.buf)
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
    return _on_tape(b, list(inputs), list(outputs), tuple(attrs), needs) if needs else None


cdef Record _on_tape(Bound b, list inputs, list outputs, tuple attrs, int64_t needs):
    """Record, and give the outputs their place."""
    cdef Modes* m = modes()
    cdef Record r = _record(b, inputs, outputs, attrs, needs)
    cdef Tensor t
    cdef int k, shown = len(outputs) - b.nres
    for k in range(shown):
        t = outputs[k]
        if t.buf.dtype >= FLOAT32:
            t.node, t.index = r, k
    if shown and m.tapes != NULL:
        for listener in list(<object>m.tapes):
            listener(r, tuple(outputs[:shown]))
    return r


cdef int _more(Record r, int k, int shown, Tensor t) except -1:
    if r.more == NULL:
        r.more = <Meta*>calloc(shown - 1, sizeof(Meta))
        if r.more == NULL:
            raise MemoryError("autodiff: out of memory for a record")
    _note_meta(&r.more[k - 1], &t.buf)
    return 0


# The general path -----------------------------------------------------------------------------

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
        where = _tape.current_scope()
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


cdef Prepared _unpack_plan(plan, tuple attrs):
    cdef Prepared p = Prepared.__new__(Prepared)
    cdef int k, j
    p.plan = plan
    p.attrs = attrs if plan.attrs is None else tuple(plan.attrs)
    p.nout, p.nia, p.nfa, p.threads = len(plan.outputs), len(plan.ia), len(plan.fa), -1
    p.out = <Meta*>calloc(p.nout + 1, sizeof(Meta))
    if p.out == NULL:
        raise MemoryError("autodiff: out of memory for a plan")
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


cdef Prepared _prepare(Bound b, list inputs, tuple attrs):
    """The plan of a call, from the cache where its like was made before."""
    cdef int64_t code[160]
    cdef int k, j, n = 0
    cdef Tensor t
    cdef Prepared p
    if not b.cacheable or len(inputs) > 8:
        return _unpack_plan(_plan(b, inputs, attrs), attrs)
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
    for k in range(len(attrs)):         # 1 and True are equal, but not the same argument
        code[n] = type(attrs[k]) is bool
        n += 1
    key = ((<char*>code)[:n * sizeof(int64_t)], attrs)
    try:
        found = b.prepared.get(key)
    except TypeError:                   # an attribute that cannot be a key, such as a slice
        return _unpack_plan(_plan(b, inputs, attrs), attrs)
    if found is not None:
        return <Prepared>found
    p = _unpack_plan(_plan(b, inputs, attrs), attrs)
    if len(b.prepared) >= 256:
        b.prepared.clear()
    b.prepared[key] = p
    return p


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
    p = _prepare(b, inputs, attrs)
    if b.alias and not p.has_view:
        inputs = [bound("copy")(inputs[0])] + inputs[1:]
        p = _prepare(b, inputs, attrs)
    attrs = p.attrs
    if b.differentiable and not m.no_grad:
        for k in range(n):
            if inputs[k] is not None and (<Tensor>inputs[k]).node is not None:
                needs |= <int64_t>1 << k
    if b.into >= 0:
        return _apply_into(b, p, inputs, attrs, needs)
    if b.alias:
        outputs = [_view(<Tensor>inputs[0], p)]
    else:
        outputs = []
        for k in range(p.nout):
            if k >= p.nout - b.nres and not needs:
                outputs.append(None)        # a residual that nobody will read
            else:
                outputs.append(new_tensor(p.out[k].dtype, p.out[k].ndim, p.out[k].shape))
        _launch(b, p, outputs, inputs, attrs)
        for k in b.writes:
            if inputs[k] is not None:
                (<Tensor>inputs[k]).storage.version += 1
    if needs:
        _on_tape(b, inputs, outputs, attrs, needs)
    n = len(outputs) - b.nres
    if n == 0:
        return None
    if n == 1 and not b.variadic_out:
        return outputs[0]
    return tuple(outputs[:n])


cdef Tensor _view(Tensor x, Prepared p):
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


cdef bint _blas_ready(Tensor t) noexcept:
    """True if the last two axes are a matrix that BLAS can read, in either order."""
    cdef int n = t.buf.ndim
    cdef Py_ssize_t size = itemsize(t.buf.dtype), rows, cols, r, c
    if n < 2:
        return n == 0 or t.buf.strides[0] == size or t.buf.shape[0] <= 1
    rows, cols = t.buf.shape[n - 2], t.buf.shape[n - 1]
    r, c = t.buf.strides[n - 2], t.buf.strides[n - 1]
    return (((c == size or cols <= 1) and (r >= cols * size or rows <= 1) and r % size == 0)
            or ((r == size or rows <= 1) and (c >= rows * size or cols <= 1) and c % size == 0))


cdef int _launch(Bound b, Prepared p, list outputs, list inputs, tuple attrs) except -1:
    """Lay the buffers out for the kernel, take scratch, run, tell the listeners."""
    cdef int k, j, code, nout = len(outputs), nin = len(inputs), total = nout + nin
    cdef Buf* few[16]
    cdef Buf wide[8]
    cdef Buf** bufs = few
    cdef Buf* like
    cdef Launch L
    cdef Tensor t
    cdef Py_ssize_t n = 1
    cdef list given = inputs
    cdef bytearray room_for = None
    if total > 16:
        room_for = bytearray(total * sizeof(Buf*))
        bufs = <Buf**><char*>room_for
    if not b.strided:
        for k in range(nin):
            t = inputs[k]
            if t is not None and not t.dense and not (b.matrix and _blas_ready(t)):
                if given is inputs:
                    given = list(inputs)
                # A visible launch; not on the tape: the record keeps the original.
                given[k] = _dense_copy(t)
    for k in range(nout):
        t = outputs[k]
        bufs[k] = NULL if t is None else &t.buf
        if t is not None and t.buf.n > n:
            n = t.buf.n
    like = bufs[0] if nout else NULL
    j = 0
    for k in range(nin):
        t = given[k]
        bufs[nout + k] = NULL if t is None else &t.buf
        if t is None:
            continue
        if t.buf.n > n:
            n = t.buf.n
        if b.expands and like != NULL and j < 8 and not _same_shape(&t.buf, like):
            if _expand(&t.buf, like, &wide[j]):
                bufs[nout + k] = &wide[j]
                j += 1
    _fill(&L, b, bufs, nout, nin)
    memcpy(L.ia, p.ia, p.nia * sizeof(int64_t))
    memcpy(L.fa, p.fa, p.nfa * sizeof(double))
    if b.scratch is not None:
        L.threads = num_threads()
        if p.threads != L.threads:
            p.work_bytes = b.scratch(p.plan, *call.group(b.op, inputs), threads=L.threads,
                                     **dict(zip(b.op.attrs, attrs)))
            p.threads = L.threads
        L.work_bytes = p.work_bytes
        if L.work_bytes:
            L.work = scratch_alloc(L.work_bytes)
    start = time.perf_counter() if _listened else 0.0
    code = _go(&L, n)
    seconds = time.perf_counter() - start if _listened else 0.0
    if L.work != NULL:
        scratch_free(<char*>L.work, L.work_bytes)
    if code != OK:
        _fail(b, code, &L)
    if _listened:
        _tell(b, p.plan, inputs, given, outputs, attrs, seconds, &L)
    return 0


cdef Tensor _dense_copy(Tensor t):
    cdef Tensor source = bare(t)            # without a node: not recorded
    return <Tensor>apply(bound("copy"), [source], ())


# Writing in place -----------------------------------------------------------------------------

cdef object _apply_into(Bound b, Prepared p, list inputs, tuple attrs, int64_t needs):
    """Write the result into one of the inputs; on the tape, that tensor moves to a new record."""
    cdef Tensor x = inputs[b.into], region
    cdef Record r = None
    cdef Modes* m = modes()
    _check_write(b, x, needs)
    region = _view(x, p) if p.has_view else x
    inputs = _apart(inputs, b.into, region)
    if needs:
        r = _record(b, _before_write(b, inputs, needs), [x], attrs, needs)
    _launch(b, p, [region], inputs, attrs)
    x.storage.version += 1
    if needs:
        x.node, x.index = r, 0
        if m.tapes != NULL:
            for listener in list(<object>m.tapes):
                listener(r, (x,))
    return x


cdef list _apart(list inputs, int into, Tensor region):
    """The inputs; one that shares bytes with the region written to, but not all, as a copy."""
    cdef Tensor t, copied
    cdef int k
    for k in range(len(inputs)):
        t = inputs[k]
        if (k != into and t is not None and t.storage is region.storage
                and not (t.buf.data == region.buf.data and t.buf.dtype == region.buf.dtype
                         and _same_layout(&t.buf, &region.buf))):
            copied = _dense_copy(t)
            copied.node, copied.index = t.node, t.index
            inputs = list(inputs)
            inputs[k] = copied
    return inputs


cdef bint _same_layout(Buf* a, Buf* b) noexcept:
    cdef int k
    if not _same_shape(a, b):
        return False
    for k in range(a.ndim):
        if a.strides[k] != b.strides[k]:
            return False
    return True


cdef list _before_write(Bound b, list inputs, int64_t needs):
    """The inputs to record; the one written to as a copy, where its old value is saved."""
    cdef Tensor x = inputs[b.into], old
    if b.op.inputs[b.into] not in call.saved_names(b.op, needs):
        return inputs
    old = _dense_copy(x)
    old.node, old.index = x.node, x.index
    inputs = list(inputs)
    inputs[b.into] = old
    return inputs


cdef extern from *:
    Py_ssize_t Py_REFCNT(PyObject*)     # of a pointer: an object argument would count itself


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
    if Py_REFCNT(<PyObject*>x.storage) > 1 + x.storage.handles:
        raise InPlaceError(f"{name}: another live tensor is a view of the same memory, and its "
                           "gradient would be silently wrong; write to a copy")
    return 0


cdef bint add_in_place(Tensor into, Tensor g) except -1:
    """into += g, where the sweep owns `into`; a launch like any other."""
    cdef Launch L
    cdef Buf* bufs[3]
    cdef Buf wide
    cdef int code
    if _listened:
        apply(bound("add_"), [bare(into), bare(g)], ())
        return True
    bufs[0] = bufs[1] = &into.buf
    bufs[2] = &g.buf
    if not _same_shape(&g.buf, &into.buf):
        if not _expand(&g.buf, &into.buf, &wide):
            raise ShapeError(f"backward: a gradient of shape {g.shape} for an array of shape "
                             f"{into.shape}")
        bufs[2] = &wide
    _fill(&L, _add, bufs, 1, 2)
    code = _go(&L, into.buf.n)
    if code != OK:
        _fail(_add, code, &L)
    into.storage.version += 1
    return True


# Listening ------------------------------------------------------------------------------------

cdef class Event:
    """One launch, as its listeners see it."""
    cdef readonly object op, plan, inputs, outputs, attrs, phase, scope, seconds, launch


@cython.final
cdef class LaunchCopy:
    """A launch as plain data that outlives its call: run it again with `replay`.

    It holds the storages of its buffers, so that their addresses stay what they were.
    """
    cdef Launch L
    cdef bytearray bufs, pointers
    cdef list held
    cdef Storage work
    cdef readonly str name

    def replay(self):
        """Run the kernel on the same buffers; no Python, no allocation inside."""
        cdef int code
        with nogil:
            code = self.L.run(&self.L)
        if code != OK:
            raise AutodiffError(f"replay: {self.name} failed with status {code}")


cdef LaunchCopy _copy_launch(Bound b, Launch* L, list tensors):
    cdef LaunchCopy c = LaunchCopy.__new__(LaunchCopy)
    cdef int k, n = L.nin + L.nout
    cdef Buf* bufs
    cdef Buf** pointers
    c.name = b.op.name
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
    if L.work_bytes:
        c.work = new_storage(L.work_bytes)
        c.L.work = c.work.ptr
    return c


cdef int _tell(Bound b, plan, list inputs, list given, list outputs, tuple attrs, seconds,
               Launch* L) except -1:
    cdef Event e = Event.__new__(Event)
    e.op, e.plan, e.inputs, e.outputs, e.attrs = b.op, plan, inputs, outputs, attrs
    e.phase, e.scope, e.seconds = _tape.current_phase(), _tape.current_scope(), seconds
    e.launch = _copy_launch(b, L, outputs + given)
    for listener in list(_listeners):
        listener(e)
    return 0


def listen(listener):
    """Call listener(event) after each launch of any thread."""
    global _listened
    _listeners.append(listener)
    _listened = True


def unlisten(listener):
    """Stop calling `listener`."""
    global _listened
    _listeners[:] = [f for f in _listeners if f != listener]
    _listened = bool(_listeners)
