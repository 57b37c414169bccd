"""What can be traded for memory or time in training and inference, each measured in turns.

  checkpointing   keep less for backward and compute it again: 64 blocks under memory budgets
  small           micro-batches, optimizers, dtypes, a frozen model, no_grad forgotten, a loss kept

Prints tables and what they say; with --out also trades.json, trades.md and the plot.
"""

import argparse
import datetime
import os
import time

from ..cli import UsageError

PARTS = ("checkpointing", "small")


def add_arguments(parser):
    """Options of `trades`."""
    parser.add_argument("--only", choices=PARTS, help="only one of the two")
    parser.add_argument("--seconds", type=_seconds, default=60.0, metavar="S",
                        help="for the timed rounds of checkpointing; a thirtieth of it for each "
                             "small trade (default: 60)")
    parser.add_argument("--out", metavar="DIR",
                        help="write trades.json, trades.md and the plot here")
    parser.add_argument("--svg", action="store_true", help="the plot as SVG rather than PNG")
    parser.add_argument("--miniature", action="store_true",
                        help="a chain of 6 tiny blocks: shows that it runs, the times mean nothing")


def _seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 3600:
        raise argparse.ArgumentTypeError(f"expected seconds above 0 and below 3600, got {text!r}")
    return value


def run(args):
    """Measure, print, write; returns 0."""
    from .. import report as files
    if args.out:
        _need_matplotlib()
        files.open_folder(args.out)
    report = measure([args.only] if args.only else PARTS, args.seconds, args.miniature, say=print)
    if args.out:
        print("written: " + ", ".join(write(report, args.out, "svg" if args.svg else "png")))
    return 0


def _need_matplotlib():
    import importlib.util
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--out needs matplotlib: pip install 'autodiff[bench]'")


def measure(parts, seconds=60.0, miniature=False, say=lambda text: None):
    """Run the named parts; `say` gets each one's text as it is there. A dict, see schema.py."""
    from .. import machine
    from . import checkpointing, schema, small
    start = time.perf_counter()
    report = {"schema": schema.NAME, "seconds": 0.0, "machine": machine.state(),
              "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}
    say(machine.describe(report["machine"]))
    busy = machine.busy(report["machine"])
    if busy:
        say(busy)
    if "checkpointing" in parts:
        report["checkpointing"] = checkpointing.measure(seconds, miniature)
        say("\n" + checkpointing.text(report["checkpointing"]))
    if "small" in parts:
        found = small.all_trades(seconds / 30)
        report["small"] = [{**trade._asdict(), "rows": [row._asdict() for row in trade.rows]}
                           for trade in found]
        say("\n" + small.describe(found))
    report["seconds"] = time.perf_counter() - start
    report["load_after"] = machine.load()
    return report


def write(report, folder, form="png"):
    """Write trades.json, trades.md and the plot into `folder`; returns the paths."""
    from ..costs.report import write_json, write_text
    from ..report import finite
    from . import figures, page, schema
    report = finite(report)
    schema.check(report)
    paths = [write_json(report, os.path.join(folder, "trades.json"))]
    plot = f"checkpointing.{form}" if "checkpointing" in report else None
    if plot:
        paths.append(figures.draw(report["checkpointing"], os.path.join(folder, plot), form))
    paths.append(write_text(page.markdown(report, plot), os.path.join(folder, "trades.md")))
    return paths
