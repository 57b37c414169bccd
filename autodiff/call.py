"""From a user's call to the inputs and attributes of an operation.

Both cores parse calls here (the compiled one has a shortcut for calls of Tensors alone).
Invariant: what leaves is a flat list of Tensors (None where an optional input is absent), all of
the dtype that the operation asks for, and a tuple of attributes in the order of the block.
"""

import numbers

import numpy as np

from . import dtypes
from .elsewhere import keyword_hint
from .errors import ArgumentError, DtypeError, ValueRangeError


def parse(block, args, kwargs):
    """Split the arguments of a call into raw inputs and attributes, by the block's signature."""
    names, attrs = block.inputs, block.attrs
    given = dict(kwargs)
    order = names + tuple(attrs)
    if len(args) > len(order):
        raise ArgumentError(f"{block.name}: expected at most {len(order)} arguments, got "
                            f"{len(args)}; the signature is {block.signature()}")
    for name, value in zip(order, args):
        if name in given:
            raise ArgumentError(f"{block.name}: got {name!r} twice")
        given[name] = value
    inputs = []
    for k, name in enumerate(names):
        last = block.variadic and k == len(names) - 1
        if name in given:
            value = given.pop(name)
        elif name in block.optional:
            value = None
        elif last:
            value = ()
        else:
            raise ArgumentError(f"{block.name}: argument {name!r} is missing; the signature is "
                                f"{block.signature()}")
        if last:
            if not isinstance(value, (list, tuple)):
                raise ArgumentError(f"{block.name}: {name} must be a list of arrays, got "
                                    f"{type(value).__name__}")
            inputs.extend(value)
        else:
            if value is None and name not in block.optional:
                raise ArgumentError(f"{block.name}: {name} must be an array, got None")
            inputs.append(value)
    values = tuple(given.pop(name, default) for name, default in attrs.items())
    if given:
        name = sorted(given)[0]
        raise ArgumentError(f"{block.name}: unexpected keyword {name!r}{keyword_hint(name)}; the "
                            f"signature is {block.signature()}")
    return inputs, values


def convert(block, raw, Tensor, make):
    """Raw inputs as Tensors: Python scalars weakly typed, arrays copied, dtypes promoted."""
    partner = [x.dtype for x in raw if isinstance(x, (Tensor, np.ndarray, np.generic))
               and not isinstance(x, float)]
    partner = dtypes.promote(*map(dtypes.as_dtype, partner)) if partner else None
    inputs = [x if x is None or isinstance(x, Tensor) else _one(block, x, partner, make)
              for x in raw]
    return promoted(block, inputs) if block.promote else inputs


def _one(block, x, partner, make):
    if isinstance(x, (bool, np.bool_)):
        return make(x, dtypes.of_scalar(bool(x), partner))
    if isinstance(x, float):
        return make(x, dtypes.of_scalar(x, partner))
    if isinstance(x, numbers.Integral) and not isinstance(x, np.generic):
        dtype = dtypes.of_scalar(int(x), partner)
        try:
            return make(x, dtype)
        except OverflowError:
            raise ValueRangeError(f"{block.name}: {x} does not fit {dtype}; convert the array "
                                  "to a wider dtype with ad.astype") from None
    if isinstance(x, (np.ndarray, np.generic)):
        return make(x, dtypes.as_dtype(x.dtype))
    if isinstance(x, (list, tuple)):
        array = as_array(block.name, x)
        weak = (array.dtype.kind == "f" or array.size == 0) and not holds_arrays(x)
        return make(array, dtypes.of_scalar(0.0, partner) if weak else None)
    raise ArgumentError(f"{block.name}: expected an array, a Tensor or a number, got "
                        f"{type(x).__name__}; make one with ad.tensor(...)")


def as_array(name, data):
    """`data` as an ndarray; ArgumentError where it does not form one, DtypeError not of numbers."""
    try:
        array = np.asarray(data)
    except Exception as error:              # whatever a foreign __array__ raises
        raise ArgumentError(f"{name}: a {type(data).__name__} does not form an array: {error}"
                            ) from None
    if array.dtype == object or array.dtype.kind in "USVMm":
        raise DtypeError(f"{name}: expected numbers, got {array.dtype} data")
    return array


def holds_arrays(data):
    """True for nested lists of arrays, which keep their dtype; numbers take the default."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return hasattr(data, "dtype")


def promoted(block, inputs):
    """The inputs named by `block.promote` brought to one dtype by visible, recorded casts."""
    mode, *only = block.promote.split()
    last = len(block.inputs) - 1
    chosen = [k for k, x in enumerate(inputs)
              if x is not None and (not only or block.inputs[min(k, last)] in only)]
    if not chosen:
        return inputs
    target = dtypes.promote(*(inputs[k].dtype for k in chosen))
    if mode == "float" and not dtypes.is_float(target):
        target = dtypes.get_default_dtype()
    elif mode not in ("same", "float"):
        raise DtypeError(f"{block.name}: unknown promotion {mode!r}")
    from .op import registry
    astype = registry["astype"].call
    return [astype(x, target) if k in chosen and x.dtype != target else x
            for k, x in enumerate(inputs)]


def group(block, inputs):
    """Flat inputs as the rules see them: a variadic tail as one list."""
    if not block.variadic:
        return inputs
    fixed = len(block.inputs) - 1
    return [*inputs[:fixed], list(inputs[fixed:])]


def input_name(block, position):
    """Name of the flat input at `position`."""
    return block.inputs[min(position, len(block.inputs) - 1)]


def saved_names(block, needs):
    """What to save when the flat inputs in the bit set `needs` want a gradient."""
    if not block.variadic:
        return block.save_names(needs)
    tail = len(block.inputs) - 1
    folded = needs & ((1 << tail) - 1) | (1 << tail if needs >> tail else 0)
    return block.save_names(folded)
