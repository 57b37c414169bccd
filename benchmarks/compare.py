"""Two reports of `autodiff cost` or `autodiff bench`: what moved from the first to the second.

Counts (bytes, operations) compare exactly.  A time has moved where the two differ by more than a
run differs from itself (the measured noise, see `Quantity`), both as they stand and with the pace
of the machine taken out, which each report of cost measures by a piece of fixed work.  Exit status:
0 where nothing moved, 1 where something did, 2 where the reports cannot be compared.
"""

import textwrap
from typing import NamedTuple

from .cli import UsageError
from .units import BYTES, FLOPS, TIMES, figure, quantity

STEP = ("forward", "backward", "update")
PASSES = ("inference", *STEP, "prediction")
UNITS = {"s": TIMES, "B": BYTES, "FLOP": FLOPS, "": [(1.0, "")]}
MACHINE = ("processor", "cpus_usable", "threads", "core", "blas_kernel")


class CompareError(UsageError):
    """Two reports that do not tell of the same thing."""


class Quantity(NamedTuple):
    """One figure of a report; low, high: where another run of the same may be; None: exact.

    The range holds the quartiles of the rounds and the median of each quarter of them.
    """
    value: float
    unit: str
    low: float = None
    high: float = None


class Moved(NamedTuple):
    """One line of the comparison; verdict: equal, moved or not distinguishable."""
    name: str
    a: Quantity
    b: Quantity
    verdict: str


def add_arguments(parser):
    """Options of `compare`."""
    parser.add_argument("a", metavar="A.json", help="the earlier report")
    parser.add_argument("b", metavar="B.json", help="the later report")
    parser.add_argument("--all", action="store_true", help="also print what is equal")


def run(args):
    """Print the comparison; returns 1 where something moved, else 0."""
    a, b = read(args.a), read(args.b)
    lines, notes = compare(a, b)
    print(text(lines, notes, everything=args.all))
    return int(any(line.verdict == "moved" for line in lines))


def read(path):
    """The report in a file; CompareError where it is no report of cost or bench."""
    from .costs.report import read_json
    try:
        data = read_json(path)
        _kind(data).check(data)
        return data
    except ValueError as error:         # SchemaError and ReportError
        raise CompareError(f"{path}: {error}") from None


def compare(a, b):
    """(list of Moved, notes) of two reports, parsed; CompareError where they do not fit."""
    if a["schema"] != b["schema"] or a.get("version") != b.get("version"):
        raise CompareError(f"the reports are of different schemas: {_name(a)} and {_name(b)}")
    notes = _machines(a, b)
    kind = _kind(a)
    kind.fit(a, b)
    first, second = kind.quantities(a), kind.quantities(b)
    pace = _pace(a, b, notes)
    lines = [Moved(name, first[name], second[name], verdict(first[name], second[name], pace))
             for name in first if name in second]
    for one, other, which in ((first, second, "first"), (second, first, "second")):
        missing = [name for name in one if name not in other]
        if missing:
            more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
            notes.append(f"only in the {which}: {', '.join(missing[:4])}{more}")
    return lines, notes


def verdict(a, b, pace=1.0):
    """What became of one quantity; pace: how much slower the machine was in the second."""
    if a.low is None:
        return "equal" if a.value == b.value else "moved"
    slower = a.high < min(b.low, b.low / pace)
    faster = a.low > max(b.high, b.high / pace)
    return "moved" if slower or faster else "not distinguishable"


def _pace(a, b, notes):
    """Time of the yardstick in b over that in a; 1 where they do not compare."""
    if "yardstick" not in a or "yardstick" not in b \
            or a["phases"]["inference"]["flops"] != b["phases"]["inference"]["flops"]:
        return 1.0              # its work is that of the pass
    pace = b["yardstick"]["median"] / a["yardstick"]["median"]
    if abs(pace - 1) > 0.05:
        notes.append(f"the machine took {figure(pace)} times as long for the same work in the "
                     "second report: times within that factor are not told apart")
    return pace


def timed(timing):
    """A Quantity of a Timing, as it stands in a report."""
    found = [timing["q1"], timing["median"], timing["q3"], *timing.get("blocks", ())]
    return Quantity(timing["median"], "s", min(found), max(found))


# The two kinds of report ----------------------------------------------------------------------

