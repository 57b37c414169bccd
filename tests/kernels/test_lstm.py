"""lstm against its twin: sizes, absent biases and cotangents, states kept or not."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")
SIZES = [(3, 2, 3, 2), (1, 1, 1, 1), (5, 1, 4, 17), (0, 2, 3, 2), (4, 0, 3, 2), (300, 4, 5, 8),
         (40, 33, 20, 16), (3, 700, 2, 3)]


def layer(steps, batch, inputs, hidden, dtype, biases):
    rng = np.random.default_rng(0)
    shapes = [(steps, batch, inputs), (batch, hidden), (batch, hidden), (4 * hidden, inputs),
              (4 * hidden, hidden)] + [(4 * hidden,)] * 2
    made = [(rng.standard_normal(s) * 0.5).astype(dtype) for s in shapes]
    return made[:5] + [b if k < biases else None for k, b in enumerate(made[5:])]


def chunk(steps, batch):
    return min(steps, 512 // max(batch, 1) + 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("packed", [False, True])
def test_forward_and_backward(packed, size, biases, dtype):
    steps, batch, inputs, hidden = size
    args = layer(*size, dtype, biases)
    wide = [None if a is None else a.astype(np.float64) for a in args]
    expected = reference.lstm(*wide)
    outs = [np.full(a.shape, np.nan, dtype) for a in expected]
    rows, panel = chunk(steps, batch) * batch, packed * 4 * hidden * -(-hidden // 32) * 32
    work = ((rows + 1) * 4 * hidden + panel) * args[0].itemsize
    kernels.call("lstm", outs, args, work_bytes=work)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for got, wanted in zip(outs, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    bare = [np.full_like(outs[0], np.nan), np.full_like(outs[1], np.nan), None, None]
    kernels.call("lstm", bare, args, work_bytes=work)
    np.testing.assert_array_equal(bare[0], outs[0])
    np.testing.assert_array_equal(bare[1], outs[1])

    rng = np.random.default_rng(1)
    g_out, g_cn = (rng.standard_normal(a.shape).astype(dtype) for a in outs[:2])
    work = ((rows * 4 + 2 * batch) * hidden + panel) * args[0].itemsize
    for g, needs in (((g_out, g_cn), 63), ((None, g_cn), 24), ((g_out, None), 7),
                     ((g_out, None), 40)):
        shapes = [a.shape for a in args[:5]] + [(4 * hidden,)]
        grads = [np.full(s if needs >> k & 1 else (0,), np.nan, dtype)
                 for k, s in enumerate(shapes)]
        kernels.call("lstm_backward", grads, [*g, *args[:5], outs[0], *outs[2:]], ia=(needs,),
                     work_bytes=work)
        wanted = reference.lstm_backward(*[None if a is None else a.astype(np.float64) for a in g],
                                         *wide[:5], expected[0], *expected[2:], needs)
        for got, want in zip(grads, wanted, strict=True):
            scale = max(np.abs(want).max(initial=0), 1)
            np.testing.assert_allclose(got, want, rtol=10 * tolerance, atol=10 * tolerance * scale)
