"""The named errors of `nn.data`.

All of them are `ValueError`s under one base, `DataError`, so that one `except` catches a bad data
set, loader or file. A message says what was expected, what was got, and what to do about it.
"""


from autodiff.errors import AutodiffError


class DataError(AutodiffError, ValueError):
    """Base of every error that `nn.data` raises by itself."""


class EmptyDatasetError(DataError):
    """A data set holds no samples where at least one is needed."""


class LengthMismatchError(DataError):
    """Arrays that must pair up sample by sample differ in length."""


class DatasetIndexError(DataError, IndexError):
    """An index is no integer, or lies outside the data set."""


class SplitError(DataError):
    """The lengths given to `random_split` do not cover the data set."""


class BatchSizeError(DataError):
    """A batch size is not a positive integer."""


class LoaderArgumentError(DataError):
    """Arguments of a sampler or a loader exclude one another, or are out of range."""


class StreamError(DataError, TypeError):
    """A stream of samples is asked for an index or a length that it does not have."""


class CollateError(DataError):
    """Samples of one batch differ in shape, keys or number of fields."""


class VocabularyError(DataError):
    """A character or token id is outside the vocabulary."""


class DataFileError(DataError):
    """A data file is truncated, damaged, hostile or of another format."""


class ChecksumError(DataFileError):
    """The content of a file is not the content whose SHA-256 was pinned."""


class DataNotFoundError(DataFileError, FileNotFoundError):
    """A data set that is not shipped is not installed either; the text says how to get it."""
