"""The tape as a page: one HTML file that plays a computation forward and backward, step by step.

`ad.study.page(loss, "tape.html")` runs a reverse sweep of its own and writes what it saw.
Invariant: the steps are the engine's records in its order, the numbers are its numbers, and
`.grad` stays as it is.
"""

from .. import core, text
from ..errors import ArgumentError, GradientError
from .groups import Groups
from .lifetimes import Lifetimes
from .names import caller_variables
from .rules import described, reason, with_numbers
from .sweep import watch
from .template import html_page, shared_text, write_page
from .trace import Trace, flat_saves

__all__ = ["page", "page_data"]

SCRIPTS = ("tape.js", "tape_controls.js", "tape_view.js")


def page(loss, path, names=None, model=None, tape=None, title=None):
    """Write a page that plays the tape behind a scalar tensor; returns the path as text.

    One self-contained HTML file: forward and backward, record by record, with numbers, gradients,
    accumulation, and the bytes that training keeps beside inference, which keeps none. names,
    model, tape: as for explain. title: of the page.

    The backward is the page's own, as with retain_graph=True: `.grad` stays, the saves stay;
    gradient hooks run, and a checkpoint runs again. The file is written whole or not at all.
    Raises ArgumentError for another thing than a Tensor, GradientError for one that is not a
    scalar or not on the tape, ReleasedTapeError after a backward that released the saves.
    """
    if not isinstance(loss, core.Tensor):
        raise ArgumentError(f"page: expected a Tensor, got {type(loss).__name__}")
    if loss.size != 1:
        raise GradientError(f"page: the tensor has shape {loss.shape}, not one element; reduce it "
                            "to a scalar, for instance with .sum()")
    variables = caller_variables() if names is None else {}
    data = page_data(Trace("page", loss, tape, names, model, variables))
    name = title or f"Backpropagation of {data['root']}, step by step"
    data["title"] = name
    return write_page(path, html_page(name, data, [shared_text("tape.css")],
                                      [shared_text(n) for n in SCRIPTS]))


def page_data(trace):
    """What the page plays, as plain data.

    nodes: leaves, then records in order; steps: of the sweep; arrays: with their first and last
    step; training, inference: bytes at each step (see Lifetimes); ops: name -> what it is.
    """
    steps = watch(trace)
    times = Lifetimes(trace, steps)
    groups = Groups(trace)
    order = [*trace.leaves, *trace.records]
    place = {node.serial: k for k, node in enumerate(order)}
    uses = {}
    for record in trace.records:
        for parent in record.parents:
            if parent is not None:
                uses.setdefault(place[parent.serial], []).append(place[record.serial])
    root, index = trace.root
    return {
        "root": trace.name(root, index),
        "rootNode": place[root.serial],
        "value": trace.shown(root, index),
        "records": len(trace.records),
        "leaves": len(trace.leaves),
        "nodes": [_leaf(trace, n, groups, uses.get(k, [])) if n.is_leaf
                  else _record(trace, n, groups, place, uses.get(k, []))
                  for k, n in enumerate(order)],
        "steps": [_step(s, place) for s in steps],
        "ops": {r.name: _op(r.op) for r in trace.records},
        "arrays": [{"name": a.name, "node": place[a.node.serial], "kind": a.kind,
                    "bytes": a.nbytes, "born": a.born, "last": a.last, "saved": a.saved_from,
                    "inference": a.inference} for a in times.arrays],
        "turn": times.turn,
        "base": times.base_bytes,
        "training": times.training,
        "inference": times.inference,
    }


def _op(block):
    return {"doc": block.doc, "formula": block.formula, "reason": reason(block)}


def _leaf(trace, leaf, groups, uses):
    return {"name": trace.name(leaf), "serial": leaf.serial, "leaf": True,
            "path": groups.path[leaf.serial], "uses": uses,
            "outputs": [{"array": text.shape(leaf.shapes[0], leaf.dtypes[0]),
                         "value": trace.shown(leaf)}]}


def _record(trace, record, groups, place, uses):
    block = record.op
    named = [] if block.opaque else zip(block.attrs, record.attrs, strict=False)
    worked = with_numbers(block.formula, trace.input_numbers(record)) if block.formula else ""
    return {
        "name": trace.name(record), "serial": record.serial, "op": record.name,
        "path": groups.path[record.serial], "line": record.line.rpartition("/")[2],
        "uses": uses, "worked": worked,
        "inputs": [{"label": label, "node": None if parent is None else place[parent.serial],
                    "output": output, "value": shown}
                   for label, parent, output, shown in trace.input_list(record)],
        "attrs": [f"{n} = {v}" for n, v in named],
        "outputs": [{"array": text.shape(s, d), "value": trace.shown(record, k)}
                    for k, (s, d) in enumerate(zip(record.shapes, record.dtypes, strict=True))],
        "saves": [{"name": name, "bytes": t.nbytes, "kind": t.category}
                  for name, t in flat_saves(record)],
        "deferred": record.deferred is not None,
    }


def _step(step, place):
    found = {"node": place[step.node.serial],
             "gradients": [None if g is None else g.text for g in step.gradients]}
    if not step.node.is_leaf:
        found["rule"] = step.rule if step.results else described(step.node.op)
        found["saved"] = [[name, v.text] for name, v in step.saved.items()]
        found["results"] = [
            {"label": c.label, "node": place[c.parent.serial], "output": c.index, "rule": c.rule,
             "worked": c.worked, "raw": c.raw and c.raw.text, "value": c.value.text,
             "added": c.added, "total": c.total.text} for c in step.results]
    return found
