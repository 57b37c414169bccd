"""Linear maps, indexing and reshaping as functions.

Invariant: a reshape is a view where the engine can make one.
"""

import math

import autodiff as ad

from ..errors import ShapeError, need_tensor, where


def linear(input, weight, bias=None):
    """input @ weight.T + bias; input (..., I), weight (O, I), bias (O,)."""
    return ad.linear(input, weight, bias)


def embedding(input, weight, padding_idx=None):
    """weight[input]; the gradient of row `padding_idx` stays zero."""
    return ad.embedding(weight, input, padding_idx)


def one_hot(tensor, num_classes=-1):
    """1 at each index, 0 elsewhere: int64 of shape (*tensor.shape, num_classes)."""
    if tensor.is_dry:
        if num_classes == -1:
            raise ad.DryRunError.no_values("one_hot without num_classes", tensor)
    else:
        values = tensor.numpy()
        if num_classes == -1:
            num_classes = int(values.max()) + 1 if values.size else 1
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise ad.IndexRangeError(f"one_hot: indices must be in [0, {num_classes}), got "
                                     f"{values.min()} .. {values.max()}{where()}")
    eye = ad.arange(num_classes)
    return ad.astype(ad.expand_dims(tensor, -1) == eye, ad.int64)


def flatten(input, start_dim=0, end_dim=-1):
    """Axes start_dim .. end_dim as one."""
    need_tensor("flatten", input)
    n = input.ndim
    if n == 0:
        return input.reshape((1,))
    if not (-n <= start_dim < n and -n <= end_dim < n):
        raise ShapeError(f"flatten: axes {start_dim} .. {end_dim} are out of range for shape "
                         f"{input.shape}{where()}")
    first, last = start_dim % n, end_dim % n
    if first > last:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} for shape "
                         f"{input.shape}{where()}")
    shape = input.shape
    return input.reshape((*shape[:first], math.prod(shape[first:last + 1]), *shape[last + 1:]))


def unflatten(input, dim, sizes):
    """Axis `dim` as axes of the given sizes, of which one may be -1."""
    need_tensor("unflatten", input)
    if not -input.ndim <= dim < input.ndim:
        raise ShapeError(f"unflatten: axis {dim} is out of range for shape {input.shape}{where()}")
    k, sizes = dim % input.ndim, list(sizes)
    size, known = input.shape[k], math.prod(s for s in sizes if s != -1)
    if sizes.count(-1) == 1 and known and size % known == 0:
        sizes[sizes.index(-1)] = size // known
    if math.prod(sizes) != size or min(sizes, default=0) < 0:
        raise ShapeError(f"unflatten: axis {dim} of size {size} does not split into "
                         f"{tuple(sizes)}{where()}")
    return input.reshape((*input.shape[:k], *sizes, *input.shape[k + 1:]))
