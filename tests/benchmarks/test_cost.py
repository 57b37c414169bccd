"""The cost report: what it leaves untouched, what it refuses, how it prints, saves and loads."""

import json
import random

import numpy as np
import pytest

import autodiff as ad
import benchmarks
import nn
import nn.functional as F
from autodiff.errors import AutodiffError
from benchmarks.costs import (
    BatchError,
    CostError,
    CostReport,
    LossError,
    ModelError,
    OptimizerError,
    ReportError,
    cost,
    schema,
)
from benchmarks.costs.accounts import column_of
from benchmarks.costs.events import thin
from benchmarks.measure import CATEGORIES

from .cost_nets import NETS, mlp, shared

PHASES = ("forward", "backward", "update")


@pytest.fixture(scope="module")
def report():
    model, batch, loss = NETS["gpt"]()
    return cost(model, batch, loss, nn.optim.Adam(model.parameters()), seconds=0, steps=100,
                name="a small GPT")


# What stays as it was -------------------------------------------------------------------------

def state(model, optimizer):
    """Every bit that measuring could change."""
    return (
        [(n, p.numpy().tobytes(), p.version, id(p.grad), p.requires_grad)
         for n, p in model.named_parameters()],
        [(n, b.numpy().tobytes(), b.version) for n, b in model.named_buffers()],
        [m.training for m in model.modules()],
        {k: {n: v.numpy().tobytes() if isinstance(v, ad.Tensor) else v for n, v in s.items()}
         for k, s in optimizer.state_dict()["state"].items()},
        [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups],
        ad.random_state().numpy().tobytes(), np.random.get_state()[1].tobytes(),
        random.getstate(), ad.is_grad_enabled())


@pytest.mark.parametrize("training", [True, False])
def test_everything_is_bit_for_bit_as_before(training):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = nn.optim.Adam(model.parameters(), lr=0.1)
    x, y = ad.rand((4, 6)), ad.tensor(np.arange(4) % 3)
    for _ in range(2):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.train(training)
    kept = x.numpy().tobytes()
    before = state(model, optimizer)
    live = ad.memory.stats()["live_bytes"]
    with ad.no_grad():
        cost(model, (x, y), F.cross_entropy, optimizer, seconds=0)
        after = state(model, optimizer)
    assert after[:-1] == before[:-1] and x.numpy().tobytes() == kept
    assert ad.memory.stats()["live_bytes"] == live


def test_measuring_goes_on_where_the_model_raises_nothing_is_changed():
    model = nn.Linear(6, 3)
    before = ad.random_state().numpy().tobytes()
    with pytest.raises(AutodiffError):
        cost(model, (np.ones((2, 5), np.float32), np.zeros(2, int)), F.cross_entropy)
    assert ad.random_state().numpy().tobytes() == before and model.weight.grad is None


# What it refuses ------------------------------------------------------------------------------

X, Y = np.ones((4, 6), np.float32), np.zeros(4, int)


class NoParameters(nn.Module):
    def forward(self, x):
        return x


class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x).detach()


def linear():
    return nn.Linear(6, 3)


def outside(model):
    return lambda out, y: F.cross_entropy(out, y) + model.weight.sum()


