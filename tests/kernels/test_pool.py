"""The pool of memory: aligned, disjoint, exactly counted blocks."""

import random

import pytest

import kernels

if kernels.PLAIN:
    pytest.skip("needs the compiled kernels", allow_module_level=True)

from kernels import pool

SIZES = [0, 1, 63, 64, 65, 512, 513, 4096, 65536, 65537, 10**6, 3 * 10**6]


def balanced(stats):
    return stats["reserved_bytes"] == (stats["live_bytes"] + stats["slack_bytes"]
                                       + stats["held_bytes"])


@pytest.mark.parametrize("nbytes", SIZES)
def test_one_block(nbytes):
    before = pool.stats()
    address = pool.alloc(nbytes)
    during = pool.stats()
    assert address and address % 64 == 0
    assert during["live_bytes"] - before["live_bytes"] == nbytes
    assert during["live_blocks"] - before["live_blocks"] == 1
    assert balanced(during)
    if nbytes:
        pool.touch(address, nbytes)
    pool.free(address, nbytes)
    after = pool.stats()
    assert after["live_bytes"] == before["live_bytes"]
    assert after["slack_bytes"] == before["slack_bytes"]
    assert balanced(after)


def test_slack_is_at_most_an_eighth():
    for nbytes in range(512, 200_000, 997):
        before = pool.stats()["slack_bytes"]
        address = pool.alloc(nbytes)
        slack = pool.stats()["slack_bytes"] - before
        pool.free(address, nbytes)
        assert 0 <= slack < max(64, nbytes / 8 + 1)


def test_random_life_never_overlaps():
    rng = random.Random(0)
    live = {}
    start = pool.stats()
    for _ in range(3000):
        if live and rng.random() < 0.5:
            address = rng.choice(list(live))
            pool.free(address, live.pop(address))
        else:
            nbytes = int(2 ** rng.uniform(0, 21))
            live[pool.alloc(nbytes)] = nbytes
    blocks = sorted(live.items())
    for (a, n), (b, _) in zip(blocks, blocks[1:], strict=False):
        assert a + n <= b
    assert pool.stats()["live_bytes"] - start["live_bytes"] == sum(live.values())
    for address, nbytes in live.items():
        pool.free(address, nbytes)
    assert pool.stats()["live_bytes"] == start["live_bytes"]
    assert balanced(pool.stats())


def test_trim_gives_back_and_blocks_are_reused():
    nbytes = 5 << 20
    address = pool.alloc(nbytes)
    pool.free(address, nbytes)
    reserved = pool.stats()["reserved_bytes"]
    pool.free(pool.alloc(nbytes), nbytes)
    assert pool.stats()["reserved_bytes"] <= reserved
    held = pool.stats()["held_bytes"]
    given = pool.trim()
    after = pool.stats()
    assert after["held_bytes"] == held - given
    assert balanced(after)
    assert pool.trim() == 0


def test_shapes_that_come_once_do_not_pile_up():
    pool.trim()
    pool.reset_peak()
    peak = 0
    for k in range(200):
        nbytes = (1 << 20) + k * (1 << 19)
        pool.free(pool.alloc(nbytes), nbytes)
        peak = max(peak, nbytes)
    stats = pool.stats()
    assert stats["held_bytes"] <= 2.25 * stats["peak_bytes"] + (70 << 20)


def test_peak():
    pool.reset_peak()
    base = pool.stats()["peak_bytes"]
    address = pool.alloc(1000)
    pool.free(address, 1000)
    assert pool.stats()["peak_bytes"] == base + 1000


def test_out_of_memory():
    with pytest.raises(MemoryError):
        pool.alloc(1 << 60)
    assert balanced(pool.stats())
