"""Every differentiable operation against finite differences: first order, second order, forward.

Also fused operations against their composites, and zero gradients of what is not asked for.
"""

import numpy as np
import pytest

from autodiff import call, core
from autodiff.testing import cases, gradcheck, gradgradcheck

DIFFERENTIABLE = cases(where=lambda block: block.differentiable)


def checked(case, second=False):
    floats = [x for x in case.arrays if isinstance(x, np.ndarray) and x.dtype == np.float64]
    return case.sample.check_grad and floats and (case.sample.second or not second)


@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if checked(c)], ids=repr)
def test_first_order(case):
    """The reverse sweep against central differences; forward mode too, but for writes in place."""
    names = [call.input_name(case.block, k) for k in range(len(case.arrays))]
    gradcheck(case, *case.arrays, names=names, forward=not case.written)


@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if checked(c, second=True)], ids=repr)
def test_second_order(case):
    """The gradient is differentiated in turn; forward over reverse gives the same."""
    names = [call.input_name(case.block, k) for k in range(len(case.arrays))]
    gradgradcheck(case, *case.arrays, names=names, forward=not case.written, full=200)


def by_composite(case):
    def f(*tensors):
        tensors = call.convert(case.block, list(tensors), core.Tensor, core.make)
        return case.block.composite(*call.group(case.block, tensors), *case.attrs)
    return f


@pytest.mark.parametrize("case", cases(where=lambda block: block.composite is not None), ids=repr)
def test_fused_equals_composite(case):
    """Values and gradients of a fused operation are those of its primitives."""
    results = []
    for f in (case, by_composite(case)):
        tensors = case.tensors()
        wrt = [k for k, x in enumerate(case.arrays)
               if isinstance(x, np.ndarray) and x.dtype == np.float64]
        for k in wrt:
            tensors[k].requires_grad = True
        outs = f(*tensors)
        outs = outs if isinstance(outs, tuple) else (outs,)
        values = [o.numpy() for o in outs]
        grads = []
        rng = np.random.default_rng(1)
        seeds = [core.make(np.asarray(rng.standard_normal(o.shape))) for o in outs]
        pairs = [(o, u) for o, u in zip(outs, seeds) if o.requires_grad]
        if pairs and case.sample.check_grad:
            grads = core.gradients([o for o, _ in pairs], [tensors[k] for k in wrt],
                                   [u for _, u in pairs], allow_unused=True)
        results.append((values, grads))
    (values, grads), (want, want_grads) = results
    assert len(values) == len(want)
    for v, w in zip(values, want):
        assert v.dtype == w.dtype and v.shape == w.shape
        np.testing.assert_allclose(v, w, rtol=1e-9, atol=1e-11)
    for g, w in zip(grads, want_grads):
        g, w = (0.0 if x is None else x.numpy() for x in (g, w))
        np.testing.assert_allclose(g, w, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if checked(c)], ids=repr)
def test_each_input_alone(case):
    """The gradient of one input is the same whether or not the others want theirs."""
    wrt = [k for k, x in enumerate(case.arrays)
           if isinstance(x, np.ndarray) and x.dtype == np.float64]
    if len(wrt) < 2:
        pytest.skip("one input")

    def gradient(chosen):
        tensors = case.tensors()
        for k in chosen:
            tensors[k].requires_grad = True
        outs = case(*tensors)
        outs = [o for o in (outs if isinstance(outs, tuple) else (outs,)) if o.requires_grad]
        if not outs:
            return {}
        rng = np.random.default_rng(1)
        seeds = [core.make(np.asarray(rng.standard_normal(o.shape))) for o in outs]
        found = core.gradients(outs, [tensors[k] for k in chosen], seeds, allow_unused=True)
        return {k: None if g is None else g.numpy() for k, g in zip(chosen, found)}

    together = gradient(wrt)
    for k in wrt:
        alone = gradient([k]).get(k)
        if together.get(k) is None:
            assert alone is None or not alone.any()
        else:
            np.testing.assert_allclose(alone, together[k], rtol=1e-10, atol=1e-12)
