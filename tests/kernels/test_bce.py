"""bce_with_logits against its twin: reductions, sizes around a block, threads, extreme logits."""

import numpy as np
import pytest

import kernels
from kernels import reference

NONE, MEAN, SUM = 0, 1, 2
pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")


def forward(x, y, reduction):
    out = np.empty(x.shape if reduction == NONE else (), x.dtype)
    kernels.call("bce_with_logits", [out], [x, y], ia=(reduction,),
                 work_bytes=8 * (x.size // 4096 + 1))
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", [NONE, MEAN, SUM])
@pytest.mark.parametrize("n", [0, 1, 255, 257, 4096, 100001])
def test_values_and_gradient(n, reduction, dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(n) * 5).astype(dtype), rng.random(n).astype(dtype)
    wide = x.astype(np.float64), y.astype(np.float64)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(forward(x, y, reduction),
                               reference.bce_with_logits(*wide, reduction), rtol=tolerance,
                               atol=tolerance)
    g = rng.standard_normal(n if reduction == NONE else ()).astype(dtype)
    dx = np.empty_like(x)
    kernels.call("bce_with_logits_backward", [dx], [g, x, y], ia=(reduction,))
    np.testing.assert_allclose(dx, reference.bce_with_logits_backward(g, *wide, reduction),
                               rtol=10 * tolerance, atol=tolerance)


def test_extreme_logits_overflow_nowhere():
    x = np.array([-1000.0, -40.0, 0.0, 40.0, 1000.0, np.nan])
    for y, expected in ((0.0, [0, np.exp(-40.0), np.log(2), 40, 1000, np.nan]),
                        (1.0, [1000, 40, np.log(2), np.exp(-40.0), 0, np.nan])):
        np.testing.assert_allclose(forward(x, np.full(6, y), NONE), expected, rtol=1e-12)


def test_threads_do_not_change_the_sums():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 100_000)).astype(np.float32)
    before, seen = kernels.num_threads(), set()
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            seen.add(forward(x, y, MEAN).tobytes())
    finally:
        kernels.set_num_threads(before)
    assert len(seen) == 1
