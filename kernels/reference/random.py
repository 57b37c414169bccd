"""Twins of the random kernels: Philox4x32-10, a generator without state.

Invariant: the number of element i is a function of (key, counter, i) alone, so it is the same
for any number of threads, any layout, and the compiled kernel bit for bit (uniform, randint,
dropout, permutation; normal up to rounding).

Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

import numpy as np

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_FLOATS = {6: np.float32, 7: np.float64}


def _philox4x32(base, blocks):
    """Words (4, blocks) as uint64 below 2**32: ten rounds over counter (block, base[1])."""
    key, counter = (int(v) & (2 ** 64 - 1) for v in base)
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    block = np.arange(blocks, dtype=np.uint64)
    c0, c1 = block & _LOW, block >> _HALF
    c2 = np.full(blocks, counter & 0xFFFFFFFF, np.uint64)
    c3 = np.full(blocks, counter >> 32, np.uint64)
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((p1 >> _HALF) ^ c1 ^ np.uint64(k0), p1 & _LOW,
                          (p0 >> _HALF) ^ c3 ^ np.uint64(k1), p0 & _LOW)
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


def _words(base, n):
    """n words of 32 bits: word i is number i % 4 of block i // 4."""
    return _philox4x32(base, (n + 3) // 4).T.reshape(-1)[:n]


def _doubles(base, n):
    """n words of 64 bits, from two neighbours each, high word first."""
    words = _words(base, 2 * n)
    return (words[0::2] << _HALF) | words[1::2]


def rng_next(state):
    """(base, new state): a snapshot [key, counter], then the counter goes up by one."""
    return state.copy(), state + np.array([0, 1])


def uniform(base, dtype, *shape):
    """Numbers in [0, 1): the top 24 bits of a word, or the top 53 of two."""
    n = int(np.prod(shape))
    if _FLOATS[dtype] is np.float32:
        out = (_words(base, n) >> np.uint64(8)).astype(np.float32) * np.float32(2.0 ** -24)
    else:
        out = (_doubles(base, n) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53
    return out.reshape(shape)


def normal(base, dtype, *shape):
    """Box-Muller: elements 2i and 2i+1 are r cos(2 pi v) and r sin(2 pi v), r^2 = -2 log u."""
    n = int(np.prod(shape))
    pairs = (n + 1) // 2
    real = _FLOATS[dtype]
    if real is np.float32:
        bits, width = _words(base, 2 * pairs), 32
    else:
        bits, width = _doubles(base, 2 * pairs), 64
    u = (bits[0::2].astype(real) + real(0.5)) * real(2.0 ** -width)
    v = (bits[1::2] >> np.uint64(8 if width == 32 else 11)).astype(real)
    angle = v * real(2 * np.pi * 2.0 ** -(24 if width == 32 else 53))
    r = np.sqrt(real(-2) * np.log(u))
    out = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    return np.asarray(out.reshape(-1)[:n].reshape(shape), real)


def randint(base, low, high, *shape):
    """Integers in [low, high): the high half of a 64-bit word times (high - low)."""
    n = int(np.prod(shape))
    span = np.uint64(high - low)
    words = _doubles(base, n)
    scaled = ((words >> _HALF) * span + (((words & _LOW) * span) >> _HALF)) >> _HALF
    return (scaled.astype(np.int64) + low).reshape(shape)


def permutation(base, n):
    """Fisher-Yates: from the end, each place swaps with one at or before it."""
    out = np.arange(n)
    words = _doubles(base, n)
    for i in range(n - 1, 0, -1):
        j = (int(words[i]) * (i + 1)) >> 64
        out[i], out[j] = out[j], out[i]
    return out


def dropout(x, base, p):
    """x / (1 - p) where word i is at least p 2**32, else 0."""
    keep = _words(base, x.size) >= np.uint64(round(p * 2.0 ** 32))
    scale = x.dtype.type(1 / (1 - p)) if p < 1 else x.dtype.type(0)
    return np.where(keep.reshape(x.shape), x * scale, x.dtype.type(0))
