"""Storage and Tensor of the plain core, around a numpy array.

Invariant: every write goes through `Storage.version`, so that backward notices a saved tensor that
changed.
"""

import itertools
import weakref

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, DryRunError, DtypeError, InPlaceError, ShapeError
from .ledger import CATEGORIES, ledger
from .modes import modes
from .tape import Leaf


class Storage:
    """Owner of bytes: counts writes (`version`) and saves; knows the tensors that view it.

    One of a dry run has an array that nobody touches: the system gives it no memory.
    """

    __slots__ = ("array", "number", "version", "tensors", "foreign", "dry", "nbytes", "_saves",
                 "_category", "_counted")
    _numbers = itertools.count(1)

    def __init__(self, array, category="temporary", foreign=False):
        self.array, self.number = array, next(self._numbers)
        self.version = self._saves = 0
        self.foreign, self.nbytes = foreign, array.nbytes
        self.dry = modes.dry > 0 and not foreign
        self.tensors = weakref.WeakSet()
        self._category = self._counted = category
        if not foreign:
            ledger.count(category, self.nbytes, 1, self.dry)

    def __del__(self):
        if not self.foreign:
            ledger.count(self._counted, -self.nbytes, -1, self.dry)
            self.foreign = True         # in a cycle of garbage a record may let go of it later

    def wrote(self):
        """Count a write; a dry run writes to nothing but what it made."""
        if self.dry or not modes.dry:
            self.version += 1

    @property
    def category(self):
        return self._category

    @category.setter
    def category(self, name):
        if name not in CATEGORIES:
            raise ArgumentError(f"category: expected one of {CATEGORIES}, got {name!r}")
        self._category = name
        self._recount()

    @property
    def saves(self):
        """How many records keep these bytes for backward."""
        return self._saves

    def keep(self, records):
        """Count so many more records (below zero: fewer) that keep these bytes for backward."""
        with ledger.lock:
            self._saves += records
            self._recount()

    def _recount(self):
        """Move the bytes to the category that counts now: the highest."""
        with ledger.lock:
            saved = self._saves > 0 and self._category == "temporary"
            # Set before the bytes move: garbage collected meanwhile may hold a save of them.
            old, self._counted = self._counted, "saved" if saved else self._category
            if old != self._counted and not self.foreign:
                ledger.move(old, self._counted, self.nbytes)


