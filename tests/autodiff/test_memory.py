"""The ledger as users see it: categories, peaks, and what a loss keeps for its backward."""

import sys

import numpy as np
import pytest

import autodiff as ad
from autodiff import core, memory
from autodiff.checkpoint import checkpoint
from autodiff.errors import GradientError
from autodiff.scope import scope


def live():
    return memory.stats()["live_bytes"]


def test_categories_add_up():
    w = ad.parameter(np.ones((4, 4)))
    x = ad.tensor(np.ones((8, 4)))
    before = memory.stats()["live"]
    loss = ad.tanh(x @ w).sum()
    found = memory.stats()
    assert sum(found["live"].values()) == found["live_bytes"]
    assert found["live"]["saved"] - before["saved"] == 8 * 4 * 8       # tanh keeps its output
    loss.backward()
    assert memory.stats()["live"]["saved"] == before["saved"]
    assert memory.stats()["live"]["gradient"] - before["gradient"] == w.nbytes
    del loss


def test_baseline_after_del_without_backward():
    w = ad.parameter(np.ones((4, 4)))
    x = ad.tensor(np.ones((8, 4)))
    before = memory.stats()["live"]
    loss = ad.tanh(ad.tanh(x @ w)).sum()
    del loss
    assert memory.stats()["live"] == before


def test_track_measures_inside_alone():
    memory.reset_peak()
    x = ad.tensor(np.ones(1000))
    outside = ad.tensor(np.ones(100_000))
    del outside
    high = memory.peak()
    with memory.track() as m:
        y = x + 1.0
        z = y + 1.0
        del y
    assert m.peak_bytes < high
    assert m.added_bytes >= 2 * 8000
    assert m.end_bytes - m.start_bytes == 8000
    assert sum(m.peak.values()) == m.peak_bytes
    assert memory.peak() == high                # the peak outside is what it would have been
    assert "temporary" in str(m)
    del z


def test_tracks_nest():
    x = ad.tensor(np.ones(1000))
    with memory.track() as outer:
        with memory.track() as inner:
            y = x + 1.0
            del y
        with memory.track() as second:
            pass
    assert outer.peak_bytes == inner.peak_bytes > second.peak_bytes


def test_track_saved_bytes():
    x = ad.tensor(np.ones(1000), requires_grad=True)
    with memory.track() as m:
        loss = ad.tanh(x).sum()
    assert m.saved_bytes == 8000
    with memory.track() as m, core.no_grad():
        ad.tanh(x).sum()
    assert m.saved_bytes == 0
    del loss


def test_reset_peak():
    x = ad.tensor(np.ones(100_000))
    del x
    memory.reset_peak()
    assert memory.peak() == live()


def test_saved_report_lists_each_array_once():
    w = ad.parameter(np.ones((4, 4)))
    x = ad.tensor(np.ones((8, 4)))
    with scope("layer"):
        h = ad.tanh(x @ w)
    loss = (h @ w).sum()
    report = memory.saved_report(loss)
    found = {(a.op, a.name): a for a in report}
    assert set(found) == {("matmul", "x"), ("matmul", "y"), ("tanh", "out")}
    shared = found["tanh", "out"]
    assert shared.nbytes == 8 * 4 * 8
    assert shared.scope == "layer"
    assert shared.line.rpartition("/")[2].startswith("test_memory.py:")
    assert len(shared.shared_with) == 1
    assert shared.shared_with[0].startswith("matmul.x #")
    assert report.by_category == {"parameter": 128, "input": 256, "temporary": 256}
    assert report.by_scope() == {"layer": 512, "": 128}
    assert report.total_bytes == memory.saved_bytes(loss) == 640
    text = str(report)
    assert "tanh.out" in text
    assert "640 B in 3 arrays" in text


def test_saved_report_after_backward_is_empty():
    x = ad.tensor(np.ones(3), requires_grad=True)
    loss = ad.tanh(x).sum()
    loss.backward()
    assert memory.saved_report(loss) == []
    assert memory.saved_bytes(loss) == 0


def test_a_view_keeps_its_whole_storage():
    x = ad.tensor(np.ones(10), requires_grad=True)
    y = ad.tanh(x)
    loss = (y[:2] * y[:2]).sum()
    assert memory.saved_bytes(loss) == 80       # tanh's output, which the slices share


def test_views_and_sums_save_nothing():
    x = ad.tensor(np.ones((3, 4)), requires_grad=True)
    assert memory.saved_bytes(x.reshape(4, 3).sum() + x.sum()) == 0


def test_checkpoint_shows_its_arguments():
    x = ad.tensor(np.ones(100), requires_grad=True)
    y = ad.tanh(x)
    loss = checkpoint(lambda t: ad.tanh(ad.tanh(t)), y).sum()
    (array,) = memory.saved_report(loss)
    assert (array.op, array.nbytes) == ("tanh", 800)
    assert array.shared_with[0].startswith("checkpoint.args[0]")


def test_off_the_tape():
    with pytest.raises(GradientError, match="not on the tape"):
        memory.saved_report(ad.tensor(1.0))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_reconcile():
    r = memory.reconcile()
    assert r.tracked_bytes + r.residual_bytes == r.resident_bytes
    assert r.resident_bytes > 10 << 20
    assert "residual" in str(r)


def test_trim_returns_bytes():
    assert memory.trim() >= 0
