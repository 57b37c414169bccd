"""Reductions against their twins: axes, layouts, dtypes, special values, accuracy, threads.

Invariant: a result is the same for every number of threads, bit for bit.
"""

import itertools

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")

FLOATS = (np.float32, np.float64)
INTS = (np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64)
REDUCTIONS = ("sum", "mean", "max", "min", "any", "all", "var", "logsumexp")
OF_INTEGERS = ("sum", "max", "min", "any", "all")


def drawn(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return np.asarray(rng.standard_normal(shape), dtype)
    return np.asarray(rng.integers(0 if np.dtype(dtype).kind in "ub" else -9, 9, shape), dtype)


def layouts(dtype):
    yield drawn((), dtype)
    yield drawn((1,), dtype)
    yield drawn((37,), dtype)
    yield drawn((3, 5, 4), dtype)
    yield drawn((70, 300), dtype)
    yield drawn((300, 70), dtype).T
    yield drawn((2, 3, 40, 5), dtype).transpose(2, 0, 3, 1)
    yield drawn((6, 90), dtype)[::-1, ::-3]
    yield drawn((4, 600), dtype)[:, ::2]
    yield np.broadcast_to(drawn((5, 1), dtype), (5, 40))
    yield np.broadcast_to(drawn((), dtype), (3, 4))
    yield np.broadcast_to(drawn((1, 40), dtype), (5, 40))


def every_axes(ndim):
    for count in range(ndim + 1):
        yield from itertools.combinations(range(ndim), count)


def run(name, x, axes, keepdims=0, fa=()):
    bits = sum(1 << a for a in axes)
    with np.errstate(all="ignore"):
        want = getattr(reference, name)(x, bits, keepdims, *fa)
    out = np.empty(want.shape, want.dtype)
    kernels.call(name, [out], [x], (bits, keepdims), fa)
    return out, want


def check(name, x, axes, keepdims=0, fa=()):
    out, want = run(name, x, axes, keepdims, fa)
    if out.dtype.kind == "f" and name not in ("max", "min"):
        eps = np.finfo(out.dtype).eps
        np.testing.assert_allclose(out, want, rtol=4 * eps, atol=4 * eps * np.sqrt(x.size + 1))
    else:
        np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_floats(name, dtype):
    for x in layouts(dtype):
        for axes in every_axes(x.ndim):
            for keepdims in (0, 1):
                check(name, x, axes, keepdims, (1.0,) if name == "var" else ())


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("name", OF_INTEGERS)
def test_integers(name, dtype):
    for x in layouts(dtype):
        for axes in every_axes(x.ndim):
            check(name, x, axes)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_outputs_may_be_strided(name):
    x = drawn((6, 20, 5), np.float32)
    fa = (0.0,) if name == "var" else ()
    want = getattr(reference, name)(x, 1, 0, *fa)
    out = np.empty((5, 40), want.dtype).T[::2]
    kernels.call(name, [out], [x], (1, 0), fa)
    np.testing.assert_allclose(out, want, rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nothing(dtype):
    x = np.empty((0, 3), dtype)
    for name in ("sum", "mean", "any", "all", "var", "logsumexp"):
        fa = (1.0,) if name == "var" else ()
        check(name, x, (0,), 0, fa)
        check(name, x, (0, 1), 1, fa)
        check(name, x, (1,), 0, fa)
        check(name, np.empty((2, 0, 50), dtype), (1,), 0, fa)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sum_to(dtype):
    for x, shape in [((2, 3), (3,)), ((2, 3), (1, 3)), ((4, 2, 3), (2, 1)), ((4, 2, 3), ()),
                     ((4, 2, 3), (4, 2, 3)), ((5, 1, 60), (60,)), ((5, 1, 60), (1, 60)),
                     ((0, 3), (1, 3)), ((2, 3, 4), (3, 1)), ((3,), (1,)), ((), ())]:
        x = drawn(x, dtype)
        want = reference.sum_to(x, *shape)
        out = np.empty(shape, dtype)
        kernels.call("sum_to", [out], [x], shape)
        np.testing.assert_allclose(out, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values(dtype):
    x = drawn((40, 90), dtype)
    x[3, 5], x[7, 11], x[8, 12] = np.nan, np.inf, -np.inf
    x[9] = -np.inf
    x[10] = np.inf
    for name in ("sum", "mean", "max", "min", "logsumexp", "any", "all"):
        for axes in ((0,), (1,), (0, 1)):
            check(name, x, axes)
            check(name, x.T, axes)
    big = np.array([[1000.0, 1000.0], [-1000.0, -1000.0], [-np.inf, -1e4]], dtype)
    check("logsumexp", big, (1,))
    y = np.zeros((3, 100), dtype)
    y[1, 57] = np.nan
    for name in ("any", "all", "max", "min"):
        check(name, y, (1,))
    check("max", np.full((2, 3), -np.inf, dtype), (1,))


def test_var_of_one_and_of_nothing_left():
    for n, correction in ((1, 0.0), (1, 1.0), (2, 3.0)):
        check("var", drawn((n, 20), np.float64), (0,), 0, (correction,))
        check("var", drawn((20, n), np.float64), (1,), 0, (correction,))
    far = (drawn((5000,), np.float64) + 1e8).astype(np.float64)
    check("var", far, (0,), 0, (0.0,))
    far = (drawn((5000,), np.float32) + 1e4).astype(np.float32)
    check("var", far, (0,), 0, (0.0,))


def test_float32_sums_of_millions():
    ones = np.ones(10_000_000, np.float32)
    assert run("sum", ones, (0,))[0] == 1e7
    x = np.full((1 << 20, 3), 0.1, np.float32)
    out, want = run("sum", x, (0,))
    np.testing.assert_array_equal(out, want)
    out, want = run("sum", np.full((1 << 18, 40), 0.1, np.float32), (0,))
    np.testing.assert_array_equal(out, want)
    assert abs(run("mean", x, (0, 1))[0] - np.float32(0.1)) < 1e-8


@pytest.mark.parametrize("name", REDUCTIONS)
def test_results_do_not_depend_on_threads(name):
    fa = (0.0,) if name == "var" else ()
    cases = [(drawn((400_001,), np.float32), (0,)), (drawn((3000, 300), np.float32), (0,)),
             (drawn((3000, 300), np.float32), (1,)), (drawn((300_000, 3), np.float32), (0,)),
             (drawn((3, 200_000), np.float64), (1,)), (drawn((40, 50, 300), np.float32), (0, 2))]
    before = kernels.num_threads()
    try:
        for x, axes in cases:
            results = []
            for n in (1, 2, 5):
                kernels.set_num_threads(n)
                results.append(run(name, x, axes, 0, fa))
            for out, want in results:
                np.testing.assert_array_equal(out, results[0][0])
                np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-5)
    finally:
        kernels.set_num_threads(before)


@pytest.mark.parametrize("dtype", FLOATS + INTS)
@pytest.mark.parametrize("name", ("argmax", "argmin"))
def test_arg(name, dtype):
    for x in layouts(dtype):
        for axis in range(-1, x.ndim):
            if axis < 0 or x.shape[axis]:
                want = getattr(reference, name)(x, axis, 0)
                kernels.call(name, [out := np.empty(want.shape, np.int64)], [x], (axis, 0))
                np.testing.assert_array_equal(out, want)
    if dtype in FLOATS:
        x = drawn((3, 700), dtype)
        x[0, 300], x[1, [5, 600]], x[2] = np.nan, np.inf, -np.inf
        for y in (x, -x, x[:, ::-1]):
            kernels.call(name, [out := np.empty(3, np.int64)], [y], (1, 0))
            np.testing.assert_array_equal(out, getattr(reference, name)(y, 1, 0))


@pytest.mark.parametrize("dtype", FLOATS + INTS)
def test_cumulative_sum(dtype):
    for x in layouts(dtype):
        for axis in range(x.ndim):
            want = reference.cumulative_sum(x, axis)
            kernels.call("cumulative_sum", [out := np.empty_like(want)], [x], (axis,))
            np.testing.assert_allclose(out, want, rtol=1e-6, atol=1e-6)
    kernels.call("cumulative_sum", [np.empty((2, 0))], [np.empty((2, 0))], (1,))


def test_wrong_dtypes_are_refused():
    for name in ("mean", "logsumexp", "sum", "max"):
        with pytest.raises(ValueError, match="dtypes"):
            kernels.call(name, [np.empty((), np.int32)], [np.arange(3)], (1, 0))
