"""The named errors of a training run.

Each says where in the run it happened and what to do.  Invariant: each also derives from the error
that the engine or the data would raise, so a general `except` keeps working.
"""

import numpy as np

import autodiff as ad
from autodiff import core

from .chain import same_buffers
from .data.errors import EmptyDatasetError
from .errors import ArgumentError

__all__ = ["BatchError", "EmptyLoaderError", "NonFiniteLossError"]


class NonFiniteLossError(ad.NonFiniteError):
    """The loss became NaN or infinite."""


class EmptyLoaderError(EmptyDatasetError):
    """A loader gave no batch at all."""


class BatchError(ArgumentError):
    """A batch that the Trainer cannot take apart."""


def non_finite_loss(value, where, trainer, batch):
    """The error for a loss of `value`; computes the batch again to see where it comes from."""
    inputs = batch if isinstance(batch, (tuple, list)) else [batch]
    lr = trainer.optimizer.param_groups[0]["lr"]
    weights = next((name for name, p in trainer.model.named_parameters() if not _finite(p)), None)
    if not all(_finite(x) for x in inputs if isinstance(x, ad.Tensor)):
        cause = "this batch holds NaN or infinity: clean the data, or leave it out"
    elif weights is not None:
        cause = (f"{weights} is not finite since the update before: lower the learning rate (now "
                 f"{lr:g}), or clip the gradients (clip_norm=1.0)")
    else:
        cause = (f"batch and weights are finite; {_origin(trainer, batch)}keep log, sqrt "
                 f"and division away from 0, lower the learning rate (now {lr:g}), or clip the "
                 "gradients (clip_norm=1.0)")
    return NonFiniteLossError(f"the loss is {value} in {where}: {cause}")


def _finite(t):
    return t.dtype.kind != "f" or bool(np.isfinite(t.numpy()).all())


def _wrong(record, t):
    """Whether NaN or infinity is in an output; -inf in a sum or a choice is a mask."""
    if _finite(t):
        return False
    values = t.numpy()
    masked = (np.isfinite(values) | (values == -np.inf)).all()
    return not (masked and record.name in ("add", "where"))


def _origin(trainer, batch):
    """The operation that first gives something not finite: its module and line."""
    found = []

    def look(record, outputs):
        if not found and any(_wrong(record, t) for t in outputs):
            found.append(record)

    random = np.array(ad.random_state().numpy())
    core.listen_tape(look)
    try:
        with same_buffers(trainer.model):
            trainer.compute(batch)
    finally:
        core.unlisten_tape(look)
        with ad.random_state().writable() as state:
            state[...] = random
    if not found:
        return ""
    record = found[0]
    place = record.scope or f"{type(trainer.model).__name__} or the loss"
    return f"the first result that is not is that of {record.name} in {place} ({record.line}); "
