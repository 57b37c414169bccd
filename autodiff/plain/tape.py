"""The tape of the plain core: a Record for each operation, a Leaf for each tensor to differentiate.

Invariant: serial numbers grow, and a record's parents are older than itself, so descending serial
order is a topological order.  A record never refers to its own output: there are no cycles.
"""

import itertools
import threading

from .. import call, caller
from ..errors import ReleasedTapeError, SavedTensorChangedError
from .modes import modes

_serials = itertools.count(1)


class Node:
    """What a tensor that needs a gradient hangs on: a Leaf or a Record."""

    def __init__(self):
        self.serial = next(_serials)
        self.hooks = None           # {output index: [function, ...]}

    def __lt__(self, other):
        return self.serial < other.serial

    def add_hook(self, index, hook):
        self.hooks = self.hooks or {}
        self.hooks.setdefault(index, []).append(hook)
        return lambda: self.hooks[index].remove(hook)


class Leaf(Node):
    """The end of the tape: a tensor whose gradient was asked for. Holds `.grad`."""

    def __init__(self, shape, dtype):
        super().__init__()
        self.shapes, self.dtypes = (shape,), (dtype,)
        self.grad = None
        self.lock = threading.Lock()
        self.after = []             # hooks after accumulation

    is_leaf = True
    name = "leaf"
    parents = ()


class Record(Node):
    """One operation that ran: what it needs for its derivative, and nothing else."""

    is_leaf = False

    def __init__(self, op, inputs, attrs, needs, shapes, dtypes):
        super().__init__()
        self.op, self.attrs, self.needs = op, attrs, needs
        self.parents = tuple(None if x is None else x.node for x in inputs)
        self.indices = tuple(0 if x is None else x.index for x in inputs)
        self.input_shapes = tuple(None if x is None else x.shape for x in inputs)
        self.input_dtypes = tuple(None if x is None else x.dtype for x in inputs)
        self.shapes, self.dtypes = shapes, dtypes
        self.scope = modes.scope
        self.code, self.instruction = caller.current()
        self.saved = {}             # (kind, position) -> (tensor without node, version)
        self.retained = None        # {output index: gradient} where retain_grad() asked
        self.released = False
        self.deferred = None        # whoever computes the saves again (checkpoint)
        self.duals = None           # {key: Dual}: tangents of what is saved, in forward mode

    def note_duals(self, inputs, outputs):
        """Remember the tangents of inputs and outputs, for a sweep inside a jvp."""
        self.duals = self.duals or {}
        for kind, tensors in (("in", inputs), ("out", outputs)):
            for k, t in enumerate(tensors):
                if t is not None and t.dual is not None:
                    self.duals[kind, k] = t.dual

    @property
    def name(self):
        return self.op.name

    @property
    def line(self):
        return caller.resolve(self.code, self.instruction)

    def save(self, inputs, outputs):
        """Keep what the block declares for the gradients in `needs`."""
        names = set(call.saved_names(self.op, self.needs))
        for k, x in enumerate(inputs):
            if x is not None and call.input_name(self.op, k) in names:
                self._keep(("in", k), x)
        for k, (name, y) in enumerate(zip(self.op.outputs + self.op.residuals, outputs)):
            if name in names:
                self._keep(("out", k), y)

    def _keep(self, key, tensor):
        self.saved[key] = (tensor.bare(), tensor.storage.version)
        tensor.storage.keep(1)

    def saved_tensors(self):
        """What is kept for backward: name -> Tensor (a list for a variadic input)."""
        if self.released:
            raise ReleasedTapeError(f"{self.name}: what it saved was released by backward")
        found = {}
        for (kind, k), (tensor, _) in self.saved.items():
            name = self._name_of(kind, k)
            if self.op.variadic and name == self.op.inputs[-1]:
                found.setdefault(name, []).append(tensor)
            else:
                found[name] = tensor
        return found

    @property
    def saved_nbytes(self):
        """Bytes of the saved arrays, each counted where it is saved."""
        return sum(tensor.nbytes for tensor, _ in self.saved.values())

    def saved_versions(self):
        """How often each saved array had been written to when it was saved."""
        return tuple(version for _, version in self.saved.values())

    def defer(self, source):
        """Let the saves go; source.twin(record) gives a record that has them, when needed."""
        self._drop()
        self.deferred = source

    def release(self):
        """Let go of everything saved; a later backward through this record errors."""
        self._drop()
        if self.deferred is not None:
            self.deferred.forget(self)
            self.deferred = None
        self.released = True

    def _drop(self):
        for tensor, _ in self.saved.values():
            tensor.storage.keep(-1)
        self.saved = {}

    def __del__(self):
        if self.saved:
            self._drop()

    def _name_of(self, kind, k):
        if kind == "in":
            return call.input_name(self.op, k)
        return (self.op.outputs + self.op.residuals)[k]

    def unpack(self, connect):
        """Saved tensors by name; with `connect`, on the tape again (for create_graph)."""
        if self.released:
            raise ReleasedTapeError(
                f"{self.name}: backward ran through this record already and released what it "
                f"saved; pass retain_graph=True to the first backward (recorded at {self.line})")
        flat = [None] * len(self.parents)
        outs = [None] * len(self.op.outputs + self.op.residuals)
        source = self
        while source.deferred is not None:
            source = source.deferred.twin(source)
        for (kind, k), (tensor, version) in source.saved.items():
            if tensor.storage.version != version:
                raise SavedTensorChangedError(
                    f"{self.name}: its {self._name_of(kind, k)}, of shape {tensor.shape}, was "
                    f"saved for backward at {self.line}{self.where()} and has been changed in "
                    "place since; write to a copy, or run backward before the write")
            node, index = (self.parents[k], self.indices[k]) if kind == "in" else (self, k)
            if kind == "out" and k >= len(self.op.outputs):
                node = None         # residuals are never differentiable
            fresh = tensor.bare()
            if connect:
                fresh.node, fresh.index = node, index
            fresh.dual = (self.duals or {}).get((kind, k))
            (flat if kind == "in" else outs)[k] = fresh
        return flat, outs

    def where(self):
        return f" in {self.scope}" if self.scope else ""
