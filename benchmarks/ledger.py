"""What the ledger costs: the CNN's training step beside a build that has it compiled out.

  AUTODIFF_LEDGER=0 python -m pip install --no-deps --upgrade --target build/no-ledger .
  autodiff ledger build/no-ledger

Each pair is two fresh processes, one of each build, that run a few steps in turns; the one that
counts also runs them under `ad.memory.timeline()`, which listens to every launch.  Invariant:
ratios are taken within a pair, and each build proves by its counts which of the two it is.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np

from .cli import UsageError
from .measure import Timing

GOALS = {"silent": 0.03, "listened": 0.15}
WORDS = {"silent": "nobody listens", "listened": "a timeline listens"}
MAKE = "AUTODIFF_LEDGER=0 python -m pip install --no-deps --upgrade --target {} ."
TURNS, STEPS, WARM = 8, 10, 30

_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from benchmarks.ledger import work
work(int(sys.argv[2]))
"""


def add_arguments(parser):
    """Options of `ledger`."""
    parser.add_argument("folder", help="where the build without a ledger is installed")
    parser.add_argument("--pairs", type=_positive, default=30, metavar="N", help="(default: 30)")
    parser.add_argument("--threads", type=_positive, default=2, metavar="N", help="(default: 2)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def run(args):
    """Measure and print; 1 where a goal is missed."""
    from . import machine
    if not os.path.isdir(os.path.join(args.folder, "autodiff")):
        raise UsageError(f"{args.folder}: no build of autodiff there; make one with\n"
                         f"  {MAKE.format(args.folder)}")
    found = measure(os.path.abspath(args.folder), args.pairs, args.threads)
    print(machine.describe(machine.state()) + "\n" + text(found))
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"machine": machine.state(), **found}, file, indent=1)
    return int(any(found[name]["median"] > goal for name, goal in GOALS.items()))


def measure(folder, pairs=30, threads=2):
    """{"pairs", "threads", "step": Timing of one step without a ledger, in seconds, "silent",
    "listened": Timing of the step with it / without, less 1}."""
    here = [p for p in sys.path if p]
    bare, ratios = [], {name: [] for name in GOALS}
    for k in range(pairs):
        with _Worker([folder, *here], threads) as without, _Worker(here, threads) as counting:
            if without.counts or not counting.counts:
                raise UsageError(f"{folder} must hold a build made with AUTODIFF_LEDGER=0, and "
                                 f"this one must not be:\n  {MAKE.format(folder)}")
            asked = [(without, "silent", []), (counting, "silent", []), (counting, "listened", [])]
            for turn in range(TURNS):
                for worker, mode, seconds in asked if (k + turn) % 2 else reversed(asked):
                    seconds.append(worker.seconds(mode))
        base, silent, listened = (float(np.median(seconds)) for _, _, seconds in asked)
        bare.append(base)
        ratios["silent"].append(silent / base - 1)
        ratios["listened"].append(listened / base - 1)
    return {"pairs": pairs, "threads": threads, "step": Timing.of(bare).to_dict(),
            **{name: Timing.of(found).to_dict() for name, found in ratios.items()}}


def text(found):
    """The figures in words."""
    lines = [f"training step of the CNN on digits, {found['threads']} threads, {found['pairs']} "
             f"pairs of processes: {1e3 * found['step']['median']:.3f} ms without a ledger"]
    for name, goal in GOALS.items():
        t = found[name]
        lines.append(f"  {WORDS[name]:18} {100 * t['median']:+6.2f} %  (quartiles "
                     f"{100 * t['q1']:+.2f}, {100 * t['q3']:+.2f}; under {100 * goal:.0f} % "
                     f"wanted: {'met' if t['median'] <= goal else 'MISSED'})")
    return "\n".join(lines)


class _Worker:
    """A process that runs steps when told to."""

    def __init__(self, path, threads):
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE, json.dumps(path), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.counts = self._line() == "True"

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise UsageError(f"a worker process ended with status {self.process.wait()}; see above")
        return line.strip()

    def seconds(self, mode):
        self.process.stdin.write(mode + "\n")
        self.process.stdin.flush()
        return float(self._line())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.wait()


def work(threads):
    """A worker: says whether it counts, then answers each line with the seconds of a step."""
    import contextlib
    import gc
    import time

    import autodiff as ad

    from .measure import Step
    from .workloads import WORKLOADS
    ad.set_num_threads(threads)
    ad.manual_seed(0)
    workload = WORKLOADS["cnn"]()
    model = workload.model()
    x, y = (t.numpy() for t in next(iter(workload.loader(seed=0))))
    step = Step(workload, model, workload.optimizer(model), x, y)
    for _ in range(WARM):
        step.run()
    gc.collect()
    gc.disable()
    print(ad.memory.stats()["live_bytes"] > 0, flush=True)
    for mode in sys.stdin:
        listen = ad.memory.timeline() if mode.strip() == "listened" else contextlib.nullcontext()
        with listen:
            step.run()              # so that what listening sets up is not counted
            start = time.perf_counter()
            for _ in range(STEPS):
                step.run()
            spent = time.perf_counter() - start
        print(spent / STEPS, flush=True)
