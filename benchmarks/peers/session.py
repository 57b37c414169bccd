"""All engines of one workload, side by side: a process each, held open and run in turns.

Invariant: only one process works at a time, and none starts before the one before it has come to
rest (its threads use no processor), so that engines that spin while idle do not slow the others.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.process import scheduled

from .engines import ENGINES
from .rows import MODES, TRAIN

STEPS = 3                       # training steps whose losses must agree
TOLERANCE = 1e-3                # of the largest number: float32 sums in another order
ROUNDS, FEWEST = 10, 3          # blocks of an engine; of a slow one
LEAST = 2                       # repetitions of a block
CALM = 0.05                     # share of a block that its threads may wait for a processor
PATIENCE = 4                    # times the seconds asked for
MEMORY = ("autodiff", "captured", "frozen", "eager", "jax", "ort")      # their peaks are taken


class WorkerError(RuntimeError):
    """An engine's process failed; the message ends with what it said last."""


class Process:
    """The parent's end of a worker."""

    def __init__(self, engine, row, threads, miniature=False, cache=None):
        self.engine, self.row = engine, row
        self.log = tempfile.TemporaryFile("w+")
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p),
                   TF_CPP_MIN_LOG_LEVEL="2")
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            env[name] = str(threads)
        env.pop("OPENBLAS_CORETYPE", None)
        if cache:
            env["TORCHINDUCTOR_CACHE_DIR"] = cache
        self.started = time.monotonic()
        self.child = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.peers.worker", engine, row, str(threads),
             "small" if miniature else "full"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=env)

    def ask(self, do, **arguments):
        """Send one command and wait for its reply; then for the process to come to rest."""
        try:
            self.child.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.log.seek(0)
            last = "\n".join(self.log.read().strip().splitlines()[-4:])
            raise WorkerError(f"{ENGINES[self.engine].title}, {self.row}: {do} failed: {last}")
        self._rest()
        return json.loads(line)

    def _rest(self, step=0.01, limit=2.0):
        """Wait until the process uses less than a tenth of a processor."""
        end = time.monotonic() + limit
        before = scheduled(self.child.pid)
        while before is not None and time.monotonic() < end:
            time.sleep(step)
            now = scheduled(self.child.pid)
            if now is None or now[0] - before[0] < 0.1 * step:
                return
            before = now

    def block(self, **arguments):
        """Ask for a block; "waited" is the share of its time that a thread waited for a processor,
        because other work on the machine had it."""
        before, start = scheduled(self.child.pid), time.monotonic()
        reply = self.ask("block", **arguments)
        after, spent = scheduled(self.child.pid), time.monotonic() - start
        return {**reply, "waited": (after[1] - before[1]) / spent if before and after else 0.0}

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait()
        self.log.close()


@contextlib.contextmanager
def busy():
    """Another process keeps a processor busy meanwhile."""
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def run(row, engines, threads, seconds, miniature=False, memory=True, loaded=False,
        say=lambda text: None):
    """Measure one workload: {"engines": {name: figures}, "notes": [what went wrong, ...]}.

    figures: "version"; "first": {"mode", "seconds" from the process's start to the first result};
    by mode {"median", "q1", "q3", "repetitions", "blocks" taken, "rounds": medians of those kept,
    "waited": the most of one, "faults" a repetition}, "MODE_error" to the first engine's numbers,
    and "memory": {mode: see Worker.memory}.
    seconds: for the repetitions of each mode, shared by the engines; loaded: beside a process that
    keeps a processor busy.
    """
    found, notes, open_ = {}, [], {}
    with tempfile.TemporaryDirectory() as cache:
        try:
            for name in engines:
                say(f"{row.name}: {ENGINES[name].title} starts")
                _start(name, row, threads, miniature, cache, open_, found, notes)
            for mode in MODES:
                able = _agree(mode, open_, found, notes)
                say(f"{row.name}: {mode}, {len(able)} engines in turns")
                with busy() if loaded else contextlib.nullcontext():
                    _rounds(mode, able, found, seconds, loaded)
        finally:
            for process in open_.values():
                process.close()
        for name in engines:
            if memory and name in found and name in MEMORY:
                say(f"{row.name}: memory of {ENGINES[name].title}")
                _memory(name, row, threads, miniature, cache, found, notes)
    return {"engines": found, "notes": notes}


def _start(name, row, threads, miniature, cache, open_, found, notes):
    process = Process(name, row.name, threads, miniature, cache)
    try:
        first = process.ask("first")
    except WorkerError as error:
        notes.append(str(error))
        process.close()
        return
    if first["mode"] is None:
        process.close()
        return
    open_[name] = process
    found[name] = {"version": first["version"],
                   "first": {"mode": first["mode"], "seconds": first["at"] - process.started}}


def _agree(mode, open_, found, notes):
    """Engines that can run `mode` and give the same numbers as the first of them."""
    able, expected = {}, None
    for name, process in open_.items():
        values = process.ask("ready", mode=mode, count=STEPS if mode == TRAIN else 1)
        if values is None:
            continue
        values = np.array(values)
        if expected is None:
            expected = values
        error = float(np.abs(values - expected).max() / np.abs(expected).max()
                      if values.shape == expected.shape else np.inf)
        found[name][f"{mode}_error"] = error
        if error < TOLERANCE:
            able[name] = process
        else:
            notes.append(f"{ENGINES[name].title}: {mode} differs from "
                         f"{ENGINES[next(iter(able))].title} by {error:.1e}: not timed")
    return able


def _rounds(mode, able, found, seconds, loaded=False):
    """Times of every engine, block after block in turns, into `found`.

    A block that other work on the machine disturbed is taken again, as far as PATIENCE allows; of
    each engine the ROUNDS calmest blocks count.
    """
    blocks, budget = {name: [] for name in able}, seconds / max(1, len(able))
    end = time.monotonic() + (1 if loaded else PATIENCE) * seconds

    def served(name):           # enough calm blocks, or a slow engine that has had its share
        calm = [sum(b["times"]) for b in blocks[name] if b["waited"] < CALM]
        return len(calm) >= ROUNDS or len(calm) >= FEWEST and sum(calm) > 1.5 * budget

    for process in able.values():                       # to warm up
        process.block(mode=mode, seconds=budget / ROUNDS, least=LEAST)
    while not all(map(served, able)) and (
            time.monotonic() < end or min(map(len, blocks.values())) < FEWEST):
        for name, process in able.items():
            if not (served(name) and budget / ROUNDS < max(blocks[name][-1]["times"])):
                blocks[name].append(process.block(mode=mode, seconds=budget / ROUNDS, least=LEAST))
    for name in able:
        kept = sorted(blocks[name], key=lambda b: b["waited"])[:ROUNDS]
        times = np.concatenate([b["times"] for b in kept])
        q1, median, q3 = np.percentile(times, (25, 50, 75))
        found[name][mode] = {"median": float(median), "q1": float(q1), "q3": float(q3),
                             "repetitions": len(times), "blocks": len(blocks[name]),
                             "rounds": [float(np.median(b["times"])) for b in kept],
                             "waited": float(max(b["waited"] for b in kept)),
                             "faults": float(np.median([b["faults"] for b in kept]))}


def _memory(name, row, threads, miniature, cache, found, notes):
    for mode in MODES:
        if mode not in found[name]:
            continue
        process = Process(name, row.name, threads, miniature, cache)
        try:
            found[name].setdefault("memory", {})[mode] = process.ask("memory", mode=mode)
        except WorkerError as error:
            notes.append(str(error))
        process.close()
