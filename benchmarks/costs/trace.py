"""A training step as a Chrome or Perfetto trace: kernels within modules within phases, and memory.

Open the file in ui.perfetto.dev or chrome://tracing.  Invariant: slices of one row nest or follow
each other, and their times are those of the run that was recorded.

Source: Trace Event Format (Google, 2016).
"""

import time

import autodiff as ad

from ..measure import CATEGORIES
from .observe import PHASES, Listener, Names, base
from .report import write_json
from .subject import Subject, protected

PROCESS, ROW = 1, 1


def trace(path, model, batch, loss, optimizer=None):
    """Record one warm training step of a copy of `model` and write it to `path`; returns the path.

    Arguments as for `cost`. The recording slows the step; the report's times are without it.
    """
    subject = Subject(model, batch, loss, optimizer)
    with protected():
        subject.trainer().check()
        before = base()
        run = subject.trainer()
        for _ in range(2):
            run.step()
        names, spans = Names(run.model), []
        with Listener() as seen:
            for phase in PHASES:
                start = time.perf_counter()
                getattr(run, phase)()
                spans.append((phase, start, time.perf_counter()))
    return write_json({"displayTimeUnit": "ms",
                       "otherData": {"model": type(model).__name__,
                                     "version": ad.__version__},
                       "traceEvents": _events(seen, spans, names, before)}, path)


def _events(seen, spans, names, before):
    zero = spans[0][1]
    found = [{"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": "training step"}},
             {"ph": "M", "pid": PROCESS, "tid": ROW, "name": "thread_name",
              "args": {"name": "phases, modules, kernels"}}]
    for phase, start, end in spans:
        launches = [e for e in seen.events if start <= e.end <= end]
        found.append(_slice(phase, "phase", start - zero, end - start))
        found += _modules(launches, names, zero, start)
        found += [_slice(e.op, "kernel", max(e.end - e.seconds, start) - zero, e.seconds,
                         flops=e.flops, bytes=e.nbytes,
                         shapes=" ".join(map(str, e.shapes))) for e in launches]
    for e, row in zip(seen.events, seen.live, strict=True):
        found.append({"ph": "C", "pid": PROCESS, "name": "live bytes", "ts": _us(e.end - zero),
                      "args": {c: row[c] - before[c] for c in CATEGORIES}})
    return found


def _modules(launches, names, zero, start):
    """A slice for each stretch of launches that share a module, nested as the modules are."""
    found, open_ = [], []           # open_: [part of the path, its start]
    last = start

    def close(down_to):
        while len(open_) > down_to:
            name, begin = open_.pop()
            found.append(_slice(name, "module", begin - zero, last - begin))
    for e in launches:
        layer = names.layer(e)
        parts = layer.split(".") if layer else []
        shared = 0
        while (shared < min(len(parts), len(open_))
               and ".".join(parts[:shared + 1]) == open_[shared][0]):
            shared += 1
        close(shared)
        begin = max(e.end - e.seconds, last)
        open_ += [[".".join(parts[:k + 1]), begin] for k in range(shared, len(parts))]
        last = e.end
    close(0)
    return found


def _slice(name, kind, start, seconds, **args):
    return {"ph": "X", "pid": PROCESS, "tid": ROW, "name": name, "cat": kind, "ts": _us(start),
            "dur": _us(seconds), "args": args}


def _us(seconds):
    return round(1e6 * seconds, 3)
