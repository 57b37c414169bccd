"""This engine beside PyTorch (eager and compiled), JAX, ONNX Runtime and HIPS autograd.

Every workload, inference and a training step, in milliseconds and peak bytes, each engine in a
process of its own, in turns; first it is checked that all compute the same numbers.  Engines that
are not installed are left out and named.  `make peers` makes an environment that has them all.
"""

import argparse
import datetime
import importlib.util
import json
import os
import statistics
import sys
import time

from ..cli import UsageError
from .engines import ENGINES
from .rows import MODES, ROWS

SCHEMA = "autodiff-peers"


def add_arguments(parser):
    """Options of `peers`."""
    parser.add_argument("--only", action="append", metavar="NAME", choices=list(ROWS),
                        help=f"only this workload (may be given more than once): {', '.join(ROWS)}")
    parser.add_argument("--engines", metavar="A,B", type=_engines, default=list(ENGINES),
                        help=f"these engines: {','.join(ENGINES)}")
    parser.add_argument("--threads", type=_threads, default=2, metavar="N",
                        help="threads of every engine (default: 2)")
    parser.add_argument("--seconds", type=_seconds, default=10.0, metavar="S",
                        help="for the repetitions of one workload in one mode (default: 10)")
    parser.add_argument("--json", metavar="FILE",
                        help="write the figures here, workload by workload")
    parser.add_argument("--append", action="store_true",
                        help="keep the other workloads that FILE already holds")
    parser.add_argument("--calmest", action="store_true",
                        help="with --append: of a workload that FILE holds already, keep the run "
                             "that other work on the machine disturbed less")
    parser.add_argument("--loaded", action="store_true",
                        help="beside a process that keeps one processor busy")
    parser.add_argument("--show", metavar="FILE", help="print a stored report; measure nothing")
    parser.add_argument("--no-memory", dest="memory", action="store_false",
                        help="leave out the peaks of memory")


def run(args):
    """Measure and print; returns 1 where an engine failed or disagreed, else 0."""
    from . import table
    if args.show:
        report = _read(args.show)
    else:
        report = measure(args)
    print(table.markdown(report))
    return int(any(row["notes"] for row in report["rows"].values()))


def measure(args):
    """The report: {"schema", "rows": {name: figures, machine and limits of its run}}."""
    import autodiff as ad

    from .. import machine
    from ..costs import roofline
    from . import session
    if args.append and not args.json:
        raise UsageError("--append needs --json FILE")
    if args.calmest and not args.append:
        raise UsageError("--calmest needs --append")
    report = {"schema": SCHEMA, "rows": {}}
    if args.append and os.path.exists(args.json):
        report = _read(args.json)
    there = [n for n in args.engines if importlib.util.find_spec(ENGINES[n].package)]
    missing = [ENGINES[n].title for n in args.engines if n not in there]
    ad.set_num_threads(args.threads)
    rates = roofline.rates()
    for name in args.only or ROWS:
        state, start = machine.state(), time.perf_counter()
        row = session.run(ROWS[name], there, args.threads, args.seconds, memory=args.memory,
                          loaded=args.loaded,
                          say=lambda text: print(text, file=sys.stderr, flush=True))
        row |= {"missing": missing, "threads": args.threads, "seconds": args.seconds,
                "loaded": args.loaded,
                "rates": rates, "machine": state, "load_after": machine.load(),
                "took": time.perf_counter() - start,
                "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
        before = report["rows"].get(name)
        if not (args.calmest and before and disturbed(before) <= disturbed(row)):
            report["rows"][name] = row
        report["rows"] = {n: report["rows"][n] for n in ROWS if n in report["rows"]}
        if args.json:
            with open(args.json, "w") as f:
                json.dump(report, f, indent=1)
    return report


def disturbed(row):
    """How much other work disturbed a run: the median of the engines' shares of waiting."""
    waited = [e[m]["waited"] for e in row["engines"].values() for m in MODES if m in e]
    return statistics.median(waited) if waited else float("inf")


def _read(path):
    try:
        with open(path) as f:
            report = json.load(f)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise UsageError(f"{path}: not a report of `peers`")
    return report


def _engines(text):
    names = text.split(",")
    for name in names:
        if name not in ENGINES:
            raise argparse.ArgumentTypeError(f"no engine {name!r}; there are {', '.join(ENGINES)}")
    return names


def _threads(text):
    if not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"expected 1 to 256, got {text!r}")
    return int(text)


def _seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, got {text!r}")
    return value
