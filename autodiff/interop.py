"""How a Tensor answers NumPy, DLPack, copy and pickle.

A NumPy function of a Tensor runs the operation of the same name and meaning, on the tape, or fails
by name.  Invariant: no gradient is lost and no meaning changed silently.
"""

import numpy as np

from . import core, dtypes
from .errors import ArgumentError, DryRunError, GradientError, ValueRangeError
from .op import registry

# Names that differ. Where only the meaning differs (np.split, np.round), there is no answer.
NAMES = {"absolute": "abs", "power": "pow", "true_divide": "divide", "concatenate": "concat",
         "amax": "max", "amin": "min", "transpose": "permute_dims"}
OTHER_MEANING = {"split"}
# What has no gradient to lose: answered by NumPy itself.
QUESTIONS = {"allclose", "array2string", "array_equal", "array_repr", "array_str",
             "may_share_memory", "ndim", "save", "savetxt", "savez", "savez_compressed", "shape",
             "shares_memory", "size"}


def array(self, dtype=None, copy=None):
    if self.node is not None and core.is_grad_enabled():
        raise GradientError("np.asarray: this tensor requires a gradient, which NumPy would lose; "
                            "use t.numpy() or t.detach()")
    values = self.numpy()
    if dtype is not None and values.dtype != dtype:
        if copy is False:
            raise ValueRangeError("np.asarray: a cast needs a copy")
        return values.astype(dtype)
    return values.copy() if copy else values


def counterpart(name):
    """The function of the same meaning here; ArgumentError where there is none."""
    import autodiff
    found = getattr(autodiff, NAMES.get(name, name), None)
    if found is None or name in OTHER_MEANING or not callable(found):
        raise ArgumentError(f"np.{name} has no differentiable counterpart of the same meaning "
                            "here; use t.numpy() for plain NumPy")
    return found


def array_ufunc(self, ufunc, method, *inputs, out=None, **kwargs):
    """np.tanh(t) and friends run the operation of the same name, on the tape."""
    name = ufunc.__name__
    if method != "__call__" or out is not None:
        raise ArgumentError(f"np.{name}: neither {method} nor out= is supported on a Tensor; use "
                            "t.numpy() for plain NumPy")
    if name == "invert" and self.dtype == dtypes.bool_:
        name = "logical_not"
    return counterpart(name)(*inputs, **kwargs)


def array_function(self, function, types, args, kwargs):
    name = function.__name__
    if name in QUESTIONS:
        return function(*_plain(args), **{k: _plain(v) for k, v in kwargs.items()})
    return counterpart(name)(*args, **kwargs)


def _plain(value):
    """Tensors, also inside lists and tuples, as read-only ndarrays."""
    if isinstance(value, core.Tensor):
        return value.numpy()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def namespace(self, api_version=None):
    import autodiff
    return autodiff


def dlpack(self, *, stream=None, **kwargs):
    if self.node is not None:
        raise GradientError("__dlpack__: this tensor requires a gradient; use t.detach()")
    if self.is_dry:
        raise DryRunError.no_values("__dlpack__", self)
    return self._array().__dlpack__(**kwargs)


def dlpack_device(self):
    return (1, 0)       # kDLCPU


def shallow_copy(self):
    return registry["copy"].call(self)


def deep_copy(self, memo):
    """Another leaf with the same values, kind and gradient."""
    _need_leaf("deepcopy", self)
    with core.no_grad():
        new = registry["copy"].call(self)
        new.category = self.category
        new.requires_grad = self.requires_grad
        if self.grad is not None:
            new.grad = registry["copy"].call(self.grad)
    return new


def reduce(self, protocol=None):
    """Pickle a leaf as its values, kind and requires_grad: no gradient, no tape."""
    _need_leaf("pickle", self)
    if self.is_dry:
        raise DryRunError.no_values("pickle", self)
    return restore, (np.array(self.numpy()), self.category, self.requires_grad)


def restore(values, category, requires_grad):
    """The tensor that `reduce` took apart."""
    new = core.make(values, values.dtype, category)
    new.category = category
    new.requires_grad = requires_grad
    return new


def _need_leaf(name, t):
    if t.node is not None and not t.node.is_leaf:
        raise GradientError(f"{name}: this tensor is the output of {t.node.name}, and only leaves "
                            "can be copied; use detach()")


METHODS = {"__array__": array, "__array_ufunc__": array_ufunc,
           "__array_function__": array_function, "__array_namespace__": namespace,
           "__dlpack__": dlpack, "__dlpack_device__": dlpack_device, "__copy__": shallow_copy,
           "__deepcopy__": deep_copy, "__reduce_ex__": reduce, "__reduce__": reduce}
