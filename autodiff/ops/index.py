"""x[key] and x[key] = v for any key that NumPy takes, and functions that pick by index.

Keys of integers, slices, None and Ellipsis are views (slices.py). Keys with integer arrays or
masks come down to one flat index over neighbouring axes (gather.py). Invariant: results and the
order of their axes are NumPy's.
"""

from math import prod

import numpy as np

from .. import dtypes
from ..call import as_array
from ..errors import (
    ArgumentError,
    DryRunError,
    DtypeError,
    IndexRangeError,
    ShapeError,
    ValueRangeError,
)
from ..infer import broadcast_shape, normal_axis
from ..op import registry
from .gather import gather, ravel_index, scatter_
from .shape import copy, permute_dims, reshape
from .slices import basic_view, getitem, integer, setitem, slice_range

__all__ = ["nonzero", "take", "take_along_axis"]


def _is_array(k):
    return hasattr(k, "dtype") and hasattr(k, "shape") and not isinstance(k, np.generic) \
        or isinstance(k, list)


def getitem_key(x, key):
    """x[key] for any key that NumPy takes: what Tensor.__getitem__ calls."""
    if not isinstance(key, tuple):
        key = (key,)
    if not any(map(_is_array, key)):
        return getitem(x, key)
    key = _expand("getitem", x, key)
    arrays = [k for k, entry in enumerate(key) if _is_array(entry)]
    x = getitem(x, tuple(slice(None) if _is_array(k) else k for k in key))
    at = arrays[0]
    if arrays[-1] - at >= len(arrays):      # apart from each other: their axes go first
        rest = [k for k in range(len(x.shape)) if k not in arrays]
        x, at = permute_dims(x, (*arrays, *rest)), 0
    return gather(x, _flat([key[k] for k in arrays], x.shape[at:at + len(arrays)]), at,
                  len(arrays))


def setitem_key(x, key, value):
    """x[key] = value for any key that NumPy takes: what Tensor.__setitem__ calls."""
    if not isinstance(key, tuple):
        key = (key,)
    if not hasattr(value, "numpy"):
        value = _values(value, x.dtype)
    if hasattr(value, "_overlaps") and value._overlaps(x):
        value = copy(value)                 # it may overlap what is written
    if not any(map(_is_array, key)):
        region = basic_view("setitem", x, key)[1][0]
        return setitem(x, _trimmed(value, len(region)), key)
    if not hasattr(value, "numpy"):
        value = value.astype(x.dtype)
    elif value.dtype != x.dtype:
        value = registry["astype"].call(value, x.dtype)
    index, region, axis, axes = _flat_region(x, key)
    return scatter_(x, _trimmed(value, len(region)), index, axis, axes)


def _values(value, dtype):
    """Numbers, lists and arrays as an array; a Python number must fit the dtype it goes to."""
    array = as_array("setitem", value)
    if array.dtype.kind == "c":
        raise DtypeError(f"setitem: complex values do not fit {dtype}")
    if array.ndim == 0 and isinstance(value, int) and dtype.kind in "iu":
        info = np.iinfo(dtype)
        if not info.min <= value <= info.max:
            raise ValueRangeError(f"setitem: {value} does not fit {dtype}")
    return array.astype(dtype) if array.dtype not in dtypes.CODE else array


def _trimmed(value, ndim):
    """NumPy lets a value have more axes of size 1 in front than the region it goes to."""
    extra = len(getattr(value, "shape", ())) - ndim
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        return value.reshape(value.shape[extra:]) if isinstance(value, np.ndarray) \
            else reshape(value, value.shape[extra:])
    return value


def _flat(arrays, shape):
    """Index arrays as one flat index over axes of sizes `shape`."""
    return arrays[0] if len(arrays) == 1 else ravel_index(arrays, tuple(shape))


