"""What is known of the tape behind one tensor: its nodes, their names, values and saves.

`Trace` gathers it once for explain, draw and page; `sweep.py` adds a reverse sweep.  Invariant:
looking changes nothing (no `.grad`, no saves, no versions), and every number was computed by the
engine: where a value was not kept, it is computed again from what was, or said to be missing.
"""

import numpy as np

from .. import core, text
from ..call import group, input_name
from ..errors import ArgumentError, AutodiffError, GradientError
from ..tapes import PREVIEW, Tape, nodes
from .names import named_tensors

__all__ = ["Trace", "Value", "flat_saves", "input_label", "place_of", "slots"]


class Value:
    """An array as its preview; small ones with a copy of their numbers, larger ones without."""

    __slots__ = ("text", "array")

    def __init__(self, array):
        array = np.asarray(array)
        self.text = text.preview(array)
        self.array = array.copy() if array.size <= PREVIEW else None

    @property
    def number(self):
        """The preview of a 0-d array, which a formula can hold; None for others."""
        return self.text if self.array is not None and self.array.ndim == 0 else None


class Trace:
    """The tape behind a tensor (or a Record): what explain, draw and page show.

    nodes: leaves and records, oldest first; root: (node, output); loss: the tensor, if given;
    values: (serial, output) -> array; see `value`, `name`, `save_list`.
    """

    def __init__(self, who, loss, tape=None, names=None, model=None, variables=None):
        self.loss = loss if isinstance(loss, core.Tensor) else None
        if self.loss is not None:
            if loss.node is None:
                raise GradientError(f"{who}: this tensor is not on the tape: it does not require "
                                    "a gradient, or was computed under no_grad")
            self.root = (loss.node, loss.index)
        elif isinstance(loss, core.Record):
            self.root = (loss, 0)
        else:
            raise ArgumentError(f"{who}: expected a Tensor or a Record, got "
                                f"{type(loss).__name__}")
        if tape is not None and not isinstance(tape, Tape):
            raise ArgumentError(f"{who}: tape must be a Tape, got {type(tape).__name__}")
        self.nodes = nodes(self.root[0])
        self.records = [n for n in self.nodes if not n.is_leaf]
        self.leaves = [n for n in self.nodes if n.is_leaf]
        self.names, self.constants = {}, {}     # (serial, output) -> name; storage id -> name
        self.values, self._texts = {}, {}       # (serial, output) -> array; -> text alone
        self.again = set()                      # values that were computed again
        self._gather(tape, named_tensors(who, names, model, variables or {}))
        self._compute_again()

    # What is known ------------------------------------------------------------------------

    def _gather(self, tape, named):
        known = {n.serial for n in self.nodes}
        for record in self.records:
            for slot, t in _intact_saves(record):
                where = place_of(record, slot)
                if where is not None:
                    self.values.setdefault(where, t.numpy())
        for entry in tape or ():
            for k, shown in enumerate(entry.previews or ()):
                value = entry.values[k]
                if value is None:
                    self._texts.setdefault((entry.serial, k), shown)
                else:
                    self.values.setdefault((entry.serial, k), value)
        for name, t in named:
            if t.node is None:
                self.constants.setdefault(t.storage_id, name)
            elif t.node.serial in known:
                self.names.setdefault((t.node.serial, t.index), name)
                self.values.setdefault((t.node.serial, t.index), t.numpy())
        if self.loss is not None:
            self.values[self.root[0].serial, self.root[1]] = self.loss.numpy()

    def _compute_again(self):
        """Outputs that nobody kept, where all that they were computed from is known."""
        last = {}                               # the last record that uses a value
        for record in self.records:
            for where in _inputs(record):
                last[where] = record.serial
        mine = set(_inputs(self.root[0])) if not self.root[0].is_leaf else set()
        phase = core.set_phase("recompute")
        try:
            with core.no_grad():
                for record in self.records:
                    self._outputs_of(record)
                    for where in _inputs(record):
                        if (where in self.again and last[where] == record.serial
                                and where not in mine):
                            self._shorten(where)
        finally:
            core.set_phase(phase)

    def _outputs_of(self, record):
        block = record.op
        missing = [k for k in range(len(record.shapes))
                   if (record.serial, k) not in self.values]
        if not missing or block.writes or block.into or block.opaque:
            return
        given = self.inputs(record)
        if given is None:
            return
        try:
            out = block.call(*group(block, given), *record.attrs)
        except AutodiffError:
            return
        outs = out if isinstance(out, (tuple, list)) else (out,)
        for k in missing:
            if k < len(outs) and outs[k].shape == record.shapes[k]:
                self.values[record.serial, k] = outs[k].numpy()
                self.again.add((record.serial, k))

    def _shorten(self, where):
        """A large array that was computed again goes when nothing more is computed from it."""
        array = self.values[where]
        if array.size > PREVIEW:
            self._texts[where] = text.preview(array)
            del self.values[where]

    def inputs(self, record):
        """The inputs of a record as Tensors; None unless all of them are known."""
        off = {k: t for (kind, k), t in _intact_saves(record) if kind == "in"}
        given = []
        for k, (parent, index) in enumerate(zip(record.parents, record.indices, strict=True)):
            if k in off:
                given.append(off[k].detach())
            elif parent is None or (parent.serial, index) not in self.values:
                return None                     # not kept, or perhaps absent: it doesn't say
            else:
                given.append(core.make(self.values[parent.serial, index]))
        return given

    # What is shown ------------------------------------------------------------------------

    def name(self, node, index=0):
        """`w`, `leaf#3`, `#12`, or `#12.1` for output 1 of several."""
        known = self.names.get((node.serial, index))
        return known if known is not None else self.number(node, index)

    @staticmethod
    def number(node, index=0):
        """The name that a node has by itself."""
        if node.is_leaf:
            return f"leaf#{node.serial}"
        return f"#{node.serial}" + (f".{index}" if len(node.shapes) > 1 else "")

    def value(self, node, index=0):
        """A Value, or None where it is not known as numbers."""
        array = self.values.get((node.serial, index))
        return None if array is None else Value(array)

    def shown(self, node, index=0):
        """The value as text; `(not kept)` where it is not known."""
        where = node.serial, index
        if where in self.values:
            return text.preview(self.values[where])
        return self._texts.get(where, "(not kept)")

    def constant(self, t):
        """The name of a saved tensor that is not on the tape, or ""."""
        return self.constants.get(t.storage_id, "")

    def input_list(self, record):
        """What a record was computed from: (label, parent or None, output, value as text)."""
        off = {slot[1]: t for slot, t in _intact_saves(record) if slot[0] == "in"}
        found = []
        for k, (parent, index) in enumerate(zip(record.parents, record.indices, strict=True)):
            if parent is not None:
                shown = self.shown(parent, index)
            elif k in off:
                shown = f"{text.preview(off[k].numpy())} (constant)"
                if self.constant(off[k]):
                    shown = f"{self.constant(off[k])} = {shown}"
            elif input_name(record.op, k) in record.op.optional:
                shown = "(absent, or a constant not kept)"
            else:
                shown = "a constant (not kept)"
            found.append((input_label(record, k), parent, index, shown))
        return found

    def input_numbers(self, record):
        """Input name -> its number as text, None where it is no single number or not known."""
        off = {slot[1]: t for slot, t in _intact_saves(record) if slot[0] == "in"}
        found = {}
        for k, (parent, index) in enumerate(zip(record.parents, record.indices, strict=True)):
            value = None
            if parent is not None:
                value = self.value(parent, index)
            elif k in off:
                value = Value(off[k].numpy())
            found[input_label(record, k)] = value and value.number
        return found

    @property
    def released(self):
        """True where an earlier backward let go of what this tape had saved."""
        return any(r.released for r in self.records)


