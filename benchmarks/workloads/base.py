"""Workload: what the lab must know of a model to train it, judge it and measure it.

A subclass states its sizes as class attributes; `Workload(steps=20, ...)` overrides any of them.
Invariant: a run is a function of the attributes and the seed alone.
"""

import itertools
import math
from typing import NamedTuple

import nn.data
import nn.functional as F


class Goal(NamedTuple):
    """What a metric should reach: at least (or at most, `least=False`) `value`."""

    metric: str
    value: float
    least: bool = True

    def met(self, metrics):
        got = metrics[self.metric]
        return got >= self.value if self.least else got <= self.value


class Workload:
    """A model with its data. Subclasses define `model`, `dataset`, `loss` and `evaluate`."""

    name = ""               # on the command line and in the report
    title = ""              # model and data in a few words
    full = False            # only with --full
    batch_size = 32
    epochs = None           # training length: epochs, or
    steps = None            # steps
    seeds = 1               # how many training runs the metrics are the mean of
    lr = 1e-3
    warmup = 0              # steps of linearly growing learning rate
    goal = None             # a Goal

    def __init__(self, **options):
        for key, value in options.items():
            if key.startswith("_") or not hasattr(type(self), key):
                raise TypeError(f"{type(self).__name__}: no option {key!r}")
            setattr(self, key, value)

    # What a subclass defines

    def dataset(self):
        """The training part, a data set of (x, y)."""
        raise NotImplementedError

    def model(self):
        """A new model, initialised from the engine's random state."""
        raise NotImplementedError

    def optimizer(self, model):
        """A new optimizer over the model's parameters."""
        return nn.optim.Adam(model.parameters(), lr=self.lr)

    def loss(self, output, y):
        """The scalar to minimise."""
        return F.cross_entropy(output, y)

    def evaluate(self, model):
        """{metric: float} of the model, already in eval mode, on data it was not trained on."""
        raise NotImplementedError

    def sample(self, model, seed):
        """Something the trained model generates, as text; None for models that do not."""
        return None

    # What the lab uses

    def loader(self, seed):
        """Batches of the training part in random order; short ones are left out."""
        return nn.data.DataLoader(self.dataset(), batch_size=self.batch_size, shuffle=True,
                                  drop_last=True, seed=seed)

    def batches(self, seed):
        """`total_steps` batches, epoch after epoch."""
        loader = self.loader(seed)
        endless = itertools.chain.from_iterable(iter(loader) for _ in itertools.count())
        return itertools.islice(endless, self.total_steps)

    @property
    def total_steps(self):
        """Training steps of one run."""
        return self.steps or self.epochs * (len(self.dataset()) // self.batch_size)

    def lr_at(self, step):
        """Learning rate of a step: linear warm-up, then half a cosine to a tenth.

        (Loshchilov and Hutter, SGDR, arXiv:1608.03983, without restarts.)
        """
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.total_steps - self.warmup)
        return self.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
