"""LRScheduler: what all schedules share.

A schedule is a learning rate as a function of the epoch (or step: whatever `step()` is called
after).  Invariant: it moves `group["lr"]` relative to what stands there, so that schedules chain;
its state is numbers alone.
"""

from ...errors import ArgumentError, StateDictError, ValueRangeError
from ..optimizer import Optimizer


class LRScheduler:
    """Base class: define `at(epoch, base)`, the rate of a group whose initial rate is `base`.

    Call step() after each epoch's optimizer steps. last_epoch: -1 to begin; to resume, the last
    finished epoch, with groups that hold `initial_lr`.
    """

    hidden = ("optimizer",)         # attributes that state_dict leaves out

    def __init__(self, optimizer, last_epoch=-1):
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"{type(self).__name__}: optimizer must be an Optimizer, got "
                                f"{type(optimizer).__name__}")
        self.optimizer, self.last_epoch = optimizer, last_epoch
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", rate(group))
            elif "initial_lr" not in group:
                raise ArgumentError(f"{type(self).__name__}: group {k} has no 'initial_lr', needed "
                                    "to resume; load the optimizer's state first")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._step_count = 0
        self.step()

    def at(self, epoch, base):
        """The rate at `epoch` of a group that began with `base`."""
        raise NotImplementedError(f"{type(self).__name__} must define at(epoch, base)")

    def get_lr(self):
        """The groups' next rates, from their present ones."""
        e, new = self.last_epoch, []
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            before = base if e == 0 else self.at(e - 1, base)
            new.append(rate(group) * (self.at(e, base) / before) if before else rate(group))
        return new

    def get_last_lr(self):
        """The groups' rates as last set."""
        return list(self._last_lr)

    def step(self, epoch=None):
        """Move to the next epoch, or to `epoch`, whatever the present rates are."""
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            new = self.get_lr()
        else:
            self.last_epoch = epoch
            new = [self.at(epoch, base) for base in self.base_lrs]
        for group, lr in zip(self.optimizer.param_groups, new, strict=True):
            set_rate(group, lr)
        self._last_lr = [rate(group) for group in self.optimizer.param_groups]

    def state_dict(self):
        """The schedule's numbers; the rates themselves are in the optimizer's state."""
        return {k: list(v) if isinstance(v, list) else v for k, v in self.__dict__.items()
                if k not in self.hidden}

    def load_state_dict(self, state_dict):
        """Take up what `state_dict` gave; StateDictError where something is missing."""
        own = self.state_dict()
        if missing := set(own) - set(state_dict):
            raise StateDictError(f"{type(self).__name__}: the state has no {sorted(missing)[0]!r}")
        self.__dict__.update({k: list(v) if isinstance(v, list) else v
                              for k, v in state_dict.items() if k in own})


def rate(group):
    """The rate of a group as a float."""
    lr = group["lr"]
    return lr.item() if hasattr(lr, "item") else lr


def set_rate(group, value):
    """Set the rate, in place where it is a tensor."""
    if hasattr(group["lr"], "fill_"):
        group["lr"].fill_(value)
    else:
        group["lr"] = value


def at_least(scheduler, name, value, limit):
    """`value`; ValueRangeError unless it is a number of at least `limit`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentError(f"{type(scheduler).__name__}: {name} must be a number, got {value!r}")
    if not value >= limit:
        raise ValueRangeError(f"{type(scheduler).__name__}: {name} must be at least {limit}, got "
                              f"{value}")
    return value


def per_group(scheduler, name, value, optimizer):
    """`value`, or one of them for each group, as a list."""
    count = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ArgumentError(f"{type(scheduler).__name__}: {name} has {len(values)} entries for "
                            f"{count} parameter groups")
    return values
