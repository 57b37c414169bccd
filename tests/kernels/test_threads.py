"""The pool of threads: parts cover the range once, however busy, nested or forked."""

import os
import threading

import pytest

import kernels

if kernels.PLAIN:
    pytest.skip("needs the compiled kernels", allow_module_level=True)

from kernels import launch


@pytest.mark.parametrize("n", [0, 1, 7, 1000, 10**12 + 7])
@pytest.mark.parametrize("grain", [1, 3, 600])
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_parts_tile_the_range(n, grain, threads):
    parts = launch.split(n, grain, threads)
    assert len(parts) <= threads
    at = 0
    for begin, end, runs in parts:
        assert begin == at and runs == 1
        assert end - begin >= grain or len(parts) == 1
        at = end
    assert at == n


def test_nested_job_is_split_alike():
    alone = launch.split(1000, 10)
    assert launch.nested_split(4) == [alone] * 4


def test_many_callers_at_once():
    expected = launch.split(1000, 10, 4)
    wrong = []

    def caller():
        for _ in range(3000):
            if launch.split(1000, 10, 4) != expected:
                wrong.append(1)

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert not wrong


def test_set_num_threads():
    before = kernels.num_threads()
    try:
        kernels.set_num_threads(3)
        assert kernels.num_threads() == 3
        assert len(launch.split(1000, 1)) == 3
        for bad in (0, -1, 257):
            with pytest.raises(ValueError, match="between 1 and 256"):
                kernels.set_num_threads(bad)
    finally:
        kernels.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_works():
    expected = launch.split(1000, 10, 4)
    child = os.fork()
    if child == 0:
        try:
            same = launch.split(1000, 10, 4) == expected      # serial, the same parts
            launch.set_num_threads(2)                         # workers of its own
            os._exit(0 if same and launch.split(1000, 10, 4) == expected else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert launch.split(1000, 10, 4) == expected
