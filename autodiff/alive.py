"""Why arrays are alive: who made each, who holds it, and what lets it go.

Tensors are found through Python's garbage collector, records through the tensors, since nothing
else holds records.  Invariant: a report is plain data and keeps nothing alive; bytes that no
tensor shows (a NumPy array that outlives its tensor) are named as a remainder.
"""

import gc
import sys
import textwrap
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from . import core, text
from .tapes import nodes
from .timeline import CATEGORIES, running

__all__ = ["Alive", "LiveArray", "LiveTape", "why_alive"]

OWNED = ("parameter", "buffer", "optimizer state")


@dataclass
class LiveArray:
    """One storage that is alive.

    category: that its bytes count as; op, scope, line: of the launch that made it, "" where
    unknown; holders: in words, all that are known; freed: in words, what lets it go; freed_at: the
    serial number of the record with which backward does, None where it does not; shared: the bytes
    are another's (`from_numpy`), and the ledger does not count them.
    """
    storage_id: int
    nbytes: int
    shape: tuple
    dtype: object
    category: str
    op: str = ""
    scope: str = ""
    line: str = ""
    holders: list = field(default_factory=list)
    freed: str = ""
    freed_at: int = None
    shared: bool = False


@dataclass
class LiveTape:
    """Results of one line that keep their tapes alive: a loss in a list is the classic leak.

    count: tensors; records: that hang on them; nbytes: which these keep alive, and nobody else
    does; holder: in words, who holds the tensors.
    """
    op: str
    scope: str
    line: str
    count: int
    records: int
    nbytes: int
    holder: str

    def __str__(self):
        many = f"{self.count} results" if self.count > 1 else "a result"
        where = f" in {self.scope}" if self.scope else ""
        return (f"a tape of {self.records} record{'s' * (self.records > 1)} with "
                f"{text.nbytes(self.nbytes)} hangs on {many} of {self.op}{where} "
                f"({_file(self.line)}), held by {self.holder}")


class Alive(list):
    """The live arrays, the largest first, and `tapes`: what hangs on which results.

    live_bytes: by the ledger, unseen_bytes: of these, what no tensor shows. Prints as a table.
    """

    def __init__(self, arrays, tapes, live_bytes, unseen_bytes):
        super().__init__(sorted(arrays, key=lambda a: -a.nbytes))
        self.tapes = sorted(tapes, key=lambda t: -t.nbytes)
        self.live_bytes, self.unseen_bytes = live_bytes, unseen_bytes

    @property
    def by_category(self):
        """Bytes of the arrays by what they count as."""
        found = dict.fromkeys(CATEGORIES, 0)
        for a in self:
            found[a.category] += 0 if a.shared else a.nbytes
        return found

    def table(self, most=12):
        """As text, at most so many arrays of a category; 100 columns."""
        lines = []
        for category, total in self.by_category.items():
            arrays = [a for a in self if a.category == category]
            if arrays:
                lines.append(f"{category}: {text.nbytes(total)} in {len(arrays)} arrays")
                lines.append(_rows(arrays[:most]))
                lines += [f"  and {len(arrays) - most} more"] * (len(arrays) > most)
        said = [str(t) for t in self.tapes]
        if self.unseen_bytes:
            said.append(f"{text.nbytes(self.unseen_bytes)} of {text.nbytes(self.live_bytes)} are "
                        "held by no tensor: by NumPy arrays over tensors, or a launch under way")
        return "\n".join(lines + [textwrap.fill(s, 100, subsequent_indent="  ") for s in said])

    __str__ = __repr__ = table


def why_alive(*tensors, names=None, model=None, timeline=None):
    """Each live array with its maker, its holders and what frees it, as an `Alive`.

    tensors: look only at what their tapes hold (a loss, say); none: at everything alive. names:
    {"w": w}, else the caller's variables name tensors; model: whatever has named_parameters().
    timeline: knows the operation that made an array off the tape, where none is running.
    "freed" says `#12` where backward frees the array as it leaves record 12, the last of those
    that save it. Takes a walk through all objects of the process: milliseconds, not microseconds.
    Raises GradientError for a tensor off the tape.
    """
    from .study.names import caller_variables, named_tensors
    found = _Found(named_tensors("why_alive", names, model, caller_variables()),
                   nodes(*tensors) if tensors else None)
    origins = {}
    for t in [timeline] if timeline is not None else running():
        for m in t.events:
            for storage in m.made:
                origins.setdefault(storage, m)
    arrays = [found.array(storage, origins.get(storage)) for storage in found.storages]
    live = core.memory_stats()["live_bytes"]
    seen = sum(a.nbytes for a in arrays if not a.shared)
    return Alive(arrays, found.tapes(), live, 0 if tensors else live - seen)


