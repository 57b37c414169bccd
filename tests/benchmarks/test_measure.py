"""Timing in turns, and the processes and bytes that the benchmarks look at."""

import gc

import numpy as np
import pytest

import autodiff as ad
from benchmarks import fresh, machine
from benchmarks.measure import CATEGORIES, Timing, interleave, peak_bytes


def test_parts_run_in_turns_after_a_warm_up_and_preparation_is_not_timed():
    seen = []
    parts = {"a": (lambda: seen.append("p"), lambda: seen.append("a")),
             "b": lambda: seen.append("b")}
    timing = interleave(parts, budget=0.0, least=3, warmup=1)
    assert seen == ["p", "a", "b"] * 4
    assert {name: t.rounds for name, t in timing.items()} == {"a": 3, "b": 3}


def test_rounds_end_with_the_budget_and_the_collector_is_put_back():
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        interleave({"a": lambda: 1 // 0}, warmup=0)
    assert gc.isenabled()
    done = []
    timing = interleave({"a": lambda: None}, budget=10.0, most=5, tick=done.append)
    assert timing["a"].rounds == 5 and done == sorted(done) and done[-1] == 1.0


def test_timing_is_the_median_and_the_quartiles():
    t = Timing.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (t.q1, t.median, t.q3, t.rounds) == (2.0, 3.0, 4.0, 5)
    assert t.to_dict() == {"q1": 2.0, "median": 3.0, "q3": 4.0, "rounds": 5,
                           "blocks": (3.0, 2.0, 4.0, 3.0)}


def test_peak_bytes_add_up_and_see_what_was_freed():
    x = ad.tensor(np.zeros(1024, np.float32))

    def body():
        y = x + 1.0
        return y.sum()
    peak = peak_bytes(body)
    assert peak["total"] == sum(peak[c] for c in CATEGORIES)
    assert peak["temporary"] >= 4096 and peak["input"] >= 4096
    again = peak_bytes(lambda: None)
    assert again["total"] <= peak["total"] - 4096


def test_a_function_runs_in_a_fresh_process():
    assert fresh.call("os.path:basename", p="a/b") == "b"


def test_a_failing_child_says_what_it_said():
    with pytest.raises(fresh.ChildError, match="TypeError"):
        fresh.call("os.path:basename", q="a/b")


def test_machine_state_says_threads_and_versions():
    state = machine.state()
    assert state["threads"] == ad.get_num_threads()
    assert state["versions"]["numpy"] == np.__version__
    assert state["core"] in machine.describe(state)
    assert machine.busy({"load": 1.5, "cpus_usable": 2}) and not machine.busy(
        {"load": 0.1, "cpus_usable": 2})
