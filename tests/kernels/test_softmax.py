"""softmax and log_softmax against their twins: every axis, both dtypes, extremes."""

import numpy as np
import pytest

import kernels
from kernels import reference

TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13}
SHAPES = [((5,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 4), 1), ((7, 33), 1), ((33, 7), 0),
          ((3, 5, 40), 1), ((2, 1), 1), ((300, 100), 1), ((40, 9, 70), 1), ((1, 5000), 1)]

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, axis", SHAPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_forward_and_backward(name, shape, axis, dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * 4).astype(dtype)
    g = rng.standard_normal(shape).astype(dtype)
    out, dx = np.empty_like(x), np.empty_like(x)
    kernels.call(name, [out], [x], ia=(axis,))
    expected = getattr(reference, name)(x.astype(np.float64), axis)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
    kernels.call(name + "_backward", [dx], [g, out], ia=(axis,))
    expected = getattr(reference, name + "_backward")(g, out, axis)
    np.testing.assert_allclose(dx, expected, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_empty(name, shape):
    x = np.empty(shape, np.float32)
    out = np.empty_like(x)
    for axis in range(x.ndim):
        kernels.call(name, [out], [x], ia=(axis,))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes(dtype, axis):
    x = np.array([[1e4, 0, -1e4], [-np.inf, 0, 0], [np.nan, 1, 2]], dtype)
    x = np.ascontiguousarray(x if axis else x.T)
    for name in ("softmax", "log_softmax"):
        out = np.empty_like(x)
        kernels.call(name, [out], [x], ia=(axis,))
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = getattr(reference, name)(x, axis)
        rows, wanted = (out, expected) if axis else (out.T, expected.T)
        np.testing.assert_allclose(rows[:2], wanted[:2], rtol=1e-6)
        assert np.isnan(rows[2]).all()


def test_threads_do_not_change_the_result():
    x = np.random.default_rng(1).standard_normal((400, 333)).astype(np.float32)
    results = []
    before = kernels.num_threads()
    try:
        for threads in (1, 2, 5):
            kernels.set_num_threads(threads)
            out = np.empty_like(x)
            kernels.call("softmax", [out], [x], ia=(1,))
            results.append(out)
    finally:
        kernels.set_num_threads(before)
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()
