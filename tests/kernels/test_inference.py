"""conv2d_relu and linear_relu against their twins: each way that the kernels go, sizes, NaN."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")

# x, weight, stride, padding, dilation
CASES = {
    "few taps": ((3, 1, 28, 28), (32, 1, 3, 3), (1, 1), (1, 1), (1, 1)),
    "few taps, odd": ((2, 1, 7, 37), (5, 1, 3, 3), (1, 1), (1, 1), (1, 1)),
    "few taps, stride, dilation": ((2, 1, 11, 40), (9, 1, 2, 3), (2, 1), (0, 1), (1, 2)),
    "tiles": ((3, 32, 14, 14), (64, 32, 3, 3), (1, 1), (1, 1), (1, 1)),
    "tiles, odd": ((2, 17, 9, 11), (33, 17, 3, 3), (1, 1), (1, 0), (1, 1)),
    "tiles, much padding": ((2, 16, 3, 4), (16, 16, 3, 3), (1, 1), (4, 5), (1, 1)),
    "tiles, one row": ((1, 16, 2, 3), (16, 16, 3, 3), (1, 1), (1, 1), (1, 1)),
    "tiles, bands": ((1, 16, 40, 50), (16, 16, 3, 3), (1, 1), (1, 1), (1, 1)),
    "channels": ((2, 18, 7, 9), (20, 18, 2, 3), (1, 1), (0, 1), (1, 1)),
    "channels, stride": ((2, 17, 11, 20), (16, 17, 3, 2), (2, 3), (1, 2), (1, 1)),
    "channels, bands": ((1, 6, 60, 70), (5, 6, 3, 3), (1, 1), (1, 1), (1, 1)),
    "one by one": ((3, 5, 6, 4), (7, 5, 1, 1), (1, 1), (0, 0), (1, 1)),
    "no channel in": ((2, 0, 5, 6), (4, 0, 3, 2), (1, 1), (0, 0), (1, 1)),
    "no channel in, long rows": ((2, 0, 5, 20), (4, 0, 3, 2), (1, 1), (0, 0), (1, 1)),
    "no image": ((0, 3, 5, 6), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1)),
}
POOLED = [case for case in CASES if case not in ("tiles, one row",)]


def make(case, dtype, pool, seed=0):
    shape, weight, *geo = CASES[case]
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(s).astype(dtype) for s in (shape, weight))
    bias = rng.standard_normal(weight[0]).astype(dtype)
    return x, w, bias, (*geo[0], *geo[1], *geo[2], int(pool))


def conv_relu(x, w, bias, ia):
    """The kernel, with the scratch that the operation declares."""
    import autodiff as ad
    block = ad.conv2d_relu.op
    attrs = {"stride": ia[:2], "padding": ia[2:4], "dilation": ia[4:6], "pool": bool(ia[6])}
    plan = block.infer(x, w, bias, *attrs.values())
    out = np.full(plan.outputs[0][0], np.nan, x.dtype)
    work = block.scratch(plan, x, w, bias, threads=kernels.num_threads(), **attrs)
    kernels.call("conv2d_relu", [out], [x, w, bias], plan.ia, work_bytes=work)
    return out


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_conv2d_relu(case, dtype, pool):
    if pool and case not in POOLED:
        pytest.skip("no window fits")
    x, w, bias, ia = make(case, dtype, pool)
    terms = int(np.prod(w.shape[1:]))
    atol = 64 * np.finfo(dtype).eps * (terms + 1) ** 0.5
    for b in (bias, None):
        want = reference.conv2d_relu(x, w, b, *ia)
        np.testing.assert_allclose(conv_relu(x, w, b, ia), want, rtol=0, atol=atol)


@pytest.mark.parametrize("case", ["few taps", "tiles", "tiles, bands", "channels, bands"])
def test_conv2d_relu_does_not_depend_on_the_threads(case):
    before, results = kernels.num_threads(), []
    try:
        for n in (1, 2, 3, 5):
            kernels.set_num_threads(n)
            results.append(conv_relu(*make(case, np.float32, True)).tobytes())
    finally:
        kernels.set_num_threads(before)
    assert len(set(results)) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("case", ["few taps", "tiles", "channels", "tiles, odd"])
def test_what_is_not_finite_stays_where_it_is_read(case, pool, value):
    x, w, bias, ia = make(case, np.float32, pool)
    x[0, 0, 3, 4] = value
    with np.errstate(over="ignore", invalid="ignore"):
        want = reference.conv2d_relu(x, w, bias, *ia)
        got = conv_relu(x, w, bias, ia)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(want))


def test_tiles_err_no_more_than_twice_what_sums_do():
    """Against float64: minimal filtering and the plain sum of the same 288 terms."""
    x, w, bias, ia = make("tiles", np.float32, False)
    exact = reference.conv2d_relu(*(a.astype(np.float64) for a in (x, w, bias)), *ia)
    tiles = np.abs(conv_relu(x, w, bias, ia) - exact).max()
    sums = np.abs(reference.conv2d_relu(x, w, bias, *ia) - exact).max()
    assert tiles < 2 * sums + 1e-6 and tiles < 2e-5


def test_a_missing_scratch_is_refused():
    x, w, bias, ia = make("tiles", np.float32, True)
    with pytest.raises(ValueError):
        kernels.call("conv2d_relu", [reference.conv2d_relu(x, w, bias, *ia)], [x, w, bias], ia)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m, n, k", [
    (1, 512, 784), (1, 1, 1), (1, 7, 33), (128, 10, 64), (5, 13, 100), (3, 6, 2100), (130, 7, 17),
    (200, 3, 40), (4, 4, 0), (0, 4, 3), (66, 25, 1030)])
def test_linear_relu(m, n, k, dtype):
    rng = np.random.default_rng(m + n + k)
    x, w, bias = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (n, k), (n,)))
    before = kernels.num_threads()
    for b in (bias, None):
        want, found = reference.linear_relu(x, w, b), []
        for threads in (1, 2, 3):
            out = np.full((m, n), np.nan, dtype)
            kernels.set_num_threads(threads)
            kernels.call("linear_relu", [out], [x, w, b])
            found.append(out)
        kernels.set_num_threads(before)
        np.testing.assert_allclose(found[0], want, rtol=0,
                                   atol=16 * np.finfo(dtype).eps * (k + 1) ** 0.5)
        assert all(f.tobytes() == found[0].tobytes() for f in found)


def test_linear_relu_keeps_nan():
    x, w = np.ones((3, 20), np.float32), np.ones((7, 20), np.float32)
    x[1, 3] = np.nan
    out = np.zeros((3, 7), np.float32)
    kernels.call("linear_relu", [out], [x, w, None])
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x).any(1)[:, None] & (w > 0).any(1))
