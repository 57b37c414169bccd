"""Every operation on its own samples: values against the twin, float32, layouts, shared inputs.

Driven by the registry alone: a new operation is covered by being declared.
"""

import numpy as np
import pytest

import kernels.reference
from autodiff import call, core
from autodiff.errors import AutodiffError
from autodiff.op import registry
from autodiff.testing import cases


def outputs(result):
    return list(result) if isinstance(result, tuple) else [result]


def close(got, want, dtype=np.float64, loose=1.0):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    rtol = (1e-10 if dtype == np.float64 else 2e-5) * loose
    scale = np.max(np.abs(want[np.isfinite(want)]), initial=0.0)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * max(scale, 1e-3))


@pytest.mark.parametrize("block", registry.values(), ids=lambda b: b.name)
def test_every_operation_has_samples(block):
    assert block.samples is not None, f"op {block.name} declares no samples"
    assert block.doc and block.doc.endswith("."), f"op {block.name}: one line that ends in a dot"


def twin_outputs(case):
    """The outputs as the numpy twin gives them."""
    block = case.block
    inputs = call.convert(block, list(case.arrays), core.Tensor, core.make)
    plan = block.infer(*call.group(block, inputs), *case.attrs)
    arrays = [None if x is None else np.array(x.numpy()) for x in inputs]
    if block.alias:
        if plan.view is None:
            pytest.skip("not a view of these strides")
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
    if not block.outputs:
        return result
    shown = plan.outputs[:len(plan.outputs) - len(block.residuals)]
    return [np.broadcast_to(r, shape).astype(dtype)
            for r, (shape, dtype) in zip(result, shown)]


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_values_match_the_twin(case):
    with core.no_grad():
        got = outputs(case(*case.tensors()))
    want = twin_outputs(case)
    assert len(got) == len(want)
    for g, w in zip(got, want):
        assert g.dtype == w.dtype
        close(g.numpy(), w)


@pytest.mark.parametrize("case", cases(np.float32), ids=repr)
def test_float32_stays_float32(case):
    """No float64 appears, and the values are those of float64 up to rounding."""
    if not any(isinstance(x, np.ndarray) and x.dtype == np.float32 for x in case.arrays):
        pytest.skip("no floating input")
    with core.no_grad():
        got = outputs(case(*case.tensors()))
        wide = [core.make(x, np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32
                else core.make(x) if isinstance(x, np.ndarray) else x for x in case.arrays]
        want = outputs(case(*wide))
    for g, w in zip(got, want):
        if "dtype" not in case.block.attrs:
            assert g.dtype != np.float64
        close(g.numpy(), w.numpy().astype(g.dtype), np.float32)


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


def run(case, tensors, cotangents=None):
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
    pairs = [(o, core.make(rng.standard_normal(o.shape).astype(o.dtype))) for o in outs]
    pairs = [(o, u) for o, u in pairs if o.requires_grad]
    distinct = list({id(tensors[k]): tensors[k] for k in wrt}.values())
    grads = core.gradients([o for o, _ in pairs], distinct, [u for _, u in pairs],
                           allow_unused=True) if pairs else []
    return [np.array(o.numpy()) for o in outs], [g if g is None else np.array(g.numpy())
                                                 for g in grads]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", cases(), ids=repr)
def test_layouts(case, layout):
    """A strided input gives what its contiguous copy gives: values and gradients."""
    if not any(isinstance(x, np.ndarray) and x.ndim and x.size for x in case.arrays):
        pytest.skip("nothing to lay out differently")
    views = [layout(x) if isinstance(x, np.ndarray) and x.ndim and x.size else
             core.make(x) if isinstance(x, np.ndarray) else x for x in case.arrays]
    copies = [core.make(np.array(v.numpy())) if isinstance(v, core.Tensor) else v for v in views]
    views = [v.detach() if isinstance(v, core.Tensor) else v for v in views]
    try:
        want, want_grads = run(case, copies)
    except AutodiffError as error:          # a broadcast input may leave the domain
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


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_same_tensor_twice(case):
    """f(x, x) has the values of f(x, copy of x), and the sum of its gradients."""
    pairs = [(j, k) for k, x in enumerate(case.arrays) for j, y in enumerate(case.arrays[:k])
             if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.dtype.kind == "f"
             and x.shape == y.shape and x.dtype == y.dtype]
    if not pairs or set(case.written) & set(pairs[0]):
        pytest.skip("no two inputs of one shape")
    j, k = pairs[0]
    apart, shared = case.tensors(), case.tensors()
    apart[k] = core.make(case.arrays[j])
    shared[k] = shared[j]
    try:
        want, want_grads = run(case, apart)
    except AutodiffError:
        pytest.skip("the inputs may not be equal")
    got, grads = run(case, shared)
    for g, w in zip(got, want):
        close(g, w)
    floats = [i for i, x in enumerate(apart) if isinstance(x, core.Tensor)
              and x.dtype.kind == "f"]
    if want_grads:
        parts = [want_grads[floats.index(i)] for i in (j, k)]
        parts = [p for p in parts if p is not None]
        total = grads[floats.index(j)]
        if parts:
            close(total, sum(parts))
