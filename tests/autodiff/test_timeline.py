"""The ledger over time, and why arrays are alive: every byte accounted for at every moment."""

import gc
import threading

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import core, memory
from autodiff.errors import ArgumentError, GradientError
from autodiff.scope import scope

pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from .test_random_programs import SHAPE, Engine, run  # noqa: E402
from .test_random_programs import step as program_step  # noqa: E402


def check(t):
    """Categories add up in each moment, and moments follow from each other."""
    for m in t.events:
        assert sum(m.live) == m.live_bytes
        assert sum(m.peak) == m.peak_bytes >= m.live_bytes
        assert min(m.live + m.peak) >= 0
    assert t.peak_bytes == max(m.peak_bytes for m in t.events)


def programs(most):
    """A decorator: the test takes what runs a random program, forward and backward."""
    def decorate(test):
        @settings(max_examples=most)
        @given(st.lists(program_step(), min_size=1, max_size=12), st.integers(0, 2 ** 16))
        def drawn(program, seed):
            def work():
                arrays = np.random.default_rng(seed).uniform(-1, 1, (2, *SHAPE))
                leaves = [ad.tensor(a, requires_grad=True) for a in arrays]
                loss = None
                try:
                    loss = run(Engine(), program, [x * 1.0 for x in leaves], [True])
                    loss.backward(retain_graph=True)
                except ad.GradientError:
                    pass
                return loss, leaves
            test(work)
        drawn.__name__ = test.__name__
        return drawn
    return decorate


@programs(most=100)
def test_categories_add_up_at_every_moment(work):
    with memory.track() as m, memory.timeline() as t:
        kept = work()
        live = core.memory_stats()["live"]
    check(t)
    assert t.peak_bytes == m.peak_bytes
    assert t.events[-1].by_category() == live
    del kept


@programs(most=10)
def test_why_alive_accounts_for_every_byte(work):
    kept = work()
    report = memory.why_alive()
    live = core.memory_stats()["live"]
    mine = [a for a in report if not a.shared]
    assert sum(a.nbytes for a in mine) + report.unseen_bytes == sum(live.values())
    if not report.unseen_bytes:
        assert report.by_category == live
    del kept


def layer(x, w):
    with scope("layer"):
        return ad.tanh(x @ w)


def test_a_moment_for_each_launch():
    w, x = ad.parameter(np.ones((4, 4))), ad.tensor(np.ones((8, 4)))
    with memory.timeline() as t:
        loss = layer(x, w).sum()
        loss.backward()
    check(t)
    assert [m.op for m in t.events[:5]] == ["", "matmul", "tanh", "sum", "full"]
    assert t.events[-1].op == ""
    tanh = t.events[2]
    assert (tanh.phase, tanh.scope) == ("forward", "layer")
    assert tanh.line.rpartition("/")[2].startswith("test_timeline.py:")
    saved = [m.by_category()["saved"] - t.events[0].by_category()["saved"] for m in t.events]
    assert saved[2:4] == [0, 8 * 4 * 8]         # saved by the record, which follows its launch
    before = t.events[0].by_category()["gradient"]
    assert t.events[-1].by_category()["gradient"] - before == w.nbytes
    assert list(t.by_phase()) == ["forward", "backward"]
    assert t.by_phase()["backward"].peak_bytes == t.peak_bytes
    times = [m.seconds for m in t.events]
    assert times == sorted(times)
    for line in str(t).splitlines():
        assert len(line) <= 100
    assert "highest in" in str(t)
    assert str(t.peak) in str(t)
    assert repr(memory.timeline()) == "timeline: nothing recorded"


def test_scratch_shows_in_the_peak_alone():
    if core.name == "plain":
        pytest.skip("the plain core has no scratch")
    x, w = (ad.tensor(np.ones(s, np.float32)) for s in [(2, 3, 8, 8), (4, 3, 3, 3)])
    with memory.timeline() as t:
        y = ad.conv2d(x, w)
    conv = t.events[-2]
    before = t.events[0].live_bytes
    assert conv.live_bytes == before + y.nbytes
    assert conv.peak_bytes >= conv.live_bytes


def test_what_happens_between_launches_is_seen():
    with memory.timeline() as t:
        big = ad.tensor(np.ones(10_000))
        del big
        ad.ones((3,))
    full = t.events[1]
    assert full.op == "full"
    assert full.peak_bytes >= t.events[0].live_bytes + 80_000
    assert full.live_bytes < t.events[0].live_bytes + 80_000


def test_timelines_overlap_and_leave_the_ledgers_peak_alone():
    memory.reset_peak()
    big = ad.ones((1000,))
    del big
    high = memory.peak()
    with memory.timeline() as outer:
        with memory.timeline() as inner:
            ad.ones((10,))
        ad.ones((10,))
    assert [m.op for m in inner.events] == ["", "full", ""]
    assert [m.op for m in outer.events] == ["", "", "full", "", "full", ""]
    assert memory.peak() == high
    with inner:
        with pytest.raises(ArgumentError, match="running already"):
            inner.__enter__()
        ad.ones((10,))
    assert len(inner.events) == 6