class _Found:
    """Everything alive, by storage."""

    def __init__(self, named, only):
        self.tensors = _all_tensors()
        self.names = defaultdict(list)          # by tensor, and by leaf
        for name, t in named:
            self.names[id(t)].append(name)
            if t.node is not None and t.node.is_leaf:
                self.names[id(t.node)].append(name)
        self.tape = nodes(*(t for t in self.tensors if t.node is not None))
        self.only = None if only is None else set(only)
        self._read_tape()
        self._find_users()
        self.storages = defaultdict(list)       # storage_id -> its tensors
        for t in self.tensors:
            self.storages[t.storage_id].append(t)
        if only is not None:
            wanted = {s for s, savers in self.saved.items()
                      if any(r in self.only or self.ends.get(r) in self.only for r, _ in savers)}
            wanted.update(s for s, leaf in self.gradients.items() if leaf in self.only)
            wanted.update(t.storage_id for t in self.tensors if t.node in self.only)
            self.storages = {k: v for k, v in self.storages.items() if k in wanted}

    def _read_tape(self):
        """Who saves what, and how often the engine itself refers to a tensor."""
        self.saved = defaultdict(list)          # storage_id -> [(record, name)]
        self.makers = {}                        # storage_id -> the oldest record that gave it
        self.gradients = {}                     # storage_id -> leaf
        self.engine = Counter()                 # references by id of tensor
        self.ends = {}                          # the arguments of a checkpoint -> its first record
        for node in self.tape:
            if node.is_leaf:
                if node.grad is not None:
                    self.gradients[node.grad.storage_id] = node
                    self.engine[id(node.grad)] += 1
                continue
            entry = getattr(node.deferred, "entry", None)
            if entry is not None and entry not in self.ends:
                self.ends[entry] = node
                self._read_saves(entry)
            self._read_saves(node)
            for t in (node.retained or {}).values():
                self.engine[id(t)] += 1
        for t in self.tensors:
            if t.node is not None and not t.node.is_leaf:
                self._made(t.storage_id, t.node)

    def _read_saves(self, record):
        for name, t in ({} if record.released else record.saved_tensors()).items():
            several = isinstance(t, list)
            for k, one in enumerate(t if several else [t]):
                label = f"{name}[{k}]" if several else name
                self.saved[one.storage_id].append((record, label))
                self.engine[id(one)] += 1
                at = record.op.inputs.index(name) + k if name in record.op.inputs else None
                self._made(one.storage_id, record if at is None else record.parents[at])

    def _made(self, storage, node):
        while node is not None and not node.is_leaf and node.op.alias:
            node = node.parents[0]              # a view: its bytes are older
        if node is not None and not node.is_leaf:
            old = self.makers.setdefault(storage, node)
            if node.serial < old.serial:
                self.makers[storage] = node

    def _find_users(self):
        """Tensors that somebody holds besides the engine: {id: in words}."""
        # Held by as many here as each of the others: by one variable or list, and the one below.
        probe = core.make(0.0, None, "temporary")
        counts = [sys.getrefcount(t) for t in [probe, *self.tensors]]
        del probe
        self.users = {}
        for t, count in zip(self.tensors, counts[1:], strict=True):
            if count - counts[0] > self.engine[id(t)]:
                self.users[id(t)] = ", ".join(self.names.get(id(t), ()))
        nameless = [t for t in self.tensors if self.users.get(id(t)) == ""]
        for t, words in _containers(nameless, (self.tensors, self.__dict__)).items():
            self.users[t] = words

    def array(self, storage, moment):
        """The report of one storage."""
        first = min(self.storages[storage], key=lambda t: -t.nbytes)
        savers, gradient = self.saved.get(storage, []), self.gradients.get(storage)
        category = "saved" if savers and first.category == "temporary" else first.category
        a = LiveArray(storage, first.storage_nbytes, first.shape, first.dtype, category,
                      shared=first.is_shared)
        maker = self.makers.get(storage)
        if maker is not None:
            a.op, a.scope, a.line = maker.name, maker.scope, maker.line
        elif moment is not None:
            a.op, a.scope, a.line = moment.op, moment.scope, moment.line
        if gradient is not None:
            a.holders.append(f"gradient of {self.name_of(gradient)}")
        users = [self.users[id(t)] for t in self.storages[storage] if id(t) in self.users]
        a.holders += [w or "the user" for w in dict.fromkeys(users)]
        a.holders += [f"saved by #{r.serial} {r.name}.{name}" for r, name in savers]
        if gradient is not None:
            a.freed = "zero_grad"
        elif category in OWNED:
            a.freed = "with its owner"
        elif users or not savers:
            a.freed = "by its holder"
        else:
            last = min((self.ends.get(r, r) for r, _ in savers), key=lambda r: r.serial)
            a.freed_at, a.freed = last.serial, f"backward, as it leaves #{last.serial} {last.name}"
        return a

    def _goes(self, storage):
        """True for what nothing but the tape keeps alive."""
        tensors = self.storages[storage]
        return (tensors[0].category == "temporary"
                and not any(id(t) in self.users for t in tensors))

    def name_of(self, leaf):
        return ", ".join(self.names.get(id(leaf), ())) or f"leaf #{leaf.serial}"

    def tapes(self):
        """The tapes that hang on results which somebody holds."""
        older = {p.serial for node in self.tape for p in node.parents if p is not None}
        groups = defaultdict(list)
        for t in self.tensors:
            if (id(t) in self.users and t.node is not None and not t.node.is_leaf
                    and t.node.serial not in older
                    and (self.only is None or t.node in self.only)):
                node = t.node
                groups[node.name, node.scope, node.line, self.users[id(t)]].append(t)
        for (op, scope, line, holder), results in groups.items():
            records = {n for n in nodes(*results) if not n.is_leaf}
            nbytes = sum(self.storages[s][0].storage_nbytes for s, savers in self.saved.items()
                         if s in self.storages and self._goes(s)
                         and any(r in records or self.ends.get(r) in records for r, _ in savers))
            yield LiveTape(op, scope, line, len(results), len(records), nbytes,
                           holder or "the user")


