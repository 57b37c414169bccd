"""The named errors of `nn`, and the checks that layers share.

What an operation can say (shapes, dtypes) is raised under the engine's names; the classes here are
for what only models have: modules, state dicts, files.  Invariant: inside a model every message
ends with the path of the module.
"""

import numpy as np

import autodiff as ad
from autodiff.core import current_scope
from autodiff.errors import ArgumentError, AutodiffError, DtypeError, ShapeError, ValueRangeError

__all__ = ["ArgumentError", "AutodiffError", "DependencyError", "DtypeError", "FileAccessError",
           "FileFormatError", "FileMissingError", "LabelError", "ModuleError", "ShapeError",
           "StateDictError", "ValueRangeError"]


class ModuleError(AutodiffError, AttributeError):
    """A module used against its rules: no `super().__init__()`, an unknown or a taken name."""


class StateDictError(AutodiffError, RuntimeError):
    """A state dict that does not fit: missing or unexpected keys, other shapes or dtypes."""


class LabelError(ad.IndexRangeError):
    """A class label outside the classes that the scores tell apart."""


class DependencyError(AutodiffError, ImportError):
    """A library that this function needs is not installed."""


class FileFormatError(AutodiffError, ValueError):
    """A model file that is truncated, damaged, hostile or of another format."""


class FileAccessError(AutodiffError, OSError):
    """A model file that cannot be opened, read or written."""


class FileMissingError(FileAccessError, FileNotFoundError):
    """There is no file, or no folder, of that name."""


def where():
    """`; in encoder.0.linear1` while a module runs inside a model, else nothing."""
    path = current_scope()
    return f"; in {path}" if path else ""


def need_tensor(layer, x, name="input"):
    """ArgumentError unless `x` is a Tensor."""
    if not isinstance(x, ad.Tensor):
        raise ArgumentError(f"{layer}: {name} must be a Tensor, got {type(x).__name__}; make one "
                            f"with ad.tensor(...){where()}")


def need_like(layer, x, weight, name="input"):
    """ArgumentError unless `x` is a Tensor, DtypeError unless it has the dtype of `weight`."""
    need_tensor(layer, x, name)
    if x.dtype != weight.dtype:
        convert = "float" if x.dtype == ad.float32 else "double"
        model = f", or the model with .{convert}()" if x.dtype.kind == "f" else ""
        raise DtypeError(f"{layer}: {name} is {x.dtype}, the parameters are {weight.dtype}; "
                         f"convert the {name} with .astype(ad.{weight.dtype}){model}{where()}")


def need_ndim(layer, x, ranks, form, name="input"):
    """ShapeError unless the rank of `x` is one of `ranks`; `form` reads like '(N, C, H, W)'."""
    if x.ndim not in ranks:
        expected = " or ".join(map(str, ranks))
        remedy = ("add an axis, for instance x[:, None]" if x.ndim < min(ranks) else
                  "take one away, for instance with x.reshape(...) or nn.Flatten()")
        raise ShapeError(f"{layer}: {name} must have {expected} dimensions, {form}, got shape "
                         f"{x.shape}; {remedy}{where()}")


def need_size(layer, x, axis, size, what, name="input", remedy=None):
    """ShapeError unless axis `axis` of `x` has `size` entries, called `what`."""
    if x.ndim == 0:
        raise ShapeError(f"{layer}: expected {what}={size} at axis {axis} of the {name}, got a "
                         f"scalar; give it axes with x.reshape(...){where()}")
    got = x.shape[axis]
    if got != size:
        remedy = remedy or f"make the layer with {what}={got}, or move the axis of that size there"
        raise ShapeError(f"{layer}: expected {what}={size} at axis {axis} of the {name}, got {got} "
                         f"(shape {x.shape}); {remedy}{where()}")


def outside(indices, count, ignored=None):
    """(index, its place) of the first of `indices` that is not in [0, count) nor `ignored`, or
    None."""
    values = indices.numpy()
    bad = (values < 0) | (values >= count)
    if ignored is not None:
        bad &= values != ignored
    if not bad.any():
        return None
    at = np.unravel_index(int(bad.argmax()), values.shape)
    place = tuple(map(int, at)) if len(at) > 1 else sum(at)         # 0 for a single one
    return int(values[at]), place


def bad_label(name, labels, classes, ignored=None):
    """The LabelError for labels that are none of the `classes`, or None if all are good."""
    found = None if labels.is_dry else outside(labels, classes, ignored)
    if found is None:
        return None
    label, place = found
    unless = "" if ignored is None else f", or ignore_index={ignored}"
    return LabelError(
        f"{name}: label {label} of sample {place} is none of the {classes} classes: labels "
        f"must be in [0, {classes}){unless}; correct the labels, or give the last layer more "
        f"outputs{where()}")


def positive_int(layer, name, value, least=1):
    """`value` as an int >= `least`; ArgumentError or ValueRangeError name the argument."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"{layer}: {name} must be an integer, got {value!r}")
    try:
        value = value.__index__()
    except TypeError:
        raise ArgumentError(f"{layer}: {name} must be an integer, got {value!r}") from None
    if value < least:
        raise ValueRangeError(f"{layer}: {name} must be at least {least}, got {value}")
    return value


def ints(layer, name, value, count, least=1):
    """`value`, or `value` repeated, as a tuple of `count` ints."""
    every = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    if len(every) != count:
        several = "a pair" if count == 2 else f"{count} of them"
        raise ArgumentError(f"{layer}: {name} must be an integer or {several}, got {value!r}")
    return tuple(positive_int(layer, name, v, least) for v in every)


def pair(layer, name, value, least=1):
    """`value` or (value, value) as a pair of ints."""
    return ints(layer, name, value, 2, least)


def probability(layer, p):
    """`p` as a float in [0, 1]."""
    if isinstance(p, bool) or not isinstance(p, (int, float)):
        raise ArgumentError(f"{layer}: p must be a number, got {p!r}")
    if not 0 <= p <= 1:
        raise ValueRangeError(f"{layer}: p must be in [0, 1], got {p}")
    return float(p)
