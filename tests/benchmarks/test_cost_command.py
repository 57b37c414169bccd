"""`autodiff cost` and `autodiff compare` from the command line, with a module of the user's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cli
from benchmarks.costs import CostReport

ROOT = Path(__file__).resolve().parents[2]

MODULE = """
import numpy as np
import autodiff as ad, nn
import nn.functional as F


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Linear(8, width), nn.Linear(width, 3)

    def forward(self, x):
        return self.b(ad.tanh(self.a(x)))


def build(width=6):
    model = Net(width)
    x = np.random.default_rng(0).random((16, 8), dtype=np.float32)
    return model, (x, np.arange(16) % 3), F.cross_entropy, nn.optim.Adam(model.parameters())


def named():
    model, batch, loss, optimizer = build()
    return {"model": model, "batch": batch, "loss": loss, "steps": 50, "name": "mine"}


def wrong():
    return Net(4)


def failing():
    raise KeyError("weights")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the user's module, as the current one; what it imports is forgotten after."""
    (tmp_path / "my_nets.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_nets", None)


def cost(*args):
    return cli.main(["cost", *args, "--seconds", "0"])


def test_a_module_of_the_users_end_to_end(folder, capsys):
    pytest.importorskip("matplotlib")
    assert cost("my_nets:build", "--json", "a.json", "--trace", "t.json", "--plots", "p",
                "--steps", "30", "--growth", "batch", "--growth", "width",
                "--values", "2,4,8", "--svg") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert "my_nets:build: 75 parameters" in out and "30 steps" in out
    report = CostReport.load("a.json")
    assert [curve["over"] for curve in report["growth"]] == ["batch", "width"]
    assert report["growth"][1]["values"] == [2, 4, 8]
    lines = {a["line"] for a in report["saved"]["arrays"] if a["layer"] == "b"}
    assert all("my_nets.py:" in line for line in lines)
    assert json.loads(Path("t.json").read_text())["traceEvents"]
    assert {p.name for p in Path("p").iterdir()} == {
        "memory.svg", "layers.svg", "growth-batch.svg", "growth-width.svg"}


def test_from_any_folder_in_a_process_of_its_own(folder):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-m", "benchmarks", "cost", "my_nets.py:named",
                          "--seconds", "0", "--json", "-"], capture_output=True, text=True,
                         env=env)
    assert run.returncode == 0, run.stderr
    report = CostReport(json.loads(run.stdout))
    assert report["model"]["name"] == "mine" and report["model"]["steps"] == 50


def test_a_built_in_workload(capsys):
    assert cost("--workload", "regression") == 0
    assert "regression: 2,625 parameters" in capsys.readouterr().out


def test_growth_alone(folder, capsys):
    assert cost("--growth", "depth", "--values", "1,2,3", "--json", "g.json") == 0
    assert "Training memory grows with depth" in capsys.readouterr().out
    data = json.loads(Path("g.json").read_text())
    assert data["schema"] == "autodiff.growth/1" and data["growth"][0]["over"] == "depth"


@pytest.mark.parametrize("args, message", [
    ([], "say what to measure"),
    (["my_nets:build", "--workload", "cnn"], "give either"),
    (["--workload", "resnet"], "there are mlp, cnn"),
    (["my_nets"], "module:function"),
    (["my_net:build"], "no module 'my_net'"),
    (["other.py:build"], "no file other.py"),
    (["my_nets:biuld"], "it has: build, named, wrong, failing"),
    (["my_nets:wrong"], "wrong() must return (model, batch, loss)"),
    (["my_nets:failing"], "failing() failed: KeyError: 'weights'"),
    (["my_nets:build", "--growth", "depth"], "takes no argument depth"),
    (["--growth", "depth", "--plots", "p"], "need a model"),
    (["my_nets:build", "--json", "none/a.json"], "cannot write none/a.json")])
def test_what_cannot_be_done_is_named(folder, args, message, capsys):
    assert cost(*args) == 2
    assert message in capsys.readouterr().err


def test_a_module_that_does_not_import_is_named(folder, capsys):
    (folder / "broken.py").write_text("import a_package_that_is_not_there\n")
    assert cost("broken:build") == 2 and cost("broken.py:build") == 2
    error = capsys.readouterr().err
    assert error.count("cannot be imported") == 2 and "a_package_that_is_not_there" in error


@pytest.mark.parametrize("args", [["--seconds", "-1"], ["--seconds", "soon"], ["--values", "1,b"]])
def test_wrong_numbers_are_refused(args, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["cost", "my_nets:build", *args])
    assert stop.value.code == 2


def test_two_reports_of_the_same_and_one_of_a_change(folder, capsys):
    for name in ("a.json", "b.json"):
        assert cost("my_nets:build", "--json", name) == 0
    capsys.readouterr()
    assert cli.main(["compare", "a.json", "a.json"]) == 0
    out = capsys.readouterr().out
    assert "0 moved" in out and "not distinguishable" in out
    assert cost("my_nets:named", "--json", "c.json") == 0      # SGD instead of Adam
    capsys.readouterr()
    assert cli.main(["compare", "a.json", "c.json"]) == 1
    assert "update: peak" in capsys.readouterr().out
