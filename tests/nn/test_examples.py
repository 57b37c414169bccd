"""The examples run, shortened; what they say in full length stands in their first lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import autodiff as ad

ROOT = Path(__file__).parents[2]
RUNS = {"label.py": (["--epochs", "1", "--plot", "p.png"], "found:"),
        "number.py": (["--epochs", "5", "--plot", "p.png"], "miles per gallon"),
        "text.py": (["--steps", "10"], "nats a character"),
        "generalization.py": (["--steps", "30", "--plot", "p.png"], "early stopping")}


@pytest.mark.skipif(ad.core.name == "plain", reason="slow on the plain core")
@pytest.mark.parametrize("name", RUNS)
def test_it_runs(name, tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("matplotlib")
    arguments, said = RUNS[name]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.run([sys.executable, str(ROOT / "examples" / name), *arguments],
                         cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert said in run.stdout
    if "--plot" in arguments:
        assert (tmp_path / "p.png").stat().st_size > 1000
