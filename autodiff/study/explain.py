"""One computation in numbers: its tape, forward in the order of recording, then backward.

`print(ad.study.explain(loss))`. The reverse part is a real sweep of its own, watched from outside:
its gradients go nowhere, and the records keep their saves.  Invariant: every number printed was
computed by the engine; where a value was not kept, it says so.
"""

import numpy as np

from .. import core, text
from ..call import input_name
from ..errors import ArgumentError, GradientError
from ..op import Deferred, registry
from ..tapes import Tape, nodes
from .rules import described, expressions, with_numbers

__all__ = ["explain"]


def explain(loss, tape=None, names=None, file=None):
    """The tape behind a tensor (or a Record) as text, forward and backward, with numbers.

    loss: a tensor that requires a gradient, before its backward (or after one with
    retain_graph=True); more than one element is seeded with ones. tape: an ad.Tape(keep="values")
    that ran around the forward pass, for values that nothing saved. names: {"w": w, ...}.
    file: write the text there as well. Returns a string that prints well.

    `.grad` stays as it is; gradient hooks run, and a checkpoint runs again. Raises ArgumentError
    for other things than tensors and records, GradientError for a tensor off the tape.
    """
    story = Story(loss, tape, names or {})
    found = text.Text("\n".join([*story.forward(), "", *story.backward()]))
    if file is not None:
        print(found, file=file)
    return found


