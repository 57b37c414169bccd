"""What a Tensor can do besides holding bytes, for both cores.

Every registered operation whose first input is an array becomes a method; operators are named in
one table; NumPy's protocols are answered here.  Invariant: nothing here looks inside a core.
"""

import numpy as np

from . import call, core, dtypes, elsewhere, interop
from .errors import ArgumentError, DryRunError, DtypeError, GradientError, InPlaceError, ShapeError
from .guard import cotangent, need_callable
from .op import registry
from .ops import index as _index

# Operator -> operation.  The reflected and in-place forms follow from it.
BINARY = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide",
          "floordiv": "floor_divide", "mod": "remainder", "pow": "pow", "matmul": "matmul",
          "and": "logical_and", "or": "logical_or", "xor": "logical_xor"}
COMPARE = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal",
           "gt": "greater", "ge": "greater_equal"}
UNARY = {"neg": "negative", "abs": "abs", "invert": "logical_not"}
SYMBOLS = {"and": "&", "or": "|", "xor": "^", "invert": "~"}
INPLACE = {"add": "add_", "sub": "subtract_", "mul": "multiply_", "truediv": "divide_"}


def install():
    """Give the core's Tensor its operators and methods."""
    for table, pattern in ((BINARY, "__{}__"), (COMPARE, "__{}__"), (UNARY, "__{}__"),
                           (INPLACE, "__i{}__")):
        for short, name in table.items():
            if name in registry:
                call = registry[name].call
                call = _of_bools(call, short) if short in SYMBOLS else call
                core.set_operator(pattern.format(short), call)
                if table is BINARY:
                    core.set_operator(f"__r{short}__", _reflected(call))
    for name, function in _DUNDERS.items():
        core.set_operator(name, function)
    for name, block in registry.items():
        if block.method and not (block.variadic and len(block.inputs) == 1):
            core.set_method(name, _method(block))
    for name, function in _METHODS.items():
        core.set_method(name, function)
    for name in elsewhere.METHODS:
        if not hasattr(core.Tensor, name):          # the plain core has its own `data`
            core.set_method(name, elsewhere.method(name))


def _of_bools(call, short):
    """`a & b` of bools; of numbers NumPy works on their bits, which no operation here does."""
    symbol = SYMBOLS[short]

    def operation(*operands):
        for x in operands:
            if not isinstance(x, (bool, np.bool_)) and getattr(x, "dtype", None) != dtypes.bool_:
                kind = getattr(x, "dtype", type(x).__name__)
                raise DtypeError(f"{symbol}: expected bools, got {kind}; for the truth of numbers "
                                 f"use ad.{call.__name__}, for bits t.numpy()")
        return call(*operands)
    return operation


def _reflected(call):
    return lambda self, other: call(other, self)


def _method(block):
    call = block.call

    def method(self, *args, **kwargs):
        return call(self, *args, **kwargs)
    method.__name__ = block.name
    method.__doc__ = f"{block.doc}\n\nSame as `ad.{block.signature()}`."
    return method


# Gradients ------------------------------------------------------------------------------------

def backward(self, gradient=None, retain_graph=False, create_graph=False):
    """Accumulate the gradient of this tensor into `.grad` of every leaf it depends on.

    gradient: cotangent of the same shape; may be left out for one element. Raises GradientError
    for a non-scalar without it, ReleasedTapeError for a second backward without retain_graph,
    SavedTensorChangedError where a saved tensor was written to.

    With create_graph=True `.grad` hangs on the tape, which hangs on the leaf: a cycle that lives
    until `.grad` is set to None. `ad.gradients` makes none.
    """
    if self.node is None:
        raise GradientError("backward: this tensor does not require a gradient: nothing that it "
                            "was computed from has requires_grad=True, or it was computed under "
                            "no_grad or detached")
    core.backward([self], [_seed(self, gradient)], retain_graph, create_graph)


def _seed(out, gradient):
    if gradient is None:
        return core.seed(out)
    return cotangent("backward", out, gradient)


def requires_grad_(self, on=True):
    """Set `requires_grad` and return self."""
    if not isinstance(on, (bool, np.bool_)):
        raise ArgumentError(f"requires_grad_: expected a bool, got {on!r}")
    self.requires_grad = on
    return self


def register_hook(self, hook):
    """Call hook(gradient) when this tensor's gradient is finished; it may return another.

    Returns a function that removes the hook. A hook on a leaf may refer to that leaf: the garbage
    collector finds the cycle. It does not walk the records of a tape, so a hook on the result of
    an operation that refers to that tensor, or to one made from it, keeps both until removed.
    """
    if self.node is None:
        raise GradientError("register_hook: this tensor does not require a gradient")
    need_callable("register_hook", hook)
    return self.node.add_hook(self.index, hook)


def register_post_accumulate_grad_hook(self, hook):
    """Call hook(gradient) after backward has added to `.grad` of this leaf."""
    if self.node is None or not self.node.is_leaf:
        raise GradientError("register_post_accumulate_grad_hook: only a leaf accumulates")
    need_callable("register_post_accumulate_grad_hook", hook)
    self.node.after.append(hook)
    return lambda: self.node.after.remove(hook)


def retain_grad(self):
    """Keep the gradient of this non-leaf in `.grad` when backward passes it."""
    if self.node is None:
        raise GradientError("retain_grad: this tensor does not require a gradient")
    if not self.node.is_leaf:
        self.node.retained = self.node.retained or {}
        self.node.retained[self.index] = None


