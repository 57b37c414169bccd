"""Schedules by a factor: a function of one's own, steps, exponential, linear warm-up.

Invariant: the rate is the initial one times a factor that depends on the epoch alone.
"""

from bisect import bisect_right

from ...errors import ArgumentError, ValueRangeError
from .base import LRScheduler, at_least, per_group


class LambdaLR(LRScheduler):
    """initial rate * lr_lambda(epoch); one function, or one for each group. The functions are
    not saved."""

    hidden = ("optimizer", "lr_lambdas")

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        self.lr_lambdas = per_group(self, "lr_lambda", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [base * f(self.last_epoch)
                for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def step(self, epoch=None):
        """Move to the next epoch, or to `epoch`."""
        self.last_epoch = self.last_epoch if epoch is None else epoch - 1
        super().step()


class StepLR(LRScheduler):
    """Times gamma every step_size epochs."""

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        self.step_size, self.gamma = at_least(self, "step_size", step_size, 1), gamma
        super().__init__(optimizer, last_epoch)

    def at(self, epoch, base):
        return base * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Times gamma at each of the epochs `milestones`."""

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def at(self, epoch, base):
        return base * self.gamma ** bisect_right(self.milestones, epoch)


class ExponentialLR(LRScheduler):
    """Times gamma every epoch."""

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def at(self, epoch, base):
        return base * self.gamma ** epoch


class LinearLR(LRScheduler):
    """From start_factor to end_factor of the initial rate in total_iters steps: a warm-up."""

    def __init__(self, optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5,
                 last_epoch=-1):
        if not 0 < start_factor <= 1:
            raise ValueRangeError(f"LinearLR: start_factor must be in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueRangeError(f"LinearLR: end_factor must be in [0, 1], got {end_factor}")
        if not isinstance(total_iters, int):
            raise ArgumentError(f"LinearLR: total_iters must be an integer, got {total_iters!r}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = at_least(self, "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def at(self, epoch, base):
        share = min(epoch, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)
