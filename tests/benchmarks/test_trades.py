"""`autodiff trades` in miniature: bytes, bits, files and sentences; no times."""

import json

import pytest

from benchmarks import cli
from benchmarks.schema import SchemaError
from benchmarks.trades import checkpointing, command, page, schema


@pytest.fixture(scope="module")
def report():
    return command.measure(command.PARTS, seconds=0.01, miniature=True)


def test_every_schedule_stays_within_its_budget_and_gives_the_same_bits(report):
    found = report["checkpointing"]
    budgets = [p for p in found["points"] if p["budget"] is not None]
    assert min(p["budget"] for p in budgets) == found["smallest"]
    assert all(p["peak"] <= p["budget"] for p in budgets)
    assert all(p["same_bits"] and p["peak"] <= p["peak_planned"] for p in found["points"])


def test_the_plan_is_no_worse_than_sqrt_at_its_memory(report):
    root, best = checkpointing.at_sqrt(report["checkpointing"])
    assert best["peak"] <= root["peak_planned"]
    assert best["overhead_planned"] <= root["overhead_planned"]


def test_what_cannot_be_done_is_said(report):
    found = report["checkpointing"]
    assert f"that can work is {found['smallest']} bytes" in found["too_small"]
    assert found["no_chain"].startswith("ChainError: ")


def test_the_frontier_falls(report):
    peaks, times = zip(*report["checkpointing"]["frontier"], strict=True)
    assert list(peaks) == sorted(peaks) and list(times) == sorted(times, reverse=True)


def test_the_text_fits_100_columns(report):
    text = checkpointing.text(report["checkpointing"])
    assert max(map(len, text.splitlines())) <= 100, text
    assert "bit for bit" in text and "within the budget at each" in text


def test_the_sentences_say_what_went_wrong(report):
    wrong = json.loads(json.dumps(report["checkpointing"]))
    wrong["points"][-1].update(peak=10 ** 9, same_bits=False)
    wrong["largest_error"] = 0.2
    said = " ".join(checkpointing.sentences(wrong))
    assert "OVER the budget at 1" in said and "DIFFER" in said and "MISSED" in said


def test_the_data_is_what_the_schema_says(report):
    data = json.loads(json.dumps(report))
    schema.check(data)
    del data["checkpointing"]["points"][0]["peak"]
    with pytest.raises(SchemaError, match=r"checkpointing.points\[0\].peak"):
        schema.check(data)
    with pytest.raises(SchemaError, match="autodiff.trades/1"):
        schema.check({"schema": "another"})
    assert ".points[].overhead.median: median" in schema.docs()


def test_the_command_writes_its_files(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    assert cli.main(["trades", "--miniature", "--seconds", "0.01", "--only", "checkpointing",
                     "--out", str(out), "--svg"]) == 0
    assert "6 residual blocks" in capsys.readouterr().out
    schema.check(json.loads((out / "trades.json").read_text()))
    assert "<svg" in (out / "checkpointing.svg").read_text()
    page = (out / "trades.md").read_text()
    assert "](checkpointing.svg)" in page and page.count("```") == 4


def test_the_page_has_every_row(report):
    text = page.markdown(json.loads(json.dumps(report)))
    for trade in report["small"]:
        assert trade["name"] in text and all(row["label"] in text for row in trade["rows"])
    assert checkpointing.text(report["checkpointing"]) in text and "![" not in text


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "long"])
def test_seconds_must_be_positive(seconds, capsys):
    with pytest.raises(SystemExit):
        cli.main(["trades", "--seconds", seconds])
    assert "above 0" in capsys.readouterr().err
