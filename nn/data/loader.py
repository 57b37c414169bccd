"""DataLoader: batches of a data set, in order or shuffled, optionally prepared ahead by a thread.

The order of the batches is a function of the data set, the arguments and the seed: the fast path
(a batch in one indexing operation) and prefetching change only the time it takes.
"""

import warnings

import numpy as np

from .collate import default_collate, to_tensors
from .dataset import IterableDataset, gather_of, indexing
from .errors import BatchSizeError, EmptyDatasetError, LoaderArgumentError, StreamError
from .prefetch import prefetch as prefetched
from .sampler import BatchSampler, RandomSampler, SequentialSampler, positive_int


class DataLoader:
    """Iterate over `dataset` in batches; each `iter()` is one epoch.

    dataset: anything with `__getitem__` and `__len__`, a numpy array, or an IterableDataset.
    batch_size: samples a batch; None yields single samples, not collated.
    shuffle: a new random order each epoch, from `generator` (numpy.random.Generator or an int) or
        `seed`; without either, from fresh entropy.
    sampler, batch_sampler: iterables of indices, or of lists of indices, instead.
    drop_last: leave out the last batch if it is short.
    collate_fn: from a list of samples to a batch (default: `default_collate`). Without one, array
        data sets are indexed a batch at a time.
    prefetch: number of batches made ahead by a background thread (0: none).

    `state_dict()` within or between epochs and `load_state_dict()` continue after the last batch
    yielded, with the same order, without loading the batches skipped.

    Raises EmptyDatasetError, BatchSizeError, LoaderArgumentError (which arguments exclude which).
    """

    def __init__(self, dataset, batch_size=1, shuffle=False, sampler=None, batch_sampler=None, *,
                 drop_last=False, collate_fn=None, generator=None, seed=None, prefetch=0):
        _check_kinds(dataset, shuffle, sampler, batch_sampler, drop_last, collate_fn)
        self.dataset = dataset
        self.drop_last = bool(drop_last)
        self.prefetch = _count("prefetch", prefetch)
        self._stream = isinstance(dataset, IterableDataset)
        _refuse_conflicts(self._stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if not self._stream and len(dataset) == 0:
            raise EmptyDatasetError(
                "DataLoader: expected at least one sample, got an empty data set; "
                "check the path, filter or split that made it")
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            batch_size = positive_int("DataLoader: batch_size", batch_size, BatchSizeError)
        self.batch_size = batch_size
        self.sampler, self.batch_sampler = sampler, batch_sampler
        if not self._stream and batch_sampler is None:
            if sampler is None:
                self.sampler = (RandomSampler(dataset, generator=generator, seed=seed) if shuffle
                                else SequentialSampler(dataset))
            if batch_size is not None:
                self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self._batched = batch_size is not None or batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if self._batched else to_tensors)
        self._gather = gather_of(dataset) if collate_fn is None and self._batched else None
        self._epoch = None     # (state of the sampler when the epoch began, batches yielded)
        self._skip = 0
        self._begun = 0        # epochs begun
        if self.drop_last and not self._stream and _length(self) == 0:
            warnings.warn(f"DataLoader: drop_last leaves no batch: batch_size {self.batch_size} is "
                          f"larger than the {len(self.sampler)} samples", stacklevel=2)

    def __iter__(self):
        skip, self._skip = self._skip, 0
        if hasattr(self.dataset, "set_epoch"):      # random transforms: new ones each epoch
            self.dataset.set_epoch(self._begun)
        self._begun += 1
        self._epoch = epoch = [self._sampler_state(), skip]
        # The order is drawn here, on the caller's thread: the worker never touches the generator.
        batches = self._stream_batches() if self._stream else map(self._load, self._indices(skip))
        return self._run(batches, epoch)

    def __len__(self):
        length = _length(self)
        if length is None:
            raise StreamError("DataLoader: an IterableDataset without __len__ has no number of "
                            "batches")
        return length

    def state_dict(self):
        """Sampler state, number of the epoch under way (between epochs: of the next one), and of
        batches yielded in it."""
        state, done = self._epoch or (self._sampler_state(), self._skip)
        return {"sampler": state, "epoch": self._begun - (self._epoch is not None),
                "batches": done}

    def load_state_dict(self, state):
        """Continue from `state` at the next `iter()`.

        Raises LoaderArgumentError within a stream, which cannot be positioned.
        """
        skip = _count("batches", state["batches"])
        if self._stream and skip:
            raise LoaderArgumentError("DataLoader: a stream can't be continued within an epoch; "
                                      "save its state between epochs")
        source = self._order()
        if hasattr(source, "load_state_dict"):
            source.load_state_dict(state["sampler"])
        self._epoch, self._skip = None, skip
        self._begun = _count("epoch", state.get("epoch", 0))

    def _run(self, batches, epoch):
        if self.prefetch:
            batches = prefetched(iter(batches), self.prefetch)
        try:
            for batch in batches:
                epoch[1] += 1  # counted before the yield: a state saved in the loop's body has it
                yield batch
        finally:
            if self.prefetch:
                batches.close()
        if self._epoch is epoch:
            self._epoch = None

    def _order(self):
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _sampler_state(self):
        source = self._order()
        return source.state_dict() if hasattr(source, "state_dict") else {}

    def _indices(self, skip):
        indices = iter(self._order())
        for _ in range(skip):
            next(indices, None)
        return indices

    def _load(self, index):
        if not self._batched:
            return self.collate_fn(self.dataset[index])
        if self._gather is not None:
            with indexing("DataLoader", index, len(self.dataset)):
                index = np.asarray(index, dtype=np.int64)
            return to_tensors(self._gather(index))
        if hasattr(self.dataset, "__getitems__"):
            return self.collate_fn(self.dataset.__getitems__(index))
        return self.collate_fn([self.dataset[i] for i in index])

    def _stream_batches(self):
        samples = iter(self.dataset)
        if not self._batched:
            return map(self.collate_fn, samples)
        chunks = BatchSampler(samples, self.batch_size, self.drop_last)
        return map(self.collate_fn, chunks)


