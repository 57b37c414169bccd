"""`ad.capture`: a function of tensors traced once, then run again without Python.

The trace is a dry run (nothing is computed, every launch is heard); planner.py drops what nobody
needs, lets chains of elementwise operations run in one pass and lays out one workspace; replay.pyx
runs the result.  Invariant: a call computes what the function itself would, bit for bit, or raises.
"""

import functools
import gc
import threading

import numpy as np

from . import core, planner, text
from .core import Tensor
from .dry import outside
from .errors import CaptureError, DryRunError
from .making import from_numpy
from .threads import get_num_threads

__all__ = ["capture", "each_call", "stale"]

MOST = 16               # programs that a capture keeps: of the argument shapes used last
_here = threading.local()
_one_at_a_time = threading.Lock()


def each_call(function):
    """Where a capture is being traced, run `function()` now and before each of its calls.

    For what the function reads from Python's numbers: an optimizer brings its learning-rate
    tensors up to date.
    """
    if core.traces():
        with outside():
            function()
        _here.trace.before.append(function)


if core.name == "plain":
    def stale():
        """Nothing is kept that could become stale."""

    class Captured:
        """The plain core has no launches to repeat: each call is the function's own."""

        def __init__(self, function):
            self.function, self.last = function, None

        def __call__(self, *args, **kwargs):
            return self.function(*args, **kwargs)
else:
    from . import replay
    from .replay import Captured, stale
    from .storage import values_read


class capture(Captured):
    """`step = ad.capture(function)`: a callable that repeats what the function computes.

    The first call with arguments of some shapes and dtypes runs the function as it is, the second
    traces it in a dry run, and later ones run the trace, without Python: one workspace instead of
    an array for each result, chains of elementwise operations in one pass, results that nobody
    reads not computed. Also a decorator. Values are those of the function, bit for bit.

        @ad.capture
        def step(x, y):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

    Arguments and results: tensors (arguments also ndarrays), in nested tuples, lists and dicts;
    anything else must be hashable, and a new value is a new trace. Results are off the tape.
    A gradient that the function computes is in `.grad`; the next call overwrites its array.
    Tensors used from outside (parameters, the state of optimizers and of random generators) are
    read and written where they are; a name bound to another tensor later goes unnoticed: batches
    are arguments. All else that Python does happens in the trace alone: printing,
    counting, steps of a learning-rate schedule (`group["lr"]` itself is read at each call).
    `model.train()`, `model.eval()` and new parameters of a module lead to a new trace. While
    somebody listens (`ad.profile`, `ad.memory.timeline`, `ad.Tape`) or inside `ad.jvp`, calls run
    the function itself. On the plain core all do.

    Raises CaptureError where the function asks for values (`item`, `if t:`, `numpy`), keeps a
    tensor somewhere, writes to memory that it gets twice, or gets an argument that is on the tape.
    str(step) tells what was planned.
    """

    def __init__(self, function):
        if not callable(function):
            raise CaptureError(f"capture: expected a function, got {type(function).__name__}")
        super().__init__(function)
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = function.__doc__
        self.programs, self._seen, self._epoch = {}, set(), 0

    def __get__(self, instance, owner=None):
        raise CaptureError(f"capture: {self.__name__} is a method; capture a function or a bound "
                           "method, `step = ad.capture(self.step)`")

    def _long_way(self, args, kwargs):
        if replay.watched():
            return self.function(*args, **kwargs)
        tensors = []
        form = _form((args, kwargs), tensors, self.__name__)
        if self._epoch != replay.current_epoch():
            self.programs.clear()
            self._seen.clear()
            self._epoch, self.last = replay.current_epoch(), None
        key = (form, core.is_grad_enabled(), get_num_threads(),
               tuple((t.shape, t.strides, t.dtype, t.storage_id if t.requires_grad else 0)
                     for t in tensors))
        found, report = self.programs.get(key, (None, ""))
        if found is None or not found.holds(tensors):
            if key not in self._seen:
                self._seen.add(key)
                return self.function(*args, **kwargs)
            self.programs.pop(key, None)
            self.programs[key] = _Trace(self.function, self.__name__).take(form, tensors)
            found, report = self.programs[key]
            if len(self.programs) > MOST:
                del self.programs[next(iter(self.programs))]
        if form == (tuple, (tuple, *[Tensor] * len(tensors)), (dict, ())):
            self.last = found                   # for the shortest way (replay.pyx)
        return found.run(tensors)

    def __str__(self):
        name = f"capture of {self.__name__}"
        return "\n".join([name, *(report for _, report in self.programs.values())] if self.programs
                         else [f"{name}: nothing traced yet"])

    __repr__ = __str__