class Story:
    """Collects what is known of one tape, and words it."""

    def __init__(self, loss, tape, names):
        if isinstance(loss, core.Tensor):
            if loss.node is None:
                raise GradientError("explain: this tensor is not on the tape: it does not require "
                                    "a gradient")
            self.root, self.value = (loss.node, loss.index), loss.numpy()
        elif isinstance(loss, core.Record):
            self.root, self.value = (loss, 0), None
        else:
            raise ArgumentError("explain: expected a Tensor or a Record, got "
                                f"{type(loss).__name__}")
        if tape is not None and not isinstance(tape, Tape):
            raise ArgumentError(f"explain: tape must be a Tape, got {type(tape).__name__}; name "
                                "tensors as keywords: explain(loss, x=x)")
        self.nodes = nodes(self.root[0])
        self.names = {}
        for name, t in names.items():
            if not isinstance(t, core.Tensor):
                raise ArgumentError(f"explain: names must map names to Tensors; {name!r} is "
                                    f"{type(t).__name__}")
            if t.node is not None:
                self.names[t.node.serial, t.index] = name
        self.values = {}                # (serial, output) -> array or text
        self._gather(tape, names)

    # What is known ------------------------------------------------------------------------

    def _gather(self, tape, names):
        for node in self.nodes:
            if not node.is_leaf:
                for slot, array in _saved(node):
                    where = self._where(node, *slot)
                    if where is not None:
                        self.values.setdefault(where, array)
        for entry in tape or ():
            for k, shown in enumerate(entry.previews or ()):
                value = entry.values[k]
                self.values.setdefault((entry.serial, k), shown if value is None else value)
        for t in names.values():
            if t.node is not None:
                self.values.setdefault((t.node.serial, t.index), t.numpy())
        if self.value is not None:
            self.values[self.root[0].serial, self.root[1]] = self.value

    @staticmethod
    def _where(record, kind, k):
        """(serial, output) of a saved input or output; None for an input off the tape."""
        if kind == "out":
            return (record.serial, k) if k < len(record.shapes) else None
        parent = record.parents[k]
        return None if parent is None else (parent.serial, record.indices[k])

    def name(self, node, index=0):
        """`w`, `leaf#3`, `#12`, or `#12.1` for output 1 of several."""
        known = self.names.get((node.serial, index))
        if known is not None:
            return known
        if node.is_leaf:
            return f"leaf#{node.serial}"
        return f"#{node.serial}" + (f".{index}" if len(node.shapes) > 1 else "")

    def shown(self, node, index=0):
        value = self.values.get((node.serial, index))
        if value is None:
            return "(not kept)"
        return value if isinstance(value, str) else text.preview(value)

    # Forward ------------------------------------------------------------------------------

    def forward(self):
        """One line for each leaf, three for each record."""
        leaves = [n for n in self.nodes if n.is_leaf]
        records = [n for n in self.nodes if not n.is_leaf]
        yield f"FORWARD: {len(records)} records on {len(leaves)} leaves, in the order of recording"
        for leaf in leaves:
            yield (f"  {self.name(leaf)}: leaf, {text.shape(leaf.shapes[0], leaf.dtypes[0])}, "
                   f"value {self.shown(leaf)}")
        for position, record in enumerate(records, 1):
            yield from self._record(position, record)

    def _record(self, position, record):
        place = f", in {record.scope}" if record.scope else ""
        what = record.op.formula or record.op.doc
        yield (f"  {position}. {self.name(record)} = {record.name}: {what}   "
               f"({record.line.rpartition('/')[2]}{place})")
        off = {slot[1]: array for slot, array in _saved(record) if slot[0] == "in"}
        inputs = []
        for k, (parent, index) in enumerate(zip(record.parents, record.indices, strict=True)):
            if parent is not None:
                value = f"{self.name(parent, index)} = {self.shown(parent, index)}"
            elif k in off:
                value = f"{text.preview(off[k])} (constant)"
            else:
                absent = input_name(record.op, k) in record.op.optional
                value = "(absent, or a constant not kept)" if absent else "a constant (not kept)"
            inputs.append(f"{_label(record, k)} = {value}")
        named = zip(record.op.attrs, record.attrs, strict=False)
        attrs = [] if record.op.opaque else [f"{n} = {v}" for n, v in named]
        yield f"       inputs  {';  '.join([*inputs, *attrs]) or 'none'}"
        for k, (sizes, dtype) in enumerate(zip(record.shapes, record.dtypes, strict=True)):
            yield f"       output  {text.shape(sizes, dtype)} {self.shown(record, k)}"
        yield f"       saves   {self._saves(record)}"

    def _saves(self, record):
        if record.released:
            return "released by an earlier backward"
        if record.deferred is not None:
            return "nothing: a checkpoint computes it again"
        parts = [f"{name} ({text.nbytes(t.nbytes)}{_kind(t)})" for name, t in _flat(record)]
        return ", ".join(parts) or "nothing"

    # Backward -----------------------------------------------------------------------------

    def backward(self):
        """The sweep, one step for each node that a gradient reaches."""
        node, index = self.root
        yield "BACKWARD: by descending serial number, each record once"
        if any(not n.is_leaf and n.released for n in self.nodes):
            yield "  (no numbers: an earlier backward released what was saved; use " \
                  "retain_graph=True there)"
            return
        root = core.empty(node.shapes[index], node.dtypes[index])
        root._place(node, index)
        seed = registry["full"].call(node.shapes[index], 1.0, node.dtypes[index])
        yield f"  seed: gradient of {self.name(node, index)} = {text.preview(seed.numpy())}"
        steps = self._watch(root, seed)
        holders = self._holders()
        sums = {(node.serial, index): np.array(seed.numpy())}
        for visited, grads, results in steps:
            if visited.is_leaf:
                yield f"  {self.name(visited)}: leaf, finished: gradient {text.preview(grads[0])}"
            else:
                yield from self._step(visited, grads, results, sums)
                yield f"       after   {self._freed(visited, holders)}"

    def _watch(self, root, seed):
        """Run a sweep that changes nothing and note what passes each node."""
        leaves = []
        for n in self.nodes:
            if n.is_leaf:
                handle = core.empty(n.shapes[0], n.dtypes[0])
                handle._place(n, 0)
                leaves.append(handle)
        steps = []

        def note(node, grads, results):
            copied = [None if g is None else np.array(g.numpy()) for g in grads]
            steps.append((node, copied, None if node.is_leaf else _results(node, results)))

        core.listen_sweep(note)
        try:
            core.gradients([root], leaves, [seed], True, False, True)
        finally:
            core.unlisten_sweep(note)
        return steps

    def _step(self, record, grads, results, sums):
        several = len(record.shapes) > 1
        for k, g in enumerate(grads):
            label = f"g[{k}]" if several else "g"
            yield (f"  {self.name(record, k)} ({record.name}): {label} = "
                   f"{'none' if g is None else text.preview(g)}")
        rules = expressions(record.op, record.needs, len(record.parents))
        wanted = [k for k in range(len(rules)) if results[k] is not None]
        if any(rules[k] is None for k in wanted):
            yield f"       rule    {described(record.op)}"
        known = {name: t.numpy() for name, t in _flat(record)}
        if known:
            listed = ";  ".join(f"{name} = {text.preview(a)}" for name, a in known.items())
            yield f"       saved   {listed}"
        if not several:
            known["g"] = grads[0]
        numbers = {name: text.preview(a) if a.size == 1 and a.ndim == 0 else None
                   for name, a in known.items()}
        for k in wanted:
            parent = record.parents[k]
            if parent is None:
                continue
            where, g = (parent.serial, record.indices[k]), results[k]
            line = f"       d {_label(record, k)}"
            if rules[k] is not None:
                line += f" = {rules[k]}"
                worked = with_numbers(rules[k], numbers)
                line += f" = {worked}" if worked and worked != text.preview(g) else ""
            if g.shape != parent.shapes[record.indices[k]]:
                line += f" = {text.preview(g)}, summed over broadcast axes"
                g = _sum_to(g, parent.shapes[record.indices[k]])
            line += f" = {text.preview(g)}  -> {self.name(parent, record.indices[k])}"
            if where in sums:
                sums[where] = sums[where] + g
                line += f", added: now {text.preview(sums[where])}"
            else:
                sums[where] = g
            yield line

    def _holders(self):
        """Storage -> how many saves of this tape hold it."""
        found = {}
        for node in self.nodes:
            if not node.is_leaf:
                for _, t in _flat(node):
                    found[t.storage_id] = found.get(t.storage_id, 0) + 1
        return found

    def _freed(self, record, holders):
        gone, kept = [], []
        for name, t in _flat(record):
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


