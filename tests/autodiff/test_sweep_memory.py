"""Memory as values: inference records and saves nothing; recording saves what is declared."""

import gc

import numpy as np
import pytest

from autodiff import call, core
from autodiff.op import registry
from autodiff.testing import cases

BLOCKS = [b for b in registry.values() if b.samples is not None]
every_block = pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.name)
differentiable = pytest.mark.parametrize("block", [b for b in BLOCKS if b.differentiable],
                                         ids=lambda b: b.name)


def check_each(block, check):
    for case in cases(block):
        try:
            check(case)
        except Exception as error:
            error.add_note(f"sample {case.number} of {block.name}: {case.sample!r}")
            raise


class Listener:
    def __init__(self):
        self.records = []

    def __enter__(self):
        self.listener = lambda record, outputs: self.records.append(record)
        core.listen_tape(self.listener)
        return self

    def __exit__(self, *exc):
        core.unlisten_tape(self.listener)


@every_block
def test_inference_makes_no_record(block):
    """Neither with plain inputs, nor under no_grad with inputs that want a gradient."""
    def check(case):
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
    check_each(block, check)


@differentiable
def test_saves_what_is_declared(block):
    """Only declared inputs are held by the record, and they are let go with it."""
    def check(case):
        tensors = case.tensors()
        wanted = 0
        for k, x in enumerate(tensors):
            if isinstance(x, core.Tensor) and x.dtype.kind == "f":
                x.requires_grad = True
                wanted |= 1 << k
        if not wanted or case.written:
            return
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
    check_each(block, check)


@differentiable
def test_saved_bytes_equal_the_declaration(block):
    """Live bytes of the pool after the outputs are dropped but for their place on the tape."""
    def check(case):
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
            return
        report = memory.saved_report
        out = case(*tensors)
        outs = [o for o in (out if isinstance(out, tuple) else (out,)) if o.requires_grad]
        if not outs:
            return
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
    check_each(block, check)
