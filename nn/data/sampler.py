"""Samplers: in which order the indices of a data set are visited, and how they are batched.

A random order is drawn from a `numpy.random.Generator` in one piece when iteration starts, so that
the order depends on the seed alone and never on who consumes it, how fast, or on which thread.
"""

import operator
import sys
from itertools import islice

import numpy as np

from .errors import BatchSizeError, EmptyDatasetError, LoaderArgumentError


def as_generator(generator=None, seed=None):
    """A `numpy.random.Generator` from one (shared, not copied), an integer, or fresh entropy.

    Raises LoaderArgumentError when both are given or `generator` is of another type.
    """
    if generator is not None and seed is not None:
        raise LoaderArgumentError("expected generator or seed, got both: give one of them")
    given = seed if generator is None else generator
    if isinstance(given, np.random.Generator):
        return given
    if given is None or (isinstance(given, (int, np.integer)) and given >= 0):
        return np.random.default_rng(given)
    raise LoaderArgumentError(
        f"generator: expected a numpy.random.Generator or an integer seed >= 0, got {given!r}; "
        "make one with numpy.random.default_rng(seed)")


def positive_int(name, value, error=LoaderArgumentError):
    """`value` as an int >= 1, or `error` naming the argument."""
    try:
        number = 0 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise error(f"{name}: expected an integer >= 1, got {value!r} ({type(value).__name__})")
    return number


class Sampler:
    """Base class: `__iter__` yields indices, `__len__` says how many."""

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")

    def state_dict(self):
        """What is needed to continue the sequence of epochs; nothing, unless a subclass says so."""
        return {}

    def load_state_dict(self, state):
        """Take up a state that `state_dict` gave."""


class SequentialSampler(Sampler):
    """Indices 0, 1, ..., len(data_source) - 1, in order."""

    def __init__(self, data_source):
        self.data_source = data_source
        len(data_source)                    # a source without a length fails here, not later

    def __iter__(self):
        return iter(range(len(self.data_source)))

    def __len__(self):
        return len(self.data_source)


class RandomSampler(Sampler):
    """Indices in random order, a new one each epoch.

    Without `replacement`, permutations of the data set, as many (the last one cut) as give
    `num_samples` indices (default: len(data_source)); with it, independent uniform draws.
    `state_dict()` taken between epochs and loaded elsewhere continues with the same orders.

    Raises EmptyDatasetError for an empty data set, LoaderArgumentError for a bad `num_samples`.
    """

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None, *,
                 seed=None):
        if len(data_source) == 0:
            raise EmptyDatasetError(
                "RandomSampler: expected at least one sample, got an empty data set; "
                "check the path, filter or split that made it")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = None if num_samples is None else positive_int("num_samples",
                                                                          num_samples)
        self.generator = as_generator(generator, seed)

    @property
    def num_samples(self):
        """How many indices an epoch gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self):
        n, count = len(self.data_source), self.num_samples
        if self.replacement:
            order = self.generator.integers(n, size=count)
        else:
            rounds = -(-count // n)
            order = np.concatenate([self.generator.permutation(n) for _ in range(rounds)])[:count]
        return iter(order.tolist())

    def __len__(self):
        return self.num_samples

    def state_dict(self):
        return {"generator": self.generator.bit_generator.state}

    def load_state_dict(self, state):
        self.generator.bit_generator.state = state["generator"]


class BatchSampler(Sampler):
    """Lists of `batch_size` indices from `sampler`; the last may be shorter, or is dropped.

    Raises BatchSizeError unless `batch_size` is an integer >= 1.
    """

    def __init__(self, sampler, batch_size, drop_last=False):
        self.sampler = sampler
        self.batch_size = positive_int("batch_size", batch_size, BatchSizeError)
        self.drop_last = bool(drop_last)
        if not hasattr(sampler, "__iter__"):
            raise LoaderArgumentError(f"BatchSampler: sampler must yield indices, got {sampler!r}")

    def __iter__(self):
        return self._batches(iter(self.sampler))  # draws the order now, not at the first batch

    def _batches(self, indices):
        while batch := list(islice(indices, min(self.batch_size, sys.maxsize))):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self):
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def state_dict(self):
        return self.sampler.state_dict() if hasattr(self.sampler, "state_dict") else {}

    def load_state_dict(self, state):
        if hasattr(self.sampler, "load_state_dict"):
            self.sampler.load_state_dict(state)
