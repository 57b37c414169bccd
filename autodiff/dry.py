"""Dry runs: what a computation would allocate, save, launch and count, from shapes alone.

Inside `with ad.dry_run():` a tensor has a shape, a dtype and a category, and the ledger counts it,
but it has no bytes; a launch is heard by the listeners, but no kernel runs.  Invariant: what was
made outside keeps its values, its version and its place on the tape.
"""

import contextlib

import numpy as np

from . import core
from .errors import DryRunError

__all__ = ["dry_run", "in_dry_run"]


class dry_run(contextlib.ContextDecorator):
    """Context (and decorator) in which nothing is computed, only counted; of this thread.

    Models, losses, backward, hooks, checkpoints, optimizers and `nn.init` work as ever; `ad.tensor`
    makes a tensor of the data's shape. `ad.memory` counts live, peak and saved bytes as a real run
    would, scratch as the operations declare it; `ad.profile` counts launches and operations, in 0
    seconds. Tensors made outside may take part: they are read as shapes, and never written to.
    But their `.grad` and the state of their optimizer become tensors of the dry run, so predict a
    copy, made inside: `model, optimizer = copy.deepcopy((model, optimizer))`.

        with ad.dry_run(), ad.memory.track() as m, ad.profile.profile() as p:
            step(*copy.deepcopy((model, optimizer)), ad.empty((32, 784)), ...)
        print(m.peak_bytes, p.flops)

    Raises DryRunError where values are asked for (`item`, `numpy`, `if t:`, a mask as an index),
    and where a tensor of a dry run is used outside of one. While one is alive, launches everywhere
    take the longer way that listeners take.
    """

    def __enter__(self):
        core.dry_runs(1)

    def __exit__(self, *exc):
        core.dry_runs(-1)


def in_dry_run():
    """True inside `with ad.dry_run():`."""
    return core.dry_runs() > 0


@contextlib.contextmanager
def outside():
    """What is made inside this context is real, in a dry run too: for what outlives it."""
    depth = core.dry_runs()
    core.dry_runs(-depth)
    try:
        yield
    finally:
        core.dry_runs(depth)


def guessed(name, t):
    """True where the values of `t` are unknown and a dry run may take typical ones instead.

    Raises DryRunError in a trace (capture.py), which would keep the guess for later calls.
    """
    if t.is_dry and core.traces():
        raise DryRunError.no_values(name, t)
    return t.is_dry


def dry_array(t):
    """An ndarray that has the shape and dtype of `t`, zeros that take no room."""
    return np.broadcast_to(np.zeros((), t.dtype), t.shape)