def _flat(record):
    """What a record saved, as (name, tensor) pairs; a list of inputs as name[0], name[1], ..."""
    for name, t in ({} if record.released else record.saved_tensors()).items():
        if isinstance(t, list):
            yield from ((f"{name}[{k}]", part) for k, part in enumerate(t))
        else:
            yield name, t


def _saved(record):
    """((kind, position), array) of what a record saved and nobody changed since."""
    op, found = record.op, []
    outs = op.outputs + op.residuals
    for name, t in ({} if record.released else record.saved_tensors()).items():
        if isinstance(t, list):
            first = len(op.inputs) - 1
            if len(t) == len(record.parents) - first:
                found += [(("in", first + k), part) for k, part in enumerate(t)]
            else:
                found += [(None, part) for part in t]
        elif name in op.inputs:
            found.append((("in", op.inputs.index(name)), t))
        else:
            found.append((("out", outs.index(name)), t))
    return [(slot, t.numpy()) for (slot, t), version in zip(found, record.saved_versions(),
                                                            strict=True)
            if slot is not None and t.version == version]


def _results(record, results):
    """The rule's answers as arrays, one for each input."""
    several = results if isinstance(results, (tuple, list)) else [results]
    arrays = []
    for g in several:
        g = g.dense() if isinstance(g, Deferred) else g
        arrays.append(None if g is None else np.array(g.numpy()))
    return arrays + [None] * (len(record.parents) - len(arrays))


def _sum_to(g, shape):
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(k + extra for k, n in enumerate(shape)
                                       if n == 1 and g.shape[k + extra] != 1)
    return g.sum(axis=axes).reshape(shape)


def _label(record, k):
    """The input's name in the op; with its position in a list of inputs."""
    first = len(record.op.inputs) - 1
    name = input_name(record.op, k)
    return f"{name}[{k - first}]" if record.op.variadic and k >= first else name


def _kind(t):
    return "" if t.category == "temporary" else f", {t.category}"
