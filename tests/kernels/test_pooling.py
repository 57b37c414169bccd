"""Poolings against their twins: overlap, padding, dilation, ceil_mode, NaN, ties, place types."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")

# x, kernel, stride, padding, dilation, ceil_mode
CASES = {
    "halves": ((2, 3, 6, 8), (2, 2), (2, 2), (0, 0), (1, 1), 0),
    "leaves a rest": ((2, 1, 7, 9), (2, 2), (2, 2), (0, 0), (1, 1), 0),
    "ceil": ((2, 1, 7, 9), (2, 2), (2, 2), (0, 0), (1, 1), 1),
    "overlap": ((1, 2, 9, 40), (3, 3), (2, 2), (1, 1), (1, 1), 0),
    "overlap, ceil": ((1, 2, 8, 10), (3, 3), (2, 2), (1, 1), (1, 1), 1),
    "every place": ((1, 2, 6, 40), (3, 2), (1, 1), (1, 1), (1, 1), 0),
    "stride 3": ((1, 2, 9, 11), (2, 3), (3, 3), (0, 1), (1, 1), 0),
    "larger stride": ((1, 2, 9, 11), (2, 2), (4, 5), (1, 1), (1, 1), 1),
    "whole image": ((2, 2, 5, 6), (5, 6), (5, 6), (0, 0), (1, 1), 0),
    "int16 places": ((1, 1, 20, 20), (17, 17), (1, 1), (2, 2), (1, 1), 0),
    "int32 places": ((1, 1, 182, 182), (182, 182), (1, 1), (0, 0), (1, 1), 0),
    "halves, long rows": ((2, 3, 7, 21), (2, 2), (2, 2), (0, 0), (1, 1), 0),
    "halves, longer than a block": ((1, 2, 5, 2060), (2, 2), (2, 2), (0, 0), (1, 1), 0),
    "many planes": ((8, 16, 28, 28), (2, 2), (2, 2), (0, 0), (1, 1), 0),
    "empty": ((0, 3, 6, 8), (2, 2), (2, 2), (0, 0), (1, 1), 0),
    "dilation": ((1, 2, 9, 11), (3, 2), (1, 2), (1, 0), (2, 3), 0),
    "dilation over the image": ((1, 1, 1, 4), (2, 2), (1, 1), (1, 1), (3, 1), 0),
}
AVERAGE = [case for case in CASES if "dilation" not in case and "int" not in case]


def filled(like, value):
    """A contiguous array of the shape and dtype of `like`, which a twin may lay out otherwise."""
    return np.full(like.shape, value, like.dtype)


def make(case, dtype):
    shape, kernel, stride, padding, dilation, ceil_mode = CASES[case]
    x = np.random.default_rng(0).integers(-5, 6, shape).astype(dtype)       # many ties
    return x, (*kernel, *stride, *padding, *dilation, ceil_mode)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_max_pool2d(case, dtype):
    x, ia = make(case, dtype)
    want, want_place = reference.max_pool2d(x, *ia)
    out, place = filled(want, np.nan), filled(want_place, 99)
    kernels.call("max_pool2d", [out, place], [x], ia)
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(place, want_place)
    alone = filled(want, np.nan)
    kernels.call("max_pool2d", [alone, None], [x], ia)
    np.testing.assert_array_equal(alone, want)

    g = np.random.default_rng(1).integers(-5, 6, out.shape).astype(dtype)
    gx = filled(x, np.nan)
    kernels.call("max_pool2d_backward", [gx], [g, place], (*ia, *x.shape[2:]))
    np.testing.assert_array_equal(gx, reference.max_pool2d_backward(g, place, *ia, *x.shape[2:]))
    picked = filled(out, np.nan)
    kernels.call("max_pool2d_gather", [picked], [x, place], ia)
    np.testing.assert_array_equal(picked, reference.max_pool2d_gather(x, place, *ia))
    if case != "dilation over the image":
        np.testing.assert_array_equal(picked, out)


@pytest.mark.parametrize("values", [[np.nan, 1.0], [-np.inf, -np.inf], [np.inf, np.nan, -np.inf]])
@pytest.mark.parametrize("case", ["halves", "overlap", "every place", "dilation"])
def test_max_pool2d_of_special_values(case, values):
    x, ia = make(case, np.float64)
    x[...] = np.random.default_rng(2).choice(values, x.shape)
    want, want_place = reference.max_pool2d(x, *ia)
    out, place = filled(want, np.nan), filled(want_place, 99)
    kernels.call("max_pool2d", [out, place], [x], ia)
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(place, want_place)


def test_a_wrong_place_touches_nothing_outside():
    g, place = np.ones((1, 1, 2, 2)), np.full((1, 1, 2, 2), 255, np.uint8)
    gx = np.full((1, 1, 4, 4), np.nan)
    kernels.call("max_pool2d_backward", [gx], [g, place], (2, 2, 2, 2, 0, 0, 1, 1, 0, 4, 4))
    assert not gx.any()


@pytest.mark.parametrize("include_pad", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", AVERAGE)
def test_avg_pool2d(case, dtype, include_pad):
    x, ia = make(case, dtype)
    ia = (*ia[:6], ia[8], include_pad)
    want = reference.avg_pool2d(x, *ia)
    out = filled(want, np.nan)
    kernels.call("avg_pool2d", [out], [x], ia)
    np.testing.assert_allclose(out, want, rtol=1e-6)
    g = np.random.default_rng(1).standard_normal(out.shape).astype(dtype)
    gx = filled(x, np.nan)
    kernels.call("avg_pool2d_backward", [gx], [g], (*ia, *x.shape[2:]))
    np.testing.assert_allclose(gx, reference.avg_pool2d_backward(g, *ia, *x.shape[2:]),
                               rtol=1e-5, atol=1e-6)
