"""Averages of a model's weights along its training.

Invariant: the averaged model is a copy of its own; the trained one is read, never written.
"""

import copy

import autodiff as ad
from autodiff.dry import guessed

from ..errors import ArgumentError, ValueRangeError
from ..module import Module

__all__ = ["AveragedModel", "get_ema_avg_fn"]


class AveragedModel(Module):
    """A copy of `model` whose parameters are the average of those it was shown.

    Call update_parameters(model) after each step. avg_fn(averaged, new, count) says how: the mean
    of all by default, get_ema_avg_fn(decay) for the exponential average. Buffers are copied, or
    averaged alike with use_buffers. Izmailov et al. (2018).
    """

    def __init__(self, model, *, avg_fn=None, use_buffers=False):
        super().__init__()
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", ad.tensor(0))
        self.use_buffers = use_buffers
        self.avg_fn = _mean if avg_fn is None else avg_fn

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def update_parameters(self, model):
        """Take the present parameters of `model` into the average."""
        own, new = self.module.state_dict(), model.state_dict()
        if list(own) != list(new):
            raise ArgumentError("AveragedModel: update_parameters got another model than it was "
                                "made of")
        # A dry run does not know the count, and takes it that this update is not the first.
        count = (1 if guessed("update_parameters", self.n_averaged)
                 else self.n_averaged.item())
        averaged = {name for name, _ in self.module.named_parameters()}
        with ad.no_grad():
            for name, mine in own.items():
                value = new[name]
                if count and mine.dtype.kind == "f" and (name in averaged or self.use_buffers):
                    value = self.avg_fn(mine, value, count)
                mine.copy_(value)
            ad.increment_(self.n_averaged)


def _mean(averaged, new, count):
    return averaged + (new - averaged) * (1 / (count + 1))


def get_ema_avg_fn(decay=0.999):
    """The exponential average: decay * averaged + (1 - decay) * new."""
    if not 0 <= decay <= 1:
        raise ValueRangeError(f"get_ema_avg_fn: decay must be in [0, 1], got {decay}")

    def ema(averaged, new, count):
        return averaged * decay + new * (1 - decay)
    return ema
