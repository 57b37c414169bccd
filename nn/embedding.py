"""Embedding: rows of a learned table by index.

Invariant: the gradient reaches the table by index, so rows that were not used cost nothing.
"""

import autodiff as ad

from . import init
from .errors import (
    ArgumentError,
    DtypeError,
    ShapeError,
    ValueRangeError,
    need_tensor,
    outside,
    positive_int,
    where,
)
from .module import Module
from .parameter import Parameter


class Embedding(Module):
    """weight[input]: integers of any shape to (*shape, embedding_dim); weight starts normal.

    padding_idx names a row that starts at zero and gets no gradient. Raises DtypeError for indices
    that are not integers, IndexRangeError for one outside the table.
    """

    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, *, dtype=None):
        super().__init__()
        self.num_embeddings = n = positive_int("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None:
            if not hasattr(padding_idx, "__index__"):
                raise ArgumentError(f"Embedding: padding_idx must be an integer, got "
                                    f"{padding_idx!r}")
            if not -n <= padding_idx < n:
                raise ValueRangeError(f"Embedding: padding_idx must be in [{-n}, {n}), got "
                                      f"{padding_idx}")
            padding_idx = padding_idx.__index__() % n
        self.padding_idx = padding_idx
        self.weight = Parameter(ad.empty((n, embedding_dim), dtype=dtype))
        self.reset_parameters()

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, padding_idx=None):
        """An Embedding whose table is a copy of `embeddings` (num_embeddings, embedding_dim)."""
        table = ad.tensor(embeddings)
        if table.ndim != 2:
            raise ShapeError(f"Embedding: embeddings must have 2 dimensions, got shape "
                             f"{table.shape}")
        layer = cls(*table.shape, padding_idx=padding_idx, dtype=table.dtype)
        layer.weight = Parameter(table, requires_grad=not freeze)
        return layer

    def reset_parameters(self, generator=None):
        """Draw the table anew."""
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            with ad.no_grad():
                self.weight[self.padding_idx] = 0.0

    def forward(self, input):
        if getattr(input, "dtype", None) is None or input.dtype.kind not in "iu":
            need_tensor("Embedding", input)
            raise DtypeError(f"Embedding: input must hold integers, got {input.dtype}; convert it "
                             f"with .astype(ad.int64){where()}")
        try:
            return ad.embedding(self.weight, input, self.padding_idx)
        except ad.IndexRangeError as error:
            found, n = outside(input, self.num_embeddings), self.num_embeddings
            if found is None:
                raise
            raise ad.IndexRangeError(
                f"Embedding: index {found[0]} at place {found[1]} is outside the table: indices "
                f"must be in [0, {n}); correct them, or make the table with more rows than "
                f"num_embeddings={n}{where()}") from error

    def extra_repr(self):
        pad = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{pad}"