class _Trace:
    """One trace of a function: what it launched, and what became of its tensors."""

    def __init__(self, function, name):
        self.function, self.name, self.before = function, name, []
        self.heard = []         # (block, launch, buffers, number of outputs, scratch, phase)
        self.real = {}          # number -> storage, of those from outside
        self.sizes = {}         # number -> bytes, of those that launches wrote

    def take(self, form, tensors):
        """(Replay, report) of a call with arguments of this form."""
        self.given = [t.storage_id for t in tensors if not t.requires_grad]
        if not all(t.is_leaf for t in tensors):
            raise CaptureError(f"capture: an argument of {self.name} is on the tape; make it "
                               "inside, or pass its detach()")
        with _one_at_a_time:
            leaves = [(t, t.grad) for t in _tensors() if t.is_leaf and t.requires_grad]
            try:
                return self._take(form, tensors, leaves)
            except BaseException:
                for t, was in leaves:           # gradients of the trace have no values
                    if t.grad is not was:
                        t.grad = was
                raise

    def _take(self, form, tensors, leaves):
        results, tensors, form = self._run(form, tensors, leaves)
        gradients = {t.grad.storage_id for t, was in leaves if t.grad is not was
                     and t.grad is not None}
        alive = self._alive(gradients.union(t.storage_id for t in [*tensors, *results]))
        kept = [t for t in alive if t.storage_id in gradients]
        replay.make_real(kept)
        self.real.update((t.storage_id, replay.storage_of(t)) for t in kept)
        return self._program(tensors, leaves, results, form)

    def _run(self, form, tensors, leaves):
        """Run the function dry; the tensors that it returned, off the tape, what stood for its
        arguments, and the form of what it returned."""
        _here.trace, results = self, []
        values_read.clear()
        core.dry_runs(1)
        core.traces(1)
        core.listen(self._note)
        try:
            tensors = [t if t.requires_grad else replay.stand_in(t) for t in tensors]
            args, kwargs = _built(form, iter(tensors))
            form = _form(self.function(*args, **kwargs), results, self.name)
            del args, kwargs
            results = [t.detach() for t in results]
            self._keep_in_place(leaves)
        except DryRunError as error:
            raise CaptureError(f"capture: {self.name} cannot be traced: {error}. What needs values "
                               "may follow the call, on the tensors that it returns") from error
        finally:
            core.unlisten(self._note)
            core.traces(-1)
            core.dry_runs(-1)
            _here.trace = None
        return results, tensors, form

    def _note(self, event):
        if core.traces():                   # else a launch of another thread
            views, nout, work = replay.describe(event.launch, self.real)
            self.heard.append((event.op, event.launch, views, nout, work, event.phase))
            self.sizes.update((t.storage_id, t.storage_nbytes)
                              for t in event.outputs if t is not None)

    def _keep_in_place(self, leaves):
        """Where the old gradient was used and a new one made, move this to the old one's bytes:
        the next call will find it there."""
        used = {v[0] for _, _, views, *_ in self.heard for v in views if v is not None}
        for t, was in leaves:
            if was is not None and t.grad is not None and t.grad is not was and (
                    was.storage_id in used and not was.requires_grad):
                with core.no_grad():
                    was.copy_(t.grad)
                t.grad = was

    def _alive(self, known):
        """The tensors of the trace that are alive; CaptureError where one is not `known`."""
        for again in (False, True):
            alive = [t for t in _tensors() if t.is_dry and t.storage_id in self.sizes]
            left = [t for t in alive if t.storage_id not in known]
            if not left:
                return alive
            if not again:
                gc.collect()                # it may only wait in a cycle of garbage
        t = left[0]
        raise CaptureError(
            f"capture: {self.name} keeps a {t.dtype} tensor of shape {t.shape} ({t.category}) that "
            "it made, which later calls would not renew; return it, or write to a tensor made "
            "outside (copy_, fill_, t[...] = x)")

    def _program(self, tensors, leaves, results, form):
        slots, number = [], {}

        def slot(storage, kind, what):
            if storage not in number:
                number[storage] = len(slots)
                slots.append((kind, what))

        for k, t in enumerate(tensors):
            if not t.requires_grad:
                slot(t.storage_id, "argument", k)
        for storage, what in self.real.items():
            slot(storage, "outside", what)
        returned = [t.storage_id for t in results if t.storage_id not in number]
        returned = list(dict.fromkeys(returned))
        for storage in returned:
            slot(storage, "result", self.sizes.get(storage, 0))
        outer = len(slots)
        steps = []
        for block, launch, views, *rest in self.heard:
            for v in views:
                if v is not None:
                    slot(v[0], "workspace", 0)
            steps.append(planner.Step(block, launch, [
                v and planner.View(number[v[0]], *v[1:]) for v in views], *rest))
        self._written_first(steps, slots)
        wanted = planner.early(planner.needed(steps, set(range(outer))))
        layout = planner.laid_out(planner.grouped(wanted), set(range(outer, len(slots))),
                                  get_num_threads(), replay.sum_region)
        for k, offset in layout.offsets.items():
            slots[k] = "workspace", offset
        written = set().union(*(step.writes for step in wanted))
        self._writes_apart(slots, number, written)
        if any(storage in values_read and number[storage] in written for storage in self.real):
            raise CaptureError(f"capture: {self.name} reads values of a tensor that it also "
                               "changes, and later calls would not read them anew")
        program = replay.Program(slots, layout.items, layout.workspace, *(
            [slots[k][1] for k in sorted(written) if slots[k][0] == kind]
            for kind in ("outside", "argument")))
        shown = [("result", returned.index(t.storage_id), t) if t.storage_id in returned
                 else (*slots[number[t.storage_id]], t) for t in results]
        used = {k for step in wanted for k in step.reads | step.writes}
        return (replay.Replay(program, tensors, shown, self._gradients(leaves, number, used),
                              self.before,
                              None if form is Tensor else functools.partial(_built, form)),
                _report(tensors, len(steps), layout))

    def _written_first(self, steps, slots):
        """CaptureError for values that no operation gave."""
        known = {k for k, (kind, _) in enumerate(slots) if kind in ("argument", "outside")}
        for step in steps:
            for k, v in enumerate(step.views[step.nout:]):
                if v is not None and v.slot not in known and v.n and not (
                        step.block.into == step.block.inputs[min(k, len(step.block.inputs) - 1)]):
                    raise CaptureError(f"capture: in {self.name}, {step.block.name} reads values "
                                       "that no operation gave (of `ad.empty`, say)")
            known |= step.writes

    def _writes_apart(self, slots, number, written):
        """CaptureError for an argument that is written, or written elsewhere, under two names."""
        changed = any(slots[k][0] == "argument" for k in written)
        for storage in self.given:
            if changed and (self.given.count(storage) > 1 or storage in self.real) or (
                    storage in self.real and number[storage] in written):
                raise CaptureError(
                    f"capture: {self.name} writes to an argument whose memory it also gets as "
                    "another argument or from outside; pass a copy")

    def _gradients(self, leaves, number, used):
        """(leaf, gradient that a call must find, or ... for any, gradient after it)."""
        found = []
        for t, was in leaves:
            needed = was is None or number.get(was.storage_id) in used
            if t.grad is not was:
                found.append((t, was if needed else ..., t.grad))
            elif was is not None and needed:
                found.append((t, was, was))
        return found


