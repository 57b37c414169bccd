"""Every operation on its own samples: values against the twin, float32, layouts, shared inputs.

Driven by the registry alone: a new operation is covered by being declared. One test covers all
samples of an operation; a failure names the sample.
"""

import numpy as np
import pytest

import kernels.reference
from autodiff import call, core
from autodiff.errors import AutodiffError
from autodiff.op import registry
from autodiff.testing import cases

BLOCKS = [b for b in registry.values() if b.samples is not None]
every_block = pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.name)


def check_each(block, check, dtype=np.float64):
    for case in cases(block, dtype):
        try:
            check(case)
        except Exception as error:
            error.add_note(f"sample {case.number} of {block.name}: {case.sample!r}")
            raise


def outputs(result):
    return list(result) if isinstance(result, tuple) else [result]


def close(got, want, dtype=np.float64):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    rtol = 1e-10 if dtype == np.float64 else 2e-5
    scale = np.max(np.abs(want[np.isfinite(want)]), initial=0.0)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * max(scale, 1e-3))


@pytest.mark.parametrize("block", registry.values(), ids=lambda b: b.name)
def test_every_operation_has_samples(block):
    assert block.samples is not None and cases(block), f"op {block.name} declares no samples"
    assert block.doc.endswith("."), f"op {block.name}: its doc is one line that ends in a dot"


def twin_outputs(case):
    """Outputs, then what is written, as the numpy twin gives them; None: nothing to compare with.
    """
    block = case.block
    inputs = call.convert(block, list(case.arrays), core.Tensor, core.make)
    plan = block.infer(*call.group(block, inputs), *case.attrs)
    arrays = [None if x is None else np.array(x.numpy()) for x in inputs]
    if block.alias:
        if plan.view is None:
            return None
        shape, strides, offset = plan.view
        return [np.ndarray(shape, arrays[0].dtype, arrays[0], offset, strides)]
    with np.errstate(all="ignore"):
        result = outputs(getattr(kernels.reference, block.kernel)(*arrays, *plan.ia, *plan.fa))
    if block.into is not None:
        x = arrays[block.inputs.index(block.into)]
        if plan.view is None:
            x[...] = result[0]
        else:
            shape, strides, offset = plan.view
            np.ndarray(shape, x.dtype, x, offset, strides)[...] = result[0]
        return [x]
    shown = plan.outputs[:len(plan.outputs) - len(block.residuals)]
    written = [w for w in result[len(plan.outputs):] if w is not None]
    return [np.broadcast_to(r, shape).astype(dtype)
            for r, (shape, dtype) in zip(result, shown)] + written


@every_block
def test_values_match_the_twin(block):
    """Outputs, and what else the operation writes."""
    def check(case):
        with core.no_grad():
            out, written = case.run(*case.tensors())
        got = [] if out is None else outputs(out)
        got += [] if block.into is not None else written
        want = twin_outputs(case)
        if want is None:
            return
        assert len(got) == len(want)
        for g, w in zip(got, want):
            assert g.dtype == w.dtype
            close(g.numpy(), w)
    check_each(block, check)


@every_block
def test_float32_stays_float32(block):
    """No float64 appears, and the values are those of float64 up to rounding."""
    def check(case):
        def narrow(x):
            return isinstance(x, np.ndarray) and x.dtype == np.float32
        if not any(map(narrow, case.arrays)):
            return
        with core.no_grad():
            got = outputs(case(*case.tensors()))
            wide = [core.make(x, np.float64) if narrow(x) else
                    core.make(x) if isinstance(x, np.ndarray) else x for x in case.arrays]
            want = outputs(case(*wide))
        for g, w in zip(got, want):
            assert g.dtype != np.float64 or "dtype" in block.attrs
            close(g.numpy(), w.numpy().astype(g.dtype), np.float32)
    check_each(block, check, np.float32)


# ---- layouts: the same values lying differently in memory

