"""One computation in numbers: its tape, forward in the order of recording, then backward.

`print(ad.study.explain(loss))`; of a single record, its rule (derive.py).  Invariant: every number
printed was computed by the engine; where a value was not kept, it says so.
"""

from .. import core, text
from ..errors import ArgumentError
from ..tapes import Entry
from .derive import derivation
from .names import caller_variables
from .sweep import watch
from .trace import Trace, flat_saves

__all__ = ["explain"]


def explain(loss, tape=None, names=None, file=None, model=None, within=None):
    """The tape behind a tensor as text, forward and backward, with numbers; or one record's rule.

    loss: a tensor that requires a gradient, before its backward (or after one with
    retain_graph=True); more than one element is seeded with ones. A Record (`loss.node`) or an
    entry of ad.Tape(keep="saves"): its rule alone, derived and checked against a finite
    difference; within: the loss that its incoming gradient is taken from (ones without).
    tape: an ad.Tape(keep="values") that ran around the forward pass, for values that can't be
    computed again. names: {"w": w, ...}; without it, parameters are named by their path in a
    module among the caller's variables, other tensors by their variable ({} for none of that).
    model: names parameters by their path in it. file: write the text there as well.
    Returns a string that prints well.

    `.grad` stays as it is; gradient hooks run, and a checkpoint runs again. Raises ArgumentError
    for other things than tensors and records, GradientError for a tensor off the tape.
    """
    if isinstance(loss, Entry):
        if loss.record is None:
            raise ArgumentError('explain: this entry of a Tape holds no record; record under '
                                'ad.Tape(keep="saves"), or pass a tensor\'s node: '
                                "explain(y.node)")
        loss = loss.record
    variables = caller_variables() if names is None else {}
    if isinstance(loss, core.Record):
        lines = derivation(loss, within, tape, names, model, variables)
    else:
        if within is not None:
            raise ArgumentError("explain: within= goes with a record, explain(record, "
                                "within=loss)")
        trace = Trace("explain", loss, tape, names, model, variables)
        lines = [*_forward(trace), "", *_backward(trace)]
    found = text.Text("\n".join(lines))
    if file is not None:
        print(found, file=file)
    return found


# Forward --------------------------------------------------------------------------------------

def _forward(trace):
    """One line for each leaf, four for each record."""
    yield (f"FORWARD: {len(trace.records)} records on {len(trace.leaves)} leaves, in the order of "
           "recording")
    for leaf in trace.leaves:
        yield (f"  {trace.name(leaf)}: leaf, {text.shape(leaf.shapes[0], leaf.dtypes[0])}, "
               f"value {trace.shown(leaf)}")
    for position, record in enumerate(trace.records, 1):
        yield from _record(trace, position, record)


def _record(trace, position, record):
    yield f"  {position}. {headline(trace, record)}"
    yield f"       inputs  {inputs_line(trace, record)}"
    for k, (sizes, dtype) in enumerate(zip(record.shapes, record.dtypes, strict=True)):
        yield f"       output  {text.shape(sizes, dtype)} {trace.shown(record, k)}"
    yield f"       saves   {_saves(record)}"


def headline(trace, record):
    """`#2 = multiply: x * y   (example.py:15, in hidden)`."""
    place = f", in {record.scope}" if record.scope else ""
    what = record.op.formula or record.op.doc
    return (f"{trace.name(record)} = {record.name}: {what}   "
            f"({record.line.rpartition('/')[2]}{place})")


def inputs_line(trace, record):
    """`x = w = 0.5;  y = 2 (constant)`, attributes behind."""
    inputs = [f"{label} = {shown}" if parent is None
              else f"{label} = {trace.name(parent, index)} = {shown}"
              for label, parent, index, shown in trace.input_list(record)]
    named = zip(record.op.attrs, record.attrs, strict=False)
    attrs = [] if record.op.opaque else [f"{n} = {v}" for n, v in named]
    return ";  ".join([*inputs, *attrs]) or "none"


def _saves(record):
    if record.released:
        return "released by an earlier backward"
    if record.deferred is not None:
        return "nothing: a checkpoint computes it again"
    return ", ".join(f"{name} ({text.nbytes(t.nbytes)}{_kind(t)})"
                     for name, t in flat_saves(record)) or "nothing"


def _kind(t):
    return "" if t.category == "temporary" else f", {t.category}"


# Backward -------------------------------------------------------------------------------------

def _backward(trace):
    """The sweep, one step for each node that a gradient reaches."""
    node, index = trace.root
    yield "BACKWARD: by descending serial number, each record once"
    if trace.released:
        yield ("  (no numbers: an earlier backward released what was saved; use "
               "retain_graph=True there)")
        return
    steps = watch(trace)
    yield f"  seed: gradient of {trace.name(node, index)} = {steps[0].gradients[index].text}"
    holders = _holders(trace)
    for step in steps:
        if step.node.is_leaf:
            yield (f"  {trace.name(step.node)}: leaf, finished: gradient "
                   f"{step.gradients[0].text}")
        else:
            yield from _step(trace, step)
            yield f"       after   {_freed(step.node, holders)}"


def _step(trace, step):
    record = step.node
    several = len(record.shapes) > 1
    for k, g in enumerate(step.gradients):
        label = f"g[{k}]" if several else "g"
        yield (f"  {trace.name(record, k)} ({record.name}): {label} = "
               f"{'none' if g is None else g.text}")
    if step.rule:
        yield f"       rule    {step.rule}"
    if step.saved:
        yield "       saved   " + ";  ".join(f"{n} = {v.text}" for n, v in step.saved.items())
    for c in step.results:
        yield f"       d {contribution_line(trace, c)}"


def contribution_line(trace, c):
    """`x = g * y = 1 * 0.5 = 0.5  -> w, added: now 0.7`."""
    parts = [c.label, c.rule, c.worked]
    line = " = ".join(p for p in parts if p)
    if c.raw is not None:
        line += f" = {c.raw.text}, summed over broadcast axes"
    line += f" = {c.value.text}  -> {trace.name(c.parent, c.index)}"
    return line + (f", added: now {c.total.text}" if c.added else "")


def _holders(trace):
    """Storage -> how many saves of this tape hold it."""
    found = {}
    for record in trace.records:
        for _, t in flat_saves(record):
            found[t.storage_id] = found.get(t.storage_id, 0) + 1
    return found


def _freed(record, holders):
    gone, kept = [], []
    for name, t in flat_saves(record):
        holders[t.storage_id] -= 1
        if t.category != "temporary":
            kept.append(f"{name} (counts as {t.category})")
        elif holders[t.storage_id]:
            kept.append(f"{name} (other records still need it)")
        else:
            gone.append(f"{name} ({text.nbytes(t.storage_nbytes)})")
    parts = [f"a backward frees {', '.join(gone)}"] if gone else []
    if kept:
        parts.append(f"lets go of {', '.join(kept)}")
    return "; ".join(parts) or "nothing to free"
