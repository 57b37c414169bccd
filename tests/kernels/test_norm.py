"""layer_norm and batch_norm against their twins: shapes, absent inputs, each set of gradients."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")
DTYPES = [np.float32, np.float64]


def close(a, b, dtype, scale=1):
    tolerance = scale * (1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def arrays(seed, dtype, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def double(*xs):
    return [None if x is None else x.astype(np.float64) for x in xs]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", ["", "w", "b", "wb"])
@pytest.mark.parametrize("shape, ndim", [((4, 5), 1), ((6,), 1), ((2, 3, 4), 2), ((0, 3), 1),
                                         ((100, 129), 1), ((700, 64), 1), ((3, 3000), 1)])
def test_layer_norm(shape, ndim, affine, dtype):
    normal, lead = shape[len(shape) - ndim:], shape[:len(shape) - ndim]
    x, g, w, b = arrays(0, dtype, shape, shape, normal, normal)
    x = x * 3 + 10
    w, b = w if "w" in affine else None, b if "b" in affine else None
    expected = reference.layer_norm(*double(x, w, b), ndim, 1e-5)
    out, mean, rstd = np.empty_like(x), np.empty(lead, dtype), np.empty(lead, dtype)
    kernels.call("layer_norm", [out, mean, rstd], [x, w, b], ia=(ndim,), fa=(1e-5,))
    for got, wanted in zip((out, mean, rstd), expected, strict=True):
        close(got, wanted, dtype)
    kernels.call("layer_norm", [out, None, None], [x, w, b], ia=(ndim,), fa=(1e-5,))
    close(out, expected[0], dtype)
    for needs in (1, 2, 4, 7):
        shapes = [s if needs >> k & 1 else (0,) for k, s in enumerate((shape, normal, normal))]
        outs = [np.empty(s, dtype) for s in shapes]
        kernels.call("layer_norm_backward", outs, [g, x, w, mean, rstd], ia=(ndim, needs),
                     work_bytes=64 * int(np.prod(normal)) * x.itemsize)
        expected = reference.layer_norm_backward(*double(g, x, w, mean, rstd), ndim, needs)
        for got, wanted in zip(outs, expected, strict=True):
            close(got, wanted, dtype, 20)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", ["", "w", "b", "wb"])
@pytest.mark.parametrize("shape", [(6, 3), (4, 33), (2, 3, 4), (2, 3, 5, 7), (300, 20), (0, 3),
                                   (8, 5, 40, 40), (3, 0), (5, 17, 1)])
def test_batch_norm(shape, affine, dtype):
    c = shape[1]
    x, g, w, b = arrays(0, dtype, shape, shape, c, c)
    x = x * 3 + 10
    w, b = w if "w" in affine else None, b if "b" in affine else None
    with np.errstate(all="ignore"):
        expected = reference.batch_norm(*double(x, w, b), 1e-5)
    out, mean, var = np.empty_like(x), np.empty(c, dtype), np.empty(c, dtype)
    kernels.call("batch_norm", [out, mean, var], [x, w, b], fa=(1e-5,))
    for got, wanted in zip((out, mean, var), expected, strict=True):
        close(got, wanted, dtype)
    kernels.call("batch_norm_inference", [out], [x, mean, var, w, b], fa=(1e-5,))
    close(out, reference.batch_norm_inference(*double(x, mean, var, w, b), 1e-5), dtype)
    if not x.size:
        return
    for needs in (1, 2, 4, 7):
        outs = [np.empty(s if needs >> k & 1 else (0,), dtype)
                for k, s in enumerate((shape, c, c))]
        kernels.call("batch_norm_backward", outs, [g, x, w, mean, var], ia=(needs,), fa=(1e-5,))
        expected = reference.batch_norm_backward(*double(g, x, w, mean, var), needs, 1e-5)
        for got, wanted in zip(outs, expected, strict=True):
            close(got, wanted, dtype, 20)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [None, np.array(4), np.array(4.0, np.float32)])
def test_running_statistics(count, dtype):
    mean, var, m, v = arrays(0, dtype, 5, 5, 5, 5)
    expected = reference.batch_norm_update_(mean, var, m, v, count, 12, 0.1)
    kernels.call("batch_norm_update_", [], [mean, var, m, v, count], ia=(12,), fa=(0.1,))
    close(mean, expected[0], dtype)
    close(var, expected[1], dtype)


def test_threads_do_not_change_the_result():
    x, g, w, b = arrays(0, np.float32, (1000, 96), (1000, 96), 96, 96)
    rstd, mean = np.ones(1000, np.float32), np.zeros(1000, np.float32)
    before, seen = kernels.num_threads(), set()
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            outs = [np.empty_like(a) for a in (x, w, b)]
            kernels.call("layer_norm_backward", outs, [g, x, w, mean, rstd], ia=(1, 7),
                         work_bytes=64 * 96 * 4)
            seen.add(b"".join(o.tobytes() for o in outs))
    finally:
        kernels.set_num_threads(before)
    assert len(seen) == 1


def test_a_large_mean_costs_no_digits():
    x = (np.random.default_rng(0).standard_normal((3, 1000)) + 1e4).astype(np.float32)
    out, rstd = np.empty_like(x), np.empty(3, np.float32)
    kernels.call("layer_norm", [out, None, rstd], [x, None, None], ia=(1,), fa=(0.0,))
    np.testing.assert_allclose(rstd, 1 / x.astype(np.float64).std(axis=1), rtol=1e-4)
