"""Comparing reports: exact counts exactly, times against the noise, and only like with like."""

import copy
import json

import pytest

from benchmarks import compare, schema
from benchmarks.costs import cost

from .cost_nets import NETS
from .test_report import full  # noqa: F401


@pytest.fixture(scope="module")
def report():
    return cost(*NETS["cnn"](), seconds=0).to_dict()


def steady(report):
    """The same report with times that scatter by 1 %."""
    found = copy.deepcopy(report)
    for timing in (*(p["seconds"] for p in found["phases"].values()), found["yardstick"]):
        m = timing["median"]
        timing.update(q1=0.99 * m, q3=1.01 * m, blocks=[0.99 * m, m, m, 1.01 * m])
    return found


def scaled(report, factor, *phases):
    found = copy.deepcopy(report)
    chosen = [found["phases"][p]["seconds"] for p in phases or found["phases"]]
    for timing in chosen + ([] if phases else [found["yardstick"]]):
        for key in ("median", "q1", "q3"):
            timing[key] *= factor
        timing["blocks"] = [factor * b for b in timing["blocks"]]
    return found


def verdicts(a, b):
    lines, notes = compare.compare(a, b)
    return {line.name: line.verdict for line in lines}, notes


def test_a_report_is_not_distinguishable_from_itself(report):
    found, notes = verdicts(report, report)
    assert set(found.values()) == {"equal", "not distinguishable"} and notes == []
    assert all((v == "not distinguishable") == name.endswith("time") for name, v in found.items())


def test_a_slower_phase_is_found_and_nothing_else(report):
    a = steady(report)
    found, _ = verdicts(a, scaled(a, 1.1, "backward"))
    assert [name for name, v in found.items() if v == "moved"] == ["backward: time"]
    found, _ = verdicts(scaled(a, 1.1, "backward"), a)
    assert found["backward: time"] == "moved"


def test_within_the_noise_nothing_is_found(report):
    a = steady(report)
    assert "moved" not in verdicts(a, scaled(a, 1.015, "forward", "backward"))[0].values()


def test_a_slower_machine_is_not_taken_for_a_change(report):
    a = steady(report)
    found, notes = verdicts(a, scaled(a, 1.4))
    assert "moved" not in found.values() and "1.40 times as long" in notes[0]


def test_one_byte_and_one_operation_are_found(report):
    b = copy.deepcopy(report)
    b["phases"]["forward"]["peak"]["total"] += 1
    b["phases"]["update"]["flops"] += 1
    b["saved"]["bytes"] -= 1
    found, _ = verdicts(report, b)
    assert {n for n, v in found.items() if v == "moved"} == {
        "forward: peak", "update: operations", "saved for backward"}


def test_layers_that_came_and_went_are_named(report):
    b = copy.deepcopy(report)
    b["layers"][0]["path"] = "new"
    _, notes = verdicts(report, b)
    assert any("only in the first: 0: saved" in n for n in notes)
    assert any("only in the second: new: saved" in n for n in notes)


def test_reports_of_different_subjects_are_refused(report):
    other = cost(*NETS["mlp"](), seconds=0).to_dict()
    with pytest.raises(compare.CompareError, match="different subjects"):
        compare.compare(report, other)


def test_reports_of_different_schemas_are_refused(report, full):  # noqa: F811
    with pytest.raises(compare.CompareError, match="autodiff.cost/1 and autodiff-bench version"):
        compare.compare(report, full)


def test_another_machine_is_warned_of(report):
    b = copy.deepcopy(report)
    b["machine"]["threads"] = 64
    _, notes = verdicts(report, b)
    assert any(n.startswith("warning: threads differs") for n in notes)


def test_reports_of_bench(full):  # noqa: F811
    found, _ = verdicts(full, full)
    assert "moved" not in found.values() and "regression: forward: time" in found
    b = copy.deepcopy(full)
    b["workloads"][0]["phases"]["forward"]["seconds"].update(median=9.0, q1=8.9, q3=9.1)
    found, _ = verdicts(full, b)
    assert [n for n, v in found.items() if v == "moved"] == ["regression: forward: time"]
    b["workloads"][0]["batch"] = 1
    with pytest.raises(compare.CompareError, match="batches differ"):
        compare.compare(full, b)
    b["workloads"][0]["name"] = "other"
    with pytest.raises(compare.CompareError, match="no workload in common"):
        compare.compare(full, b)


@pytest.mark.parametrize("content, message", [
    ("{", "not JSON"), ("[]", "no report"), ('{"schema": "x"}', "no report"),
    ('{"schema": "autodiff.cost/9"}', "another version"),
    (json.dumps({"schema": schema.NAME, "version": 99}), "another version")])
def test_files_that_are_no_reports_are_named(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(compare.CompareError, match=message):
        compare.read(tmp_path / "x.json")
    with pytest.raises(compare.CompareError, match="cannot read"):
        compare.read(tmp_path / "none.json")


def test_it_prints_in_100_columns(report):
    b = copy.deepcopy(report)
    b["layers"][0]["path"] = "encoder.layers.11.attention.projection.of.queries"
    b["phases"]["forward"]["peak"]["total"] *= 10 ** 6
    text = compare.text(*compare.compare(report, b), everything=True)
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[-1].startswith("1 moved")
