"""The trace of a step: slices that nest, counters that are the ledger's."""

import json

import pytest

import nn
from benchmarks.costs import ReportError
from benchmarks.costs.trace import trace
from benchmarks.measure import CATEGORIES

from .cost_nets import NETS

SLACK = 0.002       # microseconds: times are rounded to nanoseconds


@pytest.fixture(scope="module", params=["gpt", "checkpointed"])
def events(request, tmp_path_factory):
    model, batch, loss = NETS[request.param]()
    path = trace(tmp_path_factory.mktemp("trace") / "t.json", model, batch, loss,
                 nn.optim.Adam(model.parameters()))
    with open(path) as file:
        return json.load(file)["traceEvents"]


def of(events, kind):
    return [e for e in events if e["ph"] == "X" and e["cat"] == kind]


def test_phases_follow_each_other(events):
    phases = of(events, "phase")
    assert [e["name"] for e in phases] == ["forward", "backward", "update"]
    for a, b in zip(phases, phases[1:], strict=False):
        assert a["ts"] + a["dur"] <= b["ts"] + SLACK


def test_slices_nest(events):
    slices = sorted((e for e in events if e["ph"] == "X"), key=lambda e: (e["ts"], -e["dur"]))
    open_ = []
    for e in slices:
        while open_ and open_[-1] <= e["ts"] + SLACK:
            open_.pop()
        end = e["ts"] + e["dur"]
        assert all(end <= outer + SLACK for outer in open_), e
        open_.append(end)


def test_modules_hold_their_kernels(events):
    names = {e["name"] for e in of(events, "module")}
    assert "(loss)" in names and len(names) > 3
    inside = [k for k in of(events, "kernel") if k["name"] == "linear"]
    assert inside
    for kernel in inside:
        assert any(m["ts"] <= kernel["ts"] + SLACK
                   and kernel["ts"] + kernel["dur"] <= m["ts"] + m["dur"] + SLACK
                   for m in of(events, "module"))


def test_memory_has_a_counter_for_each_launch(events):
    counters = [e for e in events if e["ph"] == "C"]
    assert len(counters) == len(of(events, "kernel"))
    assert all(set(e["args"]) == set(CATEGORIES) for e in counters)
    assert max(e["args"]["saved"] for e in counters) > 0
    assert [e["ts"] for e in counters] == sorted(e["ts"] for e in counters)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ReportError, match="cannot write"):
        trace(tmp_path / "none" / "t.json", *NETS["mlp"]())
