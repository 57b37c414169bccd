"""Elementwise kernels against their twins, over layouts, dtypes and special values.

Invariant: a kernel differs from its twin in the last places of floats only; the scalar functions
are held to units in the last place against float64 or long double.
"""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")

FLOATS = (np.float32, np.float64)
INTS = (np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64)

INTEGER_UNARY = ("negative", "abs", "sign", "square", "relu", "floor")
UNARY = {n: (-3, 3) for n in ("negative", "abs", "sign", "square", "floor", "ceil", "round", "exp",
                              "expm1", "sin", "cos", "erf", "tanh", "sigmoid", "relu", "silu")}
UNARY.update(sqrt=(0, 9), rsqrt=(0.1, 9), log=(0.01, 9), log1p=(-0.9, 9))
INTEGER_BINARY = ("add", "subtract", "multiply", "floor_divide", "remainder", "pow", "maximum",
                  "minimum")
BINARY = (*INTEGER_BINARY, "divide", "pow_slope", "tanh_backward", "sigmoid_backward",
          "relu_backward", "silu_backward")
TESTS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and",
         "logical_or", "logical_xor")
TESTS_OF_ONE = ("logical_not", "isnan", "isinf", "isfinite")


def layouts(make):
    """The same kind of values in every layout a strided kernel must take."""
    yield make(())
    yield make((0, 3))
    yield make((7,))
    yield make((3, 5, 4))
    yield make((700,))
    yield make((4, 600))[:, ::2]
    yield make((5, 4)).T
    yield make((4, 6))[::-1, ::-1]
    yield make((3, 4, 5)).transpose(1, 2, 0)[:, ::-1]
    yield np.broadcast_to(make((4, 1)), (4, 5))
    yield np.broadcast_to(make(()), (3, 300))


def like(x, dtype=None):
    """An output for `x`: contiguous, strided or transposed by turns."""
    out = np.empty(x.shape, dtype or x.dtype)
    if x.ndim == 2 and x.shape[0] % 2 == 0:
        return np.empty(x.shape[::-1], out.dtype).T
    return out


def check(name, ins, dtype=None, ia=(), fa=(), ulps=8):
    with np.errstate(all="ignore"):
        want = np.asarray(getattr(reference, name)(*ins, *ia, *fa))
    out = like(ins[-1], dtype or want.dtype)
    kernels.call(name, [out], ins, ia, fa)
    assert want.dtype == out.dtype
    if out.dtype.kind == "f":
        eps = np.finfo(out.dtype).eps
        np.testing.assert_allclose(out, want, rtol=ulps * eps, atol=ulps * eps, equal_nan=True)
    else:
        np.testing.assert_array_equal(out, want)


