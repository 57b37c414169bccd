"""Twins of embedding and of its gradient, dense and added in place.

Invariant: an index outside the table raises IndexError; rows with index `padding` (-1: none) get
no gradient.
"""

import numpy as np


def _check(indices, rows):
    wrong = (indices < 0) | (indices >= rows)
    if wrong.any():
        raise IndexError(f"index {indices[wrong].flat[0]} is out of range for {rows} rows")


def embedding(weight, indices):
    """weight[indices]."""
    _check(indices, weight.shape[0])
    return weight[indices]


def embedding_backward(g, indices, rows, padding):
    """Sum of the rows of g by index, in a table of `rows` rows."""
    table = np.zeros((rows, *g.shape[indices.ndim:]), g.dtype)
    return index_add_rows_(table, indices, g, padding)


def index_add_rows_(x, indices, g, padding):
    """x with each row of g added at its index."""
    _check(indices, x.shape[0])
    x = x.copy()
    kept = indices != padding
    np.add.at(x, indices[kept], g[kept])
    return x
