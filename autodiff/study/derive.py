"""The rule of one record: why it is what it is, its numbers, and a finite difference beside them.

The words come from what the operation's block declares (formula, saves, flags, the docstring of
its rule).  Invariant: the check runs the operation's own kernel in float64, at the record's own
inputs where they are known, else at a sample of the block's, and says which.
"""

import textwrap

import numpy as np

from .. import core, text
from ..errors import ArgumentError, AutodiffError
from ..testing import cases
from .rules import reason
from .sweep import watch
from .trace import Trace, flat_saves, input_label

__all__ = ["derivation"]

ENTRIES = 200       # inputs up to which each entry is moved by itself


def derivation(record, within, tape, names, model, variables):
    """The lines of explain(record)."""
    from .explain import contribution_line, headline, inputs_line
    around = Trace("explain", record if within is None else within, tape, names, model, variables)
    if within is not None and record.serial not in {n.serial for n in around.nodes}:
        raise ArgumentError(f"explain: #{record.serial} ({record.name}) is not on the tape of the "
                            "loss given as within=")
    step = None
    if not around.released:
        step = next((s for s in watch(around) if s.node.serial == record.serial), None)
    local = around if within is None else Trace("explain", record, tape, names, model, variables)
    yield headline(local, record)
    yield f"  is      {record.op.doc}"
    yield f"  inputs  {inputs_line(local, record)}"
    for k in range(len(record.shapes)):
        yield f"  output  {text.shape(record.shapes[k], record.dtypes[k])} {local.shown(record, k)}"
    wanted = [k for k in range(len(record.parents)) if record.needs >> k & 1]
    labels = [input_label(record, k) for k in wanted]
    yield (f"  wanted  {', '.join(f'dL/d{n}' for n in labels)}, given g = dL/d{_out(record)}, "
           "for a loss L further on")
    for line in _why(record, wanted):
        yield textwrap.fill(line, 98, initial_indent="  why     ", subsequent_indent=" " * 10)
    for line in _saved(record, wanted):
        yield f"  saved   {line}"
    if step is None:
        yield "  rule    (no numbers: an earlier backward released what was saved)"
    else:
        origin = "ones, for want of a loss" if within is None else "from the loss"
        for g in step.gradients:
            yield f"  g       {'none' if g is None else g.text}   ({origin})"
        if step.rule:
            yield f"  rule    {step.rule}"
        for c in step.results:
            yield f"  rule    d {contribution_line(local, c)}"
    known = None if within is None or step is None else step.gradients
    yield from _check(record, local.inputs(record), wanted, known)


def _out(record):
    return record.op.outputs[0] if len(record.shapes) == 1 else "outputs"


# In words -------------------------------------------------------------------------------------

def _why(record, wanted):
    block = record.op
    if block.opaque:
        yield "The rule is the user's own backward."
    elif block.alias:
        yield ("The output is a view: the same numbers, addressed in another way. The gradient "
               "takes the way back; numbers that appear several times get the sum.")
    elif block.elementwise and block.linear:
        yield ("Each out[i] is a sum of inputs [i], so the slope is a constant and g passes with "
               "that factor.")
    elif block.elementwise:
        yield ("Each out[i] depends on the inputs at i alone: by the chain rule "
               "dL/dx[i] = g[i] * (d out[i] / d x[i]).")
    elif block.linear:
        yield ("The operation is linear, out = A x: then dL = g . (A dx) = (A^T g) . dx, so the "
               "gradient is A^T g.")
    else:
        yield ("An input may reach every element of the output: dL/dx[j] = sum over i of "
               "g[i] * (d out[i] / d x[j]), computed without ever building that matrix.")
    if reason(block):
        yield reason(block)
    if block.composite is not None and not block.opaque:
        yield ("It is one kernel for several primitives; the rule is the chain rule through all "
               "of them at once.")
    for k in wanted:
        parent = record.parents[k]
        if parent is not None and block.elementwise:
            shape = parent.shapes[record.indices[k]]
            if shape != record.shapes[0]:
                yield (f"{input_label(record, k)} of shape {shape} was repeated to "
                       f"{record.shapes[0]}: each copy has a gradient, and it gets their sum.")


def _saved(record, wanted):
    block = record.op
    if record.released:
        yield "released by an earlier backward"
        return
    if record.deferred is not None:
        yield "nothing: a checkpoint computes it again in backward"
        return
    named = {input_label(record, k).partition("[")[0] for k in wanted}
    any_saved = False
    for name, t in flat_saves(record):
        users = [n for n in named if name.partition("[")[0] in block.saves.get(n, ())]
        for_whom = f", for {' and '.join(f'd {n}' for n in sorted(users))}" if users else ""
        shared = "" if t.category == "temporary" else f"; it is {_a(t.category)}, alive anyway"
        yield f"{name} ({text.nbytes(t.nbytes)}){for_whom}{shared}"
        any_saved = True
    if not any_saved:
        yield "nothing: the rule needs g and shapes alone, so the inputs may be freed at once"
    elif not block.opaque and set(block.outputs) & {n for n, _ in flat_saves(record)}:
        unsaved = [n for n in block.inputs if n not in {m for m, _ in flat_saves(record)}]
        if unsaved:
            yield f"not {', '.join(unsaved)}: the output says enough"


def _a(category):
    return f"an {category}" if category[0] in "aeiou" else f"a {category}"


# Against a finite difference ------------------------------------------------------------------