def strided(x):
    """Every second element of a longer array."""
    big = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    big[..., ::2] = x
    return core.make(big)[..., ::2]


def backwards(x):
    return core.make(np.ascontiguousarray(x[::-1]))[::-1]


def fortran(x):
    axes = tuple(reversed(range(x.ndim)))
    return registry["permute_dims"].call(core.make(np.ascontiguousarray(x.transpose(axes))), axes)


def inside(x):
    """The middle of a larger array."""
    return core.make(np.pad(x, 1))[(slice(1, -1),) * x.ndim]


def broadcast(x):
    """Stride 0 along the first axis; other values than x."""
    first = core.make(np.ascontiguousarray(x[:1]))
    return registry["broadcast_to"].call(first, x.shape)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return core.from_numpy(x)


LAYOUTS = [strided, backwards, fortran, inside, broadcast, read_only]


def run(case, tensors):
    """Outputs, and gradients of a random projection of them, as arrays."""
    wrt = [k for k, x in enumerate(tensors)
           if isinstance(x, core.Tensor) and x.dtype.kind == "f"]
    if not (case.block.differentiable and case.sample.check_grad and wrt):
        with core.no_grad():
            return [np.array(o.numpy()) for o in outputs(case(*tensors))], []
    for k in wrt:
        if not tensors[k].requires_grad:
            tensors[k].requires_grad = True
    outs = outputs(case(*tensors))
    rng = np.random.default_rng(5)
    pairs = [(o, core.make(np.asarray(rng.standard_normal(o.shape), o.dtype))) for o in outs]
    pairs = [(o, u) for o, u in pairs if o.requires_grad]
    grads = core.gradients([o for o, _ in pairs], [tensors[k] for k in wrt],
                           [u for _, u in pairs], allow_unused=True) if pairs else []
    return [np.array(o.numpy()) for o in outs], [g if g is None else np.array(g.numpy())
                                                 for g in grads]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@every_block
def test_layouts(block, layout):
    """A strided input gives what its contiguous copy gives: values and gradients."""
    def other(x):
        return isinstance(x, np.ndarray) and x.ndim and x.size

    def check(case):
        if not any(map(other, case.arrays)):
            return
        views = [layout(x).detach() if other(x) else core.make(x) if isinstance(x, np.ndarray)
                 else x for x in case.arrays]
        copies = [core.make(np.array(v.numpy())) if isinstance(v, core.Tensor) else v
                  for v in views]
        try:
            want, want_grads = run(case, copies)
        except AutodiffError as error:      # a broadcast input may leave the domain
            assert layout is broadcast
            with pytest.raises(type(error)):
                run(case, views)
            return
        got, grads = run(case, views)
        for g, w in zip(got, want):
            close(g, w)
        for g, w in zip(grads, want_grads):
            assert (g is None) == (w is None)
            if g is not None:
                close(g, w)
    check_each(block, check)


@every_block
def test_same_tensor_twice(block):
    """f(x, x) has the values of f(x, copy of x), and the sum of its gradients."""
    def check(case):
        pairs = [(j, k) for k, x in enumerate(case.arrays) for j, y in enumerate(case.arrays[:k])
                 if isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
                 and x.dtype.kind == "f" and x.shape == y.shape and x.dtype == y.dtype]
        if not pairs or set(case.written) & set(pairs[0]):
            return
        j, k = pairs[0]
        apart, shared = case.tensors(), case.tensors()
        apart[k] = core.make(case.arrays[j])
        shared[k] = shared[j]
        want, want_grads = run(case, apart)
        got, grads = run(case, shared)
        for g, w in zip(got, want):
            close(g, w)
        floats = [i for i, x in enumerate(apart) if isinstance(x, core.Tensor)
                  and x.dtype.kind == "f"]
        parts = [want_grads[floats.index(i)] for i in (j, k)] if want_grads else []
        parts = [p for p in parts if p is not None]
        if parts:
            close(grads[floats.index(j)], sum(parts))
    check_each(block, check)
