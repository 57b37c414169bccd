"""The profiler sees every launch once, counts what the blocks declare, and keeps no tensor."""

import threading
import time

import numpy as np
import pytest

import autodiff as ad
from autodiff import core, profile
from autodiff.errors import ArgumentError
from autodiff.scope import scope


@pytest.fixture
def product():
    x, w = (ad.tensor(np.ones(s), requires_grad=True) for s in [(3, 4), (4, 5)])
    return x, w


def test_phases_and_flops(product):
    x, w = product
    with profile.profile() as p:
        (x @ w).sum().backward()
    assert p.flops["forward"] == 2 * 3 * 4 * 5 + 15
    assert p.flops["backward"] >= 2 * (2 * 3 * 4 * 5)
    assert p.table()["matmul"].calls == 3
    assert {e.op for e in p.events if e.phase == "forward"} - {"full"} == {"matmul", "sum"}
    assert p.total.calls == len(p.events)
    assert p.total.flops == sum(p.flops.values())
    assert p.total.ms <= 1e3 * p.seconds


def test_bytes_are_those_of_the_arrays(product):
    x, w = product
    with profile.profile() as p:
        x @ w
    assert p.table()["matmul"].nbytes == 8 * (3 * 4 + 4 * 5 + 3 * 5)
    assert p.events[0].shapes == ((3, 4), (4, 5))


def test_views_launch_nothing(product):
    x, _ = product
    with profile.profile() as p:
        x.reshape(4, 3), x.mT, x[1:]
    assert p.events == []


def test_scopes_are_kept_in_backward(product):
    x, w = product
    with profile.profile() as p:
        with scope("encoder"), scope("0"):
            y = ad.tanh(x @ w)
        y.sum().backward()
    rows = p.by_scope()
    assert rows["encoder.0"].calls >= 4
    phases = {e.phase for e in p.events if e.scope == "encoder.0"}
    assert phases == {"forward", "backward"}
    assert p.by_scope(depth=1)["encoder"].calls == rows["encoder.0"].calls


def test_flops_of_a_function(product):
    x, w = product
    assert profile.flops(lambda a, b: a @ b, x, w) == 120


def test_undeclared_flops_are_named():
    with profile.profile() as p:
        ad.zeros((2, 2))
    assert p.undeclared == {"full"}
    assert "not declared: full" in str(p)


def test_nothing_is_kept_alive(product):
    x, w = product
    before = core.memory_stats()["live_bytes"]
    with profile.profile() as p:
        x @ w
    assert core.memory_stats()["live_bytes"] == before
    assert len(p.events) == 1


def test_stops_listening(product):
    x, w = product
    with profile.profile() as p:
        x @ w
    x @ w
    assert len(p.events) == 1
    with pytest.raises(ZeroDivisionError), p:
        raise ZeroDivisionError
    x @ w
    assert len(p.events) == 1


def test_runs_once_at_a_time():
    with profile.profile() as p, pytest.raises(ArgumentError, match="running already"):
        p.__enter__()


def test_launches_of_other_threads_count(product):
    x, w = product
    with profile.profile() as p:
        thread = threading.Thread(target=lambda: x @ w)
        thread.start()
        thread.join()
    assert [e.op for e in p.events] == ["matmul"]


def test_in_place_launches_are_seen():
    x = ad.tensor([1.0, 2.0])
    with profile.profile() as p:
        x += x
    assert [e.op for e in p.events] == ["add_"]


def test_tables_print(product):
    x, w = product
    with profile.profile() as p:
        (x @ w).sum().backward()
    lines = str(p.table()).splitlines()
    assert lines[0].split() == ["op", "calls", "ms", "%", "flops", "bytes", "GFLOP/s"]
    assert "matmul" in str(p)
    assert "launches" in str(p)
    with pytest.raises(KeyError):
        p.table()["absent"]


def test_scope_restores_after_an_exception():
    with pytest.raises(ZeroDivisionError), scope("a"):
        raise ZeroDivisionError
    assert core.current_scope() == ""
    with pytest.raises(ArgumentError, match="must be a string"):
        scope(3)


def test_scope_decorates():
    @scope("block")
    def f():
        return core.current_scope()
    assert (f(), f(), core.current_scope()) == ("block", "block", "")


def test_a_launch_says_when_on_what_and_for_which_operation(product):
    x, w = product
    before = time.perf_counter()
    with profile.profile(origins=True) as p:
        ad.tanh(x @ w).sum().backward()
    ends = [e.end for e in p.events]
    assert before < ends[0] and ends == sorted(ends)
    forward = [e for e in p.events if e.op == "matmul" and e.phase == "forward"]
    assert forward[0].storages == (x.storage_id, w.storage_id) and forward[0].origin == ""
    assert {e.dtype for e in p.events} == {"float64"}
    products = [e for e in p.events if e.op == "matmul" and e.phase == "backward"]
    assert [e.origin for e in products] == ["matmul", "matmul"]
    assert {e.origin for e in p.events if e.op == "tanh_backward"} == {"tanh"}


def test_a_few_rows_of_a_table_are_not_all_of_it():
    table = ad.tensor(np.ones((1000, 4)))
    with profile.profile() as p:
        rows = ad.embedding(table, ad.tensor(np.array([1, 2])))
    assert p.events[0].nbytes == 2 * rows.nbytes
    with profile.profile() as p:
        ad.broadcast_to(ad.tensor(np.ones((1, 4))), (100, 4)) + 1.0
    assert p.total.nbytes <= 8 * (400 + 4 + 4 + 400)
