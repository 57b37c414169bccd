"""The report in the terminal: tables of at most 100 columns.

Invariant: a table says its units in its head, and every figure is a function of the report's data
(schema.py), so that a stored report prints the same tables again.
"""

import textwrap

from rich import box
from rich.table import Table

from .machine import busy, describe
from .measure import CATEGORIES

WIDTH = 100
SHORT = {"parameter": "param", "buffer": "buffer", "optimizer state": "optim",
         "gradient": "grad", "input": "input", "saved": "saved", "temporary": "temp"}
LABEL = {"inference": "inference", "forward": "train forward", "backward": "train backward",
         "update": "train update", "prediction": "one prediction"}


def figure(value, digits=3):
    """A number with about `digits` significant ones, without an exponent; '-' for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    places = digits - whole
    if whole == 0:              # keep significant digits of small numbers
        while abs(value) < 10.0 ** (digits - 1 - places) and places < digits + 3:
            places += 1
        places = min(places, digits + 1)
    return f"{value:.{places}f}"


def scale(values, units):
    """(divisor, name) of the largest of `units` ([(size, name)], ascending) the largest fills."""
    largest = max(values, default=0)
    best = units[0]
    for size, name in units:
        if largest >= size:
            best = (size, name)
    return best


BYTES = [(1e3, "kB"), (1e6, "MB"), (1e9, "GB")]
FLOPS = [(1e3, "kFLOP"), (1e6, "MFLOP"), (1e9, "GFLOP"), (1e12, "TFLOP"), (1e15, "PFLOP")]
TIMES = [(1e-6, "µs"), (1e-3, "ms"), (1.0, "s")]


def quantity(value, units):
    """One value with its unit: '1.23 MB'."""
    size, name = scale([value], units)
    return f"{figure(value / size)} {name}"


def _table(*columns, title=None):
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold",
                  padding=(0, 1, 0, 0), pad_edge=False)
    for k, name in enumerate(columns):
        table.add_column(name, justify="right" if k else "left", no_wrap=True)
    return table


def phases(workload):
    """The main table of a workload: time, spread, peak bytes by category, operations."""
    found = workload["phases"]
    rows = list(found)
    seconds, second = scale([found[p]["seconds"]["median"] for p in rows], TIMES)
    size, byte = scale([found[p]["peak"]["total"] for p in rows], BYTES)
    ops, op = scale([found[p]["flops"] for p in rows], FLOPS)
    shown = [c for c in CATEGORIES if any(found[p]["peak"][c] for p in rows)]
    table = _table("", f"time {second}", "quartiles", f"peak {byte}", *(SHORT[c] for c in shown),
                   op)
    for p in rows:
        if p == "prediction":
            table.add_section()
        t, peak = found[p]["seconds"], found[p]["peak"]
        table.add_row(LABEL[p], figure(t["median"] / seconds),
                      f"{figure(t['q1'] / seconds)}-{figure(t['q3'] / seconds)}",
                      figure(peak["total"] / size), *(figure(peak[c] / size) for c in shown),
                      figure(found[p]["flops"] / ops))
    return table


def quality(workload):
    """What training achieved, in one or two lines of text."""
    training = workload["training"]
    runs, goal = training["runs"], training["goal"]
    parts = [f"{k} {_metric(k, v)}" for k, v in training["metrics"].items()]
    mean = f" (mean of {len(runs)} seeds)" if len(runs) > 1 else ""
    text = (f"trained {training['steps']:,} steps of {workload['batch']} in "
            f"{training['seconds']:.1f} s: {', '.join(parts)}{mean}")
    if goal is not None:
        text += (f"; at {goal['at']} {_metric(goal['metric'], goal['value'])} wanted: "
                 f"{'met' if goal['met'] else 'MISSED'}")
    return text


def _metric(name, value):
    if name in ("accuracy", "share of validation"):
        return f"{100 * value:.1f} %"
    if name.endswith("characters"):
        return f"{value:,.0f}"
    return f"{value:.3f}"


def multiples(workload):
    """The multiples of one workload as a line."""
    step, run = workload["multiples"]["step"], workload["multiples"]["run"]
    return (f"training step ÷ inference on the same batch: time {figure(step['seconds'])}x, peak "
            f"bytes {figure(step['peak'])}x, operations {figure(step['flops'])}x; whole training "
            f"÷ one prediction: time {figure(run['seconds'])}x, operations "
            f"{figure(run['flops'])}x")


def summary(workloads):
    """The last table: quality and multiples of all workloads side by side."""
    table = _table("workload", "quality", "trained s", "time", "peak bytes", "operations",
                   "time", "operations",
                   title="training ÷ inference: of a step (3 columns), of the whole run over one "
                         "prediction (2)")
    for w in workloads:
        training = w["training"]
        key = training["goal"]["metric"] if training["goal"] else next(iter(training["metrics"]))
        step, run = w["multiples"]["step"], w["multiples"]["run"]
        table.add_row(w["name"], f"{key} {_metric(key, training['metrics'][key])}",
                      figure(training["seconds"]), *(figure(step[k]) for k in step),
                      figure(run["seconds"]), figure(run["flops"]))
    return table


def chain(result):
    """Per-operation cost, beside PyTorch where it ran."""
    n = result["operations"]
    table = _table("", "train ms", "quartiles", "no_grad ms", "quartiles", "ns an op, train",
                   title=f"scalar chain: {result['steps']:,} x h * w + b on 0-d float32")
    for engine in ("autodiff", "pytorch"):
        if engine in result:
            e = result[engine]
            train, infer = e["train"], e["infer"]
            table.add_row(f"{engine} {e['version'] or ''}".strip(),
                          *(text for t in (train, infer) for text in (
                              figure(t["median"] * 1e3),
                              f"{figure(t['q1'] * 1e3)}-{figure(t['q3'] * 1e3)}")),
                          figure(train["median"] / n * 1e9))
    if "ratio" in result:
        ratio = result["ratio"]
        table.add_row("ratio", figure(ratio["train"]), "", figure(ratio["infer"]), "", "")
    return table


def resident(r):
    """Tracked against resident memory, in a sentence."""
    slack = "" if r["slack"] is None else f", pool slack {quantity(r['slack'], BYTES)}"
    return (f"tracked against resident memory ({r['title']}, batch {r['batch']}, {r['steps']} "
            f"steps, fresh process): tracked peak {quantity(r['tracked_peak'], BYTES)}, resident "
            f"growth {r['resident_growth'] / 1e6:,.1f} MB, residual {r['residual'] / 1e6:,.1f} MB "
            f"= {100 * r['residual_share']:.1f} %{slack}")


def show(report, console):
    """Print the whole report."""
    def say(text, style=None):
        console.print(text, style=style, highlight=False, markup=False)
    for w in report["workloads"]:
        say(f"{w['name']}: {w['title']}, {w['parameters']:,} parameters", "bold")
        say(quality(w))
        console.print(phases(w))
        say(multiples(w))
        if w["sample"]:
            say("a sample of what it writes:")
            say(textwrap.indent(w["sample"].strip(), "  | "), "dim")
        say("")
    if report["workloads"]:
        console.print(summary(report["workloads"]))
    if report["chain"]:
        console.print(chain(report["chain"]))
        if "pytorch" not in report["chain"]:
            say("PyTorch is not installed here: nothing to set beside it\n")
    if report["resident"]:
        say(resident(report["resident"]))
    for name, why in report["skipped"]:
        say(f"skipped {name}: {why}", "yellow")
    say(f"\n{describe(report['machine'])}; {report['load_after']} at the end; "
        f"{report['seconds']:.0f} s in all")
    warning = busy(report["machine"])
    if warning:
        say(warning, "yellow")
