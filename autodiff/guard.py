"""What every shape rule is held to, whoever wrote it and whatever it was called with.

`op` wraps the rule of each block with `guarded`: attributes of the wrong kind, errors that the rule
did not foresee and results that do not fit into memory come out under the project's names, with
what came and the signature.  Invariant: what passes has sizes >= 0 whose bytes can be counted, and
static arguments that a launch can hold.
"""

import functools
import inspect
import operator

import numpy as np

from .errors import ArgumentError, AutodiffError, DtypeError, ShapeError

MAX_BYTES = 1 << 47         # no process can address more


def guarded(block):
    """The shape rule of a block, with the checks that all rules share."""
    infer, skip = block.infer, len(block.inputs)
    mixed = (block.kernel in (None, "setitem")              # setitem casts what it writes
             or block.promote in ("same", "float"))         # of one dtype by now
    numbers = [(skip + k, name) for k, (name, default) in enumerate(block.attrs.items())
               if type(default) is float]

    @functools.wraps(infer)
    def rule(*args):
        for k, name in numbers:
            if not _is_number(args[k]):
                raise ArgumentError(f"{block.name}: {name} must be a number, got {_show(args[k])}")
        try:
            plan = infer(*args)
            if not mixed:
                _one_float(block, args[:skip])
            _check(block.name, plan)
        except AutodiffError as error:
            _name_the_op(block.name, error)
            raise
        except Exception as error:
            names = (*block.inputs, *block.attrs)
            given = ", ".join(f"{n}={_show(a)}" for n, a in zip(names, args))
            raise ArgumentError(f"{block.name}: cannot be called with {given} ({error}); the "
                                f"signature is {block.signature()}") from error
        return plan
    return rule


def _check(name, plan):
    for shape, dtype in plan.outputs:
        need_room(name, shape, dtype)
    for k in plan.ia:
        if not -1 << 63 <= operator.index(k) < 1 << 63:
            raise ValueError(f"{k} does not fit in 64 bits")


def need_room(name, shape, dtype):
    """ShapeError for negative sizes, and for more bytes than can be counted."""
    if len(shape) > 8:
        raise ShapeError(f"{name}: the result would have {len(shape)} dimensions; at most 8 are "
                         "supported")
    nbytes = dtype.itemsize
    for n in shape:
        if n < 0:
            raise ShapeError(f"{name}: the result would have shape {tuple(shape)}; sizes must not "
                             "be negative")
        nbytes *= n or 1
    if nbytes > MAX_BYTES:
        raise ShapeError(f"{name}: the result would have shape {tuple(shape)}, {dtype}: "
                         f"{nbytes:.3g} bytes, more than any machine can address")


def exported(function, name=None):
    """A composite as users call it: what it did not foresee comes out as an ArgumentError.

    Not for functions that run the user's code, whose errors are the user's own.
    """
    name = name or function.__name__

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except AutodiffError:
            raise
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            signature = inspect.signature(function)
            if next(iter(signature.parameters), None) == "self":
                signature = signature.replace(parameters=list(signature.parameters.values())[1:])
                args = args[1:]
            given = [_show(a) for a in args] + [f"{k}={_show(v)}" for k, v in kwargs.items()]
            raise ArgumentError(f"{name}: cannot be called with ({', '.join(given)}): {error}; the "
                                f"signature is {name}{signature}{_where()}") from error
    return call


def _where():
    """`; in encoder.0` while a module runs inside a model."""
    from .core import current_scope
    path = current_scope()
    return f"; in {path}" if path else ""


def need_callable(name, f):
    """ArgumentError unless `f` can be called."""
    if not callable(f):
        raise ArgumentError(f"{name}: expected a function of Tensors, got {_show(f)}")


def need_tensors(name, what, value):
    """`value`, a Tensor or a list or tuple of them, as a list."""
    from . import core
    found = [value] if isinstance(value, core.Tensor) else value
    if not isinstance(found, (list, tuple)):
        raise ArgumentError(f"{name}: {what} must be a Tensor or a list of Tensors, got "
                            f"{_show(value)}")
    for k, x in enumerate(found):
        if not isinstance(x, core.Tensor):
            raise ArgumentError(f"{name}: {what} must be Tensors, got {_show(x)} at place {k}; "
                                "make one with ad.tensor(...)")
    return list(found)


def cotangent(name, out, g):
    """`g` as the gradient of `out`: of its shape and dtype. ShapeError, ArgumentError."""
    from . import call, core
    if not isinstance(g, core.Tensor):
        g = core.make(call.as_array(name, g), out.dtype)
    if g.shape != out.shape:
        raise ShapeError(f"{name}: the gradient has shape {g.shape}, the output {out.shape}")
    if g.dtype == out.dtype:
        return g
    from .op import registry
    return registry["astype"].call(g, out.dtype)


def _one_float(block, inputs):
    """DtypeError where float32 and float64 meet: a kernel reads all its buffers as one of them."""
    first = None
    for name, x in zip(block.inputs, inputs):
        for part in x if isinstance(x, list) else (x,):
            if part is None or part.dtype.kind != "f":
                continue
            if not block.outputs and not part.shape:
                continue                # an update reads its numbers (lr, step) as what they are
            if first is None:
                first = name, part.dtype
            elif part.dtype != first[1]:
                raise DtypeError(f"{block.name}: {first[0]} is {first[1]}, but {name} is "
                                 f"{part.dtype}; convert one of them with ad.astype")


def _is_number(value):
    return isinstance(value, (int, float, np.bool_, np.integer, np.floating))


def _name_the_op(name, error):
    """Shared rules say 'operands:' or 'comparison:'; the user reads the operation's name."""
    text = error.args[0] if error.args else ""
    for stand_in in ("operands: ", "comparison: "):
        if isinstance(text, str) and text.startswith(stand_in):
            error.args = (f"{name}: {text[len(stand_in):]}", *error.args[1:])


def _show(value):
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} array of shape {tuple(value.shape)}"
    if isinstance(value, list) and value and hasattr(value[0], "shape"):
        return f"{len(value)} arrays"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
