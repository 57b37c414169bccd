"""Data: data sets, samplers and loaders under PyTorch's names, file readers, small real data sets.

Everything here is numpy; batches become the engine's tensors in one place, `default_collate`.
"""

from autodiff.guard import exported as _exported

from ..porting import ported as _ported
from ..public import public as _public
from . import transforms
from .characters import CharDataset, CharVocabulary
from .collate import default_collate, numpy_collate, to_tensors
from .dataset import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from .errors import (
    BatchSizeError,
    ChecksumError,
    CollateError,
    DataError,
    DataFileError,
    DataNotFoundError,
    DatasetIndexError,
    EmptyDatasetError,
    LengthMismatchError,
    LoaderArgumentError,
    SplitError,
    StreamError,
    VocabularyError,
)
from .files import read_idx, read_text
from .loader import DataLoader
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from .sets import LabelledData, TextData, autompg, digits, fashion_mnist, text

__all__ = _public(globals(), "transforms")

for _value in (BatchSampler, CharDataset, CharVocabulary, ConcatDataset, RandomSampler,
               SequentialSampler, Subset, TensorDataset):
    _value.__init__ = _exported(_value.__init__, _value.__name__)
DataLoader.__init__ = _ported(DataLoader.__init__, "DataLoader")
fashion_mnist, random_split, text = map(_exported, (fashion_mnist, random_split, text))