def _check(record, given, wanted, gradients):
    """Lines: for each input wanted, the rule and the central difference, in float64."""
    block = record.op
    if block.opaque:
        yield "  check   (the user's own operation: ad.testing.gradcheck(Function.apply, x))"
        return
    if block.into or block.writes:
        yield "  check   (it writes in place, so it can't be run again here)"
        return
    if given is not None:
        run = _Run(lambda xs: block.call(*_grouped(block, xs), *record.attrs),
                   [t.numpy() for t in given], wanted, gradients)
        where = "at the inputs above"
    else:
        case, floats = _sample(block, wanted)
        if case is None:
            yield "  check   (its inputs were not kept)"
            return
        run = _Run(lambda xs: case(*xs), [np.asarray(x) for x in case.arrays], floats)
        where = f"at a sample of the operation's own ({case}), for its inputs were not kept"
    yield f"  check   in float64, {where}: (L(x + h) - L(x - h)) / 2h with L = sum(g * out)"
    for k in run.wanted:
        label = input_label(record, k)
        yield from (f"  check   {line}" for line in run.lines(k, label))


def _grouped(block, xs):
    from ..call import group
    return group(block, list(xs))


def _sample(block, wanted):
    """The smallest sample that can be differentiated, and its float inputs among those wanted."""
    fitting = []
    for case in cases(block):
        floats = [k for k in wanted if k < len(case.arrays) and _is_float(case.arrays[k])]
        usable = all(isinstance(x, np.ndarray) or np.isscalar(x) for x in case.arrays)
        if case.sample.check_grad and usable and floats:
            size = sum(np.size(x) for x in case.arrays)
            fitting.append((size == 0, size, len(fitting), case, floats))
    if not fitting or min(fitting)[0]:
        return None, None
    return min(fitting)[3:]


def _is_float(x):
    return isinstance(x, (float, np.ndarray)) and np.asarray(x).dtype.kind == "f"


class _Run:
    """An operation at a point, in float64: its rule's gradients and its differences."""

    def __init__(self, f, arrays, wanted, gradients=None):
        self.f = f
        self.arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
        self.wanted = wanted
        with core.enable_grad():
            xs = [core.make(a) for a in self.arrays]
            for k in wanted:
                xs[k].requires_grad = True
            outs = _several(f(xs))
            self.g, self.weights = _weights(outs, gradients)
            pairs = [(o, core.make(g.astype(o.dtype))) for o, g in zip(outs, self.g)
                     if o.requires_grad]
            grads = core.gradients([o for o, _ in pairs], [xs[k] for k in wanted],
                                   [g for _, g in pairs], allow_unused=True)
        self.grads = {k: np.zeros(self.arrays[k].shape) if g is None
                      else np.array(g.numpy(), np.float64) for k, g in zip(wanted, grads)}
        exact = all(o.dtype == np.float64 for o in outs)
        self.h = 1e-6 if exact else 1e-2

    def loss(self, k, moved):
        with core.no_grad():
            outs = _several(self.f([core.make(moved if j == k else a)
                                    for j, a in enumerate(self.arrays)]))
        return sum(float(np.sum(g * o.numpy().astype(np.float64)))
                   for g, o in zip(self.g, outs))

    def slope(self, k, direction, h):
        x = self.arrays[k]
        return (self.loss(k, x + h * direction) - self.loss(k, x - h * direction)) / (2 * h)

    def lines(self, k, label):
        """The entry with the largest gradient; then all entries, or one random direction."""
        x, grad = self.arrays[k], self.grads[k]
        if not x.size:
            yield f"{label} is empty"
            return
        at = np.unravel_index(np.argmax(np.abs(grad)), x.shape)
        slopes = {}
        entries = list(np.ndindex(x.shape)) if x.size <= ENTRIES else [at]
        try:
            for entry in entries:
                unit = np.zeros(x.shape)
                unit[entry] = 1.0
                slopes[entry] = self.slope(k, unit, self.h * max(1.0, abs(x[entry])))
            along = None if x.size <= ENTRIES else self._along(k)
        except AutodiffError as error:
            yield f"d {label}: cannot move it: {error}"
            return
        place = f"[{', '.join(map(str, at))}]" if x.ndim else ""
        numeric = slopes[tuple(int(i) for i in at)]
        yield (f"d {label}{place}: rule {grad[at]:.9g}, finite difference {numeric:.9g}, relative "
               f"difference {_relative(grad[at], numeric):.1e}   (h = {self.h:g}, {self.weights})")
        if along is not None:
            yield (f"d {label}, all {x.size} entries along a random direction: rule "
                   f"{along[0]:.9g}, finite difference {along[1]:.9g}, relative difference "
                   f"{_relative(*along):.1e}")
        elif x.size > 1:
            scale = max(np.max(np.abs(grad)), 1e-300)
            worst = max(abs(grad[e] - s) for e, s in slopes.items()) / scale
            yield f"d {label}, all {x.size} entries: largest difference {worst:.1e} of the largest"

    def _along(self, k):
        direction = np.random.default_rng(1).standard_normal(self.arrays[k].shape)
        return float(np.sum(self.grads[k] * direction)), self.slope(k, direction, self.h)


def _weights(outs, gradients):
    """g for each output, and what it is: the loss's where that is at hand, else drawn.

    Drawn, not ones, so that no derivative vanishes by symmetry (a softmax sums to 1).
    """
    known = [None if v is None else v.array for v in gradients or [None]]
    if len(known) == len(outs) and all(g is not None and np.any(g) for g in known):
        return [g.astype(np.float64) for g in known], "g from the loss"
    if sum(o.size for o in outs) == 1:
        return [np.ones(o.shape) for o in outs], "g = 1"
    rng = np.random.default_rng(0)
    return [rng.uniform(0.5, 1.5, o.shape) for o in outs], "g drawn between 0.5 and 1.5"


def _relative(a, b):
    scale = max(abs(a), abs(b))
    return abs(a - b) / scale if scale else 0.0


def _several(out):
    outs = out if isinstance(out, (tuple, list)) else (out,)
    return [o for o in outs if o.dtype.kind == "f"]