def uniform(low, high, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return lambda shape: np.asarray(rng.uniform(low, high, shape), dtype)


def integers(dtype, seed=0, low=-5):
    rng = np.random.default_rng(seed)
    low = 0 if np.dtype(dtype).kind in "ub" else low
    return lambda shape: np.asarray(rng.integers(low, 6, shape), dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    for x in layouts(uniform(*UNARY[name], dtype)):
        check(name, [x])


@pytest.mark.parametrize("dtype", INTS[1:])
@pytest.mark.parametrize("name", INTEGER_UNARY)
def test_unary_of_integers(name, dtype):
    for x in layouts(integers(dtype)):
        if name == "floor":
            kernels.call(name, [out := like(x)], [x])
            np.testing.assert_array_equal(out, x)
        else:
            check(name, [x])


@pytest.mark.parametrize("tanh_form", (0, 1))
@pytest.mark.parametrize("dtype", FLOATS)
def test_gelu(dtype, tanh_form):
    for x in layouts(uniform(-6, 6, dtype)):
        check("gelu", [x], ia=(tanh_form,), ulps=20)
        check("gelu_backward", [np.ones_like(x), x], ia=(tanh_form,), ulps=20)
    ends = np.array([np.inf, -np.inf, 100, -100, 0], dtype)
    out = np.empty_like(ends)
    kernels.call("gelu_backward", [out], [np.ones_like(ends), ends], ia=(tanh_form,))
    np.testing.assert_array_equal(out, np.array([1, 0, 1, 0, 0.5], dtype))
    kernels.call("gelu", [out[2:]], [ends[2:]], ia=(tanh_form,))
    np.testing.assert_allclose(out[2:], np.array([100, 0, 0], dtype), atol=1e-30)


@pytest.mark.parametrize("dtype", FLOATS)
def test_clip(dtype):
    for x in layouts(uniform(-3, 3, dtype)):
        for fa in ((-1.0, 1.0), (-np.inf, 0.5), (0.5, np.inf)):
            check("clip", [x], ia=(0, 0), fa=fa)
            check("clip_backward", [x, x], fa=fa)
    for x in layouts(integers(np.int16)):
        check("clip", [x], ia=(-2, 3), fa=(-2.0, 3.0))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, dtype):
    base = (0.2, 3) if name in ("pow", "pow_slope") else (-3, 3)
    make, other = uniform(*base, dtype), uniform(0.2, 3, dtype, 1)
    for x in layouts(make):
        y = other(x.shape)
        check(name, [x, y])
        check(name, [y, x] if name not in ("divide", "floor_divide", "remainder") else [x, x + 7])
        check(name, [x, np.broadcast_to(other(()), x.shape)])
        check(name, [np.broadcast_to(make(()), x.shape), y])
        if x.ndim == 2:
            check(name, [x, np.broadcast_to(other((x.shape[1],)), x.shape)])
            check(name, [x, np.broadcast_to(other((x.shape[0], 1)), x.shape)])


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("name", INTEGER_BINARY)
def test_binary_of_integers(name, dtype):
    if dtype == np.bool_ and name not in ("add", "multiply", "maximum", "minimum"):
        pytest.skip("not defined on bool")
    make, other = integers(dtype), integers(dtype, 1, low=1 if name == "pow" else -5)
    for x in layouts(make):
        check(name, [x, other(x.shape)])
        check(name, [x, np.broadcast_to(other(()), x.shape)])


def test_integer_edges():
    low = np.iinfo(np.int64).min
    x = np.array([low, low, 5, -7, -7, 7], np.int64)
    y = np.array([-1, 0, 0, 2, -2, -2], np.int64)
    for name in ("floor_divide", "remainder", "add", "multiply"):
        check(name, [x, y])
    out = np.empty(4, np.int64)
    kernels.call("pow", [out], [np.array([2, 1, -1, -1]), np.array([-1, -3, -3, -2])])
    np.testing.assert_array_equal(out, [0, 1, -1, 1])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("exponent", (-2, -1, 0, 0.5, 1, 1.5, 2, 3, 4, 5))
def test_pow_of_one_exponent(exponent, dtype):
    x = np.array([0, -0.0, 1, 0.3, 2, 7, np.inf, np.nan, *np.linspace(0.1, 3, 300)], dtype)
    y = np.broadcast_to(np.asarray(exponent, dtype), x.shape)
    check("pow", [x, y])
    check("pow_slope", [x, y])
    if exponent == int(exponent):
        check("pow", [-x, y])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ("add", "subtract", "multiply", "divide"))
def test_in_place(name, dtype):
    """An output may be one of its inputs, or both."""
    for shape in ((), (5,), (1000,), (30, 40)):
        x, y = uniform(-3, 3, dtype)(shape), uniform(1, 3, dtype, 1)(shape)
        want = getattr(reference, name)(x, y)
        a, b, c = np.array(x), np.array(y), np.array(y)
        kernels.call(name, [a], [a, y])
        kernels.call(name, [b], [x, b])
        np.testing.assert_array_equal(a, want)
        np.testing.assert_array_equal(b, want)
        kernels.call(name, [c], [c, c])
        np.testing.assert_array_equal(c, getattr(reference, name)(y, y))
    t = uniform(-3, 3, dtype)((30, 40)).T
    want = t * 2
    kernels.call("multiply", [t], [t, np.broadcast_to(np.asarray(2, dtype), t.shape)])
    np.testing.assert_array_equal(t, want)


@pytest.mark.parametrize("dtype", FLOATS + INTS)
@pytest.mark.parametrize("name", TESTS)
def test_tests(name, dtype):
    for x in layouts(integers(dtype)):
        y = integers(dtype, 1)(x.shape)
        check(name, [x, y])
        check(name, [x, np.broadcast_to(integers(dtype, 2)(()), x.shape)])
        check(name, [np.broadcast_to(integers(dtype, 2)(()), x.shape), y])


@pytest.mark.parametrize("dtype", FLOATS + INTS)
@pytest.mark.parametrize("name", TESTS_OF_ONE)
def test_tests_of_one(name, dtype):
    for x in layouts(integers(dtype)):
        check(name, [x])
    if dtype in FLOATS:
        check(name, [np.array([0, 1, np.inf, -np.inf, np.nan, -0.0], dtype)])


