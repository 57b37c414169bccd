"""matmul and linear against their twins: layouts, batches, 1-d operands, empty axes, beta."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")

SHAPES = [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((1, 3), (3, 1)),
          ((5, 1), (1, 7)), ((2, 2, 3), (2, 3, 2)), ((4, 2, 3), (3, 2)), ((2, 3), (5, 3, 2)),
          ((2, 1, 4, 3), (3, 3, 2)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((2, 5, 1, 3), (3, 4)),
          ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 2, 3), (3, 2)), ((2, 0), (0,)), ((0,), (0,)),
          ((2, 3), (3, 0)), ((100, 70), (70, 130)), ((300, 64), (64, 17)), ((9, 33, 40), (40, 50)),
          ((1, 500), (500, 600)), ((600, 500), (500,)), ((16, 40, 48), (16, 48, 40))]


def random(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def close(got, want, k):
    eps = np.finfo(got.dtype).eps
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * eps * (k + 1) ** 0.5 * 4)


def product(x, y, beta=0, start=None):
    want = reference.matmul(x, y)
    out = np.full(want.shape, np.nan, x.dtype) if start is None else start.copy()
    kernels.call("matmul", [out], [x, y], beta=beta)
    return out, want


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("x_shape, y_shape", SHAPES)
def test_matmul(x_shape, y_shape, dtype):
    rng = np.random.default_rng(0)
    x, y = random(rng, x_shape, dtype), random(rng, y_shape, dtype)
    out, want = product(x, y)
    close(out, want, x_shape[-1])
    start = random(rng, want.shape, dtype)
    added, _ = product(x, y, beta=1, start=start)
    close(added, start + want, x_shape[-1])


def transposed(a):
    return np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)


def padded(a):
    wide = np.zeros((*a.shape[:-1], a.shape[-1] + 3), a.dtype)
    wide[..., :-3] = a
    return wide[..., :-3]


def every_other(a):
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def batch_last(a):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, 1)), 1, 0)


def backwards(a):
    return np.ascontiguousarray(a[..., ::-1, ::-1])[..., ::-1, ::-1]


LAYOUTS = [np.asarray, transposed, padded, every_other, batch_last, backwards, np.asfortranarray]


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_matmul_layouts(left, right):
    rng = np.random.default_rng(1)
    for a, b in [((5, 7, 4), (5, 4, 6)), ((5, 7, 4), (4, 6)), ((1, 7, 4), (5, 4, 6)),
                 ((7, 4), (4, 1)), ((1, 4), (4, 6)), ((7, 1), (1, 6)), ((40, 30), (30, 50))]:
        x, y = left(random(rng, a, np.float64)), right(random(rng, b, np.float64))
        out, want = product(x, y)
        close(out, want, a[-1])


def test_matmul_broadcast_strides():
    rng = np.random.default_rng(2)
    x = np.broadcast_to(random(rng, (4,), np.float32), (3, 5, 4))
    y = np.broadcast_to(random(rng, (4, 6), np.float32), (3, 4, 6))
    out, want = product(x, y)
    close(out, want, 4)


def test_matmul_into_part_of_a_larger_array():
    rng = np.random.default_rng(3)
    x, y = random(rng, (5, 4), np.float64), random(rng, (4, 3), np.float64)
    large = np.zeros((5, 8))
    kernels.call("matmul", [large[:, 2:5]], [x, y])
    close(large[:, 2:5], x @ y, 4)
    assert not large[:, :2].any() and not large[:, 5:].any()
    across = np.zeros((3, 5))
    kernels.call("matmul", [across.T], [x, y])
    close(across.T, x @ y, 4)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_matmul_does_not_read_what_it_overwrites_and_keeps_nan():
    x, y = np.ones((3, 2)), np.ones((2, 3))
    x[1, 0] = np.nan
    out, want = product(x, y)
    np.testing.assert_array_equal(out, want)
    y[0, 0] = np.inf
    x[0, 0] = 0
    out, want = product(x, y)
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, n", [((2, 3), 4), ((3,), 2), ((2, 5, 3), 4), ((0, 3), 2),
                                      ((2, 0), 3), ((2, 3), 0), ((1, 64), 300), ((130, 70), 90),
                                      ((700, 20), 10)])
def test_linear(shape, n, dtype):
    rng = np.random.default_rng(4)
    x, weight = random(rng, shape, dtype), random(rng, (n, shape[-1]), dtype)
    for bias in (None, random(rng, (n,), dtype), every_other(random(rng, (n,), dtype))):
        for w in (weight, transposed(weight), every_other(weight)):
            want = reference.linear(x, w, bias)
            out = np.full(want.shape, np.nan, dtype)
            kernels.call("linear", [out], [x, w, bias])
            close(out, want, shape[-1])
            start = random(rng, want.shape, dtype)
            out = start.copy()
            kernels.call("linear", [out], [x, w, bias], beta=1)
            close(out, start + want, shape[-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m, n, k", [(4, 4, 2100), (5, 33, 300), (12, 32, 256), (16, 47, 257),
                                     (29, 65, 31), (61, 96, 40), (130, 79, 513), (500, 36, 17),
                                     (1000, 8, 8)])
def test_products_from_registers(m, n, k, dtype):
    """Tiles, panels and strips with and without a rest, several depths and heights."""
    rng = np.random.default_rng(7)
    for left, right in [(np.asarray, np.asarray), (transposed, np.asarray),
                        (np.asarray, transposed), (transposed, transposed), (padded, padded)]:
        x, y = left(random(rng, (m, k), dtype)), right(random(rng, (k, n), dtype))
        out, want = product(x, y)
        close(out, want, k)
        start = random(rng, want.shape, dtype)
        added, _ = product(x, y, beta=1, start=start)
        close(added, start + want, k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows, n, k", [(3, 2, 4), (1, 3, 2), (0, 3, 2), (4, 3, 0), (600, 45, 30),
                                        (257, 16, 128), (40, 130, 64), (2100, 65, 33)])
def test_linear_backward_weight(rows, n, k, dtype):
    rng = np.random.default_rng(8)
    for layout in (np.asarray, transposed, padded):
        g, x = layout(random(rng, (rows, n), dtype)), random(rng, (rows, k), dtype)
        for with_bias in (False, True):
            want = reference.linear_backward_weight(g, x, with_bias)
            outs = [np.full(w.shape, np.nan, dtype) for w in want]
            kernels.call("linear_backward_weight", outs, [g, x], ia=(with_bias,))
            for got, wanted in zip(outs, want, strict=True):
                close(got, wanted, 4 * rows)


def test_linear_of_a_transposed_batch():
    rng = np.random.default_rng(5)
    x, weight = random(rng, (6, 4, 3), np.float64).swapaxes(0, 1), random(rng, (5, 3), np.float64)
    out, bias = np.empty((4, 6, 5)), random(rng, (5,), np.float64)
    kernels.call("linear", [out], [x, weight, bias])
    close(out, reference.linear(x, weight, bias), 3)


def test_matmul_threads():
    rng = np.random.default_rng(6)
    before = kernels.num_threads()
    x, y = random(rng, (200, 150), np.float64), random(rng, (150, 170), np.float64)
    seen = set()
    try:
        for n in (1, 2, 3, 8):
            kernels.set_num_threads(n)
            out, want = product(x, y)
            close(out, want, 150)
            seen.add(out.tobytes())
    finally:
        kernels.set_num_threads(before)
    assert len(seen) == 1
