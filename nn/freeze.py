"""freeze: a read-only copy of a model, for inference only.

The copy keeps class and methods of the model, with dropout gone and batch norms folded into the
layer before.  Invariant: no call on it writes a parameter or makes a record.
"""

import copy
import functools

import numpy as np

import autodiff as ad

from .activation import Identity
from .containers import Sequential
from .conv import Conv1d, Conv2d
from .dropout import Dropout
from .errors import ModuleError, ShapeError, where
from .linear import Linear
from .module import MODULE, Module
from .norm import BatchNorm1d, BatchNorm2d
from .parameter import is_parameter

__all__ = ["FrozenError", "freeze"]


class FrozenError(ModuleError):
    """An attempt to train or change a frozen model."""


def freeze(model, fold=True):
    """A read-only predictor from `model`, which stays as it is.

    Always in eval mode and without gradients; parameters and buffers lie in read-only memory.
    Dropout becomes Identity. fold: in each Sequential, the batch norm after a convolution or Linear
    becomes part of it: weight' = weight s, bias' = (bias - mean) s + b, s = w / sqrt(var + eps);
    others stay. Jacob et al. (2018), section 3.2.
    """
    new = copy.deepcopy(model)
    new.eval()
    _replace(new, lambda m: isinstance(m, Dropout))
    if fold:
        _fold_all(new)
    frozen = {}                                             # tied parameters stay tied
    for m in list(new.modules()):
        for name, kind in m._members.items():
            t = m.__dict__[name]
            if kind != MODULE and t is not None:
                if id(t) not in frozen:
                    frozen[id(t)] = (_read_only(t), t)
                m.__dict__[name] = frozen[id(t)][0]
        m.__class__ = _frozen_class(type(m), m is new)
    return new


# Read-only modules ----------------------------------------------------------------------------

class Frozen:
    """What a frozen module refuses. Comes before the model's own class."""

    def _refuse(self, *args, **kwargs):
        raise FrozenError(f"{type(self).__name__}: this model is frozen and cannot be trained or "
                          "changed; change the model that it was made from, and freeze that again")

    add_module = register_module = register_parameter = register_buffer = _refuse
    load_state_dict = to = zero_grad = __delattr__ = _refuse

    def train(self, mode=True):
        return self._refuse() if mode else self

    def requires_grad_(self, requires_grad=True):
        return self._refuse() if requires_grad else self

    def __setattr__(self, name, value):
        if name in self._members or isinstance(value, Module) or is_parameter(value) \
                or name == "training":
            self._refuse()
        object.__setattr__(self, name, value)       # a plain value that forward remembers

    def __deepcopy__(self, memo):
        return self                                 # nothing in it can change

    def __copy__(self):
        return self


class _Predictor(Frozen):
    """The outermost frozen module."""

    def __call__(self, *args, **kwargs):
        with ad.no_grad():
            return super().__call__(*args, **kwargs)


@functools.cache
def _frozen_class(cls, outermost):
    return type(cls.__name__, (_Predictor if outermost else Frozen, cls),
                {"__module__": cls.__module__, "__doc__": cls.__doc__})


def _read_only(t):
    array = t.numpy().copy()
    array.flags.writeable = False
    new = ad.from_numpy(array)
    new.category = t.category
    return new


# Folding --------------------------------------------------------------------------------------

class _FoldedLinear(Linear):
    """A Linear that took in a BatchNorm1d: rows of features only."""

    def forward(self, input):
        if input.ndim != 2:
            raise ShapeError("Linear: a batch norm was folded into this layer for inputs (N, "
                             f"{self.in_features}), got shape {input.shape}; freeze the model with "
                             f"fold=False{where()}")
        return super().forward(input)


def _fold_all(model):
    uses = {}
    for _, m in model.named_modules(remove_duplicate=False):
        uses[id(m)] = uses.get(id(m), 0) + 1
        for p in m.parameters(recurse=False):
            uses[id(p)] = uses.get(id(p), 0) + 1
    gone = set()
    for seq in model.modules():
        if type(seq).forward is not Sequential.forward:     # only there the order is known
            continue
        steps = [m for m in seq if not isinstance(m, Identity)]
        for layer, bn in zip(steps, steps[1:], strict=False):
            once = all(uses[id(t)] == 1 for t in (layer, bn, *layer.parameters()))
            if once and _fits(layer, bn):
                _fold(layer, bn)
                gone.add(id(bn))
    _replace(model, lambda m: id(m) in gone)


def _fits(layer, bn):
    pairs = ((Linear, BatchNorm1d), (Conv1d, BatchNorm1d), (Conv2d, BatchNorm2d))
    return ((type(layer), type(bn)) in pairs
            and bn.running_mean is not None and bn.num_features == layer.weight.shape[0])


def _fold(layer, bn):
    def values(t, default):
        return np.float64(default) if t is None else t.numpy().astype(np.float64)
    weight, dtype = values(layer.weight, 0), layer.weight.dtype
    scale = values(bn.weight, 1) / np.sqrt(values(bn.running_var, 1) + bn.eps)
    bias = (values(layer.bias, 0) - values(bn.running_mean, 0)) * scale + values(bn.bias, 0)
    layer.weight = ad.parameter(weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), dtype)
    layer.bias = ad.parameter(bias, dtype)
    if type(layer) is Linear:
        layer.__class__ = _FoldedLinear


def _replace(model, chosen):
    """Put an Identity in the place of each chosen module below `model`."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if chosen(child):
                setattr(parent, name, Identity().eval())
