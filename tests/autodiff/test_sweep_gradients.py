"""Every differentiable operation against finite differences: first order, second order, forward.

Also fused operations against their composites, and each input's gradient asked for alone. One
test covers all samples of an operation; a failure names the sample.
"""

import numpy as np
import pytest

from autodiff import call, core
from autodiff.op import registry
from autodiff.testing import cases, gradcheck, gradgradcheck

BLOCKS = [b for b in registry.values() if b.samples is not None]
differentiable = pytest.mark.parametrize("block", [b for b in BLOCKS if b.differentiable],
                                         ids=lambda b: b.name)


def check_each(block, check):
    for case in cases(block):
        if not case.sample.check_grad or not floats_of(case):
            continue
        try:
            check(case)
        except Exception as error:
            error.add_note(f"sample {case.number} of {block.name}: {case.sample!r}")
            raise


def floats_of(case):
    return [k for k, x in enumerate(case.arrays)
            if isinstance(x, np.ndarray) and x.dtype == np.float64]


def names_of(case):
    return [call.input_name(case.block, k) for k in range(len(case.arrays))]


@differentiable
def test_first_order(block):
    """The reverse sweep against central differences; forward mode too, but for writes in place."""
    check_each(block, lambda case: gradcheck(case, *case.arrays, names=names_of(case),
                                             forward=not case.written))


@differentiable
def test_second_order(block):
    """The gradient is differentiated in turn; forward over reverse gives the same."""
    def check(case):
        if case.sample.second:
            gradgradcheck(case, *case.arrays, names=names_of(case), forward=not case.written,
                          full=200)
    check_each(block, check)


def pulled(f, tensors, wrt):
    """Outputs of f, and the gradients of a random projection of them, as arrays."""
    for k in wrt:
        tensors[k].requires_grad = True
    outs = f(*tensors)
    outs = outs if isinstance(outs, tuple) else (outs,)
    rng = np.random.default_rng(1)
    pairs = [(o, core.make(np.asarray(rng.standard_normal(o.shape)))) for o in outs]
    pairs = [(o, u) for o, u in pairs if o.requires_grad]
    grads = core.gradients([o for o, _ in pairs], [tensors[k] for k in wrt],
                           [u for _, u in pairs], allow_unused=True) if pairs else [None] * len(wrt)
    return ([np.array(o.numpy()) for o in outs],
            [np.zeros(tensors[k].shape) if g is None else np.array(g.numpy())
             for k, g in zip(wrt, grads)])


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.composite is not None],
                         ids=lambda b: b.name)
def test_fused_equals_composite(block):
    """Values and gradients of a fused operation are those of its primitives."""
    def check(case):
        def by_composite(*tensors):
            tensors = call.convert(block, list(tensors), core.Tensor, core.make)
            return block.composite(*call.group(block, tensors), *case.attrs)
        wrt = floats_of(case)
        values, grads = pulled(case, case.tensors(), wrt)
        want, want_grads = pulled(by_composite, case.tensors(), wrt)
        assert len(values) == len(want)
        for v, w in zip(values, want):
            assert v.dtype == w.dtype and v.shape == w.shape
            np.testing.assert_allclose(v, w, rtol=1e-9, atol=1e-11)
        for g, w in zip(grads, want_grads):
            np.testing.assert_allclose(g, w, rtol=1e-8, atol=1e-10)
    check_each(block, check)


@differentiable
def test_each_input_alone(block):
    """The gradient of one input is the same whether or not the others want theirs."""
    def check(case):
        wrt = floats_of(case)
        if len(wrt) < 2:
            return
        together = pulled(case, case.tensors(), wrt)[1]
        for k, g in zip(wrt, together):
            alone = pulled(case, case.tensors(), [k])[1][0]
            np.testing.assert_allclose(alone, g, rtol=1e-10, atol=1e-12)
    check_each(block, check)
