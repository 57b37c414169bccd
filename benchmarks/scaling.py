"""How the time of a step grows with batch, width, depth and sequence length.

Each family is one of the `peers` workloads with one size varied; its sizes are timed in turns.
The slope is of log time over log size, fitted; a cliff is a step whose time grows by more than 1.3
times what its arithmetic does.
"""

import dataclasses
import json
from typing import NamedTuple

import numpy as np

import autodiff as ad

from . import measure
from .cli import UsageError
from .peers.engines import ENGINES
from .peers.rows import MODES, ROWS

CLIFF = 1.3


class Family(NamedTuple):
    """A workload of `peers`, the sizes it is run at, and how one of them enters its shape."""

    name: str
    row: str
    sizes: tuple
    shape: callable


def _mlp(width=256, depth=2):
    return {"batch": 64, "widths": (784, *[width] * depth, 10)}


POWERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
FAMILIES = {f.name: f for f in (
    Family("batch", "mlp", POWERS, lambda n: {"batch": n}),
    Family("batch-cnn", "cnn", POWERS, lambda n: {"batch": n, "image": 16}),
    Family("batch-lstm", "lstm", POWERS, lambda n: {"batch": n, "block": 16}),
    Family("width", "mlp", (32, 64, 128, 256, 512, 1024, 2048), lambda n: _mlp(width=n)),
    Family("depth", "mlp", (1, 2, 4, 8, 16, 32, 64), lambda n: _mlp(depth=n)),
    Family("length-gpt", "gpt", (16, 32, 64, 128, 256, 512),
           lambda n: {"batch": 2, "block": n, "layers": 2}),
    Family("length-lstm", "lstm", (8, 16, 32, 64, 128, 256, 512), lambda n: {"block": n}),
)}


def add_arguments(parser):
    """Options of `scaling`."""
    parser.add_argument("--only", action="append", metavar="FAMILY", choices=list(FAMILIES),
                        help=f"only this one (may be given more than once): {', '.join(FAMILIES)}")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="(default: 2)")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S",
                        help="for one family in one mode (default: 4)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")


def run(args):
    """Measure and print; returns 0 whether or not there is a cliff."""
    from . import machine
    if ad.core.name != "compiled":
        raise UsageError("speed is the compiled core's: unset AUTODIFF_CORE")
    engine = ENGINES["autodiff"].load(args.threads)
    state = machine.state()
    print(machine.describe(state) + "\n")
    report = {"machine": state, "families": {}}
    for name in args.only or FAMILIES:
        found = family(engine, FAMILIES[name], args.seconds)
        report["families"][name] = found
        for mode in MODES:
            print(describe(name, mode, found[mode]) + "\n", flush=True)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(report, f, indent=1)
    return 0


def family(engine, chosen, seconds):
    """{mode: {"points": [{"size", "seconds", "flops"}, ...], "slope", "cliffs": [size, ...]}}."""
    found = {}
    for mode in MODES:
        programs = {n: engine.program(_row(chosen, n), mode) for n in chosen.sizes}
        flops = {n: sum(measure.flops(run).values()) for n, run in programs.items()}
        timing = measure.interleave(programs, seconds)
        points = [{"size": n, "seconds": timing[n].median, "flops": flops[n]}
                  for n in chosen.sizes]
        found[mode] = {"points": points, "slope": slope(points), "cliffs": cliffs(points)}
    return found


def _row(chosen, n):
    row = ROWS[chosen.row]
    return dataclasses.replace(row, sizes={**row.sizes, **chosen.shape(n)})


def slope(points):
    """The exponent p of time = c size^p, fitted to the logarithms by least squares."""
    sizes, seconds = (np.log([p[key] for p in points]) for key in ("size", "seconds"))
    return float(np.polyfit(sizes, seconds, 1)[0])


def cliffs(points):
    """Sizes at which time has grown by over CLIFF times the growth of the arithmetic."""
    return [b["size"] for a, b in zip(points, points[1:])
            if b["seconds"] / a["seconds"] > CLIFF * b["flops"] / a["flops"]]


def describe(name, mode, result):
    """A table of one family, the slope and the cliffs below it."""
    lines = [f"{name} ({mode})     size        ms   time x   flops x"]
    before = None
    for p in result["points"]:
        grown = f"{p['seconds'] / before['seconds']:8.2f} {p['flops'] / before['flops']:9.2f}" \
            if before else ""
        lines.append(f"{'':>{len(name) + len(mode) + 3}} {p['size']:8d} "
                     f"{p['seconds'] * 1e3:9.4g} {grown}")
        before = p
    where = ", ".join(map(str, result["cliffs"]))
    lines.append(f"slope {result['slope']:.2f}; " + (f"CLIFF at {where}" if where else "no cliff"))
    return "\n".join(lines)