def _rows(arrays):
    """A table; who holds an array has the room that the rest leaves."""
    head = ["bytes", "array", "made by", "line", "held by", "freed"]
    rows = [[text.nbytes(a.nbytes), _cut(text.shape(a.shape, a.dtype), 20),
             _cut(f"{a.op or '-'}{a.scope and ' in '}{a.scope}", 20),
             _cut(_file(a.line) or "-", 18), _list(a.holders),
             f"backward #{a.freed_at}" if a.freed_at else a.freed] for a in arrays]
    room = 98 - sum(max(len(r[k]) for r in [head, *rows]) + 2 for k in (0, 1, 2, 3, 5))
    for r in rows:
        r[4] = _cut(r[4], max(room, 12))
    return text.columns(head, rows, left=6, indent="  ")


def _list(holders):
    """`h; saved by #3 tanh.out, #4 linear.x`."""
    saved = [h for h in holders if h.startswith("saved by ")]
    words = [h for h in holders if h not in saved]
    if saved:
        words.append("saved by " + ", ".join(h.removeprefix("saved by ") for h in saved))
    return "; ".join(words)


def _all_tensors():
    """Every Tensor of the process."""
    return [x for x in gc.get_objects() if type(x) is core.Tensor]


def _containers(tensors, ours):
    """{id of a tensor: who refers to it, in words}."""
    found, wanted = {}, {id(t) for t in tensors}
    for holder in gc.get_referrers(*tensors) if tensors else ():
        if any(holder is x for x in (tensors, *ours)):
            continue
        if isinstance(holder, dict):
            for key, value in holder.items():
                if id(value) in wanted:
                    found.setdefault(id(value), f"key {key!r} of a dict")
        elif isinstance(holder, (list, tuple, set, frozenset)):
            words = f"a {type(holder).__name__} of {len(holder)}"
            found.update((id(x), words) for x in holder if id(x) in wanted and id(x) not in found)
        elif type(holder).__name__ not in ("frame", "list_iterator"):
            inside = {id(x) for x in gc.get_referents(holder)}
            for t in wanted & inside:
                found.setdefault(t, f"a {type(holder).__name__}")
    return found


def _file(line):
    return line.rpartition("/")[2]


def _cut(words, most):
    return words if len(words) <= most else words[:most - 3] + "..."
