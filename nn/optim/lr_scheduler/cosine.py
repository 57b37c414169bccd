"""Schedules of cosines: annealing, with restarts, and one cycle up and down.

Invariant: between two rates a and b the way is a + (b - a) (1 - cos(pi x)) / 2, x from 0 to 1.
"""

import math

from ...errors import ArgumentError, ValueRangeError
from .base import LRScheduler, at_least, per_group, rate


def cosine(a, b, x):
    """From a (x = 0) to b (x = 1) on half a cosine."""
    return b + (a - b) / 2 * (1 + math.cos(math.pi * x))


class CosineAnnealingLR(LRScheduler):
    """Down to eta_min in T_max epochs on half a cosine, and up again. Loshchilov and Hutter
    (2017)."""

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):       # noqa: N803
        self.T_max, self.eta_min = at_least(self, "T_max", T_max, 1), eta_min
        super().__init__(optimizer, last_epoch)

    def at(self, epoch, base):
        return cosine(base, self.eta_min, epoch / self.T_max)

    def get_lr(self):
        """The distance to eta_min times the ratio of the cosines, so that schedules chain."""
        e, low = self.last_epoch, self.eta_min
        if e == 0:
            return [rate(group) for group in self.optimizer.param_groups]
        now, before = (1 + math.cos(math.pi * t / self.T_max) for t in (e, e - 1))
        if (e - 1 - self.T_max) % (2 * self.T_max) == 0:        # from the bottom there is no ratio
            return [rate(group) + (base - low) * (1 - math.cos(math.pi / self.T_max)) / 2
                    for group, base in zip(self.optimizer.param_groups, self.base_lrs,
                                           strict=True)]
        return [now / before * (rate(group) - low) + low for group in self.optimizer.param_groups]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down to eta_min in T_0 epochs, then again from the start, each time T_mult times as long.

    step(epoch) may be called with fractions of an epoch. Loshchilov and Hutter (2017).
    """

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):   # noqa: N803
        self.T_0, self.T_mult = at_least(self, "T_0", T_0, 1), at_least(self, "T_mult", T_mult, 1)
        if not isinstance(T_mult, int):
            raise ArgumentError(f"CosineAnnealingWarmRestarts: T_mult must be an integer, got "
                                f"{T_mult!r}")
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def at(self, epoch, base):
        length, begin = self.T_0, 0
        if self.T_mult == 1:
            begin = epoch // length * length
        while epoch >= begin + length:
            begin, length = begin + length, length * self.T_mult
        return cosine(base, self.eta_min, (epoch - begin) / length)

    def get_lr(self):
        return [self.at(self.last_epoch, base) for base in self.base_lrs]

    def step(self, epoch=None):
        """Move to the next epoch, or to `epoch`, which may be a fraction."""
        super().step(epoch)
        self.last_epoch = math.floor(self.last_epoch)


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, then down to a final_div_factor-th of the start; to
    be stepped after every batch, total_steps (or epochs * steps_per_epoch) times.

    cycle_momentum moves momentum, or the first of betas, the other way. three_phase comes back to
    the start before it goes down. Smith and Topin (2018).
    """

    def __init__(self, optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None,
                 pct_start=0.3, anneal_strategy="cos", cycle_momentum=True, base_momentum=0.85,
                 max_momentum=0.95, div_factor=25.0, final_div_factor=1e4, three_phase=False,
                 last_epoch=-1):
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        self.total_steps = at_least(self, "total_steps", total_steps, 1)
        if not 0 <= pct_start <= 1:
            raise ValueRangeError(f"OneCycleLR: pct_start must be in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got "
                                f"{anneal_strategy!r}")
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        self.max_lrs = per_group(self, "max_lr", max_lr, optimizer)
        self.momenta = list(zip(per_group(self, "base_momentum", base_momentum, optimizer),
                                per_group(self, "max_momentum", max_momentum, optimizer),
                                strict=True))
        up = float(pct_start * total_steps) - 1
        last = float(total_steps) - 1
        self.ends = [up, 2 * up, last] if three_phase else [up, last]   # of the phases
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, self.max_lrs, strict=True):
                group["initial_lr"] = top / div_factor
                if cycle_momentum and not {"betas", "momentum"} & set(group):
                    raise ArgumentError("OneCycleLR: the optimizer has no momentum to cycle; pass "
                                        "cycle_momentum=False")
        super().__init__(optimizer, last_epoch)

    def _between(self, levels):
        """The value at the present step on the way through `levels`, one more than phases."""
        step, begin = self.last_epoch, 0.0
        for k, end in enumerate(self.ends):
            if step <= end or k == len(self.ends) - 1:
                x = (step - begin) / (end - begin)
                if self.anneal_strategy == "cos":
                    return cosine(levels[k], levels[k + 1], x)
                return levels[k] + (levels[k + 1] - levels[k]) * x
            begin = end

    def get_lr(self):
        if self.last_epoch >= self.total_steps:
            raise ValueRangeError(f"OneCycleLR: step {self.last_epoch + 1} of {self.total_steps}; "
                                  "the cycle is over")
        new, back = [], len(self.ends) == 3
        for group, top, (low_m, top_m) in zip(self.optimizer.param_groups, self.max_lrs,
                                              self.momenta, strict=True):
            start = top / self.div_factor
            end = start / self.final_div_factor
            new.append(self._between([start, top, start, end] if back else [start, top, end]))
            if self.cycle_momentum:
                m = self._between([top_m, low_m, top_m, top_m] if back else [top_m, low_m, top_m])
                if "betas" in group:
                    group["betas"] = (m, *group["betas"][1:])
                else:
                    group["momentum"] = m
        return new

    def step(self, epoch=None):
        """Move to the next step, or to `epoch`."""
        self.last_epoch = self.last_epoch if epoch is None else epoch - 1
        super().step()
