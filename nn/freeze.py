"""freeze: a read-only copy of a model, for inference only.

The copy keeps class and methods of the model; dropout is gone, and batch norms, ReLU and pooling by
2 x 2 are part of the layer before.  Invariant: no call on it writes a parameter or makes a record.
"""

import copy
import functools

import numpy as np

import autodiff as ad

from .activation import Identity, ReLU
from .containers import Sequential
from .conv import Conv1d, Conv2d
from .dropout import Dropout
from .errors import ModuleError, ShapeError, need_like, need_size, where
from .functional.conv import spatial
from .linear import Linear
from .module import MODULE, Module
from .norm import BatchNorm1d, BatchNorm2d
from .parameter import is_parameter
from .pooling import MaxPool2d

__all__ = ["FrozenError", "freeze"]


class FrozenError(ModuleError):
    """An attempt to train or change a frozen model."""


def freeze(model, fold=True):
    """A read-only predictor from `model`, which stays as it is.

    Always in eval mode and without gradients; parameters and buffers lie in read-only memory.
    Dropout becomes Identity. fold: in each Sequential, the batch norm after a convolution or Linear
    becomes part of it: weight' = weight s, bias' = (bias - mean) s + b, s = w / sqrt(var + eps);
    others stay. Jacob et al. (2018), section 3.2. So do the ReLU after a Conv2d or Linear, and the
    MaxPool2d(2) after that: one pass over rows that lie in cache, the layer's own output is never
    made. Answers are those of the model to rounding, with fold=False to the bit.
    """
    new = copy.deepcopy(model)
    new.eval()
    _replace(new, lambda m: isinstance(m, Dropout))
    if fold:
        _fold_all(new)
        _fuse_all(new)
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
    """A copy whose memory nothing may write, laid out on whole cache lines as the engine's is."""
    copied = ad.tensor(t.numpy())
    copied.category = t.category
    new = ad.from_numpy(copied.numpy())         # numpy() views are read-only
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


def _uses(model):
    """How often each module and parameter is named in the tree, by id."""
    uses = {}
    for _, m in model.named_modules(remove_duplicate=False):
        uses[id(m)] = uses.get(id(m), 0) + 1
        for p in m.parameters(recurse=False):
            uses[id(p)] = uses.get(id(p), 0) + 1
    return uses


def _sequences(model):
    """Each Sequential below `model`, where the order of modules is known."""
    return [m for m in model.modules() if type(m).forward is Sequential.forward]


def _fold_all(model):
    uses, gone = _uses(model), set()
    for seq in _sequences(model):
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


# Fusing ---------------------------------------------------------------------------------------

class _ReluConv2d(Conv2d):
    """A Conv2d that took in the ReLU behind it and, where `pool`, the MaxPool2d(2) behind that."""

    pool = False

    def forward(self, input):
        self._check(input)
        return spatial("Conv2d", input, 2, lambda x: ad.conv2d_relu(
            x, self.weight, self.bias, self.stride, self._pad, self.dilation, self.pool))

    def extra_repr(self):
        return super().extra_repr() + ", then ReLU" + ", then MaxPool2d(2)" * self.pool


class _ReluLinear(Linear):
    """A Linear that took in the ReLU behind it."""

    def forward(self, input):
        if getattr(input, "dtype", None) != self.weight.dtype:
            need_like("Linear", input, self.weight)
        try:
            return ad.linear_relu(input, self.weight, self.bias)
        except ShapeError:
            need_size("Linear", input, -1, self.in_features, "in_features")
            raise

    def extra_repr(self):
        return super().extra_repr() + ", then ReLU"


class _FoldedReluLinear(_FoldedLinear, _ReluLinear):
    """Both."""


_WITH_RELU = {Conv2d: _ReluConv2d, Linear: _ReluLinear, _FoldedLinear: _FoldedReluLinear}


def _fuse_all(model):
    uses = _uses(model)
    for seq in _sequences(model):
        steps = [(n, m) for n, m in seq.named_children() if not isinstance(m, Identity)]
        steps += [("", None)] * 2
        for (_, layer), (relu, after), (pool, last) in zip(steps, steps[1:], steps[2:],
                                                           strict=False):
            if type(after) is not ReLU or uses[id(layer)] > 1 or not _fusible(layer):
                continue
            layer.__class__ = _WITH_RELU[type(layer)]
            setattr(seq, relu, Identity().eval())
            if isinstance(layer, Conv2d) and type(last) is MaxPool2d and _two_by_two(last):
                layer.pool = True
                setattr(seq, pool, Identity().eval())


def _fusible(layer):
    if type(layer) is Conv2d:           # products of 1 x 1 run on BLAS
        return layer.groups == 1 and layer.padding_mode == "zeros" and layer.kernel_size != (1, 1)
    return type(layer) in _WITH_RELU


def _two_by_two(pool):
    sizes = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    return all(v in (n, (n, n)) for v, n in zip(sizes, (2, 2, 0, 1), strict=True)) \
        and not pool.ceil_mode


def _replace(model, chosen):
    """Put an Identity in the place of each chosen module below `model`."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if chosen(child):
                setattr(parent, name, Identity().eval())
