"""Rows of a table by index, and the gradient that comes back by index.

Invariant: the gradient is spread over the whole table only when somebody needs it dense; added to
one that exists already, it costs what its rows cost.
"""

import math

import numpy as np

from ..errors import ArgumentError, DtypeError, IndexRangeError, ShapeError, ValueRangeError
from ..infer import need_float
from ..op import Deferred, Plan, op, registry
from ..samples import Bad, Sample


class RowsGradient(Deferred):
    """Gradient of a table: rows `g` to be added at `indices`."""

    def __init__(self, g, indices, rows, padding_idx):
        self.g, self.indices, self.rows, self.padding_idx = g, indices, rows, padding_idx

    def dense(self):
        return embedding_backward(self.g, self.indices, self.rows, self.padding_idx)

    def add_into(self, buffer):
        index_add_rows_(buffer, self.indices, self.g, self.padding_idx)


def check_indices(name, indices):
    if indices.dtype.kind not in "iu":
        raise DtypeError(f"{name}: indices must be integers, got {indices.dtype}")


def padding_code(name, padding_idx, rows):
    """The padding row as the kernel reads it: -1 for none."""
    if padding_idx is None:
        return -1
    if isinstance(padding_idx, bool) or not hasattr(padding_idx, "__index__"):
        raise ArgumentError(f"{name}: padding_idx must be an integer or None, got "
                            f"{padding_idx!r}")
    if not -rows <= padding_idx < rows:
        raise ValueRangeError(f"{name}: padding_idx {padding_idx} is out of range for {rows} rows")
    return int(padding_idx) % rows


def embedding_infer(weight, indices, padding_idx):
    need_float("embedding", weight=weight)
    check_indices("embedding", indices)
    if not weight.shape:
        raise ShapeError("embedding: weight must have at least 1 dimension, got a scalar")
    padding = padding_code("embedding", padding_idx, weight.shape[0])
    return Plan([(indices.shape + weight.shape[1:], weight.dtype)],
                attrs=(None if padding < 0 else padding,))


def check_rows(name, g, indices):
    """g is one row (of any shape) for each index."""
    need_float(name, g=g)
    check_indices(name, indices)
    if g.shape[:len(indices.shape)] != indices.shape:
        raise ShapeError(f"{name}: g of shape {g.shape} does not begin with the indices' shape "
                         f"{indices.shape}")
    return g.shape[len(indices.shape):]


def embedding_backward_infer(g, indices, rows, padding_idx):
    row = check_rows("embedding_backward", g, indices)
    if isinstance(rows, bool) or not hasattr(rows, "__index__"):
        raise ArgumentError(f"embedding_backward: rows must be an integer, got {rows!r}")
    rows = rows.__index__()
    padding = padding_code("embedding_backward", padding_idx, rows)
    return Plan([((rows, *row), g.dtype)], ia=(int(rows), padding))


def index_add_rows_infer(x, indices, g, padding_idx):
    row = check_rows("index_add_rows_", g, indices)
    if x.shape[1:] != row or not x.shape or x.dtype != g.dtype:
        raise ShapeError(f"index_add_rows_: rows {g.dtype} {row} do not fit x, {x.dtype} "
                         f"{x.shape}")
    return Plan([], ia=(padding_code("index_add_rows_", padding_idx, x.shape[0]),))


def embedding_vjp(g, needs, indices, padding_idx, weight_shape):
    return RowsGradient(g, indices, weight_shape[0], padding_idx), None


def embedding_jvp(dweight, indices):
    return embedding(dweight, indices)


def embedding_backward_vjp(u, needs, indices, padding_idx, g_shape):
    """The rows of u that the rows of g were added to; none for the padding row."""
    dg = embedding(u, indices)
    if padding_idx is not None:
        keep = registry["not_equal"].call(indices, padding_idx)
        keep = keep.reshape(indices.shape + (1,) * (len(g_shape) - len(indices.shape)))
        dg = registry["where"].call(keep, dg, 0.0)
    return dg, None


