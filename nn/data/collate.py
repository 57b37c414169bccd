"""Collating: from a list of samples to one batch, and from arrays to the engine's tensors.

`numpy_collate` stacks, `to_tensors` wraps, `default_collate` does both. The engine is imported only
here, on first use: without it batches stay numpy arrays, and nothing else changes.
"""

import functools
from collections.abc import Mapping

import numpy as np

from .errors import CollateError

_NUMBERS = {"b": np.bool_, "i": np.int64, "f": np.float32}  # Python numbers, by kind


def default_collate(batch):
    """Stack a list of samples into one batch of tensors, following their structure.

    Arrays and tensors of one shape stack along a new first axis; Python floats become float32, ints
    int64, bools bool; tuples, lists and dicts are collated field by field; strings and bytes stay a
    list. Same rule as PyTorch's function of this name, but for the float dtype.

    Raises CollateError when samples of a batch differ in shape, keys or number of fields.
    """
    return to_tensors(numpy_collate(batch))


def numpy_collate(batch):
    """`default_collate` that leaves numpy arrays."""
    if not isinstance(batch, (list, tuple)):
        raise CollateError("default_collate: expected a list of samples, got "
                           f"{type(batch).__name__}")
    if not len(batch):
        raise CollateError("default_collate: expected at least one sample, got an empty batch")
    first = batch[0]
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, (bool, int, float)) and not isinstance(first, np.generic):
        numbers = np.array(batch)
        if numbers.dtype.kind in "bif" and numbers.ndim == 1:
            return numbers.astype(_NUMBERS[numbers.dtype.kind], copy=False)
        raise CollateError("default_collate: expected numbers in every sample, got "
                           f"{sorted({type(s).__name__ for s in batch})}")
    if isinstance(first, Mapping):
        if any(s.keys() != first.keys() for s in batch):
            raise CollateError(f"default_collate: expected the keys {list(first)} in every sample")
        return {key: numpy_collate([s[key] for s in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(s) != len(first) for s in batch):
            raise CollateError(
                f"default_collate: expected {len(first)} fields in every sample, got "
                f"{sorted({len(s) for s in batch})}; pad them, or pass collate_fn")
        return _rebuild(first, [numpy_collate(field) for field in zip(*batch, strict=True)])
    if isinstance(first, (np.ndarray, np.generic)) or hasattr(first, "__array__"):
        arrays = [np.asarray(s) for s in batch]
        shapes = {a.shape for a in arrays}
        if len(shapes) > 1:
            raise CollateError(
                f"default_collate: expected samples of one shape, got {sorted(shapes)}; "
                "pad or crop them, or pass collate_fn")
        return np.stack(arrays)
    raise CollateError(
        f"default_collate: expected arrays, tensors, numbers, strings, tuples, lists or dicts, "
        f"got {type(first).__name__}; pass collate_fn")


def to_tensors(batch):
    """Wrap each numeric array in `batch` as a tensor that shares its memory.

    Arrays stay arrays where the engine is not installed, and where it has no tensor of their dtype
    (strings, dates, objects).
    """
    wrap = _tensor_maker()
    return batch if wrap is None else _map_arrays(wrap, batch)


def _map_arrays(wrap, batch):
    if isinstance(batch, np.ndarray):
        return wrap(batch) if batch.dtype.kind in "biuf" else batch
    if isinstance(batch, np.generic):
        return wrap(np.asarray(batch)) if batch.dtype.kind in "biuf" else batch
    if isinstance(batch, Mapping):
        return {key: _map_arrays(wrap, value) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return _rebuild(batch, [_map_arrays(wrap, value) for value in batch])
    return batch


def _rebuild(like, fields):
    """`fields` as a namedtuple, tuple or list, whichever `like` is."""
    if hasattr(like, "_fields"):
        return type(like)(*fields)
    return tuple(fields) if isinstance(like, tuple) else fields


@functools.cache
def _tensor_maker():
    try:
        import autodiff as ad
    except ModuleNotFoundError as e:
        if e.name != "autodiff":  # installed but broken: say so rather than hand out arrays
            raise
        return None
    return getattr(ad, "from_numpy", None) or getattr(ad, "tensor", None)
