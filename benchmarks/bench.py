"""Train and infer on real data, and print what backpropagation costs: time, bytes, operations.

For each workload: train it (accuracy, loss or R², a generated sample), then measure inference and
a training step's forward, backward and update in turns.  Ends in tables, bench.json and plots in
the output folder.  The default job takes at most 90 seconds on two cores.
"""

import argparse
import datetime
import importlib.util
import time

from .cli import UsageError

OUT = "autodiff-bench"
CHECKS = ("chain", "resident")


def add_arguments(parser):
    """Options of `bench`."""
    parser.add_argument("--full", action="store_true",
                        help="also the CNN on Fashion-MNIST (where installed) and the long GPT run")
    parser.add_argument("--out", default=OUT, metavar="DIR",
                        help=f"output folder (default: {OUT})")
    parser.add_argument("--seeds", type=_positive, metavar="N",
                        help="training runs of each workload (default: 5 of the small nets, else "
                             "1)")
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="run only this workload or check (may be given more than once)")


def run(args):
    """Run the job; returns 0, or 1 where a goal was missed."""
    _need("rich", "matplotlib")
    names = _chosen(args.full, args.only)
    from . import report as files
    folder = files.open_folder(args.out)
    report = measure(names, {"full": args.full, "seeds": args.seeds, "only": args.only})
    files.write(report, folder / "bench.json")
    from rich.console import Console

    from . import figures, tables
    paths = figures.draw(report, folder)
    tables.show(report, Console(width=tables.WIDTH))
    print(f"written: {folder / 'bench.json'}" + "".join(f", {p}" for p in paths))
    goals = [w["training"]["goal"] for w in report["workloads"]]
    return int(any(g is not None and not g["met"] for g in goals))


def measure(names, options):
    """Run the named workloads and checks; the report as schema.py describes it."""
    import nn.data

    from . import fresh, lab, machine, schema
    from .progress import Bar
    from .workloads import WORKLOADS
    start = time.perf_counter()
    report = {"schema": schema.NAME, "version": schema.VERSION,
              "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
              "machine": machine.state(), "options": options, "workloads": [], "skipped": [],
              "chain": None, "resident": None}
    with Bar() as bar:
        for name in names:
            if name in CHECKS:
                bar(0.0, f"{name}: in a process of its own")
                report[name] = fresh.call(f"benchmarks.{name}:measure")
                continue
            try:
                report["workloads"].append(
                    lab.run(WORKLOADS[name](), seeds=options["seeds"], progress=bar))
            except nn.data.DataNotFoundError as error:
                report["skipped"].append([name, str(error)])
    report["load_after"] = machine.load()
    report["seconds"] = time.perf_counter() - start
    return report


def _chosen(full, only):
    from .workloads import WORKLOADS
    if not only:
        return [n for n, w in WORKLOADS.items() if full or not w.full] + list(CHECKS)
    known = [*WORKLOADS, *CHECKS]
    for name in only:
        if name not in known:
            raise UsageError(f"--only {name}: no such workload or check; there are "
                             f"{', '.join(known)}")
    return [n for n in known if n in only]


def _need(*packages):
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        raise UsageError(f"needs {' and '.join(missing)}: pip install 'autodiff[bench]'")


def _positive(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value