BAD = {
    "model is no callable": (ModelError, "must be callable", 3, (X, Y), F.cross_entropy),
    "model is a function": (ModelError, "no parameters()", lambda x: x, (X, Y), F.cross_entropy),
    "nothing to train": (ModelError, "nothing to train", NoParameters(), (X, Y), F.cross_entropy),
    "frozen": (ModelError, "frozen", nn.freeze(linear()), (X, Y), F.cross_entropy),
    "batch is no pair": (BatchError, "pair", linear(), X, F.cross_entropy),
    "batch of three": (BatchError, "tuple of 3", linear(), (X, Y, Y), F.cross_entropy),
    "no samples": (BatchError, "empty", linear(), (X[:0], Y[:0]), F.cross_entropy),
    "inputs without an array": (BatchError, "no array", linear(), ("text", Y), F.cross_entropy),
    "too many inputs": (BatchError, "does not take this batch", linear(), ((X, X), Y),
                        F.cross_entropy),
    "loss is no function": (LossError, "function of (output, target)", linear(), (X, Y), 0.5),
    "loss is no scalar": (LossError, "shape (4,)", linear(), (X, Y),
                          lambda out, y: F.cross_entropy(out, y, reduction="none")),
    "loss is a number": (LossError, "got float", linear(), (X, Y), lambda out, y: 1.0),
    "no gradient": (LossError, "no gradient", Detached(6, 3), (X, Y), F.cross_entropy),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_measured_is_named(case):
    error, message, model, batch, loss = BAD[case]
    with pytest.raises(error) as caught:
        cost(model, batch, loss, seconds=0)
    assert isinstance(caught.value, CostError) and message in str(caught.value)


def test_a_loss_that_reaches_the_model_from_outside_is_named_and_touches_nothing():
    model = linear()
    with pytest.raises(LossError, match="from outside"):
        cost(model, (X, Y), outside(model), seconds=0)
    assert model.weight.grad is None


def test_a_loss_module_that_holds_the_model_is_copied_with_it():
    class Penalised(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, out, y):
            return F.cross_entropy(out, y) + (self.model.weight ** 2).sum()

    model = linear()
    loss = Penalised(model)
    for f in (loss, loss.forward):
        cost(model, (X, Y), f, seconds=0)
    assert model.weight.grad is None


@pytest.mark.parametrize("optimizer, message", [
    (3, "no step"), (nn.optim.SGD(linear().parameters(), lr=0.1), "none of the model's")])
def test_a_wrong_optimizer_is_named(optimizer, message):
    with pytest.raises(OptimizerError, match=message):
        cost(linear(), (X, Y), F.cross_entropy, optimizer)


@pytest.mark.parametrize("wrong", [{"seconds": -1}, {"seconds": "2"}, {"steps": 0},
                                   {"steps": 1.5}])
def test_wrong_numbers_are_named(wrong):
    with pytest.raises(CostError, match=next(iter(wrong))):
        cost(linear(), (X, Y), F.cross_entropy, **wrong)


# What it says ---------------------------------------------------------------------------------

def test_tables_add_up_to_the_passes(report):
    phases = report["phases"]
    for table in (report["layers"], report["ops"]):
        for name in ("inference", *PHASES):
            for what in ("flops", "launches", "moved"):
                assert sum(row[name][what] for row in table) == phases[name][what]
    for name in ("inference", *PHASES):
        rows = [r for r in report["roofline"] if r["phase"] == name]
        assert sum(r["flops"] for r in rows) == phases[name]["flops"]
        assert all(r["bound_seconds"] > 0 and r["bound"] in ("compute", "bandwidth", "overhead")
                   for r in rows)


def test_multiples_are_ratios_of_the_phases(report):
    phases, many = report["phases"], report["multiples"]
    flops = sum(phases[p]["flops"] for p in PHASES)
    assert many["step"]["flops"] == pytest.approx(flops / phases["inference"]["flops"])
    assert many["run"]["flops"] == pytest.approx(100 * flops / phases["prediction"]["flops"])
    assert many["predicted"]["flops"] == many["step"]["flops"]
    assert many["predicted"]["peak"] == pytest.approx(many["step"]["peak"], rel=0.02)


def test_the_ledger_names_its_peak(report):
    for name in ("training", "inference"):
        ledger = report["ledger"][name]
        events, at = ledger["events"], ledger["at"]
        totals = [sum(row) for row in zip(*(events["live"][c] for c in CATEGORIES), strict=True)]
        assert max(totals) == ledger["peak"]["total"] == at["bytes"]
        assert at["launch"] in events["launch"]
        assert events["seconds"] == sorted(events["seconds"])
        assert ledger["peak"]["total"] == sum(ledger["peak"][c] for c in CATEGORIES)
    step = sum(report["phases"][p]["seconds"]["median"] for p in PHASES)
    assert report["ledger"]["training"]["events"]["seconds"][-1] == pytest.approx(step, rel=0.5)


def test_thinning_keeps_the_highest_of_each_stretch():
    totals = [k * 7919 % 1000 for k in range(5000)]
    kept = thin(totals, 300)
    assert len(kept) == 300 and kept == sorted(kept)
    assert max(totals) in [totals[k] for k in kept]
    assert thin(totals[:10], 300) == list(range(10))


def test_saved_arrays_say_who_where_and_when_they_go():
    model, batch, loss = shared()
    report = cost(model, batch, loss, seconds=0)
    tanh = [a for a in report["saved"]["arrays"] if a["op"] == "tanh"]
    assert len(tanh) == 3 and {a["layer"] for a in tanh} == {""}
    assert all(a["line"].rpartition(":")[0].endswith("cost_nets.py") for a in tanh)
    weight = [a for a in report["saved"]["arrays"] if a["category"] == "parameter"
              and a["layer"] == "inner"]
    assert [a["shared_with"] for a in weight] == [["linear.weight"]]    # of 3 uses, 2 need it
    report = cost(*mlp(), seconds=0)
    turns = {a["op"] + "." + a["name"]: a["freed_by"]["turn"] for a in report["saved"]["arrays"]}
    assert turns["cross_entropy.lse"] == 1 and turns["linear.x"] == 4


def test_recomputed_work_counts_as_backward(report):
    model, batch, loss = NETS["checkpointed"]()
    found = cost(model, batch, loss, seconds=0)
    assert found["multiples"]["backward"]["flops"] > 2.2
    assert column_of(type("L", (), {"phase": "recompute"})) == "backward"


def test_a_model_that_looks_at_values_is_measured_without_a_prediction():
    class Looking(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1.0 if float(x.sum()) > 0 else 2.0)
    found = cost(Looking(6, 3), (X, Y), F.cross_entropy, seconds=0)
    assert found["phases"]["forward"]["predicted"] is None
    assert found["saved"]["predicted_bytes"] is None and found["notes"]
    assert "values" in str(found)


# How it prints, saves and loads ---------------------------------------------------------------

@pytest.mark.parametrize("name", NETS)
def test_it_prints_in_100_columns(name):
    text = str(cost(*NETS[name](), seconds=0))
    assert max(map(len, text.splitlines())) <= 100
    assert "÷ inference" in text and "kept for backward" in text


def test_long_names_and_large_figures_fit(report):
    data = report.to_dict()
    for row in data["layers"]:
        row["path"] = "encoder.layers.11.attention." + row["path"]
        for p in ("inference", *PHASES):
            row[p].update(seconds=1234.5, bound_seconds=0.1, flops=10 ** 15)
        row["multiples"] = {"seconds": 12345.6, "flops": 123.4, "peak": 1234.5}
    for row in data["roofline"]:
        row.update(seconds=1234.5, moved=10 ** 12, flops=10 ** 15, launches=123456)
    for a in data["saved"]["arrays"]:
        a.update(bytes=10 ** 11, shape=[1024] * 4, line="/x/a_module_with_a_long_name.py:1234",
                 layer="encoder.layers.11.attention")
    text = str(CostReport(data))
    assert max(map(len, text.splitlines())) <= 100


def test_a_saved_report_comes_back_equal(report, tmp_path):
    path = report.save(tmp_path / "cost.json")
    again = CostReport.load(path)
    assert again == report and str(again) == str(report)
    assert [p.name for p in tmp_path.iterdir()] == ["cost.json"]
    assert again.to_dict() is not again.to_dict()
    schema.check(json.loads((tmp_path / "cost.json").read_text()))


@pytest.mark.parametrize("change, message", [
    (lambda d: d.update(schema="autodiff.cost/0"), "another version"),
    (lambda d: d.update(schema="other"), "not a cost report"),
    (lambda d: d.pop("saved"), "saved: missing"),
    (lambda d: d["phases"]["forward"].update(flops="many"), r"phases.forward.flops: expected"),
    (lambda d: d["layers"][0].pop("path"), r"layers\[0\].path: missing")])
def test_a_report_of_another_kind_is_refused(report, change, message, tmp_path):
    data = report.to_dict()
    change(data)
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(ReportError, match=message):
        CostReport.load(tmp_path / "x.json")


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(ReportError, match="cannot read"):
        CostReport.load(tmp_path / "none.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ReportError, match="not JSON"):
        CostReport.load(tmp_path / "x.json")


def test_the_schema_lists_every_field(report):
    text = schema.docs()
    for field in report.to_dict():
        assert f"\n{field}" in f"\n{text}"


def test_the_top_of_the_memory_plot_is_the_peak(report):
    """With the kernels' scratch: bytes that live during one launch only."""
    pytest.importorskip("matplotlib")
    from benchmarks.costs import figures
    panels = figures.memory(report.to_dict()).axes
    size, _ = figures.scale([report["ledger"]["training"]["peak"]["total"]], figures.BYTES)
    for axes, name in zip(panels, ("training", "inference"), strict=True):
        top = max(path.vertices[:, 1].max() for c in axes.collections for path in c.get_paths())
        assert top * size == pytest.approx(report["ledger"][name]["peak"]["total"], rel=1e-9)


def test_plots(report, tmp_path):
    pytest.importorskip("matplotlib")
    paths = report.plots(tmp_path / "plots")
    assert [p.rpartition("/")[2] for p in paths] == ["memory.png", "layers.png"]
    assert all((tmp_path / "plots" / name).stat().st_size > 3000
               for name in ("memory.png", "layers.png"))
    with pytest.raises(ReportError, match="png, svg"):
        report.plots(tmp_path, "gif")


def test_the_package_offers_the_functions():
    assert benchmarks.cost is cost and callable(benchmarks.growth)
    with pytest.raises(AttributeError, match="nothing"):
        benchmarks.nothing  # noqa: B018
