"""Callbacks: what happens between batches and epochs of a training run.

A callback of one's own overrides the moments it needs.  Invariant: what a callback must remember is
in `state_dict`, so a resumed run goes on as if it had never stopped.
"""

import math
import os

from .errors import ArgumentError, positive_int

__all__ = ["BestCheckpoint", "Callback", "EarlyStopping"]


class Callback:
    """Base class; each method gets the Trainer. `trainer.stop(reason)` ends the run."""

    def on_fit_begin(self, trainer):
        """Before the first batch, after a checkpoint was loaded."""

    def on_batch_end(self, trainer, loss):
        """After each batch; `loss` is a float."""

    def on_epoch_end(self, trainer, entry):
        """After validation; `entry` is the epoch's dict in the history, and may be added to."""

    def on_fit_end(self, trainer):
        """After the last epoch, or when the run was stopped."""

    def state_dict(self):
        """What a checkpoint must hold of this callback: plain data and tensors."""
        return {}

    def load_state_dict(self, state):
        """Take up what `state_dict` gave."""


class _Watching(Callback):
    """What follows one column of the history, the lower (or `highest`) the better."""

    def __init__(self, monitor, highest, min_delta=0.0):
        self.monitor, self.min_delta = monitor, abs(min_delta)
        self.highest = highest
        self.best, self.best_epoch = None, 0

    def improved(self, entry):
        """Whether this epoch is the best so far; NaN never is."""
        if entry.get(self.monitor) is None:
            raise ArgumentError(f"{type(self).__name__}: no {self.monitor!r} in this epoch's "
                                f"history; there is {', '.join(entry)}; give fit() a validation "
                                "set, or another monitor")
        value = -entry[self.monitor] if self.highest else entry[self.monitor]
        if math.isnan(value) or self.best is not None and not value < self.best - self.min_delta:
            return False
        self.best, self.best_epoch = value, entry["epoch"]
        return True

    def state_dict(self):
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state):
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class EarlyStopping(_Watching):
    """Stop when `monitor` has not improved by more than min_delta for `patience` epochs.

    restore_best: then put back the weights of the best epoch. Prechelt (1998).
    """

    def __init__(self, monitor="val_loss", patience=5, min_delta=0.0, highest=False,
                 restore_best=True):
        super().__init__(monitor, highest, min_delta)
        self.patience = positive_int("EarlyStopping", "patience", patience)
        self.restore_best, self._weights = restore_best, None

    def on_epoch_end(self, trainer, entry):
        if self.improved(entry):
            if self.restore_best:
                self._weights = {k: v.numpy().copy()
                                 for k, v in trainer.model.state_dict().items()}
        elif entry["epoch"] - self.best_epoch >= self.patience:
            trainer.stop("early stopping")

    def on_fit_end(self, trainer):
        if self._weights is not None and trainer.stopped in ("early stopping", "epochs"):
            trainer.model.load_state_dict(self._weights)

    def state_dict(self):
        return super().state_dict() | {"weights": self._weights}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._weights = state["weights"]


class BestCheckpoint(_Watching):
    """Keep at `path` a checkpoint of the best epoch so far (`nn.load_checkpoint(path)["model"]`
    are its weights)."""

    def __init__(self, path, monitor="val_loss", highest=False):
        super().__init__(monitor, highest)
        self.path = os.fspath(path)

    def on_epoch_end(self, trainer, entry):
        if self.improved(entry):
            trainer.save(self.path)
