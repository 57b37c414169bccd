"""The blocked and parallel paths of the kernels against PyTorch: shapes beyond one block.

Odd sizes, so that every loop has a tail. Invariant: float64 agrees to 1e-9 of the largest element,
float32 to 2e-5, values and gradients of all floating inputs.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autodiff import call, core  # noqa: E402
from autodiff.op import registry  # noqa: E402

from .torch_table import NO_GRADIENT, ORACLE  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
rng = np.random.default_rng(11)


def normal(*shape):
    return rng.standard_normal(shape)


def labels(classes, *shape):
    t = rng.integers(0, classes, shape)
    t.flat[::7] = -100
    return t


CALLS = {
    "add": [((normal(300, 1, 129), normal(257, 129)), {})],
    "exp": [((normal(301, 1003),), {})],
    "gelu": [((normal(301, 1003),), {})],
    "tanh": [((normal(301, 1003) * 4,), {})],
    "where": [((normal(301, 503) > 0, normal(301, 503), normal(503)), {})],
    "matmul": [((normal(301, 257), normal(257, 203)), {}), ((normal(1003, 517), normal(517)), {}),
               ((normal(9, 65, 130), normal(9, 130, 33)), {}),
               ((normal(3, 1, 17, 65), normal(5, 65, 19)), {})],
    "linear": [((normal(7, 61, 259), normal(131, 259), normal(131)), {})],
    "conv2d": [((normal(3, 6, 33, 37), normal(10, 6, 3, 5), normal(10)), {"padding": (1, 2)}),
               ((normal(2, 8, 35, 31), normal(12, 4, 3, 3), normal(12)),
                {"stride": 2, "padding": 1, "groups": 2}),
               ((normal(2, 37, 33, 29), normal(37, 1, 5, 5), normal(37)),
                {"padding": 2, "groups": 37}),
               ((normal(5, 67, 19, 21), normal(33, 67, 1, 1), None), {}),
               ((normal(2, 5, 31, 33), normal(6, 5, 3, 3), None), {"dilation": (2, 3)})],
    "max_pool2d": [((normal(3, 5, 67, 71), 3), {"stride": 2, "padding": 1}),
                   ((normal(3, 5, 67, 71), 2), {"ceil_mode": True})],
    "avg_pool2d": [((normal(3, 5, 67, 71), 3), {"stride": 2, "padding": 1})],
    "attention": [((normal(2, 3, 197, 24), normal(2, 3, 601, 24), normal(2, 3, 601, 17)), {}),
                  ((normal(2, 301, 8), normal(2, 301, 8), normal(2, 301, 8)),
                   {"is_causal": True}),
                  ((normal(2, 131, 8), normal(2, 290, 8), normal(2, 290, 8),
                    normal(131, 290) > 1), {}),
                  ((normal(2, 131, 8), normal(2, 290, 8), normal(2, 290, 8),
                    normal(2, 131, 290)), {})],
    "softmax": [((normal(203, 1501) * 3,), {}), ((normal(203, 501) * 3,), {"axis": 0})],
    "log_softmax": [((normal(31, 7, 501) * 3,), {"axis": 1})],
    "cross_entropy": [((normal(301, 1501) * 3, labels(1501, 301)), {"label_smoothing": 0.1}),
                      ((normal(3, 21, 33, 35), labels(21, 3, 33, 35)), {})],
    "mse": [((normal(301, 503), normal(301, 503)), {})],
    "layer_norm": [((normal(203, 769) + 3, normal(769), normal(769)), {})],
    "batch_norm": [((normal(9, 33, 17, 19) + 3, normal(33), normal(33)), {}),
                   ((normal(1001, 65), normal(65), normal(65)), {})],
    "embedding": [((normal(501, 65), rng.integers(0, 501, (70, 51))), {})],
    "lstm": [((normal(41, 9, 33), normal(9, 65), normal(9, 65), normal(260, 33) / 8,
               normal(260, 65) / 8, normal(260), normal(260)), {})],
    "gru": [((normal(41, 9, 33), normal(9, 65), normal(195, 33) / 8, normal(195, 65) / 8,
              normal(195), normal(195)), {})],
    "sum": [((normal(301, 503), axis), {}) for axis in (None, 0, 1)]
    + [((normal(31, 65, 77), (0, 2)), {})],
    "mean": [((normal(31, 65, 77), 1), {})], "var": [((normal(301, 503), 0, 1), {})],
    "max": [((normal(301, 503), axis), {}) for axis in (None, 0, 1)],
    "logsumexp": [((normal(301, 503), 0), {})],
    "cumulative_sum": [((normal(301, 503), axis), {}) for axis in (0, 1)],
    "concat": [(([normal(301, 3, 65), normal(301, 40, 65)],), {"axis": 1})],
}
CASES = [(name, k) for name, calls in CALLS.items() for k in range(len(calls))
         if name in registry]


@pytest.mark.parametrize("dtype,tol", [("float64", 1e-9), ("float32", 2e-5)])
@pytest.mark.parametrize("name,k", CASES)
def test_large(name, k, dtype, tol):
    block = registry[name]
    raw, attrs = call.parse(block, *CALLS[name][k])
    raw = [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
           for x in raw]
    a = [None if x is None else core.make(x) for x in raw]
    b = [None if x is None else torch.tensor(x) for x in raw]
    wrt = [i for i, x in enumerate(raw) if x is not None and x.dtype.kind == "f"
           and call.input_name(block, i) not in NO_GRADIENT.get(name, ())]
    for i in wrt:
        a[i].requires_grad, b[i].requires_grad = True, True
    y, z = block.call(*call.group(block, a), *attrs), ORACLE[name](*call.group(block, b), *attrs)
    y, z = (r[0] if isinstance(r, tuple) else r for r in (y, z))
    u = np.random.default_rng(1).standard_normal(tuple(z.shape)).astype(dtype)
    y.backward(core.make(np.asarray(u)))
    z.backward(torch.tensor(u))
    found = [("value", y.detach(), z.detach())]
    found += [(f"gradient of input {i}", a[i].grad, b[i].grad) for i in wrt]
    for what, got, want in found:
        got, want = got.numpy(), want.numpy()
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=tol, atol=tol * np.abs(want).max(),
                                   err_msg=what)
