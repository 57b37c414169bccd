"""Which arrays live when: one training step of a tape, and inference over the same records.

Follows the engine's rules of ownership: an output is freed after its last use unless a record
saved it; saves go as the sweep leaves their record; a first gradient is borrowed, later ones are
added in place where nobody else has it.  Invariant: bytes are those of real storages and shapes;
what the tape does not know (scratch of kernels, variables that hold on to arrays, the inputs that
a schedule of checkpoints keeps for its blocks) is left out.
"""

from dataclasses import dataclass, field
from math import prod

import numpy as np

from .trace import place_of, slots

__all__ = ["Array", "Lifetimes"]

TRANSIENT = ("temporary", "gradient")       # categories of arrays that come and go in a step


@dataclass(eq=False)
class Array:
    """An array and the steps, first and last, at which it is there.

    kind: "output" or "gradient"; node, name: whose; saved_from: the step from which a record keeps
    it for backward, None if none does; inference: the last step in inference, None if not made.
    """
    kind: str
    node: object
    name: str
    nbytes: int
    born: int
    last: int = 0
    saved_from: int | None = None
    inference: int | None = None
    savers: list = field(default_factory=list)
    holders: int = 0        # pending gradients that share it


class Lifetimes:
    """The arrays of a Trace and the Steps of its sweep, on one axis of steps.

    Step 0 is the start, 1 ... n the records in order, n + 1 the seed, the rest the nodes that the
    sweep visits. base_bytes: of parameters and inputs, there all the time; `training` (by kind) and
    `inference`: bytes alive at each step, with what appears and what is freed after it.
    """

    def __init__(self, trace, steps):
        self.trace, self.arrays = trace, []
        self.turn = len(trace.records) + 1
        self.last = self.turn + len(steps)
        self._when = {r.serial: k for k, r in enumerate(trace.records, 1)}
        self._left = {s.node.serial: self.turn + 1 + k for k, s in enumerate(steps)}
        self._entries = set()                   # of checkpoints: records that keep the arguments
        self._of = {}                           # (serial, output) -> Array, None for the base's
        self._base = {}                         # storage id -> bytes
        for leaf in trace.leaves:
            self._of[leaf.serial, 0] = None
            self._base["leaf", leaf.serial] = _nbytes(leaf, 0)
        self._forward()
        self._backward(steps)
        self.base_bytes = sum(self._base.values())
        self.training = {kind: [0] * (self.last + 1) for kind in ("saved", "output", "gradient")}
        self.inference = [0] * self.turn
        self._count()

    def _new(self, kind, node, name, nbytes, step):
        array = Array(kind, node, name, int(nbytes), step, step)
        self.arrays.append(array)
        return array

    # Forward ------------------------------------------------------------------------------

    def _forward(self):
        for record in self.trace.records:
            step = self._when[record.serial]
            self._outputs(record, step)
            self._saves(record, step)
            for parent, index in zip(record.parents, record.indices, strict=True):
                array = self._of.get((parent.serial, index)) if parent is not None else None
                if array is not None:
                    array.last = step
                    array.inference = step
        root = self._of.get((self.trace.root[0].serial, self.trace.root[1]))
        for array in self.arrays:
            if array.savers:
                array.last = max(self._left.get(s.serial, self.last) for s in array.savers)
        if root is not None:
            root.last, root.inference = self.last, self.turn - 1

    def _outputs(self, record, step):
        block = record.op
        source = 0 if block.alias else block.inputs.index(block.into) if block.into else None
        for k in range(len(record.shapes)):
            if source is not None and record.parents[source] is not None:
                parent = record.parents[source].serial, record.indices[source]
                self._of[record.serial, k] = self._of.get(parent)
                continue
            name = self.trace.name(record, k)
            array = self._new("output", record, name, _nbytes(record, k), step)
            array.inference = step
            self._of[record.serial, k] = array

    def _saves(self, record, step):
        held = [(record, *save) for save in slots(record)]
        entry = getattr(record.deferred, "entry", None)
        if entry is not None and entry.serial not in self._entries:
            # The first record of a checkpoint is the last that backward visits: it stands for
            # the arguments, which go with it.
            self._entries.add(entry.serial)
            held += [(entry, *save) for save in slots(entry)]
        for holder, slot, label, t in held:
            where = place_of(holder, slot)
            if where is not None and where in self._of:
                array = self._of[where]
            elif t.category not in TRANSIENT or t.storage_id in self.trace.constants:
                self._base.setdefault(t.storage_id, t.storage_nbytes)
                array = None
            else:
                array = self._of.get(t.storage_id)
                if array is None:
                    array = self._new("output", record, f"{self.trace.name(record)}.{label}",
                                      t.storage_nbytes, step)
                    array.inference = step if slot and slot[0] == "in" else None
                    self._of[t.storage_id] = array
            if array is not None:
                array.savers.append(record)
                if array.saved_from is None:
                    array.saved_from = step

    # Backward -----------------------------------------------------------------------------

    def _backward(self, steps):
        node, index = self.trace.root
        pending = {(node.serial, index): self._gradient(node, index, self.turn)}
        again = {}                              # checkpoint -> {storage id: Array}
        for k, step in enumerate(steps, self.turn + 1):
            node = step.node
            if step.again:
                self._again(step, again.setdefault(id(node.deferred), (k, {})), k)
            mine = [pending.pop((node.serial, j), None) for j in range(len(node.shapes))]
            if node.is_leaf:
                self._finish(node, mine[0], k)
                continue
            here = {step.storages[j][0]: a for j, a in enumerate(mine)
                    if a is not None and step.storages[j] is not None}
            for c in step.results:
                self._contribute(c, here, pending, k)
            for array in mine:
                if array is not None:
                    self._let_go(array, k)

    def _again(self, step, segment, k):
        """What a checkpoint computed again: there from its first step to the last that needs it."""
        first, arrays = segment
        for storage, (name, nbytes) in step.again.items():
            if storage not in arrays:
                label = f"{self.trace.name(step.node)}.{name}, again"
                arrays[storage] = self._new("output", step.node, label, nbytes, first)
                arrays[storage].saved_from = first
            arrays[storage].last = k

    def _gradient(self, node, index, step, nbytes=None):
        name = f"gradient of {self.trace.name(node, index)}"
        array = self._new("gradient", node, name,
                          _nbytes(node, index) if nbytes is None else nbytes, step)
        array.holders = 1
        return array

    def _contribute(self, c, here, pending, step):
        where = c.parent.serial, c.index
        array = None if c.raw is not None else here.get(c.storage)
        if array is not None:
            array.holders += 1
            array.name += f", {self.trace.name(c.parent, c.index)}"
        else:
            whole = c.raw is not None
            array = self._gradient(c.parent, c.index, step, None if whole else c.nbytes)
            if not whole:
                here[c.storage] = array
        old = pending.get(where)
        if old is None:
            pending[where] = array
            return
        self._let_go(array, step)
        if old.holders > 1:                     # borrowed by others: the sum is an array of its own
            self._let_go(old, step)
            pending[where] = self._gradient(c.parent, c.index, step)

    def _finish(self, leaf, array, step):
        """The gradient becomes `.grad`; a copy, where something else shares its bytes."""
        if array.holders > 1 or array.nbytes != _nbytes(leaf, 0):
            self._let_go(array, step)
            array = self._gradient(leaf, 0, step)
        array.last = self.last

    @staticmethod
    def _let_go(array, step):
        array.holders -= 1
        array.last = max(array.last, step)

    # Bytes at each step -------------------------------------------------------------------

    def _count(self):
        for array in self.arrays:
            if array.kind == "gradient":
                self._add(self.training["gradient"], array.nbytes, array.born, array.last)
                continue
            since = array.last + 1 if array.saved_from is None else array.saved_from
            self._add(self.training["output"], array.nbytes, array.born, since - 1)
            self._add(self.training["saved"], array.nbytes, since, array.last)
            if array.inference is not None:
                self._add(self.inference, array.nbytes, array.born, array.inference)
        for series in (*self.training.values(), self.inference):
            total = 0
            for k, change in enumerate(series):
                total += change
                series[k] = total

    @staticmethod
    def _add(series, nbytes, first, last):
        """Note where a run of steps starts and ends; `_count` adds the changes up."""
        if last >= first:
            series[first] += nbytes
            if last + 1 < len(series):
                series[last + 1] -= nbytes

    @property
    def training_bytes(self):
        """All kinds together at each step, without the base."""
        return [sum(kinds) for kinds in zip(*self.training.values(), strict=True)]


def _nbytes(node, k):
    return prod(node.shapes[k]) * np.dtype(node.dtypes[k]).itemsize
