"""What each block of a chain costs: seconds by medians, bytes by the ledger.

Each block runs forward and backward alone, on the input that the blocks before it make.  Seconds
are taken in several passes through the chain, so that a slow moment of the machine falls on many
blocks and no block finds its arrays in the cache; blocks that do the same operations on the same
shapes share them, or a plan would choose those that were quick by chance.  Invariant: bytes are
counted, never estimated; parameters, gradients, buffers and random numbers stay what they were.
"""

import contextlib
import statistics
import time
from dataclasses import dataclass

import autodiff as ad
from autodiff import core
from autodiff.chain import Run
from autodiff.ops.random import random_state
from autodiff.schedule import CHECKPOINT, FORWARD, RECORD, Block, Chain
from autodiff.tapes import nodes

from .chain import Several, blocks_of, calls_of, same_buffers
from .module import Module

SECONDS = ("forward", "record", "deferred", "again", "backward")       # fields of Block


@dataclass(frozen=True)
class MeasuredChain(Chain):
    """A Chain of measured costs. groups: (start, stop) of the modules in each of its blocks.

    A module that returns a view of its input (Flatten) costs no bytes of its own, so it is in one
    block with the module before it.
    """
    groups: tuple = ()


def measure_chain(model, x, repeats=5):
    """Costs of each block of a chain at the input x, as a MeasuredChain.

    repeats: runs of each block, of which the seconds are medians. No more than one block is
    recorded at a time.
    Hooks on the gradients of parameters run. Raises ChainError where the model is no chain.
    """
    blocks = blocks_of(model)
    calls = calls_of(model, blocks)
    state = random_state().numpy().copy()
    try:
        with contextlib.ExitStack() as stack:
            for block in blocks:
                if isinstance(block, Module):
                    stack.enter_context(same_buffers(block))
            return _measure(calls, x, repeats)
    finally:
        with core.no_grad(), random_state().writable() as array:
            array[...] = state


def _measure(calls, x, repeats):
    groups = _groups(calls, x)
    blocks = [Several(calls[start:stop]) for start, stop in groups]
    h, wanted, sizes, largest, seen = x, [x.requires_grad], [], 0, set()
    work, seconds = [], {}
    for k, f in enumerate(blocks):
        found, leaves, operations = _bytes(f, h, wanted[-1], first=k == 0)
        work.append(operations or k)
        seconds[work[-1]] = {name: [] for name in SECONDS}
        # A parameter of two blocks: for a moment both gradients and their sum are alive.
        found["backward_peak"] += sum(n for node, n in leaves if node in seen)
        seen |= {node for node, _ in leaves}
        largest = max([largest, *(n for _, n in leaves)])
        sizes.append(found)
        wanted.append(bool(leaves))
        h = _next(f, h)
    for _ in range(repeats):
        h = x
        for f, on_tape, same in zip(blocks, wanted, work, strict=False):
            _time(f, h, on_tape, seconds[same])
            h = _next(f, h)
    medians = {same: {name: statistics.median(t) for name, t in times.items()}
               for same, times in seconds.items()}
    made = [Block(**found, **medians[same]) for found, same in zip(sizes, work, strict=True)]
    gradient = x.nbytes if x.requires_grad else 0
    return MeasuredChain(tuple(made), gradient, max(largest, gradient), tuple(groups))


def _next(f, h):
    with core.no_grad():
        return f(h)


def _groups(calls, x):
    """(start, stop) of the blocks: a call that returns its input's bytes joins the one before."""
    stops, h = [], x
    with core.no_grad():
        for k, call in enumerate(calls):
            y = call(h)
            if stops and y.storage_id == h.storage_id:
                stops.pop()
            if k + 1 == len(calls) or y.storage_id != x.storage_id:
                stops.append(k + 1)
            h = y
    return list(zip([0, *stops[:-1]], stops, strict=True))


