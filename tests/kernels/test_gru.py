"""gru against its twin: sizes, absent biases, gates kept or not."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")
SIZES = [(3, 2, 3, 2), (1, 1, 1, 1), (5, 1, 4, 17), (0, 2, 3, 2), (4, 0, 3, 2), (300, 4, 5, 8),
         (40, 33, 20, 16), (3, 700, 2, 3)]


def layer(steps, batch, inputs, hidden, dtype, biases):
    rng = np.random.default_rng(0)
    shapes = [(steps, batch, inputs), (batch, hidden), (3 * hidden, inputs),
              (3 * hidden, hidden)] + [(3 * hidden,)] * 2
    made = [(rng.standard_normal(s) * 0.5).astype(dtype) for s in shapes]
    return made[:4] + [b if k < biases else None for k, b in enumerate(made[4:])]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_forward_and_backward(size, biases, dtype):
    steps, batch, inputs, hidden = size
    args = layer(*size, dtype, biases)
    wide = [None if a is None else a.astype(np.float64) for a in args]
    expected = reference.gru(*wide)
    outs = [np.full(a.shape, np.nan, dtype) for a in expected]
    chunk = min(steps, 512 // max(batch, 1) + 1)
    work = (chunk * batch + 1) * 4 * hidden * args[0].itemsize
    kernels.call("gru", outs, args, work_bytes=work)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for got, wanted in zip(outs, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    bare = [np.full_like(outs[0], np.nan), None]
    kernels.call("gru", bare, args, work_bytes=work)
    np.testing.assert_array_equal(bare[0], outs[0])

    g = np.random.default_rng(1).standard_normal(outs[0].shape).astype(dtype)
    work = (chunk * batch * 4 + batch) * hidden * args[0].itemsize
    for needs in (31, 7, 8, 20):
        shapes = [a.shape for a in args[:4]] + [(4 * hidden,)]
        grads = [np.full(s if needs >> k & 1 else (0,), np.nan, dtype)
                 for k, s in enumerate(shapes)]
        kernels.call("gru_backward", grads, [g, *args[:4], *outs], ia=(needs,), work_bytes=work)
        wanted = reference.gru_backward(g.astype(np.float64), *wide[:4], *expected, needs)
        for got, want in zip(grads, wanted, strict=True):
            scale = max(np.abs(want).max(initial=0), 1)
            np.testing.assert_allclose(got, want, rtol=10 * tolerance, atol=10 * tolerance * scale)
