"""rms_norm against its twin: widths, absent weights, several normalised axes, empty rows."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape, axes", [((3, 5), 1), ((7,), 1), ((2, 3, 4), 2), ((0, 3), 1),
                                         ((1000, 17), 1), ((65, 300), 1), ((4, 1), 1)])
def test_forward_and_backward(shape, axes, weighted, dtype):
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    weight = rng.standard_normal(shape[-axes:]).astype(dtype) if weighted else None
    wide = [None if a is None else a.astype(np.float64) for a in (g, x, weight)]
    expected = reference.rms_norm(*wide[1:], axes, 1e-3)
    out, rstd = np.full(shape, np.nan, dtype), np.full(shape[:-axes], np.nan, dtype)
    kernels.call("rms_norm", [out, rstd], [x, weight], ia=(axes,), fa=(1e-3,))
    tolerance = 2e-6 if dtype == np.float32 else 1e-13
    for got, wanted in ((out, expected[0]), (rstd, expected[1])):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    bare = np.full(shape, np.nan, dtype)
    kernels.call("rms_norm", [bare, None], [x, weight], ia=(axes,), fa=(1e-3,))
    np.testing.assert_array_equal(bare, out)

    rows = int(np.prod(shape[:-axes]))
    work = max(1, min(32, rows // 16)) * int(np.prod(shape[-axes:])) * x.itemsize
    for needs in (1, 2, 3):
        grads = [np.full(s if needs >> k & 1 else (0,), np.nan, dtype)
                 for k, s in enumerate((shape, shape[-axes:]))]
        kernels.call("rms_norm_backward", grads, [g, x, weight, rstd], ia=(axes, needs),
                     work_bytes=work)
        wanted = reference.rms_norm_backward(*wide, expected[1], axes, needs)
        for got, want in zip(grads, wanted, strict=True):
            scale = max(np.abs(want).max(initial=0), 1)
            np.testing.assert_allclose(got, want, rtol=0, atol=10 * tolerance * scale)
