"""`apply` of the plain core: infer, run the numpy twin, record.

Invariant: without an input that needs a gradient, or under no_grad, no record is made and nothing
is saved.
"""

import time
from typing import NamedTuple

import numpy as np

from .. import call, dtypes
from ..errors import (
    AutodiffError,
    DryRunError,
    DtypeError,
    IndexRangeError,
    InPlaceError,
    ShapeError,
    ValueRangeError,
)
from .modes import listeners, modes
from .tape import Record
from .tensor import Storage, Tensor, make


def bind(block):
    """The callable of an operation: parses the call, converts the inputs, applies."""

    def operation(*args, **kwargs):
        raw, attrs = call.parse(block, args, kwargs)
        inputs = call.convert(block, raw, Tensor, make)
        if modes.tangents and any(x is not None and x.dual is not None for x in inputs):
            from ..forward import apply_dual
            return apply_dual(block, inputs, attrs)
        return apply(block, inputs, attrs)

    operation.__name__ = operation.__qualname__ = block.name
    operation.__doc__ = block.doc
    operation.op = block
    return operation


def infer(block, inputs, attrs):
    """The plan of a call; the error of a rule gets the module path."""
    try:
        plan = block.infer(*call.group(block, inputs), *attrs)
    except AutodiffError as error:
        if modes.scope and error.args:
            error.args = (f"{error.args[0]}; in {modes.scope}", *error.args[1:])
        raise
    for shape, _ in plan.outputs:
        if len(shape) > 8:
            raise ShapeError(f"{block.name}: the result would have {len(shape)} dimensions; at "
                             "most 8 are supported")
    return plan


def apply(block, inputs, attrs):
    """Run one operation on Tensors."""
    _refuse_dry(block, inputs)
    plan = infer(block, inputs, attrs)
    if block.alias and plan.view is None:
        from ..op import registry
        inputs = [registry["copy"].call(inputs[0]), *inputs[1:]]
        plan = infer(block, inputs, attrs)
    attrs = attrs if plan.attrs is None else plan.attrs
    needs = 0
    if modes.grad and block.vjp is not None:
        for k, x in enumerate(inputs):
            if x is not None and x.node is not None:
                needs |= 1 << k
    if block.into is not None:
        return _into(block, plan, inputs, attrs, needs)
    if block.alias:
        outputs = [_view(inputs[0], plan)]
    else:
        outputs = _run(block, plan, inputs, attrs)
    if needs:
        _record(block, inputs, outputs, attrs, needs)
    outputs = outputs[:len(outputs) - len(block.residuals)]
    if not block.outputs:
        return None
    return outputs[0] if len(outputs) == 1 and not block.variadic_out else tuple(outputs)


def _refuse_dry(block, inputs):
    """DryRunError for a dry tensor outside of a dry run."""
    for x in inputs if not modes.dry else ():
        if x is not None and x.is_dry:
            raise DryRunError.outside(block.name, x)


def custom_record(block, inputs, outputs, attrs, needs=None):
    """Record an operation that ran elsewhere: the recording half of `apply`.

    block: bound with `bind`, in the registry or not; inputs: flat; outputs: fresh Tensors off the
    tape, residuals last, which are put on it; needs: bit set of the inputs that want a gradient
    (None: those that require one, and none under no_grad). Returns the Record, or None where no
    input needs a gradient. A block without outputs is kept for its saves; no listener hears of it.
    """
    if needs is None:
        needs = sum(1 << k for k, x in enumerate(inputs)
                    if modes.grad and x is not None and x.node is not None)
    return _record(block, inputs, outputs, attrs, needs) if needs else None


def _record(block, inputs, outputs, attrs, needs):
    shown = outputs[:len(outputs) - len(block.residuals)]
    record = Record(block, inputs, attrs, needs, tuple(o.shape for o in shown),
                    tuple(o.dtype for o in shown))
    record.save(inputs, outputs)
    for k, out in enumerate(shown):
        if dtypes.is_float(out.dtype):
            out.node, out.index = record, k
    if shown:
        _announce(record, shown)
    return record


def _announce(record, outputs):
    for listener in modes.tapes:
        listener(record, tuple(outputs))


def _view(x, plan):
    shape, strides, offset = plan.view
    data = x.data
    if data.size and offset:
        # `as_strided` starts at the first element of what it is given
        data = np.asarray(_Memory(data, offset))
    data = np.lib.stride_tricks.as_strided(data, shape, strides,
                                           writeable=data.flags.writeable)
    return Tensor.wrap(data, x.storage)


