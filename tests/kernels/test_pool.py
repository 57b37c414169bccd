"""The pool of memory: aligned, disjoint, exactly counted blocks, and a reserve near the peak."""

import ctypes
import random
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels

if kernels.PLAIN:
    pytest.skip("needs the compiled kernels", allow_module_level=True)

from kernels import pool

FRAME = 2 << 20
SIZES = [0, 1, 63, 64, 65, 512, 513, 4096, 32768, 32769, 65536, 10**6, 3 * 10**6]
ONE_MALLOC = pool.SANITIZED     # the sanitizer's build has neither region nor free lists
region_only = pytest.mark.skipif(ONE_MALLOC, reason="every block comes from malloc")


def balanced(stats):
    return stats["reserved_bytes"] == (stats["live_bytes"] + stats["slack_bytes"]
                                       + stats["held_bytes"])


def whole_row():
    """The region's blocks without their holes, after a look at the region's invariant."""
    row = pool.row()
    for (a, n, live, _), (b, _, next_live, _) in zip(row, row[1:], strict=False):
        assert a + n == b and (live or next_live)
    assert not any(live and absent for _, _, live, absent in row)
    return [(a, n, live) for a, n, live, _ in row]


def fresh_process(program):
    """What `program` prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


sizes = st.one_of(st.integers(0, 3000), st.integers(30_000, 400_000),
                  st.integers(1 << 20, 6 << 20), st.sampled_from([FRAME, FRAME - 64, 4 * FRAME]))
# None trims; an integer frees the block at that place among the live ones.
programs = st.lists(st.one_of(st.tuples(sizes), st.integers(0, 99), st.none()), max_size=80)


@region_only
@given(programs)
@settings(max_examples=150, deadline=None)
def test_any_program_against_a_model(program):
    """No overlap, bytes kept while others move, exact counts, free neighbours merged."""
    first = pool.alloc(1 << 16)         # so that there is a region
    start, start_row, live = pool.stats(), whole_row(), []

    def check_and_free(k):
        address, nbytes, fill = live.pop(k)
        assert ctypes.string_at(address, nbytes) == bytes([fill]) * nbytes
        pool.free(address, nbytes)

    for step, action in enumerate(program):
        if action is None:
            held = pool.stats()["held_bytes"]
            given_back = pool.trim()
            assert pool.stats()["held_bytes"] == held - given_back
            assert pool.trim() == 0
        elif isinstance(action, int):
            if live:
                check_and_free(action % len(live))
        else:
            nbytes = action[0]
            address = pool.alloc(nbytes)
            assert address % 64 == 0
            assert all(address + max(nbytes, 1) <= a or a + max(n, 1) <= address
                       for a, n, _ in live)
            ctypes.memset(address, step + 1, nbytes)
            live.append((address, nbytes, step + 1))
        stats = pool.stats()
        assert balanced(stats)
        assert stats["live_blocks"] - start["live_blocks"] == len(live)
        assert stats["live_bytes"] - start["live_bytes"] == sum(n for _, n, _ in live)
        assert stats["slack_bytes"] >= 0 and stats["held_bytes"] >= 0
        whole_row()
    while live:
        check_and_free(0)
    assert whole_row() == start_row
    pool.free(first, 1 << 16)


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


@region_only
def test_all_free_is_one_block():
    out = fresh_process("""if True:
        import random
        from kernels import pool
        rng, live = random.Random(1), []
        for _ in range(2000):
            n = int(2 ** rng.uniform(15.1, 23))
            live.append((pool.alloc(n), n))
            if rng.random() < 0.9:
                pool.free(*live.pop(rng.randrange(len(live))))
        while live:
            pool.free(*live.pop(rng.randrange(len(live))))
        print(len(pool.row()))
        pool.trim()
        print(pool.stats()["reserved_bytes"])""")
    assert out.split() == ["1", str(FRAME)]


def test_trim_gives_back_and_blocks_are_reused():
    nbytes = 5 << 20
    address = pool.alloc(nbytes)
    pool.free(address, nbytes)
    reserved = pool.stats()["reserved_bytes"]
    pool.free(pool.alloc(nbytes), nbytes)
    assert pool.stats()["reserved_bytes"] <= reserved
    held = pool.stats()["held_bytes"]
    given_back = pool.trim()
    after = pool.stats()
    assert after["held_bytes"] == held - given_back
    assert balanced(after)
    assert pool.trim() == 0


@region_only
def test_shapes_that_come_once_do_not_pile_up():
    pool.trim()
    pool.reset_peak()
    base = pool.stats()["reserved_bytes"]
    peak = 0
    for k in range(200):
        nbytes = (1 << 20) + k * (1 << 19)
        pool.free(pool.alloc(nbytes), nbytes)
        peak = max(peak, nbytes)
    assert pool.stats()["reserved_bytes"] - base <= peak + 2 * FRAME


@region_only
def test_a_hole_is_filled_with_idle_memory():
    """32 blocks, every other one freed: their memory serves one block as large as all of them."""
    pool.trim()
    nbytes, count = 3 * FRAME, 32
    blocks = [pool.alloc(nbytes) for _ in range(count)]
    for address in blocks[::2]:
        pool.free(address, nbytes)
    reserved, moved = pool.stats()["reserved_bytes"], pool.frames_moved()
    large = count // 2 * (nbytes - FRAME)       # each has two frames behind its header
    address = pool.alloc(large)
    assert pool.stats()["reserved_bytes"] - reserved <= 2 * FRAME
    assert pool.frames_moved() - moved >= large // FRAME - 2
    pool.touch(address, large)
    pool.free(address, large)
    for address in blocks[1::2]:
        pool.free(address, nbytes)


TRAINING = """if True:
    import resource
    from kernels import pool

    # Forward: each layer keeps its output and drops a temporary; backward frees the outputs in
    # reverse beside two gradients.  No two layers have the same size.
    def step():
        kept, grad = [], None
        for k in range(12):
            n = (24 << 20) * (12 - k) // 12 + 777 * k
            out, temporary = pool.alloc(n), pool.alloc(n // 3)
            pool.touch(out, n), pool.touch(temporary, n // 3)
            kept.append((out, n))
            pool.free(temporary, n // 3)
        while kept:
            out, n = kept.pop()
            new = pool.alloc(2 * n)
            pool.touch(new, 2 * n)
            pool.free(out, n)
            if grad:
                pool.free(*grad)
            grad = new, 2 * n
        pool.free(*grad)

    faults = []
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        step()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    stats = pool.stats()
    print(stats["reserved_bytes"] / stats["peak_bytes"], pool.moves_cost_faults() * 1, *faults)
"""


@region_only
def test_training_reserves_its_peak_and_takes_no_faults():
    ratio, costly, *faults = map(float, fresh_process(TRAINING).split())
    assert ratio < 1.1
    if not costly:
        assert sum(faults[3:]) <= 3     # the interpreter's own; a step touches 300 MB


def test_peak():
    pool.reset_peak()
    base = pool.stats()["peak_bytes"]
    address = pool.alloc(1000)
    pool.free(address, 1000)
    assert pool.stats()["peak_bytes"] == base + 1000


@pytest.mark.parametrize("nbytes", [1 << 60] if ONE_MALLOC else [1 << 46, 1 << 60])
def test_out_of_memory(nbytes):
    with pytest.raises(MemoryError):
        pool.alloc(nbytes)
    assert balanced(pool.stats())


@pytest.mark.skipif(not pool.GUARDED or ONE_MALLOC, reason="only debug builds look")
@pytest.mark.parametrize("nbytes", [100, 100_000])
@pytest.mark.parametrize("crime", ["pool.free(p, n)", "ctypes.memset(p - 64, 0, 64)"])
def test_debug_build_notices(nbytes, crime):
    if nbytes < 32768 and "memset" in crime:
        pytest.skip("small blocks have no header")
    program = (f"import ctypes; from kernels import pool; n = {nbytes}; p = pool.alloc(n)\n"
               f"if 'memset' not in {crime!r}: pool.free(p, n)\n{crime}\npool.free(p, n)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == -signal.SIGABRT
