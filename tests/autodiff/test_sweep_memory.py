"""Memory as values: inference records and saves nothing; recording saves what is declared."""

import gc

import numpy as np
import pytest

from autodiff import call, core
from autodiff.testing import cases

DIFFERENTIABLE = cases(where=lambda block: block.differentiable)


class Listener:
    def __init__(self):
        self.records = []

    def __enter__(self):
        self.listener = lambda record, outputs: self.records.append(record)
        core.listen_tape(self.listener)
        return self

    def __exit__(self, *exc):
        core.unlisten_tape(self.listener)


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_inference_makes_no_record(case):
    """Neither with plain inputs, nor under no_grad with inputs that want a gradient."""
    tensors = case.tensors()
    with Listener() as seen:
        case(*tensors)
        for x in tensors:
            if isinstance(x, core.Tensor) and x.dtype.kind == "f":
                x.requires_grad = True
        with core.no_grad():
            case(*tensors)
    assert seen.records == []
    for x in tensors:
        if isinstance(x, core.Tensor):
            assert x.storage.saves == 0


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=repr)
def test_saves_what_is_declared(case):
    """Only declared inputs are held by the record, and they are let go with it."""
    tensors = case.tensors()
    wanted = 0
    for k, x in enumerate(tensors):
        if isinstance(x, core.Tensor) and x.dtype.kind == "f":
            x.requires_grad = True
            wanted |= 1 << k
    if not wanted or case.written:
        pytest.skip("nothing recorded by this operation alone")
    declared = set(call.saved_names(case.block, wanted))
    out = case(*tensors)
    outs = list(out) if isinstance(out, tuple) else [out]
    for k, x in enumerate(tensors):
        if isinstance(x, core.Tensor):
            name = call.input_name(case.block, k)
            if name not in declared and not case.block.variadic:
                assert x.storage.saves == 0, f"{name} is saved but not declared"
    for name, o in zip(case.block.outputs, outs):
        if name not in declared and not case.block.alias and not case.block.variadic_out:
            assert o.storage.saves == 0, f"{name} is saved but not declared"
    gc.disable()
    try:
        del out, outs, o
        for x in tensors:
            if isinstance(x, core.Tensor):
                assert x.storage.saves == 0, "a record outlives its output"
    finally:
        gc.enable()


@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if not c.written], ids=repr)
def test_saved_bytes_equal_the_declaration(case):
    """Live bytes of the pool after the outputs are dropped but for their place on the tape."""
    memory = pytest.importorskip("autodiff.memory")
    if core.name == "plain":
        pytest.skip("the plain core has no pool")
    tensors = case.tensors()
    wanted = 0
    for k, x in enumerate(tensors):
        if isinstance(x, core.Tensor) and x.dtype.kind == "f" and x.size:
            x.requires_grad = True
            wanted |= 1 << k
    tensors = call.convert(case.block, tensors, core.Tensor, core.make)
    if not wanted or not case.sample.check_grad:
        pytest.skip("no gradient")
    report = memory.saved_report
    out = case(*tensors)
    outs = [o for o in (out if isinstance(out, tuple) else (out,)) if o.requires_grad]
    if not outs:
        pytest.skip("no floating output")
    declared = set(call.saved_names(case.block, wanted))
    plan = case.block.infer(*call.group(case.block, tensors), *case.attrs)
    expected = {}
    for k, x in enumerate(tensors):
        if x is not None and call.input_name(case.block, k) in declared:
            expected[id(x.storage)] = x.storage.nbytes
    names = case.block.outputs + case.block.residuals
    bytes_out = sum(int(np.prod(shape)) * dtype.itemsize
                    for name, (shape, dtype) in zip(names, plan.outputs) if name in declared)
    assert report(outs[0]).nbytes == sum(expected.values()) + bytes_out
