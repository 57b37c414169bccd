"""Trainer: the training loop, with validation, checkpoints and exact resumption.

A run's whole state is `state_dict()`.  Invariant: a run that is stopped or killed anywhere and
resumed from its last checkpoint ends bit for bit where an uninterrupted run ends.
"""

import inspect
import itertools
import math
import os
import time
import warnings

import numpy as np

import autodiff as ad

from .checkpoint_files import load_checkpoint, remove_unfinished, save_checkpoint
from .data import DataLoader, Dataset, LoaderArgumentError
from .errors import ArgumentError, LabelError, ShapeError, positive_int
from .history import History
from .inference import evaluating
from .interrupts import Interrupts
from .progress import Progress
from .training_errors import BatchError, EmptyLoaderError, non_finite_loss
from .utils import clip_grad_norm_

__all__ = ["Trainer"]


class Trainer:
    """Trains `model` to lower `loss(output, target)` with `optimizer`.

    schedule: stepped each epoch, or each update with schedule_by="step". metrics: of nn.metrics.
    accumulate: batches for each update; their gradients are averaged. clip_norm: largest norm of
    all gradients together. checkpoint: file written after each epoch, every `save_every` updates,
    and on Ctrl-C. Batches are (input, ..., target); for others override `compute`.

    Raises NonFiniteLossError, EmptyLoaderError, LabelError.
    """

    def __init__(self, model, loss, optimizer, *, schedule=None, schedule_by="epoch", metrics=(),
                 accumulate=1, clip_norm=None, callbacks=(), checkpoint=None, save_every=None,
                 progress=True):
        if schedule_by not in ("epoch", "step"):
            raise ArgumentError(f"Trainer: schedule_by must be 'epoch' or 'step', got "
                                f"{schedule_by!r}")
        if save_every is not None and checkpoint is None:
            raise ArgumentError("Trainer: save_every needs checkpoint, the file to write")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.schedule, self.schedule_by = schedule, schedule_by
        self.metrics, self.callbacks = list(metrics), list(callbacks)
        self.accumulate = positive_int("Trainer", "accumulate", accumulate)
        self.clip_norm = clip_norm
        self.checkpoint = None if checkpoint is None else os.fspath(checkpoint)
        self.save_every = save_every and positive_int("Trainer", "save_every", save_every)
        self.progress = Progress(progress)
        self.history = History()
        self.stopped = None         # why the last fit ended: "epochs", "interrupted", ...
        self._loaders, self._loader_states, self._interrupts = [], None, Interrupts()
        self._new_epoch()

    # The loop

    def fit(self, train_loader, validation=None, epochs=1, resume=False):
        """Train until `epochs` epochs are done in all, and return the history.

        train_loader, validation: a DataLoader, any iterable of batches to go through again and
        again, or (validation) a Dataset. resume: go on from the checkpoint file if it exists.
        The first Ctrl-C ends the run after the update under way, with a checkpoint; the second at
        once.
        """
        positive_int("Trainer.fit", "epochs", epochs)
        if isinstance(train_loader, Dataset):
            raise ArgumentError("Trainer.fit: train_loader is a data set; put it into nn.data."
                                "DataLoader(dataset, batch_size=32, shuffle=True)")
        if len(self.history) >= epochs and not resume:
            warnings.warn(f"Trainer.fit: nothing to do: {len(self.history)} epochs are done, and "
                          f"epochs={epochs} counts them all", stacklevel=2)
        if isinstance(validation, Dataset):
            validation = DataLoader(validation, batch_size=256)
        self._loaders = [train_loader] if validation is None else [train_loader, validation]
        self.stopped = None
        if self.checkpoint is not None:
            remove_unfinished(self.checkpoint)
            if resume and os.path.exists(self.checkpoint):
                self.load(self.checkpoint)
            elif not self._position["batches"]:
                self._save_if_asked()       # so that a run killed at once can be resumed, too
        elif resume:
            raise ArgumentError("Trainer.fit: resume=True needs Trainer(checkpoint=path)")
        if self._loader_states is None and self._position["batches"]:
            self._loader_states = self._states_of_loaders()     # the last fit broke off here
        self.optimizer.zero_grad()
        self._tell("on_fit_begin")
        with self._interrupts:
            while len(self.history) < epochs and self.stopped is None:
                if not self._position["trained"]:
                    self._train_epoch(train_loader, epochs)
                if self._position["trained"]:
                    self._end_epoch(validation)
                if self._interrupts and self.stopped is None:
                    self.stop("interrupted")
                if self.stopped or self._position["batches"] == 0:
                    self._save_if_asked()
        self.stopped = self.stopped or "epochs"
        if self.stopped == "interrupted":
            kept = f"; saved to {self.checkpoint}" if self.checkpoint else ""
            self.progress.line(f"stopped by Ctrl-C after {self.history.steps} steps{kept}")
        self._tell("on_fit_end")
        return self.history

    def compute(self, batch):
        """(loss, output, target) of one batch: a 0-d Tensor, and two Tensors for the metrics."""
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise BatchError(f"Trainer: a batch must be (input, ..., target), got "
                             f"{type(batch).__name__} of {len(batch)}; let the data set give both, "
                             "or override compute")
        *inputs, target = batch
        output = self.model(*inputs)
        return self.loss(output, target), output, target

    def evaluate(self, batches):
        """{"loss": ..., metric: ...} over `batches` (as `validation` of fit), in eval mode."""
        if isinstance(batches, Dataset):
            batches = DataLoader(batches, batch_size=256)
        kept = [m.sums for m in self.metrics]
        try:
            for m in self.metrics:
                m.reset()
            total = n = 0
            with evaluating(self.model), ad.no_grad():
                for k, batch in enumerate(batches):
                    self._where = f"validation batch {k}"
                    loss, size = self._measured(batch)
                    total, n = total + loss.item() * size, n + size
            if not n:
                raise EmptyLoaderError("evaluate: the loader gave no batch; check the split, and "
                                       "that it can be iterated over more than once")
            return {"loss": total / n} | {m.name: m.value() for m in self.metrics}
        finally:
            for m, sums in zip(self.metrics, kept, strict=True):
                m.sums = sums

    def stop(self, reason="stopped"):
        """End the run after the update under way (for callbacks); `fit` then returns."""
        self.stopped = reason

    def _train_epoch(self, loader, epochs):
        position, began = self._position, time.monotonic()
        before = position["seconds"]
        self.model.train()
        iterator = self._iterate(loader)
        number = len(self.history) + 1
        try:
            total = len(loader)
        except TypeError:                           # a stream
            total = None
        self.progress.begin(number, epochs, total, position["batches"])
        group = 0                                   # batches since the last update
        try:
            for batch in iterator:
                self._where = f"epoch {number}, batch {position['batches']}"
                loss, size = self._measured(batch)
                value = loss.item()
                if not math.isfinite(value):
                    raise non_finite_loss(value, self._where, self, batch)
                (loss if self.accumulate == 1 else loss * (1 / self.accumulate)).backward()
                del loss                            # the tape goes before the next batch comes
                group += 1
                position["batches"] += 1
                position["loss"] += value * size
                position["samples"] += size
                position["seconds"] = before + time.monotonic() - began
                self.history.samples += size
                if group == self.accumulate:
                    self._update(group)
                    group = 0
                self._tell("on_batch_end", value)
                self.progress.update(position["batches"], position["loss"] / position["samples"],
                                     self._lr())
                if group == 0 and (self._interrupts or self.stopped):
                    return
                if group == 0 and self.save_every and self.history.steps % self.save_every == 0:
                    self._save_if_asked()
            if group:
                self._update(group)
        finally:
            self.progress.clear()
            if hasattr(iterator, "close"):
                iterator.close()                    # ends a prefetch thread
        if not position["batches"]:
            raise EmptyLoaderError("fit: the training loader gave no batch; check the path or "
                                   "split, drop_last with few samples, or an iterator that was "
                                   "used up by the epoch before")
        position["trained"] = True

    def _end_epoch(self, validation):
        position, began = self._position, time.monotonic()
        entry = {"epoch": len(self.history) + 1, "loss": position["loss"] / position["samples"]}
        entry |= {m.name: m.value() for m in self.metrics}
        if validation is not None:
            entry |= {f"val_{k}": v for k, v in self.evaluate(validation).items()}
        entry["lr"], entry["steps"] = self._lr(), self.history.steps
        entry["seconds"] = position["seconds"] + time.monotonic() - began
        self.history.epochs.append(entry)
        if self.schedule is not None and self.schedule_by == "epoch":
            if "metrics" in inspect.signature(self.schedule.step).parameters:
                self.schedule.step(entry.get("val_loss", entry["loss"]))
            else:
                self.schedule.step()
        self._new_epoch()
        self._tell("on_epoch_end", entry)
        self.progress.epoch(entry)

    def _measured(self, batch):
        """Loss and number of samples of a batch, whose outputs the metrics have seen."""
        try:
            loss, output, target = self.compute(batch)
        except LabelError as error:
            raise LabelError(f"{error}; in {self._where}") from error
        if loss.shape != ():
            raise ShapeError(f"Trainer: the loss must be one number, got shape {loss.shape}; use "
                             "reduction='mean'")
        if self.metrics:
            value, arrays = loss.item(), (output.detach().numpy(), target.numpy())
            for m in self.metrics:
                m.update(*arrays, value)
        return loss, target.shape[0] if target.ndim else 1

    def _update(self, group):
        with_grad = [p for g in self.optimizer.param_groups for p in g["params"]
                     if p.grad is not None]
        if group < self.accumulate:                 # the last group of an epoch may be short
            for p in with_grad:
                p.grad = p.grad * (self.accumulate / group)
        if self.clip_norm is not None:
            clip_grad_norm_(with_grad, self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.history.steps += 1
        self.history.updates += sum(p.size for p in with_grad)
        if self.schedule is not None and self.schedule_by == "step":
            self.schedule.step()

    def _lr(self):
        return float(self.optimizer.param_groups[0]["lr"])

    def _tell(self, moment, *args):
        for callback in self.callbacks:
            getattr(callback, moment)(self, *args)

    # State

    def save(self, path):
        """Write a checkpoint of the whole run to `path`, atomically."""
        save_checkpoint(self.state_dict(), path)

    def load(self, path):
        """Take up the run that a checkpoint holds; `fit` then goes on with it.

        Raises FileFormatError for a damaged file, StateDictError where the model differs.
        """
        self.load_state_dict(load_checkpoint(path))

    def state_dict(self):
        """Everything that the rest of the run depends on, as nested plain data and tensors."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                "schedule": None if self.schedule is None else self.schedule.state_dict(),
                "callbacks": [c.state_dict() for c in self.callbacks],
                "metrics": [m.sums for m in self.metrics],
                "loaders": self._states_of_loaders(), "random": ad.random_state(),
                "position": dict(self._position), "history": self.history.state_dict(),
                "stopped": self.stopped if self.stopped == "early stopping" else None}

    def load_state_dict(self, state):
        """Take up a state that `state_dict` gave."""
        for name, own in (("callbacks", self.callbacks), ("metrics", self.metrics)):
            if len(state[name]) != len(own):
                raise ArgumentError(f"Trainer: the checkpoint has {len(state[name])} {name}, this "
                                    f"Trainer {len(own)}; give it the same ones")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        for callback, s in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(s)
        for metric, sums in zip(self.metrics, state["metrics"], strict=True):
            metric.sums = np.array(sums)
        with ad.random_state().writable() as random:
            random[...] = state["random"].numpy()
        self._position = dict(state["position"])
        self._loader_states, self.stopped = state["loaders"], state["stopped"]
        self.history.load_state_dict(state["history"])

    def _states_of_loaders(self):
        return [_plain(loader.state_dict()) if hasattr(loader, "state_dict") else None
                for loader in self._loaders]

    def _new_epoch(self):
        self._position = {"batches": 0, "samples": 0, "loss": 0.0, "seconds": 0.0,
                          "trained": False}
        for m in self.metrics:
            m.reset()

    def _iterate(self, loader):
        """The rest of the epoch's batches: all of them, unless a checkpoint was taken up."""
        states, self._loader_states = self._loader_states, None
        skip = 0
        for one, state in zip(self._loaders, states or (), strict=False):
            if state is None or not hasattr(one, "load_state_dict"):
                continue
            try:
                one.load_state_dict(state)
            except LoaderArgumentError:             # a stream: go through what was seen
                one.load_state_dict(state | {"batches": 0})
                skip = self._position["batches"] if one is loader else skip
        if states and not hasattr(loader, "load_state_dict"):
            skip = self._position["batches"]
        return itertools.islice(loader, skip, None) if skip else iter(loader)

    def _save_if_asked(self):
        if self.checkpoint is not None:
            self.save(self.checkpoint)


def _plain(value):
    """A generator's state without arrays: its integers may need 64 bits without a sign."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