def _tensors():
    return [t for t in gc.get_objects() if type(t) is Tensor]


def _form(tree, tensors, name):
    """The structure of `tree`, hashable, its tensors (and ndarrays) appended to `tensors`."""
    kind = type(tree)
    if kind is Tensor:
        tensors.append(tree)
        return Tensor
    if kind is np.ndarray:
        tensors.append(from_numpy(tree))
        return Tensor
    if kind in (tuple, list):
        return (kind, *(_form(x, tensors, name) for x in tree))
    if kind is dict:
        return (dict, tuple(tree), *(_form(x, tensors, name) for x in tree.values()))
    try:
        hash(tree)
    except TypeError:
        raise CaptureError(f"capture: {name} takes and returns tensors, in tuples, lists and "
                           f"dicts, and values that can be hashed; got {kind.__name__}") from None
    return (None, kind, tree)


def _built(form, tensors):
    """What `_form` took apart, from its form and an iterator over other tensors."""
    if form is Tensor:
        return next(tensors)
    kind, *parts = form
    if kind is None:
        return parts[1]
    if kind is dict:
        return dict(zip(parts[0], (_built(p, tensors) for p in parts[1:]), strict=True))
    return kind([_built(p, tensors) for p in parts])


def _report(tensors, traced, layout):
    groups = [g for g in layout.order if isinstance(g, planner.Group)]
    fused = sum(len(g.members) for g in groups)
    launches = fused + len(layout.order) - len(groups)
    given = ", ".join(f"{t.dtype} {t.shape}" for t in tensors) or "no arguments"
    return (f"  ({given}): {launches} launches of {traced} traced, {fused} of them in "
            f"{len(groups)} passes; workspace {text.nbytes(layout.workspace)}")