def _length(loader):
    if not loader._stream:
        return len(loader._order())
    if not hasattr(loader.dataset, "__len__"):
        return None
    n = len(loader.dataset)
    return n if not loader._batched else len(
        BatchSampler(range(n), loader.batch_size, loader.drop_last))


def _count(name, value):
    return 0 if value == 0 and value is not False else positive_int(f"DataLoader: {name}", value)


def _check_kinds(dataset, shuffle, sampler, batch_sampler, drop_last, collate_fn):
    """LoaderArgumentError for an argument of the wrong kind."""
    if not isinstance(dataset, IterableDataset) and not (
            hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise LoaderArgumentError("DataLoader: dataset must have __len__ and __getitem__, or be an "
                                  f"IterableDataset, got {type(dataset).__name__}")
    for name, value in (("shuffle", shuffle), ("drop_last", drop_last)):
        if value is not None and not isinstance(value, (bool, int, np.bool_)):
            raise LoaderArgumentError(f"DataLoader: {name} must be a bool, got {value!r}")
    for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None and (isinstance(value, (str, bytes))
                                  or not hasattr(value, "__iter__")):
            raise LoaderArgumentError(f"DataLoader: {name} must yield indices, got {value!r}")
    if collate_fn is not None and not callable(collate_fn):
        raise LoaderArgumentError(f"DataLoader: collate_fn must be a function of a list of "
                                  f"samples, got {collate_fn!r}")


def _refuse_conflicts(stream, batch_size, shuffle, sampler, batch_sampler, drop_last):
    if stream and (shuffle or sampler is not None or batch_sampler is not None):
        raise LoaderArgumentError(
            "DataLoader: an IterableDataset sets its own order: leave out shuffle, sampler and "
            "batch_sampler, and shuffle inside the data set")
    if sampler is not None and shuffle:
        raise LoaderArgumentError("DataLoader: expected sampler or shuffle=True, got both; "
                                  "a sampler already sets the order")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None
                                      or drop_last):
        raise LoaderArgumentError(
            "DataLoader: batch_sampler already sets batch_size, shuffle, sampler and drop_last: "
            "leave them out")
    if batch_size is None and drop_last:
        raise LoaderArgumentError("DataLoader: drop_last needs a batch_size, got batch_size=None")
