"""One reverse sweep, watched: what arrives at each record, what its rule answers, where it goes.

A real sweep of the engine's, asked for gradients that go nowhere (`core.gradients` with
retain_graph).  Invariant: steps come in the engine's order, one for each node that it visited, and
their numbers are the engine's.
"""

from dataclasses import dataclass, field

import numpy as np

from .. import core
from ..errors import ReleasedTapeError
from ..op import Deferred, registry
from .rules import described, expressions, with_numbers
from .trace import Value, flat_saves, input_label

__all__ = ["Contribution", "Step", "watch"]


@dataclass
class Contribution:
    """What one record adds to the gradient of one of its inputs.

    rule: the expression as text, "" where it is not understood; worked: with numbers, or "";
    raw: what the rule answered, where the engine summed it over broadcast axes, else None;
    added: True where an earlier contribution was there; total: the sum so far.
    storage, nbytes: of the array that the rule answered with.
    """
    label: str
    parent: object
    index: int
    rule: str
    worked: str
    raw: Value | None
    value: Value
    added: bool
    total: Value
    storage: int
    nbytes: int


@dataclass
class Step:
    """A node that the sweep left: its finished gradients (None where none came), its rule.

    rule: in words, where an expression is missing; saved: name -> Value; results in order of the
    inputs; storages: of the gradients, (storage id, bytes) or None; again: of what a checkpoint
    computed again for it, {storage id: (name, bytes)}.
    """
    node: object
    gradients: list
    storages: list
    again: dict = field(default_factory=dict)
    rule: str = ""
    saved: dict = field(default_factory=dict)
    results: list = field(default_factory=list)


def watch(trace, seed=None):
    """The Steps of a sweep from the root of `trace`, seeded with ones (or `seed`, a Tensor).

    Raises ReleasedTapeError where an earlier backward released what was saved. Gradient hooks run;
    a checkpoint runs again, and keeps what it computed as with retain_graph=True.
    """
    if trace.released:
        gone = next(r for r in trace.records if r.released)
        raise ReleasedTapeError(
            f"study: an earlier backward released what {gone.name} had saved (recorded at "
            f"{gone.line}); look before backward, pass retain_graph=True to it, or record under "
            'ad.Tape(keep="saves")')
    node, index = trace.root
    root = _handle(node, index)
    if seed is None:
        seed = registry["full"].call(node.shapes[index], 1.0, node.dtypes[index])
    notes = _Notes((node.serial, index), seed)
    note = notes.note                   # one object: listeners are told apart by identity
    core.listen_sweep(note)
    try:
        core.gradients([root], [_handle(n, 0) for n in trace.leaves], [seed], True, False, True)
    finally:
        core.unlisten_sweep(note)
    return notes.steps


def _handle(node, index):
    """A Tensor at a place of the tape; its bytes do not matter."""
    handle = core.empty(node.shapes[index], node.dtypes[index])
    handle._place(node, index)
    return handle


class _Notes:
    """Listens to a sweep and keeps a Step for each node."""

    def __init__(self, root, seed):
        self.steps = []
        self.sums = {root: np.array(seed.numpy())}

    def note(self, node, grads, results):
        step = Step(node, [None if g is None else Value(g.numpy()) for g in grads],
                    [None if g is None else (g.storage_id, g.storage_nbytes) for g in grads])
        self.steps.append(step)
        for k in range(len(node.shapes)):
            self.sums.pop((node.serial, k), None)
        if not node.is_leaf:
            self._record(step, node, results)

    def _record(self, step, record, results):
        rules = expressions(record.op, record.needs, len(record.parents))
        answers = _answers(record, results)
        wanted = [k for k, g in enumerate(answers)
                  if g is not None and record.parents[k] is not None]
        if any(rules[k] is None for k in wanted):
            step.rule = described(record.op)
        source = record
        while source.deferred is not None:
            source = source.deferred.twin(source)
        step.saved = {name: Value(t.numpy()) for name, t in flat_saves(source)}
        if source is not record:
            step.again = {t.storage_id: (name, t.storage_nbytes) for name, t in flat_saves(source)
                          if t.category == "temporary"}
        numbers = {name: v.number for name, v in step.saved.items()}
        if len(step.gradients) == 1 and step.gradients[0] is not None:
            numbers["g"] = step.gradients[0].number
        for k in wanted:
            step.results.append(self._contribution(record, k, rules[k], answers[k], numbers))

    def _contribution(self, record, k, rule, g, numbers):
        parent, index = record.parents[k], record.indices[k]
        where, shape = (parent.serial, index), parent.shapes[index]
        array = np.array(g.numpy())
        raw = None
        if array.shape != shape:
            raw, array = Value(array), _sum_to(array, shape)
        value = Value(array)
        worked = with_numbers(rule, numbers) if rule else ""
        added = where in self.sums
        self.sums[where] = self.sums[where] + array if added else array
        return Contribution(input_label(record, k), parent, index, rule or "",
                            "" if worked == value.text else worked, raw, value, added,
                            Value(self.sums[where]), g.storage_id, g.storage_nbytes)


def _answers(record, results):
    """The rule's answers as Tensors, one for each input."""
    several = results if isinstance(results, (tuple, list)) else [results]
    dense = [g.dense() if isinstance(g, Deferred) else g for g in several]
    return dense + [None] * (len(record.parents) - len(dense))


def _sum_to(g, shape):
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(k + extra for k, n in enumerate(shape)
                                       if n == 1 and g.shape[k + extra] != 1)
    return g.sum(axis=axes).reshape(shape)