class Tensor:
    """An array that remembers how it was made (`node`), so that it can be differentiated."""

    __slots__ = ("data", "storage", "node", "index", "dual", "__weakref__")
    __array_priority__ = 1000

    def __init__(self, *args, **kwargs):
        raise ArgumentError("use ad.tensor(data, dtype=None, requires_grad=False) to make a Tensor")

    @classmethod
    def wrap(cls, data, storage, node=None, index=0, listed=True):
        self = object.__new__(cls)
        self.data, self.storage, self.node, self.index = data, storage, node, index
        self.dual = None
        if listed:
            storage.tensors.add(self)
        return self

    def bare(self):
        """The same bytes without the place on the tape; not counted as an alias."""
        return Tensor.wrap(self.data, self.storage, listed=False)

    shape = property(lambda self: self.data.shape, doc="Sizes of the axes, as a tuple.")
    dtype = property(lambda self: self.data.dtype,
                     doc="What an element is: float32, float64, an integer or bool.")
    ndim = property(lambda self: self.data.ndim, doc="Number of axes.")
    size = property(lambda self: self.data.size, doc="Number of elements.")
    strides = property(lambda self: self.data.strides)
    nbytes = property(lambda self: self.data.nbytes, doc="Bytes of the elements.")
    version = property(lambda self: self.storage.version)
    is_dry = property(lambda self: self.storage.dry)        # of a dry run: no values
    is_shared = property(lambda self: self.storage.foreign)     # not counted by the ledger
    storage_id = property(lambda self: self.storage.number)     # the same for all views
    storage_nbytes = property(lambda self: self.storage.nbytes)
    is_leaf = property(lambda self: self.node is None or self.node.is_leaf,
                       doc="True where this tensor was made, not computed on the tape: the ends "
                           "that hold `.grad`.")
    is_contiguous = property(lambda self: self.data.flags.c_contiguous,
                             doc="True where the elements lie in memory in order, without gaps.")

    @property
    def category(self):
        """What the bytes count as: parameter, buffer, input, temporary, ..."""
        return self.storage.category

    @category.setter
    def category(self, name):
        self.storage.category = name

    @property
    def requires_grad(self):
        """Whether gradients are asked for: settable on a leaf, inherited by what is computed."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, on):
        if on == (self.node is not None):
            return
        if self.node is not None and not self.node.is_leaf:
            raise InPlaceError("requires_grad: this tensor is the output of an operation; use "
                               "detach() to get one without gradient")
        if on and not dtypes.is_float(self.dtype):
            raise DtypeError(f"requires_grad: only float32 and float64 can be differentiated, "
                             f"got {self.dtype}")
        self.node = Leaf(self.shape, self.dtype) if on else None
        self.index = 0

    @property
    def grad(self):
        """Gradient accumulated by backward; None before."""
        if self.node is None:
            return None
        if self.node.is_leaf:
            return self.node.grad
        return (self.node.retained or {}).get(self.index)

    @grad.setter
    def grad(self, value):
        if self.node is None or not self.node.is_leaf:
            raise InPlaceError("grad: only a leaf with requires_grad=True holds a gradient")
        if value is not None:
            if not isinstance(value, Tensor):
                raise ArgumentError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ShapeError(f"grad: expected {self.dtype} {self.shape}, got {value.dtype} "
                                 f"{value.shape}")
        self.node.grad = value

    def _overlaps(self, other):
        """True if the two may show the same bytes."""
        return np.may_share_memory(self.data, other.data)

    def data_ptr(self):
        """Address of the first element."""
        if self.is_dry:
            raise DryRunError.no_values("data_ptr", self)
        return self.data.ctypes.data

    def detach(self):
        """The same bytes, not on the tape."""
        return Tensor.wrap(self.data, self.storage)

    def _place(self, node, index):
        """Put this handle at a place on the tape (for the engine's own aliases)."""
        self.node, self.index = node, index

    def numpy(self):
        """The bytes as a read-only ndarray, without a copy."""
        if self.is_dry:
            raise DryRunError.no_values("numpy", self)
        view = self.data.view()
        view.flags.writeable = False
        return view

    def _array(self):
        """A writable ndarray over the bytes (for `writable()`)."""
        # What a dry run writes to a tensor made outside is lost.
        return self.data.copy() if modes.dry else self.data

    def _bump(self):
        self.storage.wrote()

    def __hash__(self):
        return id(self)


def make(data, dtype=None, category="input"):
    """A Tensor from a copy of `data`."""
    dtype = None if dtype is None else dtypes.as_dtype(dtype)
    if modes.dry:
        array = np.asarray(data, dtype)
        array = np.empty(array.shape, array.dtype)
    else:
        array = np.array(data, dtype, order="C")
        array = np.ascontiguousarray(array).reshape(array.shape)
    if array.ndim > 8:
        raise ShapeError(f"tensor: at most 8 dimensions, got {array.ndim}")
    dtypes.as_dtype(array.dtype)
    return Tensor.wrap(array, Storage(array, category))


def from_numpy(array):
    """A Tensor that shares the memory of `array`; writes to the array go unnoticed."""
    dtypes.as_dtype(array.dtype)
    return Tensor.wrap(array.view(), Storage(array, "input", foreign=True))


def empty(shape, dtype, category="temporary"):
    """A Tensor with undefined values."""
    array = np.empty(shape, dtype)
    return Tensor.wrap(array, Storage(array, category))


def set_method(name, function):
    """Add a method or property to Tensor."""
    setattr(Tensor, name, function)


def set_operator(name, function):
    """Set the function behind an operator of Tensor ('__mul__', ...)."""
    setattr(Tensor, name, function)