class _Cost:
    """Reports of `autodiff cost`."""

    @staticmethod
    def check(report):
        from .costs import schema
        schema.check(report)

    @staticmethod
    def fit(a, b):
        for what in ("kind", "batch", "inputs"):
            if a["model"][what] != b["model"][what]:
                raise CompareError(f"the reports are of different subjects: {what} "
                                   f"{a['model'][what]} and {b['model'][what]}")

    @staticmethod
    def quantities(report):
        found = _passes("", {p: v for p, v in report["phases"].items() if v})
        found["parameters"] = Quantity(report["model"]["parameters"], "")
        found["saved for backward"] = Quantity(report["saved"]["bytes"], "B")
        for row in report["layers"]:
            name = row["path"] or "(model)"
            found[f"{name}: saved"] = Quantity(row["saved"], "B")
            flops = sum(row[p]["flops"] for p in STEP)
            found[f"{name}: operations of a step"] = Quantity(flops, "FLOP")
        for curve in report["growth"]:
            for q in curve["quantities"]:
                if not q["measured"]:
                    found.update((f"{q['name']} at {curve['over']} {n}", Quantity(v, q["unit"]))
                                 for n, v in zip(curve["values"], q["values"], strict=True))
        return found


class _Bench:
    """Reports of `autodiff bench`."""

    @staticmethod
    def check(report):
        from . import schema
        schema.check(report)

    @staticmethod
    def fit(a, b):
        names = [{w["name"]: w["batch"] for w in r["workloads"]} for r in (a, b)]
        common = set(names[0]) & set(names[1])
        if not common:
            raise CompareError("the reports have no workload in common: "
                               f"{', '.join(names[0]) or 'none'} and "
                               f"{', '.join(names[1]) or 'none'}")
        for name in common:
            if names[0][name] != names[1][name]:
                raise CompareError(f"workload {name}: the batches differ, {names[0][name]} and "
                                   f"{names[1][name]}")

    @staticmethod
    def quantities(report):
        found = {}
        for w in report["workloads"]:
            found.update(_passes(f"{w['name']}: ", w["phases"]))
            found[f"{w['name']}: parameters"] = Quantity(w["parameters"], "")
            runs = w["training"]["runs"]
            if len(runs) > 2:
                seconds = sorted(r["seconds"] for r in runs)
                found[f"{w['name']}: training"] = Quantity(w["training"]["seconds"], "s",
                                                           seconds[0], seconds[-1])
        return found


def _passes(prefix, phases):
    found = {}
    for name in PASSES:
        if name in phases:
            p = phases[name]
            found[f"{prefix}{name}: time"] = timed(p["seconds"])
            found[f"{prefix}{name}: peak"] = Quantity(p["peak"]["total"], "B")
            found[f"{prefix}{name}: operations"] = Quantity(p["flops"], "FLOP")
    return found


def _kind(report):
    name = report.get("schema") if isinstance(report, dict) else None
    if isinstance(name, str) and name.partition("/")[0] == "autodiff.cost":
        return _Cost
    from . import schema
    if name == schema.NAME:
        return _Bench
    raise CompareError(f"no report of cost or bench: its schema is {name!r}")


def _name(report):
    version = report.get("version")
    return report["schema"] + (f" version {version}" if version is not None else "")


def _machines(a, b):
    """Warnings where the machines differ."""
    found = []
    for what in MACHINE:
        one, other = a["machine"].get(what), b["machine"].get(what)
        if one != other:
            found.append(f"warning: {what} differs: {one} and {other}; times do not compare")
    return found


# Printing -------------------------------------------------------------------------------------

def text(lines, notes, everything=False):
    """The comparison as a table: what moved, then what cannot be told apart, then a count."""
    from autodiff.text import columns
    order = {"moved": 0, "not distinguishable": 1, "equal": 2}
    shown = sorted((x for x in lines if everything or x.verdict != "equal"),
                   key=lambda x: order[x.verdict])
    rows = [(x.name[-46:], _cell(x.a), _cell(x.b), _change(x.a, x.b), x.verdict) for x in shown]
    counts = {v: sum(x.verdict == v for x in lines) for v in order}
    parts = [textwrap.fill(note, 100, subsequent_indent="  ") for note in notes]
    if rows:
        parts.append(columns(("", "first", "second", "change", "verdict"), rows))
    parts.append(f"{counts['moved']} moved, {counts['not distinguishable']} not distinguishable, "
                 f"{counts['equal']} equal (exact counts)")
    return "\n".join(parts)


def _cell(q):
    if q.unit == "":
        return f"{q.value:,}"
    return quantity(q.value, UNITS[q.unit])


def _change(a, b):
    if not a.value:
        return "-" if a.value == b.value else "new"
    change = 100 * (b.value / a.value - 1)
    return f"{'+' if change > 0 else ''}{figure(change) if abs(change) >= 0.05 else 0} %"
