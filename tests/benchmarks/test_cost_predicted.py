"""What is predicted from shapes alone is what a run then takes: bytes, launches, operations."""

import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402

import autodiff as ad  # noqa: E402
import nn  # noqa: E402
from benchmarks import fresh  # noqa: E402
from benchmarks.costs import observe  # noqa: E402
from benchmarks.costs.check import subject  # noqa: E402
from benchmarks.costs.subject import Subject, protected  # noqa: E402
from benchmarks.measure import CATEGORIES  # noqa: E402

from .cost_nets import NETS, OPTIMIZERS, nets  # noqa: E402


def both(what):
    """(predicted, measured) of a pass and a step, the prediction first."""
    with protected():
        with ad.dry_run():
            predicted = observe.inference(what), observe.step(what)
        return predicted, (observe.inference(what), observe.step(what))


def agree(what):
    for predicted, measured in zip(*both(what), strict=True):
        assert predicted.saved_bytes == measured.saved_bytes
        assert predicted.saved == measured.saved
        for phase, peak in measured.peaks.items():
            assert abs(predicted.peaks[phase]["total"] / peak["total"] - 1) <= 0.02, phase
        assert [e[:6] for e in predicted.launches] == [e[:6] for e in measured.launches]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer):
    model, batch, loss = NETS["mlp"]()
    agree(Subject(model, batch, loss, OPTIMIZERS[optimizer](model.parameters())))


@pytest.mark.parametrize("name", NETS)
def test_nets_of_every_kind(name):
    model, batch, loss = NETS[name]()
    agree(Subject(model, batch, loss, nn.optim.Adam(model.parameters())))


@pytest.mark.parametrize("name", ["mlp", "cnn", "regression", "lstm", "gpt", "residual"])
def test_the_workloads_and_a_residual_cnn(name):
    agree(Subject(*subject(name, 4)))


def test_fifty_drawn_nets():
    @settings(max_examples=50)
    @given(nets())
    def check(net):
        what = Subject(*net)
        with ad.dry_run():
            predicted = observe.step(what)
        measured = observe.step(what)
        assert predicted.saved_bytes == measured.saved_bytes
        assert abs(predicted.peak["total"] / measured.peak["total"] - 1) <= 0.02
    with protected():
        check()


def test_in_a_fresh_process_from_shapes_alone():
    r = fresh.call("benchmarks.costs.check:one", name="cnn", batch=64)
    assert r["predicted_saved"] == r["saved"]
    assert abs(r["predicted_peak"] / r["peak"] - 1) <= 0.02


@pytest.mark.parametrize("name", NETS)
def test_the_saved_arrays_add_up_and_the_last_to_share_frees_them(name):
    measured = both(Subject(*NETS[name]()))[1][1]
    total = sum(a["bytes"] for a in measured.saved if a["category"] == "saved")
    if name != "checkpointed":      # there, some arrays are made again in backward
        assert total == measured.saved_bytes
    for a in measured.saved:
        assert 1 <= a["freed_by"]["turn"] <= a["freed_by"]["of"]


def test_categories_add_up_at_every_launch_and_the_peak_is_among_them():
    _, (inference, step) = both(Subject(*NETS["gpt"]()))
    for seen in (inference, step):
        assert len(seen.live) == len(seen.launches) == len(seen.slack)
        assert max(map(sum, seen.live)) == seen.peak["total"]
        assert all(len(row) == len(CATEGORIES) for row in seen.live)


def test_inference_keeps_nothing():
    inference = both(Subject(*NETS["cnn"]()))[1][0]
    peak = inference.peak
    assert peak["saved"] == peak["gradient"] == peak["optimizer state"] == 0
