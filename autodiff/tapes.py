"""The tape as something to look at: what was recorded, in order, without holding it alive.

`with ad.Tape() as tape:` notes each record of this thread; `Tape.of(loss)` reads the records that
a tensor depends on.  Invariant: entries are plain data. Unless keep="saves" asks for it, a Tape
holds no record, no saved array and no tensor.
"""

import weakref
from dataclasses import dataclass, field

from . import core, text
from .errors import ArgumentError, GradientError

__all__ = ["Entry", "Tape", "keeps", "nodes"]

PREVIEW = 64        # elements up to which keep="values" copies an output

_keeping = weakref.WeakSet()        # the live tapes of keep="saves"


@dataclass(eq=False)
class Entry:
    """One record as plain data.

    parents: serial numbers, None for an input off the tape; saved: name -> bytes;
    previews: the outputs as text, values: copies of the small ones, None for others
    (keep="values"); record, saves: keep="saves" alone.
    """
    serial: int
    op: str
    formula: str
    parents: tuple
    leaves: frozenset
    shapes: tuple
    dtypes: tuple
    scope: str
    line: str
    saved: dict
    previews: tuple = None
    values: tuple = None
    record: object = field(default=None, repr=False)
    saves: dict = field(default=None, repr=False)

    @property
    def saved_nbytes(self):
        """Bytes saved by this record, arrays that others save too included."""
        return sum(self.saved.values())

    def parent_name(self, k):
        """`#12` for a record, `leaf#3`, `-` for an input off the tape."""
        serial = self.parents[k]
        if serial is None:
            return "-"
        return f"leaf#{serial}" if serial in self.leaves else f"#{serial}"


class Tape:
    """Notes what is recorded inside `with ad.Tape(keep=None) as tape:`.

    keep: None (names, shapes, lines alone), "values" (copies of small outputs, first elements and
    range of larger ones), "saves" (the records and what they saved; as long as this Tape lives, a
    backward through one of them releases nothing: it implies retain_graph).
    len, iteration, indexing, and a table when printed.
    """

    def __init__(self, keep=None):
        if keep not in (None, "values", "saves"):
            raise ArgumentError(f'Tape: keep must be None, "values" or "saves", got {keep!r}')
        self.keep, self.entries, self._listener = keep, [], None
        self._serials = set()           # of the records held by keep="saves"
        if keep == "saves":
            _keeping.add(self)

    @classmethod
    def of(cls, *tensors):
        """The records that `tensors` depend on, oldest first. GradientError without any."""
        tape = cls()
        for node in nodes(*tensors):
            if not node.is_leaf:
                tape._note(node, ())
        return tape

    def __enter__(self):
        if self._listener is not None:
            raise ArgumentError("Tape: this tape is running already")
        self._listener = self._note     # one object: listeners are told apart by identity
        core.listen_tape(self._listener)
        return self

    def __exit__(self, *exc):
        core.unlisten_tape(self._listener)
        self._listener = None

    def _note(self, record, outputs):
        parents = record.parents
        saves = {} if record.released else record.saved_tensors()
        entry = Entry(record.serial, record.name, record.op.formula,
                      tuple(None if p is None else p.serial for p in parents),
                      frozenset(p.serial for p in parents if p is not None and p.is_leaf),
                      record.shapes, record.dtypes, record.scope, record.line,
                      {name: _bytes_of(t) for name, t in saves.items()})
        if self.keep == "values":
            arrays = [t.numpy() for t in outputs]
            entry.previews = tuple(text.preview(a) for a in arrays)
            entry.values = tuple(a.copy() if a.size <= PREVIEW else None for a in arrays)
        elif self.keep == "saves":
            entry.record, entry.saves = record, saves
            self._serials.add(record.serial)
        self.entries.append(entry)

    def __len__(self):
        return len(self.entries)

    def __iter__(self):
        return iter(self.entries)

    def __getitem__(self, k):
        return self.entries[k]

    @property
    def saved_nbytes(self):
        """Bytes saved by the records, each counted where it is saved (see ad.memory for shares)."""
        return sum(e.saved_nbytes for e in self.entries)

    def __str__(self):
        head = ["record", "op", "inputs", "output", "saved", "scope", "line"]
        if self.keep == "values":
            head.insert(4, "value")
        rows = []
        for e in self.entries:
            outs = ", ".join(text.shape(s, d) for s, d in zip(e.shapes, e.dtypes, strict=True))
            saved = ", ".join(f"{n} {text.nbytes(b)}" for n, b in e.saved.items()) or "-"
            row = [f"#{e.serial}", e.op, " ".join(map(e.parent_name, range(len(e.parents)))),
                   outs, saved, e.scope or "-", e.line.rpartition("/")[2]]
            if self.keep == "values":
                row.insert(4, ", ".join(e.previews))
            rows.append(row)
        return text.columns(head, rows, left=len(head))

    def __repr__(self):
        return f"<Tape of {len(self)} records, {text.nbytes(self.saved_nbytes)} saved>"


def keeps(outputs):
    """True where a live Tape(keep="saves") holds a record behind `outputs`."""
    if not _keeping:
        return False
    mine = {n.serial for n in nodes(*(t for t in outputs if t.node is not None))}
    return any(not mine.isdisjoint(tape._serials) for tape in _keeping)


def _bytes_of(saved):
    return sum(t.nbytes for t in saved) if isinstance(saved, list) else saved.nbytes


def nodes(*tensors):
    """Every record and leaf that `tensors` depend on, oldest first.

    Raises GradientError for a tensor that is not on the tape.
    """
    stack = []
    for k, t in enumerate(tensors):
        node = t.node if isinstance(t, core.Tensor) else t
        if not (node is None or isinstance(node, (core.Leaf, core.Record))):
            raise ArgumentError(f"tape: expected Tensors, got {type(t).__name__} at place {k}")
        if node is None:
            raise GradientError(f"tape: tensor {k} is not on the tape: it does not require a "
                                "gradient")
        stack.append(node)
    seen = {}
    while stack:
        node = stack.pop()
        if node.serial not in seen:
            seen[node.serial] = node
            stack.extend(p for p in node.parents if p is not None)
    return [seen[serial] for serial in sorted(seen)]
