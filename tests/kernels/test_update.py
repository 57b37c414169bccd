"""The optimizers' updates against their twins, over several steps."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")
DTYPES = [np.float32, np.float64]


def close(a, b, dtype):
    tolerance = 2e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nesterov, maximize, momentum, dampening, decay, buffered",
                         [(0, 0, 0.0, 0.0, 0.0, False), (0, 1, 0.0, 0.0, 0.1, False),
                          (0, 0, 0.9, 0.0, 0.0, True), (0, 0, 0.9, 0.5, 0.1, True),
                          (1, 0, 0.9, 0.0, 0.1, True), (1, 1, 0.5, 0.0, 0.0, True)])
@pytest.mark.parametrize("n", [0, 1, 5, 40_001])
def test_sgd(n, nesterov, maximize, momentum, dampening, decay, buffered, dtype):
    rng = np.random.default_rng(0)
    p = rng.standard_normal(n).astype(dtype)
    buffer = np.zeros(n, dtype) if buffered else None
    lr = np.array(0.1)
    for step in (1, 2, 3):
        g = rng.standard_normal(n).astype(dtype)
        expected = reference.sgd_(p, g, buffer, lr, np.array(step), nesterov, maximize, momentum,
                                  dampening, decay)
        kernels.call("sgd_", [], [p, g, buffer, lr, np.array(step)], ia=(nesterov, maximize),
                     fa=(momentum, dampening, decay))
        close(p, expected[0], dtype)
        if buffered:
            close(buffer, expected[1], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decoupled, maximize, decay, amsgrad",
                         [(0, 0, 0.0, False), (0, 1, 0.1, False), (1, 0, 0.1, False),
                          (0, 0, 0.0, True), (1, 1, 0.1, True)])
@pytest.mark.parametrize("n", [0, 1, 5, 40_001])
def test_adam(n, decoupled, maximize, decay, amsgrad, dtype):
    rng = np.random.default_rng(0)
    p = rng.standard_normal(n).astype(dtype)
    m, v = np.zeros(n, dtype), np.zeros(n, dtype)
    top = np.zeros(n, dtype) if amsgrad else None
    lr, step = np.array(0.01, np.float32), np.array(0)
    for _ in range(4):
        kernels.call("increment_", [], [step])
        g = rng.standard_normal(n).astype(dtype)
        expected = reference.adam_(p, g, m, v, top, lr, step, decoupled, maximize, 0.9, 0.999,
                                   1e-8, decay)
        kernels.call("adam_", [], [p, g, m, v, top, lr, step], ia=(decoupled, maximize),
                     fa=(0.9, 0.999, 1e-8, decay))
        for got, wanted in zip((p, m, v, top), expected, strict=True):
            if got is not None:
                close(got, wanted, dtype)
    assert step == 4


def test_adam_by_hand():
    """The first step of Adam has the size of the learning rate, whatever the gradient's."""
    for g in (1e-3, 1.0, 1e3):
        p, m, v = (np.zeros(1) for _ in range(3))
        kernels.call("adam_", [], [p, np.array([g]), m, v, None, np.array(0.1), np.array(1)],
                     ia=(0, 0), fa=(0.9, 0.999, 0.0, 0.0))
        np.testing.assert_allclose(p, -0.1)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_increment(dtype):
    step = np.array(41, dtype)
    kernels.call("increment_", [], [step])
    assert step == 42
