"""Schedules made of schedules: one after the other, or all at once.

Invariant: the parts belong to one optimizer, and their states are kept in order.
"""

from bisect import bisect_right

from ...errors import ArgumentError, StateDictError
from .base import rate, set_rate


class Composed:
    """What SequentialLR and ChainedScheduler share."""

    def _take(self, optimizer, schedulers):
        schedulers = list(schedulers)
        name = type(self).__name__
        if not schedulers:
            raise ArgumentError(f"{name}: got no schedulers")
        optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        for k, s in enumerate(schedulers):
            if getattr(s, "optimizer", None) is not optimizer:
                raise ArgumentError(f"{name}: scheduler {k} belongs to another optimizer")
        self.optimizer, self._schedulers = optimizer, schedulers

    def _note(self):
        self._last_lr = [rate(group) for group in self.optimizer.param_groups]

    def get_last_lr(self):
        """The groups' rates as last set."""
        return list(self._last_lr)

    def state_dict(self):
        """The numbers of this schedule and of its parts."""
        own = {k: list(v) if isinstance(v, list) else v for k, v in self.__dict__.items()
               if k not in ("optimizer", "_schedulers")}
        return own | {"_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict):
        """Take up what `state_dict` gave."""
        parts = state_dict.get("_schedulers", ())
        if len(parts) != len(self._schedulers):
            raise StateDictError(f"{type(self).__name__}: the state has {len(parts)} schedulers, "
                                 f"this one {len(self._schedulers)}")
        for s, state in zip(self._schedulers, parts, strict=True):
            s.load_state_dict(state)
        own = self.state_dict()
        self.__dict__.update({k: v for k, v in state_dict.items()
                              if k in own and k != "_schedulers"})


class SequentialLR(Composed):
    """schedulers[k] from epoch milestones[k - 1] on, each counting from its own start."""

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        self._take(optimizer, schedulers)
        self._milestones = list(milestones)
        if len(self._milestones) != len(self._schedulers) - 1:
            raise ArgumentError(f"SequentialLR: {len(self._schedulers)} schedulers need "
                                f"{len(self._schedulers) - 1} milestones, got "
                                f"{len(self._milestones)}")
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:        # as if the parts had not begun yet
            set_rate(group, group["initial_lr"])
        for s in self._schedulers:
            s.last_epoch -= 1
        self._schedulers[0].step()
        self._note()

    def step(self):
        """Move to the next epoch."""
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            self._schedulers[k].step(0)
        else:
            self._schedulers[k].step()
        self._note()


class ChainedScheduler(Composed):
    """All schedulers step together, each on what the one before it left."""

    def __init__(self, schedulers, optimizer=None):
        self._take(optimizer, schedulers)
        self._note()

    def step(self):
        """Step every part."""
        for s in self._schedulers:
            s.step()
        self._note()
