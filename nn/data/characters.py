"""Characters as tokens: a vocabulary, and windows of a token sequence to train a language model on.

A token id is the position of its character in the vocabulary's sorted characters; `encode` and
`decode` are inverse to each other, and both refuse what is outside the vocabulary.
"""

import operator

import numpy as np

from .dataset import Dataset, indexing
from .errors import EmptyDatasetError, VocabularyError
from .sampler import positive_int


class CharVocabulary:
    """The distinct characters of `text`, sorted by code point: ids 0 to len - 1."""

    def __init__(self, text):
        self.chars = "".join(sorted(set(text)))
        self._points = _code_points(self.chars)

    def __len__(self):
        return len(self.chars)

    def __repr__(self):
        return f"CharVocabulary({self.chars!r})"

    def encode(self, text):
        """Token ids of `text`: int64, shape (len(text),). Raises VocabularyError."""
        points = _code_points(text)
        ids = np.searchsorted(self._points, points)
        known = ids < len(self)
        known[known] = self._points[ids[known]] == points[known]
        if not known.all():
            at = int(np.argmin(known))
            raise VocabularyError(
                f"encode: {text[at]!r} at position {at} is none of the {len(self)} characters of "
                "the vocabulary; leave it out, or build the vocabulary from this text too")
        return ids.astype(np.int64, copy=False)

    def decode(self, ids):
        """The text of a sequence of token ids. Raises VocabularyError."""
        try:
            ids = np.asarray(ids)
        except ValueError as e:
            raise VocabularyError(f"decode: expected a 1-d sequence of integers: {e}") from e
        if ids.size == 0:
            return ""
        if ids.dtype.kind not in "iu" or ids.ndim > 1:
            raise VocabularyError(f"decode: expected a 1-d sequence of integers, got {ids.dtype} "
                                  f"of shape {ids.shape}; decode one sequence at a time")
        ids = ids.reshape(-1)
        bad = (ids < 0) | (ids >= len(self))
        if bad.any():
            raise VocabularyError(f"decode: expected ids in [0, {len(self)}), got {ids[bad][0]} "
                                  f"at position {int(np.argmax(bad))}")
        return self._points[ids].tobytes().decode("utf-32-le", "surrogatepass")


class CharDataset(Dataset):
    """Windows (x, y) of a token sequence, y one token ahead: `x = t[s:s+block]`,
    `y = t[s+1:s+block+1]` with `s = index * stride`; int64, shape (block,).

    `stride=1` gives every window, `stride=block` disjoint ones. A batch is gathered at once.

    Raises EmptyDatasetError when there are fewer than block + 1 tokens.
    """

    def __init__(self, tokens, block, stride=1):
        self.tokens = np.asarray(tokens)
        self.block = positive_int("CharDataset: block", block)
        self.stride = positive_int("CharDataset: stride", stride)
        if self.tokens.ndim != 1 or self.tokens.dtype.kind not in "iu":
            raise VocabularyError(f"CharDataset: expected a 1-d array of integer tokens, got "
                                  f"{self.tokens.dtype} of shape {self.tokens.shape}; encode first")
        if len(self.tokens) <= block:
            raise EmptyDatasetError(f"CharDataset: expected at least block + 1 = {block + 1} "
                                    f"tokens, got {len(self.tokens)}; use a smaller block")
        windows = np.lib.stride_tricks.sliding_window_view(self.tokens, block + 1)
        self._windows = windows[::self.stride]   # a view: no copy of the tokens

    def __len__(self):
        return len(self._windows)

    def __getitem__(self, index):
        with indexing("CharDataset", index, len(self)):
            window = self._windows[operator.index(index)].astype(np.int64)
        return window[:-1], window[1:]

    def gather(self, indices):
        """(inputs, targets) of several windows at once."""
        with indexing("CharDataset", indices, len(self)):
            windows = self._windows[indices].astype(np.int64, copy=False)
        return np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])


def _code_points(text):
    if not isinstance(text, str):
        raise VocabularyError(f"expected text as a str, got {type(text).__name__}")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
