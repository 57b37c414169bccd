"""ReduceLROnPlateau: a smaller rate when a metric stops improving.

Invariant: step(metric) is called once an epoch with the value to watch, a number.
"""

import math

from ...errors import ArgumentError, StateDictError, ValueRangeError
from .base import per_group, rate, set_rate


class ReduceLROnPlateau:
    """Times factor after more than `patience` epochs without improvement.

    mode: "min" or "max". Better means by more than threshold, of the best ("rel") or in itself
    ("abs"). cooldown: epochs after a change that do not count; changes below eps are not made.
    """

    def __init__(self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4,
                 threshold_mode="rel", cooldown=0, min_lr=0.0, eps=1e-8):
        if factor >= 1:
            raise ValueRangeError(f"ReduceLROnPlateau: factor must be smaller than 1, got {factor}")
        if mode not in ("min", "max"):
            raise ArgumentError(f"ReduceLROnPlateau: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(f"ReduceLROnPlateau: threshold_mode must be 'rel' or 'abs', got "
                                f"{threshold_mode!r}")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs = per_group(self, "min_lr", min_lr, optimizer)
        self.last_epoch, self.num_bad_epochs, self.cooldown_counter = 0, 0, 0
        self.best = math.inf if mode == "min" else -math.inf
        self._last_lr = [rate(group) for group in optimizer.param_groups]

    def is_better(self, value, best):
        """Whether `value` improves on `best` by more than the threshold."""
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * value > sign * best + self.threshold
        return sign * value > sign * best * (1 + sign * self.threshold)

    def step(self, metrics):
        """Look at the metric of one more epoch."""
        value = float(metrics.item() if hasattr(metrics, "item") else metrics)
        self.last_epoch += 1
        if self.is_better(value, self.best):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                new = max(rate(group) * self.factor, least)
                if rate(group) - new > self.eps:
                    set_rate(group, new)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [rate(group) for group in self.optimizer.param_groups]

    def get_last_lr(self):
        """The groups' rates as last set."""
        return list(self._last_lr)

    def state_dict(self):
        """The schedule's numbers."""
        return {k: list(v) if isinstance(v, list) else v for k, v in self.__dict__.items()
                if k != "optimizer"}

    def load_state_dict(self, state_dict):
        """Take up what `state_dict` gave."""
        own = self.state_dict()
        if missing := set(own) - set(state_dict):
            raise StateDictError(f"ReduceLROnPlateau: the state has no {sorted(missing)[0]!r}")
        self.__dict__.update({k: v for k, v in state_dict.items() if k in own})
