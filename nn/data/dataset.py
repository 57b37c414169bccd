"""Data sets: things with samples to index (`Dataset`) or to iterate over (`IterableDataset`).

A data set held in arrays may also define `gather(indices)`, one whole batch in one indexing
operation; it must equal collating `self[i]` for each index, and always returns fresh memory.
"""

import math
import operator
from bisect import bisect_right
from contextlib import contextmanager
from itertools import accumulate

import numpy as np

from .errors import (
    DataError,
    DatasetIndexError,
    EmptyDatasetError,
    LengthMismatchError,
    SplitError,
    StreamError,
)
from .sampler import as_generator


@contextmanager
def indexing(name, index, n):
    """NumPy's errors about an index as DatasetIndexError."""
    try:
        yield
    except (IndexError, TypeError, ValueError) as e:
        if isinstance(e, DataError):
            raise
        raise DatasetIndexError(f"{name}: expected an index in [-{n}, {n}), or a slice or an array "
                                f"of them, got {index!r:.60}") from e


class Dataset:
    """Base class: `__getitem__(index)` gives one sample, `__len__` their number."""

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __add__(self, other):
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base class of a stream of samples: `__iter__` only; each epoch is a new iterator."""

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")

    def __getitem__(self, index):
        raise StreamError(f"{type(self).__name__} is a stream: iterate over it, it has no index")


class TensorDataset(Dataset):
    """Samples from arrays or tensors of equal first dimension: `ds[i] == (a[i], b[i], ...)`.

    They are held as numpy arrays, without a copy, in `.tensors`.

    Raises LengthMismatchError when first dimensions differ or an array has none.
    """

    def __init__(self, *tensors):
        self.tensors = tuple(_as_array(t) for t in tensors)
        if not self.tensors:
            raise LengthMismatchError("TensorDataset: expected at least one array, got none")
        shapes = [a.shape for a in self.tensors]
        if any(not s for s in shapes) or len({s[0] for s in shapes}) > 1:
            raise LengthMismatchError(
                f"TensorDataset: expected arrays with the same first dimension, got {shapes}; "
                "the first axis of each array must count the samples")

    def __getitem__(self, index):
        with indexing("TensorDataset", index, len(self)):
            return tuple(a[index] for a in self.tensors)

    def __len__(self):
        return len(self.tensors[0])

    def gather(self, indices):
        """Several samples at once, an array for each field."""
        with indexing("TensorDataset", indices, len(self)):
            return tuple(a[indices] for a in self.tensors)


class Subset(Dataset):
    """The samples of `dataset` at `indices`, in that order.

    Raises DatasetIndexError when an index is no integer or out of range.
    """

    def __init__(self, dataset, indices):
        self.dataset = dataset
        self.indices = _checked_indices(indices, len(dataset))

    def __getitem__(self, index):
        with indexing("Subset", index, len(self)):
            place = int(self.indices[index])
        return self.dataset[place]

    def __len__(self):
        return len(self.indices)

    @property
    def gather(self):
        """The function that fetches several samples at once, where the data set has one."""
        inner = gather_of(self.dataset)
        if inner is None:
            raise AttributeError("gather: the underlying data set has none")
        return lambda indices: inner(self.indices[indices])

    def set_epoch(self, epoch):
        """Tell the underlying data set which epoch begins, if it asks."""
        tell_epoch(self.dataset, epoch)


class ConcatDataset(Dataset):
    """Data sets one after another.

    Raises EmptyDatasetError when given none, TypeError when one is an IterableDataset.
    """

    def __init__(self, datasets):
        self.datasets = list(datasets)
        if not self.datasets:
            raise EmptyDatasetError("ConcatDataset: expected at least one data set, got none")
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise StreamError("ConcatDataset: an IterableDataset has no length; chain "
                                  "iterators")
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index):
        n = len(self)
        with indexing("ConcatDataset", index, n):
            index = operator.index(index)
        if not -n <= index < n:
            raise DatasetIndexError(f"ConcatDataset: expected an index in [-{n}, {n}), got {index}")
        index = index % n
        which = bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self):
        return self.cumulative_sizes[-1]

    def set_epoch(self, epoch):
        """Tell each data set which epoch begins, if it asks."""
        for d in self.datasets:
            tell_epoch(d, epoch)


def random_split(dataset, lengths, generator=None, *, seed=None):
    """Disjoint random `Subset`s of the given lengths, which together cover `dataset`.

    `lengths` are counts that sum to len(dataset), or fractions that sum to 1 (each rounded down,
    what remains handed out one each from the first). The same seed gives the same split.

    Raises SplitError when the lengths do not fit.
    """
    n, counts = len(dataset), list(lengths)
    if not counts or any(not 0 <= c < math.inf for c in counts):
        raise SplitError(f"random_split: expected one or more lengths >= 0, got {counts}")
    if any(not float(c).is_integer() for c in counts) or (sum(counts) == 1 and n != 1):
        if not math.isclose(sum(counts), 1):
            raise SplitError(
                f"random_split: expected counts that sum to {n} or fractions that sum to 1, "
                f"got {counts}, which sum to {sum(counts)}")
        counts = [math.floor(n * c) for c in counts]
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
    if sum(counts) != n:
        raise SplitError(
            f"random_split: expected lengths that sum to {n}, the length of the data set, "
            f"got {counts}, which sum to {sum(counts)}")
    order = as_generator(generator, seed).permutation(n)
    ends = np.cumsum([int(c) for c in counts])
    return [Subset(dataset, part) for part in np.split(order, ends[:-1])]


def gather_of(dataset):
    """The function that gathers a whole batch from `dataset` at once, or None if it has none.

    A subclass that overrides `__getitem__` (an augmentation, say) below the class that defines
    `gather` must not be bypassed by the inherited one: it goes sample by sample.
    """
    if isinstance(dataset, np.ndarray) and dataset.ndim:
        return dataset.__getitem__
    for cls in type(dataset).__mro__:
        if "gather" in vars(cls):
            return getattr(dataset, "gather", None)
        if "__getitem__" in vars(cls):
            return None
    return None


def tell_epoch(dataset, epoch):
    """Call `set_epoch` of a data set that has one: its random transforms depend on it."""
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(epoch)


def _as_array(data):
    if hasattr(data, "detach"):
        return data.detach().numpy()
    array = np.asarray(data)
    if isinstance(data, (list, tuple)) and array.dtype == np.float64:
        return array.astype(np.float32)  # Python floats are float32; arrays keep their dtype
    return array


def _checked_indices(indices, n):
    indices = np.asarray(indices)
    if indices.size == 0:
        return np.zeros(0, dtype=np.int64)
    if indices.dtype.kind not in "iu" or indices.ndim != 1:
        raise DatasetIndexError(
            f"Subset: expected a 1-d sequence of integers, got {indices.dtype} of shape "
            f"{indices.shape}; turn a mask into indices with numpy.flatnonzero")
    low, high = int(indices.min()), int(indices.max())
    if low < -n or high >= n:
        raise DatasetIndexError(
            f"Subset: expected indices in [-{n}, {n}), got {low if low < -n else high}")
    return indices.astype(np.int64)