def embedding_backward_jvp(dg, indices, rows, padding_idx):
    return embedding_backward(dg, indices, rows, padding_idx)


def embedding_samples(draw):
    w = draw.normal(5, 3)
    return [Sample(w, draw.ints(0, 5, 4)), Sample(w, np.array(2)),
            Sample(w, draw.ints(0, 5, 2, 3).astype(np.int32)), Sample(w, np.array([1, 1, 1])),
            Sample(w, draw.ints(0, 5, 0)), Sample(draw.normal(4), draw.ints(0, 4, 3)),
            Sample(draw.normal(4, 2, 2), draw.ints(0, 4, 3))]


def embedding_bad(draw):
    w = draw.normal(5, 3)
    return [Bad(IndexRangeError, "out of range", w, np.array([0, 5])),
            Bad(IndexRangeError, "out of range", w, np.array([-1])),
            Bad(DtypeError, "indices must be integers", w, draw.normal(2)),
            Bad(ValueRangeError, "padding_idx", w, np.array([0]), padding_idx=5)]


def backward_samples(draw):
    i = np.array([1, 4, 1, 0])
    return [Sample(draw.normal(4, 3), i, 5), Sample(draw.normal(4, 3), i, 5, 1),
            Sample(draw.normal(4), i, 5), Sample(draw.normal(0, 3), draw.ints(0, 5, 0), 5),
            Sample(draw.normal(3), np.array(2), 4)]


def backward_bad(draw):
    return [Bad(ShapeError, "does not begin", draw.normal(3, 2), np.array([0, 1]), 5),
            Bad(IndexRangeError, "out of range", draw.normal(2, 2), np.array([0, 5]), 5)]


def add_samples(draw):
    i = np.array([1, 4, 1, 0])
    return [Sample(draw.normal(5, 3), i, draw.normal(4, 3), check_grad=False),
            Sample(draw.normal(5, 3), i, draw.normal(4, 3), 4, check_grad=False),
            Sample(draw.normal(5, 3), draw.ints(0, 5, 0), draw.normal(0, 3), check_grad=False)]


def add_bad(draw):
    return [Bad(ShapeError, "do not fit", draw.normal(5, 2), np.array([0]), draw.normal(1, 3)),
            Bad(IndexRangeError, "out of range", draw.normal(5, 3), np.array([9]),
                draw.normal(1, 3))]


embedding = op(
    "embedding", "weight indices", "Rows of a table by index; padding_idx names the row whose "
    "gradient stays zero.", formula="weight[indices]", attrs={"padding_idx": None},
    kernel="embedding", infer=embedding_infer, saves={"weight": "indices"}, vjp=embedding_vjp,
    jvp=embedding_jvp, method=False, flops=lambda plan, *inputs, **attrs: 0,
    samples=embedding_samples, bad=embedding_bad)

embedding_backward = op(
    "embedding_backward", "g indices", "Sum of rows by index in a table of zeros.",
    formula="zeros(rows)[indices] += g", attrs={"rows": 0, "padding_idx": None},
    kernel="embedding_backward", infer=embedding_backward_infer, saves={"g": "indices"},
    vjp=embedding_backward_vjp, jvp=embedding_backward_jvp, method=False,
    flops=lambda plan, g, *inputs, **attrs: math.prod(g.shape), samples=backward_samples,
    bad=backward_bad)

index_add_rows_ = op(
    "index_add_rows_", "x indices g", "Add rows at their indices, in place.",
    formula="x[indices] += g", attrs={"padding_idx": None}, outputs="", writes="x",
    kernel="index_add_rows_", infer=index_add_rows_infer, method=False,
    flops=lambda plan, x, indices, g, **attrs: math.prod(g.shape), samples=add_samples,
    bad=add_bad)
