"""Every operation against PyTorch on its own samples: values, gradients, second derivatives.

Driven by the registry and by the table beside this file. One test covers all samples of an
operation; a failure names the sample.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autodiff import call, core  # noqa: E402
from autodiff.op import registry  # noqa: E402
from autodiff.testing import cases  # noqa: E402

from .torch_table import EXCEPTIONS, NO_GRADIENT, ORACLE  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}

BLOCKS = [b for b in registry.values() if b.name in ORACLE]
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda d: d.__name__)


@pytest.fixture(autouse=True)
def plain_torch():
    """One thread, and kernels that have second derivatives."""
    torch.set_num_threads(1)
    with torch.backends.mkldnn.flags(enabled=False), torch.nn.attention.sdpa_kernel(
            torch.nn.attention.SDPBackend.MATH):
        yield


def test_every_operation_has_a_counterpart_or_a_reason():
    missing = [n for n in registry if n not in ORACLE and n not in EXCEPTIONS]
    assert not missing, f"in neither table: {missing}; add them to tests/oracle/torch_table.py"
    assert not set(ORACLE) & set(EXCEPTIONS)


def outputs(result):
    return list(result) if isinstance(result, tuple) else [result]


def close(got, want, dtype, what):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, in PyTorch {want.shape}"
    assert got.dtype == want.dtype, f"{what}: {got.dtype}, in PyTorch {want.dtype}"
    tol = TOLERANCE[dtype]
    finite = want[np.isfinite(want)] if want.dtype.kind == "f" else want
    scale = np.max(np.abs(finite), initial=0.0) if want.dtype.kind == "f" else 0.0
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol * scale, err_msg=what)


class Pair:
    """One sample as inputs of both libraries."""

    def __init__(self, case, dtype):
        self.case, self.name = case, case.block.name
        made = call.convert(case.block, list(case.arrays), core.Tensor, core.make)
        self.arrays = [None if x is None else np.array(x.numpy()) for x in made]
        names = [call.input_name(case.block, k) for k in range(len(self.arrays))]
        without = NO_GRADIENT.get(self.name, ())
        self.wrt = [k for k, x in enumerate(case.arrays) if isinstance(x, np.ndarray)
                    and self.arrays[k].dtype == dtype and names[k] not in without]
        self.names = [names[k] for k in self.wrt]

    def ours(self, grad=False):
        xs = [None if x is None else core.make(x) for x in self.arrays]
        for k in self.wrt if grad else ():
            xs[k].requires_grad = True
        return xs, outputs(self.case(*xs))

    def theirs(self, grad=False):
        xs = [None if x is None else torch.tensor(x) for x in self.arrays]
        for k in self.wrt if grad else ():
            xs[k].requires_grad_(True)
        with torch.set_grad_enabled(grad):
            result = ORACLE[self.name](*call.group(self.case.block, xs), *self.case.attrs)
        return xs, None if result is None else outputs(result)


def check_each(block, dtype, check):
    """How many samples were compared."""
    done = 0
    for case in cases(block, dtype):
        try:
            done += bool(check(Pair(case, dtype)))
        except Exception as error:
            error.add_note(f"sample {case.number} of {block.name}: {case.sample!r}")
            raise
    return done


@every_dtype
@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.name)
def test_values(block, dtype):
    def check(pair):
        with core.no_grad():
            got = pair.ours()[1]
        want = pair.theirs()[1]
        if want is None:
            return False
        assert len(got) == len(want)
        for k, (g, w) in enumerate(zip(got, want, strict=True)):
            close(g.numpy(), w.numpy(force=True), dtype, f"output {k}")
        return True
    assert check_each(block, dtype, check)


def cotangents(outs, rng):
    return [np.asarray(rng.standard_normal(tuple(o.shape)), o.numpy().dtype) for o in outs]


def pull(outs, xs, us, create_graph=False):
    """Our gradients, zeros where nothing flows."""
    kept = [(o, u) for o, u in zip(outs, us, strict=True) if o.requires_grad]
    if not kept:
        return [core.make(np.zeros(x.shape, x.dtype)) for x in xs]
    grads = core.gradients([o for o, _ in kept], xs, [u for _, u in kept],
                           create_graph=create_graph, allow_unused=True)
    return [core.make(np.zeros(x.shape, x.dtype)) if g is None else g
            for g, x in zip(grads, xs, strict=True)]


def pull_torch(outs, xs, us, create_graph=False):
    kept = [(o, u) for o, u in zip(outs, us, strict=True) if o.requires_grad]
    if not kept:
        return [torch.zeros_like(x) for x in xs]
    grads = torch.autograd.grad([o for o, _ in kept], xs, [u for _, u in kept],
                                create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(grads, xs, strict=True)]


def both(pair):
    """Inputs that want a gradient and floating outputs of both; None where there is no pair."""
    if not pair.wrt:
        return None
    (a, ours), (b, theirs) = pair.ours(grad=True), pair.theirs(grad=True)
    if theirs is None:
        return None
    return ([a[k] for k in pair.wrt], [o for o in ours if o.dtype.kind == "f"],
            [b[k] for k in pair.wrt], [o for o in theirs if o.is_floating_point()])


DIFFERENTIABLE = [b for b in BLOCKS if b.differentiable]


@every_dtype
@pytest.mark.parametrize("block", DIFFERENTIABLE, ids=lambda b: b.name)
def test_gradients(block, dtype):
    """The gradient of a random projection of the outputs."""
    rng = np.random.default_rng(3)

    def check(pair):
        found = both(pair)
        if found is None:
            return False
        a, ours, b, theirs = found
        us = cotangents(ours, rng)
        got = pull(ours, a, [core.make(u) for u in us])
        want = pull_torch(theirs, b, [torch.tensor(u) for u in us])
        for name, g, w in zip(pair.names, got, want, strict=True):
            close(g.numpy(), w.numpy(force=True), dtype, f"gradient of {name}")
        return True
    assert check_each(block, dtype, check)


@every_dtype
@pytest.mark.parametrize("block", DIFFERENTIABLE, ids=lambda b: b.name)
def test_second_derivatives(block, dtype):
    """The gradient differentiated in turn, for the inputs and for its cotangent."""
    rng = np.random.default_rng(4)

    def check(pair):
        found = both(pair) if pair.case.sample.second else None
        if found is None:
            return False
        a, ours, b, theirs = found
        us = cotangents(ours, rng)
        ua, ub = [core.make(u) for u in us], [torch.tensor(u, requires_grad=True) for u in us]
        for u in ua:
            u.requires_grad = True
        first = pull(ours, a, ua, create_graph=True)
        first_torch = pull_torch(theirs, b, ub, create_graph=True)
        vs = cotangents(first, rng)
        got = pull(first, a + ua, [core.make(v) for v in vs])
        want = pull_torch(first_torch, b + ub, [torch.tensor(v) for v in vs])
        names = pair.names + [f"cotangent {k}" for k in range(len(us))]
        for name, g, w in zip(names, got, want, strict=True):
            close(g.numpy(), w.numpy(force=True), dtype, f"second derivative, {name}")
        return True
    assert check_each(block, dtype, check)
