"""The plot of what checkpointing trades: peak bytes against time, planned and measured.

Invariant: a function of the report's data; the file is written whole or not at all.
"""

from matplotlib.figure import Figure

from ..figures import save
from ..units import BYTES, scale

PLAN, RUN = "#4c72b0", "#c44e52"
LABELS = {"optimal": "fastest within a budget", "sqrt": "sqrt(n)", "none": "plain run",
          "every": "every k"}
SHAPES = {"optimal": "o", "sqrt": "s", "none": "D", "every": "^"}


def pareto(found):
    """Planned frontier as a line; plans hollow, what was measured filled, with quartiles."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    size, unit = scale([p["peak"] for p in found["points"]], BYTES)
    axes.step([b / size for b, _ in found["frontier"]], [100 * t for _, t in found["frontier"]],
              where="post", color=PLAN, lw=1, label="planned frontier")
    for strategy, label in LABELS.items():
        points = [p for p in found["points"] if p["strategy"].split()[0] == strategy]
        if points:
            _points(axes, points, size, SHAPES[strategy], label)
    axes.set_xlabel(f"peak {unit} added by forward and backward")
    axes.set_ylabel("time over the plain run, %")
    axes.set_title(f"{found['blocks']} blocks: memory against time\n"
                   "hollow: planned, filled: measured (bars: quartiles)", fontsize=10)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _points(axes, points, size, shape, label):
    axes.plot([p["peak_planned"] / size for p in points],
              [100 * p["overhead_planned"] for p in points], shape, mfc="none", mec=PLAN, ms=7,
              ls="none")
    middle = [100 * p["overhead"]["median"] for p in points]
    low = [m - 100 * p["overhead"]["q1"] for m, p in zip(middle, points, strict=True)]
    high = [100 * p["overhead"]["q3"] - m for m, p in zip(middle, points, strict=True)]
    axes.errorbar([p["peak"] / size for p in points], middle, yerr=[low, high], fmt=shape,
                  color=RUN, ms=4, lw=0.8, label=label)


def draw(found, path, form="png"):
    """Write the plot; returns the path."""
    save(pareto(found), path, form)
    return path
