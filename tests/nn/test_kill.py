"""A training run killed (SIGKILL) at random moments: its checkpoint always loads, and the run that
goes on from it ends bit-identical.  AUTODIFF_KILLS says how often (`make kill`: 50)."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nn

from . import kill_run

pytest.importorskip("safetensors")
KILLS = int(os.environ.get("AUTODIFF_KILLS", "3"))
PAUSE = 0.01        # seconds a batch, 40 batches: a save, with its fsync, is a large part of it


def start(path):
    root = str(Path(nn.__file__).parents[1])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen([sys.executable, kill_run.__file__, str(path), str(PAUSE)],
                            stdout=subprocess.PIPE, text=True, env=env)


def test_killed_runs_end_bit_identical(tmp_path):
    whole, train, test = kill_run.make()
    whole.fit(train, test, epochs=5)
    expected = kill_run.fingerprint(whole)
    rng, path, kills, finished, steps = random.Random(KILLS), tmp_path / "run", 0, 0, []
    deadline = time.monotonic() + 60 + 10 * KILLS
    while kills < KILLS or not finished:
        assert time.monotonic() < deadline
        process = start(path)
        if kills < KILLS:
            while not path.exists() and process.poll() is None:
                time.sleep(0.002)
            before = path.stat().st_mtime_ns
            while path.stat().st_mtime_ns == before and process.poll() is None:
                time.sleep(0.002)               # until it has loaded, gone on and saved once
            time.sleep(rng.uniform(0, 10 * PAUSE))
        else:
            process.wait()
        if process.poll() is None:
            process.kill()
            kills += 1
            steps.append(nn.load_checkpoint(path)["history"]["steps"])
        out = process.communicate()[0]
        if process.returncode == 0:             # to its end: compare, and begin a new run
            assert out.strip() == expected
            finished += 1
            path.unlink()
        else:
            assert process.returncode == -9, "the run failed by itself"
    print(f"{kills} kills after steps {steps}; {finished} runs, all bit-identical")