def _expand(name, x, key):
    """A key that holds arrays, with one entry for each axis (None: a new one), masks as indices."""
    entries, used = [], 0
    for k in key:
        if _is_array(k):
            k = _index_array(name, k)
            if k.dtype.kind == "b":
                if len(k.shape) == 0:
                    raise ArgumentError(f"{name}: a single bool is no index; use None, or a mask "
                                        "with axes")
                span = tuple(x.shape[used:used + len(k.shape)])
                if k.shape != span and not any(e is Ellipsis for e in key):
                    raise IndexRangeError(f"{name}: a mask of shape {k.shape} on the axes from "
                                          f"{used} on of shape {x.shape}")
                entries += [(k, d) for d in range(len(k.shape))]
                used += len(k.shape)
                continue
        elif isinstance(k, (bool, np.bool_)):
            raise ArgumentError(f"{name}: a single bool is no index; use None, or a mask with axes")
        if k is not None and k is not Ellipsis:
            used += 1
        entries.append(k)
    ndim = len(x.shape)
    if used > ndim:
        raise IndexRangeError(f"{name}: {used} indices for {ndim} dimensions of shape {x.shape}")
    dots = [k for k, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1:
        raise IndexRangeError(f"{name}: an index may hold one Ellipsis")
    at = dots[0] if dots else len(entries)
    entries[at:at + 1] = [slice(None)] * (ndim - used)
    return _resolve_masks(name, x, entries)


def _resolve_masks(name, x, entries):
    out, axis, found = [], 0, None
    for k in entries:
        if isinstance(k, tuple):            # axis k[1] of the mask k[0]
            mask, d = k
            if d == 0:
                span = tuple(x.shape[axis:axis + len(mask.shape)])
                if tuple(mask.shape) != span:
                    raise IndexRangeError(f"{name}: a mask of shape {mask.shape} does not fit "
                                          f"axes of shape {span}")
                found = nonzero(mask)
            k = found[d]
        elif k is not None and not isinstance(k, slice) and not _is_array(k):
            k = integer(name, k)           # beside arrays an integer is an array of one
            if not -x.shape[axis] <= k < x.shape[axis]:
                raise IndexRangeError(f"{name}: index {k} is out of range for axis {axis} of size "
                                      f"{x.shape[axis]}")
            k = np.asarray(k)
        axis += k is not None
        out.append(k)
    return out


def _index_array(name, k):
    if isinstance(k, list):
        k = as_array(name, k)
        if k.size == 0:
            k = k.astype(np.int64)
    if k.dtype.kind not in "biu":
        raise ArgumentError(f"{name}: an array used as an index must be of integers or bool, got "
                            f"{k.dtype}")
    return k


def _flat_region(x, key):
    """A key with arrays as one flat index, the region's shape, and the axes that it stands for.

    Slices among the arrays become index arrays: a write must reach x itself, not a permuted view.
    """
    key = _expand("setitem", x, key)
    arrays = [k for k, entry in enumerate(key) if _is_array(entry)]
    apart = arrays[-1] - arrays[0] >= len(arrays)
    full = [isinstance(k, slice) and k == slice(None) for k in key]
    first = 0 if apart else full.index(False)
    last = len(key) - full[::-1].index(False)
    common = broadcast_shape("setitem", *(np.shape(key[k]) if isinstance(key[k], np.ndarray)
                                          else tuple(key[k].shape) for k in arrays))
    # Axes of the result: the arrays' broadcast axes where they stand (in front where apart).
    before = [] if apart else list(range(first, arrays[0]))
    after = [k for k in range(first, last) if k not in arrays and k not in before]
    axis = sum(k is not None for k in key[:first])
    sizes, axis_of = {}, {}
    for k in range(first, last):
        if key[k] is None:
            sizes[k] = 1
        else:
            axis_of[k] = axis
            axis += 1
            if k not in arrays:
                sizes[k] = len(range(*slice_range("setitem", key[k], x.shape[axis_of[k]])))
    span = (*(sizes[k] for k in before), *common, *(sizes[k] for k in after))
    index, dims = [], []
    for k in range(first, last):
        if key[k] is None:
            continue
        n = x.shape[axis_of[k]]
        if k in arrays:
            i = key[k]
            i = reshape(i, (*i.shape, *(1,) * len(after))) if not isinstance(i, np.ndarray) \
                else i.reshape((*i.shape, *(1,) * len(after)))
        else:
            place = before.index(k) if k in before else len(before) + len(common) + after.index(k)
            i = np.arange(n)[key[k]].reshape((-1, *(1,) * (len(span) - place - 1)))
        index.append(i)
        dims.append(n)
    begin = min(axis_of.values())
    flat = _flat(index, dims)
    if tuple(flat.shape) != span:
        flat = reshape(flat, span) if prod(flat.shape) == prod(span) else flat
    region = (*x.shape[:begin], *span, *x.shape[begin + len(dims):])
    return flat, region, begin, len(dims)


# ---- picking by index

def nonzero(x):
    """Where `x` is not zero: a tuple of int64 index arrays, one for each axis."""
    from .creation import asarray
    if getattr(x, "is_dry", False):
        raise DryRunError.no_values("nonzero", x)
    values = x.numpy() if hasattr(x, "numpy") else np.asarray(x)
    if values.ndim == 0:
        raise ShapeError("nonzero: needs at least 1 dimension, got shape ()")
    return tuple(asarray(i) for i in np.nonzero(values))


def take(x, indices, *, axis=None):
    """Slices of `x` at integer `indices` along `axis` (needed unless x has one axis).

    Shape: x.shape[:axis] + indices.shape + x.shape[axis + 1:]. Raises IndexRangeError.
    """
    if axis is None:
        if len(x.shape) != 1:
            raise ShapeError(f"take: needs an axis for an array of shape {x.shape}")
        axis = 0
    return gather(x, indices, axis)


def take_along_axis(x, indices, axis=-1):
    """out[..., i, ...] = x[..., indices[..., i, ...], ...] along `axis`, as NumPy's."""
    ndim = len(x.shape)
    axis = normal_axis("take_along_axis", axis, ndim)
    if len(indices.shape) != ndim:
        raise ShapeError(f"take_along_axis: indices of shape {indices.shape} must have as many "
                         f"axes as x of shape {x.shape}")
    key = []
    for d in range(ndim):
        if d == axis:
            key.append(indices)
        else:
            shape = [1] * ndim
            shape[d] = -1
            key.append(np.arange(x.shape[d]).reshape(shape))
    return getitem_key(x, tuple(key))
