"""Time for memory: gradient checkpointing of a chain of 64 blocks, planned beside measured.

Each block is measured alone (`nn.measure_chain`); from these costs come the plans: keep all, every
k-th input, sqrt(n), and the fastest that fits a budget.  Then all run in turns.  Invariant: bytes
are what the chain adds to what was alive, until its backward is done; each run's seconds are
compared with those of a plain run just before it, the plain run's own as well (that is the noise).
"""

import textwrap

import numpy as np

import autodiff as ad
import nn
import nn.functional as F
from autodiff import schedule as planning
from autodiff.errors import AutodiffError
from autodiff.text import columns

from .. import measure as measuring
from ..schema import NUMBER, TIMING
from ..units import BYTES, quantity

WIDTH = 100
EVERY = (1, 16)
PARTS = (0.0, 0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)     # budgets, from the least to the plain run's
CLOSE = 0.10                # how far the measured step may be from the planned one
MARKS = {"none": "plain run"}

_POINT = {
    "strategy": (str, "none, every k, sqrt, optimal"),
    "budget": ((int, type(None)), "bytes given to `optimal`"),
    "peak_planned": (int, "bytes, by the plan"), "peak": (int, "bytes, by the ledger"),
    "overhead_planned": (float, "extra time / plain, by the plan"),
    "overhead": (TIMING, "measured: seconds / those of the plain run just before, less 1"),
    "seconds": (TIMING, "of forward and backward"),
    "again": (int, "blocks computed again"),
    "same_bits": (bool, "every gradient equal to the plain run's, bit for bit"),
}
FIELDS = {
    "title": (str, "the chain"), "blocks": (int, ""), "parameters": (int, "numbers"),
    "points": ([_POINT], "one of each plan"),
    "frontier": (list, "[peak bytes, overhead] of planned optimal schedules"),
    "smallest": (int, "bytes, the least that any schedule needs"),
    "too_small": (str, "what a budget of one byte less raises"),
    "no_chain": (str, "what a model that is no chain raises"),
    "largest_error": (NUMBER, "of (1 + overhead) / (1 + planned) - 1"),
}