# Values ---------------------------------------------------------------------------------------

def item(self):
    """The one element as a Python number; ShapeError for more than one."""
    if self.size != 1:
        raise ShapeError(f"item: expected one element, got shape {self.shape}")
    _need_values("item", self)
    return self.numpy().reshape(()).item()


def tolist(self):
    """Nested lists of Python numbers."""
    _need_values("tolist", self)
    return self.numpy().tolist()


def _need_values(name, t):
    if t.is_dry:
        raise DryRunError.no_values(name, t)


class writable:
    """The context behind `t.writable()`."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __enter__(self):
        t = self.tensor
        if core.is_grad_enabled() and t.node is not None:
            raise InPlaceError("writable: this tensor requires a gradient, and the engine cannot "
                               "see what an ndarray write does; use `with ad.no_grad():`")
        _need_values("writable", t)
        return t._array()

    def __exit__(self, *exc):
        self.tensor._bump()


def _writable(self):
    """`with t.writable() as a`: a writable ndarray over the bytes; the write is noticed."""
    return writable(self)


def copy_(self, value):
    """Overwrite with `value` (broadcast, cast), in place."""
    setitem(self, Ellipsis, value)
    return self


def fill_(self, value):
    """Overwrite every element with a number, in place."""
    return copy_(self, value)


def zero_(self):
    """Overwrite every element with zero, in place."""
    return copy_(self, 0)


def getitem(self, key):
    return _index.getitem_key(self, key)


def setitem(self, key, value):
    _index.setitem_key(self, key, value)


def transpose(self, *axes):
    """Axes permuted; without arguments reversed. `ad.permute_dims` by NumPy's other name."""
    axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    return registry["permute_dims"].call(self, tuple(axes) or tuple(reversed(range(self.ndim))))


def _mT(self):
    """The last two axes swapped."""
    if self.ndim < 2:
        raise ShapeError(f"mT: expected at least 2 dimensions, got shape {self.shape}")
    return registry["permute_dims"].call(self, (*range(self.ndim - 2), self.ndim - 1,
                                                self.ndim - 2))


def _T(self):
    """The two axes of a matrix swapped."""
    if self.ndim != 2:
        raise ShapeError(f"T: expected 2 dimensions, got shape {self.shape}; use mT or "
                         "permute_dims")
    return registry["permute_dims"].call(self, (1, 0))


def reshape_method(self, *shape):
    """The same elements in another shape; one size may be -1."""
    shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    return registry["reshape"].call(self, tuple(shape))


def _float(self):
    """The same values as float32."""
    return registry["astype"].call(self, dtypes.float32)


def _double(self):
    """The same values as float64."""
    return registry["astype"].call(self, dtypes.float64)


def _long(self):
    """The same values as int64; floats truncate."""
    return registry["astype"].call(self, dtypes.int64)


def _device(self):
    """Always "cpu"."""
    return "cpu"


# Python and NumPy protocols -------------------------------------------------------------------

def _repr(self):
    if self.is_dry:
        notes = [f"no values, shape={self.shape}"]
    else:
        notes = [np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=100)]
    if self.dtype not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_):
        notes.append(f"dtype={self.dtype}")
    if self.node is not None:
        notes.append("requires_grad=True" if self.node.is_leaf else f"op={self.node.name}")
    return f"tensor({', '.join(notes)})"


def _len(self):
    if self.ndim == 0:
        raise ArgumentError("len: a 0-d tensor has no length; use .item() for its number")
    return self.shape[0]


def _iter(self):
    return (self[k] for k in range(_len(self)))


def _bool(self):
    if self.size != 1:
        raise ShapeError(f"the truth of a tensor of shape {self.shape} is ambiguous; use ad.any "
                         "or ad.all")
    _need_values("bool", self)
    return bool(item(self))


def _to_index(self):
    if self.size != 1 or self.dtype.kind not in "iu":
        raise DtypeError(f"only an integer tensor with one element is an index, got {self.dtype} "
                        f"{self.shape}")
    return int(item(self))


def _format(self, spec):
    return format(item(self), spec) if self.ndim == 0 and spec else repr(self)


def _dir(self):
    return [name for name in object.__dir__(self) if name not in elsewhere.METHODS]


def _contains(self, value):
    value = call.as_array("in", value)
    if value.ndim:
        raise ArgumentError(f"in: expected a number to look for, got an array of shape "
                            f"{value.shape}")
    _need_values("in", self)
    return bool((self.numpy() == value).any())


_DUNDERS = {"__getitem__": getitem, "__setitem__": setitem, "__repr__": _repr, "__len__": _len,
            "__iter__": _iter, "__bool__": _bool, "__index__": _to_index,
            "__float__": lambda self: float(item(self)), "__int__": lambda self: int(item(self)),
            "__contains__": _contains}

_METHODS = {"backward": backward, "requires_grad_": requires_grad_, "register_hook": register_hook,
            "register_post_accumulate_grad_hook": register_post_accumulate_grad_hook,
            "retain_grad": retain_grad, "item": item, "tolist": tolist, "writable": _writable,
            "copy_": copy_, "fill_": fill_, "zero_": zero_, "transpose": transpose,
            "reshape": reshape_method, "T": property(_T), "mT": property(_mT),
            "float": _float, "double": _double, "long": _long,
            "__dir__": _dir, "__format__": _format, "device": property(_device), **interop.METHODS}
