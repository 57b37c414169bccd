"""Each workload in miniature: trained, judged and measured; values, not times."""

import numpy as np
import pytest

import autodiff as ad
from benchmarks import chain, fresh, lab
from benchmarks.measure import CATEGORIES
from benchmarks.train import fit
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.cnn import FashionCNN
from benchmarks.workloads.evaluate import char_loss
from nn import GPT

TINY = {
    "mlp": dict(steps=3, widths=(64, 16, 12, 10)),
    "cnn": dict(steps=3, channels=(2, 3), hidden=8),
    "regression": dict(steps=3, widths=(7, 8, 6, 1)),
    "lstm": dict(steps=2, batch_size=4, block=8, embed=6, hidden=8, validation=100, generated=5),
    "gpt": dict(steps=2, batch_size=4, block=8, layers=1, width=8, heads=2, validation=100,
                generated=12),
}


@pytest.fixture(scope="module", params=TINY)
def result(request):
    workload = WORKLOADS[request.param](**TINY[request.param])
    return workload, lab.run(workload, seeds=2 if request.param == "mlp" else 1, budget=0.0)


def test_every_default_workload_is_here():
    assert set(TINY) == {name for name, w in WORKLOADS.items() if not w.full}


def test_training_reports_every_seed_and_a_curve(result):
    workload, r = result
    training = r["training"]
    assert training["steps"] == workload.steps
    assert [run["seed"] for run in training["runs"]] == list(range(len(training["runs"])))
    assert [step for step, _ in training["curve"]][-1] == workload.steps
    assert np.isfinite([loss for _, loss in training["curve"]]).all()
    assert training["goal"]["metric"] in training["metrics"]
    for name, mean in training["metrics"].items():
        assert mean == pytest.approx(np.mean([run["metrics"][name] for run in training["runs"]]))


def test_bytes_are_of_the_model_and_add_up(result):
    workload, r = result
    p = 4 * r["parameters"]
    for name, phase in r["phases"].items():
        peak = phase["peak"]
        assert peak["total"] == sum(peak[c] for c in CATEGORIES), name
        assert p <= peak["parameter"] <= 1.5 * p + 4096, name       # size classes round up
        assert peak["input"] > 0 or name == "update"
    for name in ("inference", "prediction"):
        peak = r["phases"][name]["peak"]
        assert peak["saved"] == peak["gradient"] == peak["optimizer state"] == 0
    assert r["phases"]["forward"]["peak"]["saved"] > 0
    assert r["phases"]["update"]["peak"]["gradient"] >= p
    assert r["phases"]["update"]["peak"]["optimizer state"] >= 2 * p


def test_operations_are_counted_in_every_phase(result):
    _, r = result
    flops = {name: phase["flops"] for name, phase in r["phases"].items()}
    assert 0 < flops["prediction"] < flops["inference"] <= flops["forward"]
    assert flops["backward"] > flops["inference"] and flops["update"] >= r["parameters"]
    step = flops["forward"] + flops["backward"] + flops["update"]
    assert r["training"]["flops"] == r["training"]["steps"] * step
    assert r["multiples"]["step"]["flops"] == pytest.approx(step / flops["inference"])


def test_multiples_are_ratios_of_the_phases(result):
    _, r = result
    seconds = {name: phase["seconds"]["median"] for name, phase in r["phases"].items()}
    step, run = r["multiples"]["step"], r["multiples"]["run"]
    assert step["seconds"] == pytest.approx(
        (seconds["forward"] + seconds["backward"] + seconds["update"]) / seconds["inference"])
    assert run["seconds"] == pytest.approx(r["training"]["seconds"] / seconds["prediction"])


def test_language_models_write_and_the_others_do_not(result):
    workload, r = result
    if hasattr(workload, "prompt"):
        assert r["sample"].startswith(workload.prompt)
        assert len(r["sample"]) == len(workload.prompt) + workload.generated
        assert r["training"]["metrics"]["validation characters"] == workload.validation - 1
    else:
        assert r["sample"] is None


@pytest.mark.parametrize("name", TINY)
def test_a_seed_gives_the_same_model(name):
    workload = WORKLOADS[name](**TINY[name])
    (a, _, curve), (b, _, again) = fit(workload, 3), fit(workload, 3)
    assert curve == again
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert (p.numpy() == q.numpy()).all()


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    w = WORKLOADS["gpt"](steps=100, warmup=10, lr=1.0)
    rates = [w.lr_at(k) for k in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[100] == pytest.approx(0.1)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="hiden"):
        FashionCNN(hiden=3)


def test_char_loss_covers_every_character_once():
    class Uniform:
        seen = 0

        def __call__(self, ids):
            self.seen += ids.size
            return ad.zeros((*ids.shape, 7))
    model, tokens = Uniform(), np.arange(50) % 7
    assert char_loss(model, tokens, 8, batch_size=4) == pytest.approx(np.log(7))
    assert model.seen == 49


def test_gpt_does_not_look_ahead():
    ad.manual_seed(0)
    model = GPT(11, block=8, layers=2, width=8, heads=2).eval()
    a = np.arange(8)[None] % 11
    b = a.copy()
    b[0, 5:] = 9
    with ad.no_grad():
        first, second = model(ad.tensor(a)).numpy(), model(ad.tensor(b)).numpy()
    np.testing.assert_allclose(first[0, :5], second[0, :5], rtol=1e-5, atol=1e-6)
    assert not np.allclose(first[0, 5:], second[0, 5:])


def test_the_scalar_chain_counts_two_operations_a_step():
    r = chain.measure(steps=5, budget=0.0, least=2)
    assert r["operations"] == 10 and r["autodiff"]["train"]["rounds"] == 2
    assert ("pytorch" in r) == ("ratio" in r)


def test_resident_growth_is_set_beside_the_tracked_peak():
    r = fresh.call("benchmarks.resident:measure", batch=8, steps=1)
    assert r["residual"] == r["resident_growth"] - r["tracked_peak"]
    assert r["tracked_peak"] > 8 * 32 * 28 * 28 * 4         # the first convolution's output
