"""cross_entropy and mse against their twins: reductions, weights, smoothing, ignored labels."""

import numpy as np
import pytest

import kernels
from kernels import reference

NONE, MEAN, SUM = 0, 1, 2
SHAPES = [(7, 5), (6,), (3, 4, 5), (2, 3, 4, 17), (5, 1), (500, 70), (3, 2000), (2, 9, 11, 13)]

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")


def example(shape, dtype, weighted, seed=0):
    rng = np.random.default_rng(seed)
    axis = 1 if len(shape) > 1 else 0
    rows = shape[:axis] + shape[axis + 1:]
    logits = (rng.standard_normal(shape) * 3).astype(dtype)
    target = np.asarray(rng.integers(0, shape[axis], rows))
    if target.ndim:
        target = np.where(rng.random(rows) < 0.2, -100, target)
    weight = rng.uniform(0.5, 2, shape[axis]).astype(dtype) if weighted else None
    return logits, target, weight


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", [NONE, MEAN, SUM])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy(shape, weighted, reduction, smoothing, dtype):
    logits, target, weight = example(shape, dtype, weighted)
    attrs = (reduction, -100, smoothing)
    loss, lse = (np.array(a) for a in reference.cross_entropy(
        logits.astype(np.float64), target, weight, *attrs))
    out = np.empty(loss.shape, dtype)
    kept = np.empty(lse.shape, dtype)
    call = dict(ia=attrs[:2], fa=attrs[2:])
    kernels.call("cross_entropy", [out, kept], [logits, target, weight], **call,
                 work_bytes=8 * target.size)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(out, loss, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(kept, lse, rtol=tolerance, atol=tolerance)
    g = np.random.default_rng(2).standard_normal(loss.shape).astype(dtype)
    dx = np.empty_like(logits)
    kernels.call("cross_entropy_backward", [dx], [g, logits, target, weight, kept], **call)
    expected = reference.cross_entropy_backward(g, logits.astype(np.float64), target, weight, lse,
                                                *attrs)
    np.testing.assert_allclose(dx, expected, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32])
def test_labels_of_any_integer_dtype(dtype):
    logits, target, _ = example((7, 5), np.float64, False)
    target = np.abs(target % 5).astype(dtype)
    out = np.empty((), np.float64)
    kernels.call("cross_entropy", [out, None], [logits, target, None], ia=(MEAN, -100), fa=(0.0,),
                 work_bytes=56)
    expected, _ = reference.cross_entropy(logits, target, None, MEAN, -100, 0.0)
    np.testing.assert_allclose(out, expected)


@pytest.mark.parametrize("label", [-1, 5, 1 << 40])
def test_a_label_out_of_range_is_named(label):
    logits = np.zeros((3, 5))
    out = np.empty((), np.float64)
    with pytest.raises(ValueError, match=str(label)):
        kernels.call("cross_entropy", [out, None], [logits, np.array([0, label, 1]), None],
                     ia=(MEAN, -100), fa=(0.0,), work_bytes=24)


def test_nothing_counts():
    logits, dx, out = np.zeros((2, 3)), np.ones((2, 3)), np.empty(())
    target = np.array([-100, -100])
    kernels.call("cross_entropy", [out, None], [logits, target, None], ia=(MEAN, -100), fa=(0.0,),
                 work_bytes=16)
    assert np.isnan(out)
    kernels.call("cross_entropy_backward", [dx], [np.ones(()), logits, target, None, np.zeros(2)],
                 ia=(MEAN, -100), fa=(0.0,))
    assert (dx == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", [NONE, MEAN, SUM])
@pytest.mark.parametrize("n", [0, 1, 7, 4096, 100001])
def test_mse(n, reduction, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, n)).astype(dtype)
    expected = reference.mse(x.astype(np.float64), y.astype(np.float64), reduction)
    out = np.empty(expected.shape, dtype)
    kernels.call("mse", [out], [x, y], ia=(reduction,), work_bytes=8 * (n // 4096 + 1))
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
    g = rng.standard_normal(expected.shape).astype(dtype)
    dx = np.empty_like(x)
    kernels.call("mse_backward", [dx], [g, x, y], ia=(reduction,))
    np.testing.assert_allclose(dx, reference.mse_backward(g, x, y, reduction), rtol=1e-6)


def test_threads_do_not_change_the_sums():
    logits, target, _ = example((2000, 40), np.float32, False)
    before, seen = kernels.num_threads(), set()
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            out = np.empty((), np.float32)
            kernels.call("cross_entropy", [out, None], [logits, target, None], ia=(MEAN, -100),
                         fa=(0.0,), work_bytes=8 * target.size)
            seen.add(out.tobytes())
    finally:
        kernels.set_num_threads(before)
    assert len(seen) == 1
