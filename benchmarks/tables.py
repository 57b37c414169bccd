"""The report in the terminal: tables of at most 100 columns.

Invariant: a table says its units in its head, and every figure is a function of the report's data
(schema.py), so that a stored report prints the same tables again.
"""

import textwrap

from rich import box
from rich.table import Table

from .machine import busy, describe
from .measure import CATEGORIES
from .units import BYTES, FLOPS, TIMES, cell, figure, quantity, scale, times

WIDTH = 100
STEP = ("forward", "backward", "update")
SHORT = {"parameter": "param", "buffer": "buffer", "optimizer state": "optim",
         "gradient": "grad", "input": "input", "saved": "saved", "temporary": "temp"}
LABEL = {"inference": "inference", "forward": "train forward", "backward": "train backward",
         "update": "train update", "prediction": "one prediction"}


def spread(timing):
    """Quartile distance in percent of the median."""
    return f"{100 * (timing['q3'] - timing['q1']) / timing['median']:.0f}"


def _table(*columns, title=None, gap=1):
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold",
                  padding=(0, gap, 0, 0), pad_edge=False)
    for k, name in enumerate(columns):
        table.add_column(name, justify="right" if k else "left", no_wrap=True)
    return table


def phases(workload):
    """The main table of a workload: time, spread, peak bytes by category, operations.

    Below the phases: the whole step (sum of times, highest peak), its multiples of inference, one
    prediction, and the multiples of it that the whole training run was.
    """
    found, many = workload["phases"], workload["multiples"]
    seconds, second = scale([p["seconds"]["median"] for p in found.values()], TIMES)
    size, byte = scale([p["peak"]["total"] for p in found.values()], BYTES)
    ops, op = scale([p["flops"] for p in found.values()], FLOPS)
    shown = [c for c in CATEGORIES if any(p["peak"][c] for p in found.values())]
    table = _table("", f"time {second}", "IQR %", f"peak {byte}", *(SHORT[c] for c in shown), op,
                   gap=1 if len(shown) < len(CATEGORIES) else 0)

    def row(label, time, spread, peak, flops):
        table.add_row(label, figure(time / seconds), spread, cell(peak["total"] / size),
                      *(cell(peak[c] / size) for c in shown), figure(flops / ops))

    def phase(name):
        t = found[name]["seconds"]
        row(LABEL[name], t["median"], spread(t), found[name]["peak"], found[name]["flops"])

    def ratios(label, multiple):
        table.add_row(label, times(multiple["seconds"]), "",
                      times(multiple["peak"]) if "peak" in multiple else "",
                      *("" for _ in shown), times(multiple["flops"]))

    phase("inference")
    for name in STEP:
        phase(name)
    table.add_section()
    row("train step", sum(found[p]["seconds"]["median"] for p in STEP), "",
        max((found[p]["peak"] for p in STEP), key=lambda peak: peak["total"]),
        sum(found[p]["flops"] for p in STEP))
    ratios("÷ inference", many["step"])
    table.add_section()
    phase("prediction")
    ratios("training run ÷ it", many["run"])
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


def summary(workloads):
    """The last table: quality and multiples of all workloads side by side."""
    table = _table("workload", "quality", "trained s", "step: time", "bytes", "flops",
                   "run: time", "flops",
                   title="training ÷ inference: a step ÷ the same batch; the run ÷ one prediction")
    for w in workloads:
        training = w["training"]
        key = training["goal"]["metric"] if training["goal"] else next(iter(training["metrics"]))
        step, run = w["multiples"]["step"], w["multiples"]["run"]
        table.add_row(w["name"], f"{key} {_metric(key, training['metrics'][key])}",
                      figure(training["seconds"]), times(step["seconds"]), times(step["peak"]),
                      times(step["flops"]), times(run["seconds"]), times(run["flops"]))
    return table


def chain(result):
    """Per-operation cost, beside PyTorch where it ran."""
    n = result["operations"]
    table = _table("", "train ms", "IQR %", "no_grad ms", "IQR %", "ns an op, train",
                   title=f"scalar chain: {result['steps']:,} x h * w + b on 0-d float32")
    for engine in ("autodiff", "pytorch"):
        if engine in result:
            e = result[engine]
            train, infer = e["train"], e["infer"]
            table.add_row(f"{engine} {e['version'] or ''}".strip(),
                          figure(train["median"] * 1e3), spread(train),
                          figure(infer["median"] * 1e3), spread(infer),
                          figure(train["median"] / n * 1e9))
    if "ratio" in result:
        ratio = result["ratio"]
        table.add_row("pytorch ÷ autodiff", times(ratio["train"]), "", times(ratio["infer"]), "",
                      "")
    return table


def resident(r):
    """Tracked against resident memory, in a sentence."""
    met = "met" if r["residual_share"] <= r["goal"] else "MISSED"
    return (f"tracked against resident memory ({r['title']}, batch {r['batch']}, {r['steps']} "
            f"steps, fresh process): tracked peak {quantity(r['tracked_peak'], BYTES)}, resident "
            f"growth {r['resident_growth'] / 1e6:,.1f} MB, residual {r['residual'] / 1e6:,.1f} MB "
            f"= {100 * r['residual_share']:.1f} %; at most {100 * r['goal']:.0f} % wanted: {met}; "
            f"at the end the pool held {quantity(r['held'], BYTES)} in free blocks, slack "
            f"{quantity(r['slack'], BYTES)}")


def quoted(sample):
    """Generated text with a bar in front of each line, long lines broken."""
    lines = sample.strip().splitlines()
    return "\n".join(f"  | {part}" for line in lines
                     for part in textwrap.wrap(line, WIDTH - 6) or [""])


def show(report, console):
    """Print the whole report."""
    def say(text, style=None):
        console.print(text, style=style, highlight=False, markup=False)
    for w in report["workloads"]:
        say(f"{w['name']}: {w['title']}, {w['parameters']:,} parameters", "bold")
        say(quality(w))
        console.print(phases(w))
        if w["sample"]:
            say("a sample of what it writes:")
            say(quoted(w["sample"]), "dim")
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