class Block(nn.Module):
    """x + W2 gelu(W1 norm(x))."""

    def __init__(self, width, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


def chain(blocks, width):
    """Residual blocks whose hidden layers are 2, 3 and 4 times as wide, in turns."""
    return nn.Sequential(*[Block(width, (2 + k % 3) * width) for k in range(blocks)])


def measure(seconds=60.0, miniature=False, tick=None):
    """Plan, run and time every schedule; a dict of FIELDS."""
    blocks, width, rows = (6, 8, 16) if miniature else (64, 64, 512)
    ad.manual_seed(0)
    model, rng = chain(blocks, width), np.random.default_rng(0)
    x, seed = (ad.tensor(rng.standard_normal((rows, width), np.float32)) for _ in range(2))
    costs = nn.measure_chain(model, x, repeats=2 if miniature else 15)
    plans = _plans(costs)
    runs = {k: _Run(model, x, seed, plan, costs) for k, plan in enumerate(plans)}
    runs[0].step()
    expected = runs[0].gradients()
    found = [run.counted(expected) for run in runs.values()]
    parts = {}
    for k, run in runs.items():
        parts[k, "plain"] = (model.zero_grad, runs[0].step)
        parts[k] = (model.zero_grad, run.step)
    times = measuring.rounds(parts, budget=seconds, least=3, most=60, warmup=1, tick=tick)
    for k, point in enumerate(found):
        point["seconds"] = measuring.Timing.of(times[k]).to_dict()
        more = np.array(times[k]) / np.array(times[k, "plain"]) - 1
        point["overhead"] = measuring.Timing.of(more).to_dict()
    smallest = planning.smallest_budget(costs)
    return {
        "title": f"{blocks} residual blocks x + W2 gelu(W1 norm(x)) of width {width}, hidden "
                 f"layers 2, 3, 4 times as wide, batch {rows}",
        "blocks": blocks, "parameters": sum(p.size for p in model.parameters()), "points": found,
        "frontier": [[p.peak_bytes, p.overhead] for p in planning.pareto(costs, points=40)],
        "smallest": smallest,
        "too_small": _refused(model, x, memory_budget=smallest - 1, costs=costs),
        "no_chain": _refused(model[0], x, memory_budget=smallest),
        "largest_error": max(abs((1 + p["overhead"]["median"]) / (1 + p["overhead_planned"]) - 1)
                             for p in found)}


def _plans(costs):
    """The schedules to run, the plain one first."""
    plain, root = planning.record_all(costs), planning.sqrt_n(costs)
    low, top = planning.smallest_budget(costs), plain.peak_bytes
    budgets = sorted({root.peak_bytes, *(low + int(part * (top - low)) for part in PARTS)})
    every = [planning.every_k(costs, k) for k in EVERY if k <= len(costs)]
    return [plain, root, *every, *(planning.optimal(costs, budget) for budget in budgets)]


class _Run:
    """Forward and backward of one plan."""

    def __init__(self, model, x, seed, plan, costs):
        self.model, self.x, self.seed, self.plan, self.costs = model, x, seed, plan, costs

    def step(self):
        if self.plan.strategy == "none":
            y = self.model(self.x)
        else:
            y = nn.checkpoint_sequential(self.model, self.x, schedule=self.plan, costs=self.costs)
        y.backward(self.seed)

    def gradients(self):
        return [p.grad.numpy().copy() for p in self.model.parameters()]

    def counted(self, expected):
        """Bytes and bits of one run."""
        self.model.zero_grad()
        with ad.memory.track() as seen:
            self.step()
        same = all(np.array_equal(a, b) for a, b in zip(expected, self.gradients(), strict=True))
        return {"strategy": self.plan.strategy, "budget": self.plan.budget,
                "peak_planned": self.plan.peak_bytes, "peak": seen.added_bytes,
                "overhead_planned": self.plan.overhead, "again": self.plan.again,
                "same_bits": same}


def _refused(model, x, **options):
    """What checkpoint_sequential answers to what it cannot do."""
    try:
        nn.checkpoint_sequential(model, x, **options)
    except AutodiffError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("a budget below the smallest was accepted")


# In words ---------------------------------------------------------------------------------------

def text(found):
    """The table and what it says."""
    rows = [(_name(p), _budget(p), quantity(p["peak_planned"], BYTES), quantity(p["peak"], BYTES),
             f"{100 * p['overhead_planned']:+.1f} %", f"{100 * p['overhead']['median']:+.1f} %",
             f"{1e3 * p['seconds']['median']:.1f} ms", p["again"],
             "same" if p["same_bits"] else "DIFFER") for p in found["points"]]
    head = ("schedule", "budget", "peak: plan", "ledger", "time: plan", "measured", "step",
            "again", "bits")
    parts = [textwrap.fill(f"gradient checkpointing of {found['title']}", WIDTH),
             columns(head, rows), "\n".join(textwrap.fill(s, WIDTH) for s in sentences(found))]
    return "\n\n".join(parts)


def _name(point):
    return MARKS.get(point["strategy"], point["strategy"])


def _budget(point):
    return "-" if point["budget"] is None else quantity(point["budget"], BYTES)


def at_sqrt(found):
    """The points of sqrt(n) and of the optimum at the same budget."""
    root = next(p for p in found["points"] if p["strategy"] == "sqrt")
    best = next(p for p in found["points"] if p["budget"] == root["peak_planned"])
    return root, best


def sentences(found):
    """What the figures say."""
    points, (root, best) = found["points"], at_sqrt(found)
    planned = [p for p in points if p["budget"] is not None]
    plain, least = points[0], min(planned, key=lambda p: p["peak"])
    over = [p for p in planned if p["peak"] > p["budget"]]
    error = found["largest_error"]
    return [
        f"The least memory is {plain['peak'] / least['peak']:.1f} times less than the plain run's, "
        f"for {100 * least['overhead']['median']:.0f} % more time.",
        f"At the memory of sqrt(n), {quantity(root['peak_planned'], BYTES)}, the optimum plans "
        f"{100 * best['overhead_planned']:.1f} % more time and takes "
        f"{100 * best['overhead']['median']:.1f} %; sqrt(n) plans "
        f"{100 * root['overhead_planned']:.1f} % and takes "
        f"{100 * root['overhead']['median']:.1f} %.",
        (f"The peak was within the budget at each of {len(planned)} budgets." if not over else
         f"The peak was OVER the budget at {len(over)} of {len(planned)} budgets."),
        (f"In multiples of the plain run just before, a step took at most {100 * error:.1f} % more "
         f"or less than planned (at most {100 * CLOSE:.0f} % wanted: "
         f"{'met' if error <= CLOSE else 'MISSED'}); the plain run against itself: "
         f"{100 * plain['overhead']['median']:+.1f} %, quartiles "
         f"{100 * plain['overhead']['q1']:+.1f} and {100 * plain['overhead']['q3']:+.1f}."),
        "Gradients are those of the plain run, bit for bit." if all(p["same_bits"] for p in points)
        else "Gradients DIFFER from the plain run's.",
        f"One byte less than the least: {found['too_small']}",
        f"A model that is no chain: {found['no_chain']}"]