def flat_saves(record):
    """What a record saved, as (name, tensor) pairs; a list of inputs as name[0], name[1], ..."""
    return [(name, t) for _, name, t in slots(record)]


def input_label(record, k):
    """The input's name in the op; with its position in a list of inputs."""
    first = len(record.op.inputs) - 1
    name = input_name(record.op, k)
    return f"{name}[{k - first}]" if record.op.variadic and k >= first else name


def _inputs(record):
    return [(p.serial, i) for p, i in zip(record.parents, record.indices, strict=True)
            if p is not None]


def place_of(record, slot):
    """(serial, output) of a saved input or output; None for an input off the tape."""
    if slot is None:
        return None
    kind, k = slot
    if kind == "out":
        return (record.serial, k) if k < len(record.shapes) else None
    parent = record.parents[k]
    return None if parent is None else (parent.serial, record.indices[k])


def slots(record):
    """((kind, position), name, tensor) of each save: an input's or output's place in the op.

    The place is None for some of a list of inputs, whose positions are not kept.
    """
    op, found = record.op, []
    outs = op.outputs + op.residuals
    for name, t in ({} if record.released else record.saved_tensors()).items():
        if isinstance(t, list):
            first = len(op.inputs) - 1
            whole = len(t) == len(record.parents) - first
            found += [(("in", first + k) if whole else None, f"{name}[{k}]", part)
                      for k, part in enumerate(t)]
        elif name in op.inputs:
            found.append((("in", op.inputs.index(name)), name, t))
        else:
            found.append((("out", outs.index(name)), name, t))
    return found


def _intact_saves(record):
    """((kind, position), tensor) of what a record saved and nobody changed since."""
    found = slots(record)
    versions = record.saved_versions() if found else ()
    return [(slot, t) for (slot, _, t), version in zip(found, versions, strict=True)
            if slot is not None and t.version == version]
