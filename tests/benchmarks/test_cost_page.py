"""The cost report's page without a browser: what it says is what the report holds."""

import json
import os
import re

import pytest

import autodiff as ad
import benchmarks
import nn
from benchmarks.cli import main
from benchmarks.costs import ReportError
from benchmarks.costs.page import TEXTS, page
from benchmarks.tables import BYTES, quantity, times


@pytest.fixture(scope="module")
def report():
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    return benchmarks.cost(model, (ad.randn(16, 8), ad.tensor([0, 1, 2, 3] * 4)),
                           nn.functional.cross_entropy, seconds=0, steps=100)


def test_two_sentences_each(report):
    data = report.to_dict()
    for name, text in TEXTS.items():
        said = text(data)
        assert len(said) == (0 if name == "growth" else 2), name
        assert all(s.endswith(".") and "None" not in s and "nan" not in s for s in said), said


def test_the_sentences_hold_the_reports_figures(report):
    data, step = report.to_dict(), report["multiples"]["step"]
    first = TEXTS["multiples"](data)[0]
    assert re.findall(r"\S+x\b", first) == [times(step[k]) for k in ("seconds", "peak", "flops")]
    peaks = [quantity(report["ledger"][k]["peak"]["total"], BYTES)
             for k in ("training", "inference")]
    for said, peak in zip(TEXTS["memory"](data), peaks, strict=True):
        assert f"holds at most {peak}" in said
    assert "to the byte" in TEXTS["predicted"](data)[0]
    assert quantity(report["saved"]["bytes"], BYTES) in TEXTS["kept"](data)[0]


def test_one_file_that_holds_the_data(report, tmp_path):
    path = page(report, tmp_path / "cost.html")
    assert os.listdir(tmp_path) == ["cost.html"] and path == str(tmp_path / "cost.html")
    found = (tmp_path / "cost.html").read_text("utf-8")
    held = json.loads(re.search(r'id="data">(.*?)</script>', found, re.S)[1])
    assert held["phases"] == report["phases"] and held["layers"] == report["layers"]
    assert "default-src 'none'" in found
    assert report.page(tmp_path / "again.html") == str(tmp_path / "again.html")
    with pytest.raises(ReportError, match="cannot be written to .*nowhere"):
        report.page(tmp_path / "nowhere" / "cost.html")


def test_names_cannot_become_markup(report, tmp_path):
    data = report.to_dict()
    data["model"]["name"] = "</script><img src=x>"
    page(data, tmp_path / "cost.html")
    assert "<img" not in (tmp_path / "cost.html").read_text("utf-8")


def test_from_the_command(tmp_path, capsys):
    target = str(tmp_path / "cost.html")
    assert main(["cost", "--workload", "mlp", "--seconds", "0", "--html", target]) == 0
    assert f"written: {target}" in capsys.readouterr().out
    assert "What training mlp costs over using it" in (tmp_path / "cost.html").read_text("utf-8")
    assert main(["cost", "--growth", "batch", "--html", target]) == 2
    assert "need a model" in capsys.readouterr().err