def test_launches_of_other_threads_are_seen():
    with memory.timeline() as t:
        thread = threading.Thread(target=lambda: ad.ones((10,)))
        thread.start()
        thread.join()
    assert [m.op for m in t.events] == ["", "full", ""]


def test_a_dry_run_has_the_same_moments():
    def train():
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        optimizer = nn.optim.Adam(model.parameters())
        with memory.timeline() as t:
            loss = nn.functional.cross_entropy(model(ad.ones((5, 6))),
                                               ad.zeros((5,), dtype=ad.int64))
            loss.backward()
            optimizer.step()
        return [(m.op, m.phase, m.scope, m.line, m.live, m.peak) for m in t.events]

    train()
    with ad.dry_run():
        predicted = train()
    assert predicted == train()


# Why alive --------------------------------------------------------------------------------------

def test_each_array_has_its_maker_and_holders():
    w, x = ad.parameter(np.ones((4, 4))), ad.tensor(np.ones((8, 4)))
    h = layer(x, w)
    loss = (h @ w).sum()
    report = {a.shape: a for a in memory.why_alive(loss) if a.category != "gradient"}
    saved, weight, given = report[8, 4], report[4, 4], report[()]
    assert (saved.op, saved.scope, saved.nbytes) == ("tanh", "layer", 256)
    assert saved.line.rpartition("/")[2].startswith("test_timeline.py:")
    assert saved.holders[0] == "h"
    assert saved.freed == "by its holder"
    assert weight.holders[0] == "w"
    assert weight.freed == "with its owner"
    assert given.op == "sum"
    del h
    names = memory.why_alive(loss, names={"weight": w})
    saved = next(a for a in names if a.category == "saved")
    assert [a.holders[0] for a in names if a.category == "parameter"] == ["weight"]
    assert len(saved.holders) == 2
    assert saved.holders[0].endswith("tanh.out")
    loss.backward()
    gradient = next(a for a in memory.why_alive(loss) if a.category == "gradient")
    assert gradient.holders[0] == "gradient of w"
    assert gradient.freed == "zero_grad"
    with pytest.raises(GradientError):
        memory.why_alive(x)


def alive():
    return {t.storage_id for t in gc.get_objects() if type(t) is ad.Tensor}


@pytest.mark.parametrize("checkpointed", [False, True])
def test_backward_frees_it_where_the_report_says(checkpointed):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU(),
                          nn.Linear(8, 1))
    x = ad.ones((5, 6)) * 2.0
    y = model[:3](x)
    y = ad.checkpoint(model[3:], y) if checkpointed else model[3:](y)
    loss = nn.functional.mse_loss(y, ad.zeros((5, 1)))
    del x, y
    freed = {a.storage_id: a.freed_at for a in memory.why_alive(loss) if a.freed_at}
    assert len(freed) > 5
    seen = []

    def note(node, gradients, results):
        seen.append((node.serial, alive()))
    core.listen_sweep(note)
    try:
        loss.backward()
    finally:
        core.unlisten_sweep(note)
    for storage, serial in freed.items():
        at = [s for s, _ in seen].index(serial)
        assert storage in seen[at][1]
        assert all(storage not in living for _, living in seen[at + 1:])


def remember(history, model, x):
    history.append(model(x).mean())


def test_a_loss_kept_by_accident_is_named():
    model, x = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)), ad.ones((8, 4))
    history = []
    for _ in range(7):
        remember(history, model, x)
    leak, = (t for t in memory.why_alive().tapes if t.op == "mean"
             and t.line.partition(":")[0].endswith("test_timeline.py"))
    assert (leak.count, leak.records, leak.holder) == (7, 28, "a list of 7")
    assert leak.nbytes == 7 * 8 * 16 * 4                # what tanh saved
    line = remember.__code__.co_firstlineno + 1
    assert (f"a tape of 28 records with 3.50 KiB hangs on 7 results of mean "
            f"(test_timeline.py:{line}), held by a list of 7") == str(leak)
    assert "a tape of 28 records" in str(memory.why_alive())
    history[:] = [loss.item() for loss in history]
    assert not [t for t in memory.why_alive().tapes if t.line == leak.line]


def test_makers_off_the_tape_are_known_to_a_timeline():
    with memory.timeline() as t:
        h = ad.ones((123,)) * 2.0
        inside = memory.why_alive()
    array, = (a for a in memory.why_alive(timeline=t) if a.shape == (123,))
    assert (array.op, array.holders) == ("multiply", ["h"])
    assert [a.op for a in inside if a.shape == (123,)] == ["multiply"]
    assert [a.op for a in memory.why_alive() if a.shape == (123,)] == [""]
    del h


def test_the_report_fits_and_names_what_it_cannot_see():
    numbers = ad.from_numpy(np.ones(1003))
    view = ad.ones((10,)).numpy()           # its tensor is gone
    report = memory.why_alive()
    assert report.unseen_bytes >= (view.nbytes if core.name == "compiled" else 0)
    array, = (a for a in report if a.shared and a.shape == (1003,))
    assert array.holders == ["numbers"]
    text = str(report)
    assert max(map(len, text.splitlines())) <= 100
    assert ("held by no tensor" in text) == (report.unseen_bytes > 0)
    del numbers, view
