"""Plots of the cost report: memory over a step, time and bytes by layer, growth.

Invariant: each is a function of the report's data; a file is written whole or not at all.
"""

import os
from pathlib import Path

from matplotlib.figure import Figure

from ..figures import COLORS, KINDS, save
from ..measure import CATEGORIES
from ..units import BYTES, TIMES, scale
from . import laws
from .errors import ReportError
from .observe import PHASES

FORMS = ("png", "svg")
LAYERS = 30                 # rows of the plot by layer


def draw(report, folder, form="png"):
    """Write memory, layers and each growth curve into `folder`; returns the paths."""
    if form not in FORMS:
        raise ReportError(f"plots: form must be one of {', '.join(FORMS)}, got {form!r}")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        plots = {"memory": memory(report), "layers": layers(report)}
        plots.update((f"growth-{curve['over']}", growth(curve)) for curve in report["growth"])
        paths = []
        for name, figure in plots.items():
            paths.append(os.path.join(folder, f"{name}.{form}"))
            save(figure, paths[-1], form)
        return paths
    except OSError as error:
        raise ReportError(f"cannot write plots into {folder}: {error.strerror}") from None


def memory(report):
    """The highest bytes of each moment of a training step, and of an inference pass beside it.

    A moment is one launch, its scratch included: so the top of the plot is the peak.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    top = report["ledger"]["training"]["peak"]["total"]
    size, unit = scale([top], BYTES)
    for axes, name in ((left, "training"), (right, "inference")):
        ledger = report["ledger"][name]
        _stack(axes, ledger, size)
        axes.set_title(f"{name}: peak {ledger['peak']['total'] / size:.3g} {unit}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    _phases(left, report["ledger"]["training"]["events"])
    left.set_ylabel(f"live {unit}")
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside right center", fontsize=8,
                  frameon=False)
    figure.suptitle(f"{report['model']['name']}: memory, the highest of each launch", fontsize=11)
    return figure


def _stack(axes, ledger, size):
    events = ledger["events"]
    second, unit = scale(events["seconds"], TIMES)
    x = [0.0, *(t / second for t in events["seconds"])]     # a launch lasts until its time
    shown = [c for c in CATEGORIES if any(events["live"][c])]
    rows = [[n / size for n in events["live"][c]] for c in shown]
    axes.stackplot(x, *[[row[0], *row] for row in rows], labels=shown,
                   colors=[KINDS[c] for c in shown], step="pre", linewidth=0)
    axes.set_xlabel(unit)
    axes.margins(x=0)


def _phases(axes, events):
    """A line where backward and where update begin."""
    second, _ = scale(events["seconds"], TIMES)
    for k in range(1, len(events["phase"])):
        if events["phase"][k] != events["phase"][k - 1]:
            at = events["seconds"][k - 1] / second
            axes.axvline(at, color="#333333", linewidth=0.7, linestyle=":")
            axes.annotate(events["phase"][k], (at, 1), xycoords=("data", "axes fraction"),
                          fontsize=8, va="top", xytext=(3, 0), textcoords="offset points")


def layers(report):
    """Time of inference and of a step's phases, and bytes saved, for each layer."""
    def weight(row):
        return sum(row[p]["seconds"] or row[p]["bound_seconds"] for p in PHASES)

    rows = report["layers"]
    kept = sorted(rows, key=weight, reverse=True)[:LAYERS]
    rows = [row for row in rows if any(row is k for k in kept)][::-1]
    figure = Figure(figsize=(10, 1.4 + 0.32 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    what = "seconds" if all(row[p]["seconds"] is not None for row in rows for p in PHASES) \
        else "bound_seconds"
    second, unit = scale([weight(row) for row in rows], TIMES)
    places = range(len(rows))
    left.barh([k + 0.2 for k in places], [(r["inference"][what] or 0) / second for r in rows], 0.36,
              color=COLORS["inference"], label="inference")
    begin = [0.0] * len(rows)
    for phase in PHASES:
        width = [(row[phase][what] or 0) / second for row in rows]
        left.barh([k - 0.2 for k in places], width, 0.36, left=begin, color=COLORS[phase],
                  label=phase)
        begin = [a + b for a, b in zip(begin, width, strict=True)]
    left.set_yticks(list(places), [row["path"] or "(model)" for row in rows], fontsize=8)
    left.set_xlabel(f"{unit} in kernels" if what == "seconds" else f"{unit}, at least")
    size, byte = scale([row["saved"] for row in rows], BYTES)
    right.barh(list(places), [row["saved"] / size for row in rows], 0.6, color=KINDS["saved"])
    right.set_xlabel(f"{byte} kept for backward")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.01)
    left.legend(fontsize=8, frameon=False)
    figure.suptitle(f"{report['model']['name']}: by layer", fontsize=11)
    return figure


def growth(curve):
    """Memory, arithmetic and time over one axis, with the laws as lines, on logarithmic axes."""
    by = {q["name"]: q for q in curve["quantities"]}
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = (("bytes", ("peak_training", "peak_inference", "working_training",
                         "working_inference", "saved")),
              ("operations", ("flops_training", "flops_inference")),
              ("seconds", ("seconds_training", "seconds_inference")))
    for axes, (ylabel, names) in zip(figure.subplots(1, 3), panels, strict=True):
        for k, name in enumerate(names):
            _curve(axes, curve, by[name], name, f"C{k}")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(curve["values"], map(str, curve["values"]))
        axes.set_xlabel(curve["over"])
        axes.set_ylabel(ylabel)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle(f"growth over {curve['over']}: {curve['family']}", fontsize=11)
    return figure


def _curve(axes, curve, quantity, name, color):
    n, law = curve["values"], quantity["law"]
    axes.plot(n, quantity["values"], "o", color=color, markersize=4, label=name.replace("_", ", "))
    if law is not None:
        fine = [n[0] * (n[-1] / n[0]) ** (k / 60) for k in range(61)]
        axes.plot(fine, [laws.at(law, x) for x in fine], color=color, linewidth=0.9)
