"""attention against its twin: blocks, masks, causal, transposed and broadcast layouts."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")


def run(q, k, v, mask, causal, scale, g, threads=None):
    """(out, lse, dq, dk, dv) of the compiled kernels."""
    dtype, size = q.dtype, q.dtype.itemsize
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    length = q.shape[-2]
    out = np.full((*batch, length, v.shape[-1]), np.nan, dtype)
    lse = np.full((*batch, length), np.nan, dtype)
    threads = kernels.num_threads()
    kernels.call("attention", [out, lse], [q, k, v, mask], ia=(causal,), fa=(scale,),
                 work_bytes=threads * 64 * 258 * size)
    grads = [np.full((*batch, *x.shape[-2:]), np.nan, dtype) for x in (q, k, v)]
    rows = int(np.prod(batch)) * length
    kernels.call("attention_backward", grads, [g, q, k, v, mask, out, lse], ia=(causal,),
                 fa=(scale,), work_bytes=(threads * 2 * 64 * 256 + rows) * size)
    return out, lse, *grads


def check(q, k, v, mask, causal, scale=0.3, g=None):
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    rng = np.random.default_rng(7)
    if g is None:
        g = rng.standard_normal((*batch, q.shape[-2], v.shape[-1])).astype(q.dtype)
    got = run(q, k, v, mask, causal, scale, g)
    wide = [x.astype(np.float64) for x in (q, k, v)]
    wide_mask = mask if mask is None or mask.dtype == bool else mask.astype(np.float64)
    out, lse = reference.attention(*wide, wide_mask, causal, scale)
    expected = out, lse, *reference.attention_backward(g, *wide, wide_mask, out, lse, causal, scale)
    tolerance = 2e-5 if q.dtype == np.float32 else 1e-12
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, np.broadcast_to(b, a.shape), rtol=tolerance, atol=tolerance)


def qkv(batch, length, s, e, ev, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((*batch, *shape)).astype(dtype)
            for shape in ((length, e), (s, e), (s, ev))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("batch, length, s, e, ev", [
    ((), 3, 4, 2, 2), ((2,), 5, 3, 4, 6), ((2, 3), 70, 65, 8, 8), ((), 130, 300, 16, 5),
    ((1,), 300, 600, 4, 4), ((2,), 3, 0, 2, 2), ((2,), 0, 3, 2, 2), ((0,), 2, 3, 2, 2),
    ((3,), 1, 1, 1, 1), ((7,), 64, 256, 32, 32)])
def test_shapes(batch, length, s, e, ev, causal, dtype):
    check(*qkv(batch, length, s, e, ev, dtype), None, causal)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(70, 300), (1, 300), (70, 1), (2, 1, 1, 300), (3, 70, 300), (),
                                   (300,)])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_masks(kind, shape, dtype):
    q, k, v = qkv((2, 3), 70, 300, 8, 8, dtype)
    rng = np.random.default_rng(3)
    mask = np.asarray(rng.random(shape) < 0.6 if kind == "bool" else rng.standard_normal(shape))
    mask = mask if kind == "bool" else mask.astype(dtype)
    check(q, k, v, mask, False)
    check(q, k, v, mask, True)


def test_a_row_without_keys_gives_zeros():
    q, k, v = qkv((), 4, 5, 2, 2, np.float64)
    mask = np.ones((4, 5), bool)
    mask[1] = False
    out, lse, dq, dk, dv = run(q, k, v, mask, 0, 1.0, np.ones((4, 2)))
    assert (out[1] == 0).all() and np.isposinf(lse[1]) and (dq[1] == 0).all()
    assert np.isfinite(out).all() and np.isfinite(dk).all() and np.isfinite(dv).all()
    check(q, k, v, np.where(mask, 0, -np.inf), 0)


def test_layouts():
    """Heads split from one axis, transposed matrices, a batch of keys that broadcasts."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 10, 3, 3, 4))
    q, k, v = (np.moveaxis(x[:, :, n], 2, 1) for n in range(3))
    check(q, k, v, None, True)
    t = [np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2) for a in (q, k, v)]
    check(*t, None, False, g=np.ascontiguousarray(q.swapaxes(-1, -2)).swapaxes(-1, -2))
    check(q, k[:1], v[:1, :1], None, False)
    check(q, np.broadcast_to(k[:1], k.shape), v, np.broadcast_to(np.array(True), (10, 10)), False)


def test_backward_reads_out_and_lse_by_their_strides():
    q, k, v = qkv((2, 3), 5, 7, 4, 4, np.float64)
    out, lse = reference.attention(q, k, v, None, 0, 0.5)
    expected = reference.attention_backward(q, q, k, v, None, out, lse, 0, 0.5)
    out = np.ascontiguousarray(out.T).T
    lse = np.repeat(lse, 2, axis=-1)[..., ::2]
    grads = [np.empty_like(a) for a in (q, k, v)]
    work = (kernels.num_threads() * 2 * 64 * 256 + 30) * 8
    kernels.call("attention_backward", grads, [q, q, k, v, None, out, lse], ia=(0,), fa=(0.5,),
                 work_bytes=work)
    for a, b in zip(grads, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_large_scores_do_not_overflow():
    q, k, v = qkv((), 8, 300, 4, 4, np.float32)
    out, *grads = run(q * 100, k * 100, v, None, 0, 1.0, np.ones((8, 4), np.float32))
    assert np.isfinite(out).all() and all(np.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch, length, heads, d", [
    ((2,), 5, 3, 4), ((), 70, 2, 8), ((2, 1), 130, 2, 32), ((1,), 300, 1, 5), ((3,), 1, 2, 2)])
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention(batch, length, heads, d, causal, dtype):
    rng = np.random.default_rng(9)
    x = rng.standard_normal((*batch, length, 3 * heads * d)).astype(dtype)
    g = rng.standard_normal((*batch, length, heads * d)).astype(dtype)
    wide = x.astype(np.float64)
    out, lse = reference.self_attention(wide, causal, heads, 0.3)
    want = reference.self_attention_backward(g.astype(np.float64), wide, out, lse, causal, 0.3)
    threads, size = kernels.num_threads(), dtype().itemsize
    got = [np.full(a.shape, np.nan, dtype) for a in (out, lse, want)]
    kernels.call("self_attention", got[:2], [x], ia=(causal, heads), fa=(0.3,),
                 work_bytes=threads * 64 * 258 * size)
    kernels.call("self_attention_backward", got[2:], [g, x, *got[:2]], ia=(causal,), fa=(0.3,),
                 work_bytes=(threads * 2 * 64 * 256 + lse.size) * size)
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for a, b in zip(got, (out, lse, want), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_threads_do_not_change_the_result():
    q, k, v = qkv((3,), 200, 300, 16, 16, np.float32)
    before, seen = kernels.num_threads(), set()
    try:
        for threads in (1, 2, 3, 4):
            kernels.set_num_threads(threads)
            seen.add(b"".join(a.tobytes() for a in run(q, k, v, None, 1, 0.25, q)))
    finally:
        kernels.set_num_threads(before)
    assert len(seen) == 1
