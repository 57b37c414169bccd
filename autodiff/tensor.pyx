"""Tensor: a Storage seen with a dtype, shape and strides, and its place on the tape.

Its methods come from methods.py and from the operations, by `set_method` and `set_operator`; here
is what needs C.  Invariant: a Tensor holds no ndarray; one is made over its bytes when asked for.
"""

cimport cython
cimport numpy as cnp
from cpython.ref cimport Py_INCREF

from autodiff.storage cimport (
    Storage, detours, in_dry_run, in_trace, new_storage, note_read, recount, wrote)
from autodiff.tape cimport Leaf, Node, Record
from kernels.launch cimport FLOAT32, Buf, itemsize

import numpy as np

from . import dtypes
from .errors import ArgumentError, DryRunError, DtypeError, InPlaceError, ShapeError
from .storage import CATEGORY_NAMES

cnp.import_array()

cdef tuple DTYPES = dtypes.ALL
cdef int[8] NUMPY_TYPE
for _code, _dtype in enumerate(dtypes.ALL):
    NUMPY_TYPE[<int>_code] = _dtype.num

cdef dict _operators = {}           # '__getitem__' -> function, set by methods.py
cdef object _add, _subtract, _multiply, _divide, _matmul, _pow, _negative
# An operator of two Tensors runs apply2, which apply.pyx puts here: it comes later in the order
# of imports.
cdef binary_t binary = NULL


@cython.final
@cython.no_gc_clear                 # never without its storage; a cycle breaks at the hook or leaf
@cython.freelist(4096)
cdef class Tensor:
    """An array that remembers how it was made (`node`), so that it can be differentiated.

    Make one with `ad.tensor(data, dtype=None, requires_grad=False)`.
    """

    __array_priority__ = 1000

    def __init__(self, *args, **kwargs):
        raise ArgumentError("use ad.tensor(data, dtype=None, requires_grad=False) to make a Tensor")

    @property
    def shape(self):
        """Sizes of the axes, as a tuple."""
        return tuple([self.buf.shape[k] for k in range(self.buf.ndim)])

    @property
    def strides(self):
        """Bytes from one element to the next along each axis."""
        return tuple([self.buf.strides[k] for k in range(self.buf.ndim)])

    @property
    def dtype(self):
        """What an element is: float32, float64, an integer or bool."""
        return DTYPES[self.buf.dtype]

    @property
    def ndim(self):
        """Number of axes."""
        return self.buf.ndim

    @property
    def size(self):
        """Number of elements."""
        return self.buf.n

    @property
    def nbytes(self):
        """Bytes of the elements."""
        return self.buf.n * itemsize(self.buf.dtype)

    @property
    def version(self):
        """Writes to the storage so far."""
        return self.storage.version

    @property
    def is_leaf(self):
        """True where this tensor was made, not computed on the tape: the ends that hold `.grad`."""
        return self.node is None or isinstance(self.node, Leaf)

    @property
    def is_contiguous(self):
        """True where the elements lie in memory in order, without gaps."""
        return self.dense

    @property
    def is_dry(self):
        """True for a tensor of a dry run: it has a shape, but no values."""
        return self.storage.dry

    @property
    def is_shared(self):
        """True where the bytes are another's (`from_numpy`): the ledger does not count them."""
        return self.storage.owner is not None

    @property
    def category(self):
        """What the bytes count as: parameter, buffer, input, temporary, ..."""
        return CATEGORY_NAMES[self.storage.category]

    @category.setter
    def category(self, name):
        if not isinstance(name, str) or name not in CATEGORY_NAMES:
            raise ArgumentError(f"category: expected one of {CATEGORY_NAMES}, got {name!r}")
        self.storage.category = CATEGORY_NAMES.index(name)
        recount(self.storage)

    @property
    def requires_grad(self):
        """Whether gradients are asked for: settable on a leaf, inherited by what is computed."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, on):
        if not isinstance(on, (bool, np.bool_)):
            raise ArgumentError(f"requires_grad: expected a bool, got {on!r}")
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
        note_meta(&leaf.meta, &self.buf)
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
        return ndarray_of(self, 0)

    def _array(self):
        """A writable ndarray over the bytes (for `writable()`)."""
        if self.storage.readonly:
            raise InPlaceError("writable: the tensor shares read-only memory; copy it first")
        if detours and in_trace():
            raise DryRunError("writable: a captured function cannot write through NumPy; write "
                              "with operations (copy_, fill_, t[...] = x)")
        array = ndarray_of(self, cnp.NPY_ARRAY_WRITEABLE)
        # What a dry run writes to a tensor made outside is lost.
        return array.copy() if detours and in_dry_run() else array

    def _bump(self):
        wrote(self.storage)

    @property
    def storage_id(self):
        """The same number for all tensors that share a storage; later ones have larger."""
        return self.storage.number

    @property
    def storage_nbytes(self):
        """Bytes of the whole storage, of which a view may show a part."""
        return self.storage.nbytes

    def _overlaps(self, Tensor other):
        """True if the two may show the same bytes."""
        cdef char* mine[2]
        cdef char* others[2]
        if self.storage.dry or other.storage.dry:
            if self.storage is not other.storage:
                return False
        _extent(&self.buf, mine)
        _extent(&other.buf, others)
        return mine[0] < others[1] and others[0] < mine[1]

    def data_ptr(self):
        """Address of the first element."""
        if self.storage.dry:
            raise DryRunError.no_values("data_ptr", self)
        return <size_t>self.buf.data

    def __add__(self, other):
        return _with(_add, self, other)

    def __radd__(self, other):
        return _reflected(_add, self, other)

    def __sub__(self, other):
        return _with(_subtract, self, other)

    def __rsub__(self, other):
        return _reflected(_subtract, self, other)

    def __mul__(self, other):
        return _with(_multiply, self, other)

    def __rmul__(self, other):
        return _reflected(_multiply, self, other)

    def __truediv__(self, other):
        return _with(_divide, self, other)

    def __rtruediv__(self, other):
        return _reflected(_divide, self, other)

    def __matmul__(self, other):
        return _matmul(self, other)

    def __rmatmul__(self, other):
        return _matmul(other, self)

    def __pow__(self, other, modulo):
        if modulo is not None:
            raise ArgumentError("pow: a modulus is not supported; use (x ** y) % m")
        return _with(_pow, self, other)

    def __rpow__(self, other, modulo):
        if modulo is not None:
            raise ArgumentError("pow: a modulus is not supported; use (x ** y) % m")
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


cdef void _extent(Buf* b, char** ends) noexcept:
    """The first byte that a buffer shows, and the one after the last."""
    cdef int k
    ends[0], ends[1] = b.data, b.data + (itemsize(b.dtype) if b.n else 0)
    for k in range(b.ndim if b.n else 0):
        ends[b.strides[k] > 0] += b.strides[k] * (b.shape[k] - 1)


cdef object _with(object operation, Tensor x, object other):
    """operation(x, other), by the short way for Tensors and Python's numbers."""
    if type(other) is Tensor:
        return binary(operation, x, <Tensor>other)
    cdef Tensor number = number_like(x, other)
    return operation(x, other) if number is None else binary(operation, x, number)