@pytest.mark.parametrize("dtype", FLOATS + INTS)
def test_where(dtype):
    for x in layouts(integers(dtype)):
        cond, y = integers(np.bool_, 3)(x.shape), integers(dtype, 1)(x.shape)
        zero = np.broadcast_to(np.zeros((), dtype), x.shape)
        check("where", [cond, x, y])
        check("where", [cond, x, zero])
        check("where", [cond, zero, y])
        check("where", [np.broadcast_to(np.array(True), x.shape), x, y])


@pytest.mark.parametrize("dtype", FLOATS)
def test_select_greater(dtype):
    for x in layouts(integers(dtype)):
        check("select_greater", [uniform(-1, 1, dtype)(x.shape), x, integers(dtype, 1)(x.shape)])


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, tiny, -tiny, 300 * tiny, 1e30, -1e30,
                  89, -104, 710, -746, 0.5, -0.5, 20, -20], dtype)
    for name in UNARY:
        with np.errstate(all="ignore"):
            want = np.asarray(getattr(reference, name)(x))
        kernels.call(name, [out := np.empty_like(x)], [x])
        np.testing.assert_allclose(out, want, rtol=20 * np.finfo(dtype).eps, atol=2 * tiny,
                                   err_msg=name)
        if name not in ("ceil", "round", "silu"):
            zero = want == 0
            np.testing.assert_array_equal(np.signbit(out[zero]), np.signbit(want[zero]), name)
    pairs = np.array(np.meshgrid(x, x), dtype).reshape(2, -1)
    for name in ("add", "multiply", "divide", "maximum", "minimum", "pow"):
        with np.errstate(all="ignore"):
            want = getattr(reference, name)(*pairs)
        kernels.call(name, [out := np.empty_like(want)], list(pairs))
        np.testing.assert_allclose(out, want, rtol=20 * np.finfo(dtype).eps, err_msg=name)


def exact(name):
    if name == "sigmoid":
        return lambda x: 1 / (1 + np.exp(-x))
    return reference.erf if name == "erf" else getattr(np, name)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf",
                                  "sin", "cos"))
def test_units_in_the_last_place(name, dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(20000), rng.uniform(-85, 85, 20000),
                        np.exp(rng.uniform(-80, 80, 20000)), -np.exp(rng.uniform(-80, 5, 20000)),
                        np.linspace(-2, 2, 20001)]).astype(dtype)
    if name.startswith("log"):
        x = np.abs(x) - (name == "log1p") * dtype(0.999) * (np.abs(x) < 1)
    wide = x.astype(np.float64 if dtype == np.float32 or name == "erf" else np.longdouble)
    with np.errstate(all="ignore"):
        want = exact(name)(wide)
        kernels.call(name, [out := np.empty_like(x)], [x])
        near = want.astype(dtype)
        fine = np.isfinite(near) & (np.abs(near) > np.finfo(dtype).tiny)
        np.testing.assert_array_equal(out[~np.isfinite(near)], near[~np.isfinite(near)])
        ulps = np.abs(out[fine] - want[fine]) / np.spacing(np.abs(near[fine]))
    assert ulps.max() <= 2


def test_pow_in_float32():
    rng = np.random.default_rng(0)
    x = np.exp(rng.uniform(-30, 30, 50000)).astype(np.float32)
    y = (rng.uniform(-80, 80, 50000) / np.log(x)).astype(np.float32)
    want = np.power(x.astype(np.float64), y)
    kernels.call("pow", [out := np.empty_like(x)], [x, y])
    assert (np.abs(out - want) / np.spacing(want.astype(np.float32))).max() < 0.51


def test_results_do_not_depend_on_threads():
    x = uniform(-3, 3, np.float32)((300_001,))
    before = kernels.num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            kernels.set_num_threads(n)
            kernels.call("exp", [out := np.empty_like(x)], [x])
            results.append(out)
    finally:
        kernels.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_wrong_dtypes_are_refused():
    with pytest.raises(ValueError, match="dtypes"):
        kernels.call("exp", [np.empty(3, np.int64)], [np.arange(3)])
    with pytest.raises(ValueError, match="dtypes"):
        kernels.call("add", [np.empty(3)], [np.ones(3), np.ones(3, np.float32)])
