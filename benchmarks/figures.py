"""The report's plots, as PNG files: what a step costs, where the bytes are, how training went.

Invariant: each is a function of the report's data; a file is written whole or not at all.
"""

import os

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure  # noqa: E402

from .measure import CATEGORIES  # noqa: E402

PHASES = ("inference", "forward", "backward", "update")
COLORS = {"inference": "#4c72b0", "forward": "#dd8452", "backward": "#c44e52",
          "update": "#8172b3"}
KINDS = dict(zip(CATEGORIES, ("#4c72b0", "#64b5cd", "#8172b3", "#c44e52", "#8c8c8c", "#dd8452",
                              "#ccb974"), strict=True))


def draw(report, folder):
    """Write every plot that the report has data for; returns the paths."""
    workloads = report["workloads"]
    if not workloads:
        return []
    plots = {"time.png": time, "memory.png": memory, "multiples.png": multiples,
             "training.png": training}
    paths = []
    for name, plot in plots.items():
        path = os.path.join(folder, name)
        save(plot(workloads), path)
        paths.append(path)
    return paths


def time(workloads):
    """Inference beside the training step's phases, stacked, relative to inference."""
    figure, axes = _axes("Time: inference (left), training step (right)", "÷ inference")
    for k, w in enumerate(workloads):
        unit = w["phases"]["inference"]["seconds"]["median"]
        _stack(axes, k, [(p, w["phases"][p]["seconds"]["median"] / unit) for p in PHASES[1:]],
               COLORS, 0.2)
        axes.bar(k - 0.2, 1, 0.36, color=COLORS["inference"],
                 label="inference" if k == 0 else None)
    return _finish(figure, axes, workloads)


def memory(workloads):
    """Peak bytes by category: inference beside the training phase with the highest peak."""
    figure, axes = _axes("Peak bytes by category: inference (left), training (right)",
                         "÷ inference peak")
    for k, w in enumerate(workloads):
        unit = w["phases"]["inference"]["peak"]["total"]
        top = max(PHASES[1:], key=lambda p, w=w: w["phases"][p]["peak"]["total"])
        for phase, side in (("inference", -0.2), (top, 0.2)):
            peak = w["phases"][phase]["peak"]
            _stack(axes, k, [(c, peak[c] / unit) for c in CATEGORIES], KINDS, side)
    return _finish(figure, axes, workloads)


def multiples(workloads):
    """Training over inference for a step: time, peak bytes, operations."""
    figure, axes = _axes("One training step ÷ inference on the same batch", "multiple")
    names = {"seconds": "time", "peak": "peak bytes", "flops": "operations"}
    for j, (key, label) in enumerate(names.items()):
        heights = [w["multiples"]["step"][key] or 0 for w in workloads]
        bars = axes.bar([k + 0.27 * (j - 1) for k in range(len(workloads))], heights, 0.25,
                        label=label)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    return _finish(figure, axes, workloads)


def training(workloads):
    """Training loss of the first run of each workload."""
    columns = min(3, len(workloads))
    rows = -(-len(workloads) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout="constrained")
    for k, w in enumerate(workloads):
        axes = figure.add_subplot(rows, columns, k + 1)
        steps, losses = zip(*w["training"]["curve"], strict=True)
        axes.plot(steps, losses, color=COLORS["forward"])
        axes.set_title(w["name"], fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.set_ylabel("training loss", fontsize=8)
        axes.tick_params(labelsize=8)
    return figure


def _axes(title, ylabel):
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _stack(axes, at, parts, colors, side):
    bottom, seen = 0.0, axes.get_legend_handles_labels()[1]
    for name, height in parts:
        if height:
            axes.bar(at + side, height, 0.36, bottom=bottom, color=colors[name],
                     label=None if name in seen else name)
            bottom += height


def _finish(figure, axes, workloads):
    axes.set_xticks(range(len(workloads)), [w["name"] for w in workloads])
    found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = [n for n in (*PHASES, *CATEGORIES) if n in found]
    order += [n for n in found if n not in order]
    figure.legend([found[n] for n in order], order, loc="outside right upper", fontsize=8,
                  frameon=False)
    return figure


def save(figure, path, form="png"):
    """Write a figure as PNG or SVG, whole or not at all."""
    part = path + ".part"
    try:
        figure.savefig(part, dpi=120, format=form)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
