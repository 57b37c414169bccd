"""RMSprop's and Adagrad's updates against their twins, over several steps."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")


def close(a, b):
    tolerance = 3e-6 if a.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 5, 40_001])
@pytest.mark.parametrize("maximize, decay, momentum, centered",
                         [(0, 0.0, 0.0, False), (1, 0.1, 0.0, True), (0, 0.1, 0.9, False),
                          (0, 0.0, 0.5, True)])
def test_rmsprop(maximize, decay, momentum, centered, n, dtype):
    rng = np.random.default_rng(0)
    p, square = rng.standard_normal(n).astype(dtype), np.zeros(n, dtype)
    mean = np.zeros(n, dtype) if centered else None
    buffer = np.zeros(n, dtype) if momentum else None
    for _ in range(4):
        g = rng.standard_normal(n).astype(dtype)
        args = [p, g, square, mean, buffer, np.array(0.01)]
        fa = (0.9, 1e-3, decay, momentum)
        expected = reference.rmsprop_(*args, maximize, *fa)
        kernels.call("rmsprop_", [], args, ia=(maximize,), fa=fa)
        for got, wanted in zip((p, square, mean, buffer), expected, strict=True):
            if got is not None:
                close(got, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 5, 40_001])
@pytest.mark.parametrize("maximize, lr_decay, decay", [(0, 0.0, 0.0), (1, 0.1, 0.2)])
def test_adagrad(maximize, lr_decay, decay, n, dtype):
    rng = np.random.default_rng(0)
    p, total, step = rng.standard_normal(n).astype(dtype), np.full(n, 0.1, dtype), np.array(0.0)
    for _ in range(4):
        kernels.call("increment_", [], [step])
        args = [p, rng.standard_normal(n).astype(dtype), total, np.array(0.1), step]
        fa = (lr_decay, 1e-10, decay)
        expected = reference.adagrad_(*args, maximize, *fa)
        kernels.call("adagrad_", [], args, ia=(maximize,), fa=fa)
        close(p, expected[0])
        close(total, expected[1])