cdef object _reflected(object operation, Tensor x, object other):
    cdef Tensor number = number_like(x, other)
    return operation(other, x) if number is None else binary(operation, number, x)


cdef Tensor number_like(Tensor x, object number):
    """A Python number as a 0-d tensor of the floating dtype of `x`; None where it is not that
    simple: an integer array, another kind of number, somebody who listens."""
    cdef Tensor t
    cdef double value
    if detours or x.buf.dtype < FLOAT32:
        return None
    if type(number) is float:
        value = number
    elif type(number) is int and -EXACT <= number <= EXACT:
        value = number
    else:
        return None
    t = new_tensor(x.buf.dtype, 0, NULL)
    if t.buf.dtype == FLOAT32:
        (<float*>t.buf.data)[0] = <float>value
    else:
        (<double*>t.buf.data)[0] = value
    return t


cdef long long EXACT = 1LL << 53        # integers up to it are doubles without rounding
cdef Py_ssize_t MOST = 1 << 47          # bytes; no process can address more


cdef Tensor new_tensor(int dtype, int ndim, Py_ssize_t* shape):
    """A C-ordered tensor with bytes of its own, undefined."""
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef Py_ssize_t n = 1, size = itemsize(dtype)
    cdef int k
    for k in range(ndim - 1, -1, -1):
        t.buf.shape[k] = shape[k]
        t.buf.strides[k] = n * size
        if shape[k] > 0 and n > MOST // size // shape[k]:
            raise ShapeError(f"the result would have shape {tuple([shape[k] for k in range(ndim)])}"
                             ": more bytes than any machine can address")
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


cdef extern from "numpy/arrayobject.h":
    # numpy's own declaration takes no NULL for `parent`
    object _PyArray_New "PyArray_New" (void* kind, int ndim, cnp.npy_intp* dims, int dtype,
                                       cnp.npy_intp* strides, void* data, int itemsize, int flags,
                                       void* parent)
    void* _PyArray_Type "(&PyArray_Type)"


cdef object ndarray_of(Tensor t, int flags):
    """An ndarray over the bytes, which it keeps alive."""
    cdef cnp.npy_intp dims[8]
    cdef cnp.npy_intp steps[8]
    cdef int k
    if t.storage.dry:
        raise DryRunError.no_values("numpy", t)
    if detours and in_trace():
        note_read(t.storage)
    for k in range(t.buf.ndim):
        dims[k], steps[k] = t.buf.shape[k], t.buf.strides[k]
    array = _PyArray_New(_PyArray_Type, t.buf.ndim, dims, NUMPY_TYPE[t.buf.dtype], steps,
                         t.buf.data, 0, flags | cnp.NPY_ARRAY_ALIGNED, NULL)
    Py_INCREF(t.storage)
    cnp.PyArray_SetBaseObject(array, t.storage)
    return array


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
