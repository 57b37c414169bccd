"""The random kernels: the published Philox vectors, bit equality with the twins, statistics."""

import numpy as np
import pytest

import kernels
from kernels import reference
from kernels.reference.random import _philox4x32

CODE = {np.float32: 6, np.float64: 7}
BASES = [np.array([0, 0]), np.array([-1, -1]), np.array([12345678901234567, 42])]
SHAPES = [(), (1,), (7,), (64,), (65,), (3, 100), (0, 4), (20001,)]

compiled = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")


def test_published_vectors():
    """Known answers of the Random123 distribution (kat_vectors, philox 4x32 10)."""
    zeros = _philox4x32(np.array([0, 0]), 1)[:, 0]
    assert [hex(int(w)) for w in zeros] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


@compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("base", BASES)
def test_floats(base, shape, dtype):
    out = np.empty(shape, dtype)
    kernels.call("uniform", [out], [base], ia=(CODE[dtype], *shape))
    np.testing.assert_array_equal(out, reference.uniform(base, CODE[dtype], *shape))
    assert ((out >= 0) & (out < 1)).all()
    kernels.call("normal", [out], [base], ia=(CODE[dtype], *shape))
    np.testing.assert_allclose(out, reference.normal(base, CODE[dtype], *shape), rtol=1e-5,
                               atol=2e-6 if dtype == np.float32 else 1e-14)


@compiled
@pytest.mark.parametrize("low, high", [(0, 2), (-3, 4), (0, 2 ** 32), (-2 ** 31, 2 ** 31)])
@pytest.mark.parametrize("base", BASES)
def test_integers(base, low, high):
    out = np.empty((3, 50), np.int64)
    kernels.call("randint", [out], [base], ia=(low, high, 3, 50))
    np.testing.assert_array_equal(out, reference.randint(base, low, high, 3, 50))
    assert out.min() >= low and out.max() < high


@compiled
@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33, 1000])
def test_permutation(n):
    out = np.empty(n, np.int64)
    kernels.call("permutation", [out], [BASES[2]], ia=(n,))
    np.testing.assert_array_equal(out, reference.permutation(BASES[2], n))
    assert sorted(out) == list(range(n))


@compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_dropout(shape, p, dtype):
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(dtype)
    out = np.empty_like(x)
    kernels.call("dropout", [out], [x, BASES[2]], fa=(p,))
    np.testing.assert_array_equal(out, reference.dropout(x, BASES[2], p))


@compiled
def test_state_advances():
    state, base = np.array([5, 7]), np.empty(2, np.int64)
    kernels.call("rng_next", [base], [state])
    assert list(base) == [5, 7] and list(state) == [5, 8]


@compiled
@pytest.mark.parametrize("name", ["uniform", "normal"])
def test_threads_do_not_change_the_numbers(name):
    before, seen = kernels.num_threads(), set()
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            out = np.empty(100_003, np.float32)
            kernels.call(name, [out], [BASES[2]], ia=(6, out.size))
            seen.add(out.tobytes())
    finally:
        kernels.set_num_threads(before)
    assert len(seen) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments(dtype):
    n = 200_000
    u = reference.uniform(BASES[2], CODE[dtype], n).astype(np.float64)
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * n) and abs(u.var() - 1 / 12) < 1e-3
    z = reference.normal(BASES[2], CODE[dtype], n).astype(np.float64)
    assert abs(z.mean()) < 5 / np.sqrt(n) and abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z ** 4).mean() - 3) < 0.1
    assert abs((z[:-1] * z[1:]).mean()) < 5 / np.sqrt(n)
    kept = (reference.dropout(np.ones(n), BASES[2], 0.3) != 0).mean()
    assert abs(kept - 0.7) < 5 * np.sqrt(0.21 / n)


def test_counters_give_other_numbers():
    a = reference.uniform(np.array([1, 0]), 6, 1000)
    b = reference.uniform(np.array([1, 1]), 6, 1000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.15 and not (a == b).any()