def _input(x, wanted):
    x = x.detach()
    if wanted:
        x.requires_grad = True
    return x


def _live():
    return core.memory_stats()["live_bytes"]


@contextlib.contextmanager
def _dropping():
    """Records inside keep nothing, as in the first pass through a block that will run again."""
    def drop(record, outputs):
        record.defer(None)

    core.listen_tape(drop)
    try:
        yield
    finally:
        core.unlisten_tape(drop)


def _bytes(f, x, wanted, first):
    """({field of Block: bytes}, [(leaf, bytes of its gradient)], its operations) of one block.

    Around the block stand an addition, which saves nothing, so that a hook on it sees what is
    alive when the input's gradient is finished; and a product, which makes the output's gradient
    inside the sweep, as the next block would. Rules may write into such a gradient, but not into
    one that another holds: so backward runs a second time, from a gradient of ours.
    """
    found = {"forward_peak": 0, "saved": 0, "backward_peak": 0}
    for mode in (core.no_grad(), _dropping()):
        with mode, ad.memory.track() as m:
            f(_input(x, wanted))
        found["forward_peak"] = max(found["forward_peak"], m.added_bytes)
    head = _input(x, wanted)
    h = head + 0.0 if wanted and not first else head
    start = _live()
    with ad.memory.track() as m:
        y = f(h)
    found["output"], found["recorded"] = y.storage_nbytes, _live() - start
    found["record_peak"] = m.added_bytes
    if y.node is None:
        return found, [], ()
    operations = tuple(("" if node.is_leaf else node.name, *node.shapes) for node in nodes(y))
    leaves = [node for node in nodes(y) if node.is_leaf]
    ends = [_at(node) for node in leaves]
    one = ad.ones((), dtype=y.dtype)
    z = y * one
    seed, with_output = ad.ones_like(z), _live()
    del y
    found["saved"] = found["recorded"] - (with_output - _live())
    alive = []
    if h is not head:
        h.node.add_hook(h.index, lambda g: alive.append(_live()))
    base = _live()
    with ad.memory.track() as m:
        grads = core.gradients([z], ends, [seed], allow_unused=True)
    found["backward_peak"] = m.added_bytes
    sizes = [(node, g.nbytes) for node, g in zip(leaves, grads, strict=True)
             if g is not None and node is not head.node]
    found["gradients"] = sum(n for _, n in sizes)
    if alive:
        known = base - found["saved"] + head.nbytes + found["gradients"]
        found["carried"] = max(0, alive[0] - known)
    del z, grads
    z = f(head)
    with ad.memory.track() as m:
        core.gradients([z], ends, [seed], allow_unused=True)
    found["backward_peak"] = max(found["backward_peak"], m.added_bytes)
    return found, sizes, operations


def _at(leaf):
    """A tensor that stands for a leaf of the tape."""
    t = core.empty((), leaf.dtypes[0])
    t._place(leaf, 0)
    return t


def _time(f, x, wanted, seconds):
    """Run one block in each of the ways of a schedule; adds to `seconds`."""
    run = Run([f], [(CHECKPOINT, 0), (RECORD, 0)])
    _timed(seconds["deferred"], run.first_pass, (CHECKPOINT,), _input(x, wanted))
    phase = core.set_phase("recompute")
    try:
        _timed(seconds["forward"], run.again, FORWARD, 0, None)
        _timed(seconds["again"], run.ready, 0)
    finally:
        core.set_phase(phase)
    y = _timed(seconds["record"], f, _input(x, wanted))
    if y.node is None:
        seconds["backward"].append(0.0)
        return
    ends = [_at(node) for node in nodes(y) if node.is_leaf]
    _timed(seconds["backward"], core.gradients, [y], ends, [ad.ones_like(y.detach())], None,
           False, True)


def _timed(seconds, f, *args):
    start = time.perf_counter()
    result = f(*args)
    seconds.append(time.perf_counter() - start)
    return result
