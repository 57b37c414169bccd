"""One engine's process: it builds what it is told to, runs blocks of repetitions, and waits.

One line of JSON a command on standard input, one a reply on what was standard output; whatever the
engine prints goes to standard error.  Invariant: between commands nothing runs here but what the
engine's own idle threads do, and the parent waits for them to come to rest.
"""

import gc
import json
import os
import sys
import time

import numpy as np

from benchmarks import process

from .engines import ENGINES
from .rows import INFER, ROWS, TRAIN

SHOWN = 1000                    # numbers of a result that are compared
SHORTEST = 50e-6                # seconds: shorter repetitions are timed in groups


class Worker:
    """The commands; each answers something JSON can hold."""

    def __init__(self, engine, row, threads, miniature):
        self.row = ROWS[row].miniature() if miniature else ROWS[row]
        self.miniature = miniature
        self.engine = ENGINES[engine].load(threads)
        self.programs, self.values, self.each = {}, {}, {}

    def first(self):
        """Build, and run the first training step (inference where there is no training)."""
        for mode in (TRAIN, INFER):
            if self._build(mode):
                self.values[mode] = [self._shown(self.programs[mode]())]
                return {"mode": mode, "at": time.monotonic(), "version": self.engine.version()}
        return {"mode": None, "version": self.engine.version()}

    def ready(self, mode, count):
        """The numbers that the first `count` repetitions give; None if it cannot be expressed."""
        if mode not in self.programs and not self._build(mode):
            return None
        found = self.values.setdefault(mode, [])
        while len(found) < count:
            found.append(self._shown(self.programs[mode]()))
        return found

    def block(self, mode, seconds, least):
        """Repeat for `seconds`, at least `least` times; times of each, page faults, processor time.

        The first repetitions find the caches as another engine left them and are not counted.
        """
        run, clock = self.programs[mode], time.perf_counter
        each = self.each.get(mode) or self._one(run)
        warm = clock() + 0.1 * seconds
        while each < seconds and clock() < warm:
            run()
        group = max(1, int(SHORTEST / each))
        times = []
        gc.collect()
        gc.disable()
        faults, end = process.minor_faults(), clock() + seconds
        while len(times) < least or clock() < end:
            start = clock()
            for _ in range(group):
                run()
            times.append((clock() - start) / group)
        faults = process.minor_faults() - faults
        gc.enable()
        self.each[mode] = float(np.median(times))
        return {"times": times, "faults": faults / (len(times) * group)}

    def memory(self, mode):
        """Bytes from before the model is built to the top of three repetitions.

        "resident": growth of the resident set, with what the pool already held; and where the
        engine counts itself "counted" (this one's ledger, JAX's analysis).
        """
        engine, row = self.engine, self.row
        row.weights(), row.batch()              # arrays that are there before
        if hasattr(engine, "analysed"):
            return {"counted": engine.analysed(row, mode)}
        small = row.miniature()
        if (run := engine.program(small, mode)) is None:
            return None
        for _ in range(3):
            run()
        del run
        gc.collect()
        pooled, before = engine.pooled(), process.resident()
        held = engine.live() if hasattr(engine, "live") else None
        run = engine.program(row, mode)
        if hasattr(engine, "prepare"):          # compiling is part of building
            engine.prepare(run)
        exact = process.reset_high_water()      # what building took for a moment is not counted
        if held is not None:
            engine.reset_peak()
        for _ in range(3):
            run()
        found = {"resident": process.high_water() - before + pooled, "exact": exact}
        if held is not None:
            found["counted"] = engine.peak() - held
        return found

    def _build(self, mode):
        program = self.engine.program(self.row, mode)
        if program is not None:
            self.programs[mode] = program
        return program is not None

    def _shown(self, result):
        values = np.asarray(self.engine.numbers(result), np.float64)
        return values[::max(1, len(values) // SHOWN)].tolist()

    @staticmethod
    def _one(run):
        start = time.perf_counter()
        run()
        return time.perf_counter() - start


def main(engine, row, threads, miniature):
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    usable = sorted(os.sched_getaffinity(0))
    if threads < len(usable):
        os.sched_setaffinity(0, usable[:threads])
    worker = Worker(engine, row, threads, miniature)
    for line in sys.stdin:
        command = json.loads(line)
        reply = getattr(worker, command.pop("do"))(**command)
        channel.write(json.dumps(reply) + "\n")
        channel.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "small")