class _Memory:
    """The bytes `offset` after the first element of an array, as numpy's array interface."""

    def __init__(self, array, offset):
        self.array = array
        address, read_only = array.__array_interface__["data"]
        self.__array_interface__ = {"version": 3, "shape": (1,), "typestr": array.dtype.str,
                                    "data": (address + offset, read_only)}


class Event(NamedTuple):
    """One launch, as its listeners see it."""
    op: object
    plan: object
    inputs: list
    outputs: list
    attrs: tuple
    phase: str
    scope: str
    seconds: float


def _twin(block, plan, inputs):
    """Run the kernel's numpy twin; its result and the seconds that it took."""
    if modes.dry:
        return None, 0.0
    import kernels.reference
    arrays = [None if x is None else x.data for x in inputs]
    start = time.perf_counter()
    with np.errstate(all="ignore"):
        try:
            result = getattr(kernels.reference, block.kernel)(*arrays, *plan.ia, *plan.fa)
        except IndexError as error:
            raise IndexRangeError(f"{block.name}: {error}{_where()}") from None
        except ArithmeticError as error:
            raise ValueRangeError(f"{block.name}: {error}{_where()}") from None
    return result, time.perf_counter() - start


def _tell(block, plan, inputs, outputs, attrs, seconds):
    event = Event(block, plan, inputs, outputs, attrs, modes.phase, modes.scope, seconds)
    for listener in list(listeners):
        listener(event)


def _run(block, plan, inputs, attrs):
    result, seconds = _twin(block, plan, inputs)
    result = list(result) if isinstance(result, tuple) else [result]
    written = [inputs[block.inputs.index(name)] for name in block.writes]
    for at, x in enumerate(written, len(result) - len(written)):
        if x is not None:                   # an optional one may be absent
            if not modes.dry:
                x.data[...] = result[at]
            x.storage.wrote()
    outputs = []
    for k, (shape, dtype) in enumerate(plan.outputs):
        if modes.dry:
            array = np.empty(shape, dtype)
        else:
            array = np.asarray(result[k])
            if array.shape != tuple(shape):
                array = np.broadcast_to(array, shape)
            array = np.array(array, dtype=dtype, order="C", copy=True)
        outputs.append(Tensor.wrap(array, Storage(array)))
    if listeners:
        _tell(block, plan, inputs, outputs, attrs, seconds)
    return outputs


def _where():
    return f"; in {modes.scope}" if modes.scope else ""


def _into(block, plan, inputs, attrs, needs):
    """Write the result into one of the inputs; on the tape, that tensor moves to a new record."""
    position = block.inputs.index(block.into)
    x = inputs[position]
    check_write(block.name, x, needs)
    region = x if plan.view is None else _view(x, plan)
    result, seconds = _twin(block, plan, inputs)
    if needs:
        kept = list(inputs)
        if block.into in call.saved_names(block, needs):    # its old value, before the write
            kept[position] = make(x.data, x.dtype, "temporary")
            kept[position]._place(x.node, x.index)
        record = Record(block, kept, attrs, needs, (x.shape,), (x.dtype,))
        record.save(kept, [x])
    if not modes.dry:
        region.data[...] = result
    x.storage.wrote()
    if listeners:
        _tell(block, plan, inputs, [region], attrs, seconds)
    if needs:
        x.node, x.index = record, 0
        _announce(record, [x])
    return x


def check_write(name, x, needs):
    """InPlaceError where a write in place would make a gradient silently wrong."""
    if not x.data.flags.writeable:
        raise InPlaceError(f"{name}: the tensor shares read-only memory; copy it first")
    if x.size and any(s == 0 and n > 1 for s, n in zip(x.strides, x.shape)):
        raise InPlaceError(f"{name}: the tensor is a broadcast view; several elements share one "
                           "place in memory; copy it first")
    if not needs:
        return
    if not dtypes.is_float(x.dtype):
        raise DtypeError(f"{name}: a value that needs a gradient cannot be written into "
                         f"{x.dtype}")
    if x.node is not None and x.node.is_leaf:
        raise InPlaceError(f"{name}: a leaf that requires a gradient cannot be changed in place "
                           "while recording; use `with ad.no_grad():`, or write to a copy")
    if modes.dry and not x.is_dry:
        raise DryRunError(f"{name}: in a dry run a tensor made outside keeps its values and its "
                          "place on the tape; write to a copy of it")
    if len(x.storage.tensors) > 1:
        raise InPlaceError(f"{name}: another live tensor is a view of the same memory, and its "
                           "gradient would be silently wrong; write to a copy")
