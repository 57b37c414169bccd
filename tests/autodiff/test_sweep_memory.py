"""Memory as values: inference records and keeps nothing, recording keeps what is declared.

Bytes are measured as live bytes of the pool where there is one. Invariant: collection is off
while anything is measured, so a reference cycle would show.
"""

import contextlib
import gc
import weakref

import numpy as np
import pytest

from autodiff import call, core
from autodiff.op import registry
from autodiff.testing import cases

BLOCKS = [b for b in registry.values() if b.samples is not None]
every_block = pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.name)
recorded = pytest.mark.parametrize("block", [b for b in BLOCKS if b.differentiable],
                                   ids=lambda b: b.name)


def check_each(block, check):
    for case in cases(block):
        try:
            check(case)
        except Exception as error:
            error.add_note(f"sample {case.number} of {block.name}: {case.sample!r}")
            raise


@contextlib.contextmanager
def no_collection():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def live_bytes():
    return core.memory_stats()["live_bytes"] if core.name == "compiled" else 0


@contextlib.contextmanager
def records():
    """The records made inside."""
    seen = []

    def listener(record, outputs):
        seen.append(record.name)
    core.listen_tape(listener)
    try:
        yield seen
    finally:
        core.unlisten_tape(listener)


@every_block
def test_inference_keeps_nothing(block):
    """No record and no byte, with plain inputs or under no_grad."""
    def check(case):
        tensors = call.convert(block, case.tensors(), core.Tensor, core.make)
        with records() as seen, no_collection():
            before = live_bytes()
            case(*tensors)
            for x in tensors:
                if x is not None and x.dtype.kind == "f":
                    x.requires_grad = True
            with core.no_grad():
                case(*tensors)
            assert live_bytes() == before
        assert seen == []
    check_each(block, check)


def recorded_call(case):
    """(record, inputs, names of what the block declares for them, bytes live before)."""
    tensors = call.convert(case.block, case.tensors(), core.Tensor, core.make)
    needs = 0
    for k, x in enumerate(tensors):
        if x is not None and x.dtype.kind == "f":
            x.requires_grad = True
            needs |= 1 << k
    declared = set(call.saved_names(case.block, needs))
    before = live_bytes()
    out = case(*tensors)
    outs = out if isinstance(out, tuple) else (out,)
    found = [o.node for o in outs if o.requires_grad]
    return found[0] if found else None, tensors, declared, before


@recorded
def test_a_record_saves_what_is_declared(block):
    """By name: all that the block declares and is there, nothing else."""
    def check(case):
        if case.written:
            return                          # the copy that the case makes is recorded too
        record, tensors, declared, _ = recorded_call(case)
        if record is None:
            return
        absent = {call.input_name(block, k) for k, x in enumerate(tensors) if x is None}
        assert record.name == block.name
        assert set(record.saved_tensors()) == declared - absent
    check_each(block, check)


@recorded
def test_saved_bytes_equal_the_declaration(block):
    """What stays live with the record, beyond the inputs, are the outputs declared as saved."""
    if core.name == "plain":
        pytest.skip("the plain core has no pool")

    def check(case):
        if case.written:
            return
        with no_collection():
            record, tensors, declared, before = recorded_call(case)
            after = live_bytes()
            if record is None:
                return
            plan = block.infer(*call.group(block, tensors), *case.attrs)
            names = block.outputs * (len(plan.outputs) if block.variadic_out else 1)
            expected = sum(int(np.prod(shape)) * dtype.itemsize for name, (shape, dtype)
                           in zip(names + block.residuals, plan.outputs) if name in declared)
            if block.alias and plan.view is not None:
                expected = 0
            assert after - before == expected
            del record
            assert live_bytes() == before, "bytes outlive the record"
    check_each(block, check)


@recorded
def test_a_record_goes_with_its_output(block):
    """No cycle keeps it: freed at once, with collection off."""
    if core.name == "compiled":
        pytest.skip("measured in bytes")

    def check(case):
        with no_collection():
            record, *_ = recorded_call(case)
            if record is not None:
                gone = weakref.ref(record)
                del record, _
                assert gone() is None
    check_each(block, check)
