"""Saving and loading: safetensors files, written in one piece or not at all.

A state dict becomes a plain safetensors file with its own keys, which other libraries read; a
nested structure (model, optimizer, numbers) adds its shape as JSON in the file's metadata.
Invariant: nothing in a file is executed, and a failed save leaves the old file untouched.
"""

import contextlib
import json
import math
import os
import secrets

import numpy as np

import autodiff as ad

from .errors import (
    ArgumentError,
    DependencyError,
    DtypeError,
    FileAccessError,
    FileFormatError,
    FileMissingError,
)
from .module import Module

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
           "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
_STRUCTURE = "structure"        # metadata key of nested contents
_MAX_DEPTH = 64


def save(obj, path):
    """Write a Module, a state dict, or nested dicts and lists of tensors and numbers to `path`.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and replace
    `path` in one step. Raises ArgumentError for values that a file cannot hold, OSError from the
    file system. Format: https://github.com/huggingface/safetensors
    """
    _check_path("save", path)
    safetensors = _safetensors("save")
    obj = obj.state_dict() if isinstance(obj, Module) else obj
    tensors, structure = {}, None
    if isinstance(obj, dict) and all(isinstance(k, str) and _is_array(v) for k, v in obj.items()):
        tensors = {key: _array(key, value) for key, value in obj.items()}
    else:
        structure = _take_apart(obj, "", tensors, 0)
    try:
        metadata = None if structure is None else {_STRUCTURE: json.dumps(structure)}
        data = safetensors.numpy.save(tensors, metadata=metadata)
    except (safetensors.SafetensorError, ValueError) as error:  # such as a lone surrogate in a name
        raise ArgumentError(f"save: a file cannot hold this: {error}") from None
    with _accessing("save", path):
        _write_atomically(path, data)


def _safetensors(name):
    """The library, imported where a file is first needed."""
    try:
        import safetensors.numpy
    except ImportError:
        raise DependencyError(f"{name}: model files need the package safetensors: "
                              "pip install 'autodiff[nn]'") from None
    return safetensors


def load(path):
    """Read what `save`, or any safetensors writer, wrote: a dict of tensors, or the structure.

    float16 and bfloat16 are converted to float32. Raises FileFormatError for truncated, damaged,
    hostile and foreign files, FileNotFoundError where there is none.
    """
    _check_path("load", path)
    safetensors = _safetensors("load")
    with _accessing("load", path), open(path, "rb") as f:
        data = f.read()
    try:
        entries = safetensors.deserialize(data)
        metadata = _metadata(data)
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        hint = _foreign(data)
        raise FileFormatError(f"{path}: not a valid safetensors file{hint}: {error}") from None
    tensors = {name: _tensor(path, name, info) for name, info in entries}
    if _STRUCTURE not in metadata:
        return tensors
    try:
        return _put_together(json.loads(metadata[_STRUCTURE]), tensors, 0)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path}: the structure in its metadata is damaged: {error!r}"
                              ) from None


def _check_path(name, path):
    """ArgumentError unless `path` is one: open() would take a number for a file descriptor."""
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(f"{name}: path must be a string or a path, got {path!r}")


@contextlib.contextmanager
def _accessing(name, path):
    """The system's errors under the project's names."""
    try:
        yield
    except FileNotFoundError:
        missing = "no such file" if name == "load" else "no such folder"
        raise FileMissingError(f"{name}: {path}: {missing}") from None
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{name}: {path!r}: {error}") from None


def _is_array(value):
    return isinstance(value, (ad.Tensor, np.ndarray, np.generic))


def _array(key, value):
    array = value.numpy() if isinstance(value, ad.Tensor) else np.asarray(value)
    try:
        dtype = ad.dtypes.as_dtype(array.dtype)
    except DtypeError as error:
        raise ArgumentError(f"save: {key}: {error}") from None
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _tensor(path, name, info):
    dtype, shape, data = info["dtype"], tuple(info["shape"]), info["data"]
    if len(shape) > 8:
        raise FileFormatError(f"{path}: {name} has {len(shape)} dimensions; at most 8 are "
                              "supported")
    if dtype == "BF16":
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif dtype in _DTYPES:
        array = np.frombuffer(data, _DTYPES[dtype])
        array = array.astype(np.float32) if dtype == "F16" else array
        array = (array.view(np.uint8) != 0) if dtype == "BOOL" else array
    else:
        raise FileFormatError(f"{path}: {name} has dtype {dtype}, which is not supported; use one "
                              f"of {', '.join([*_DTYPES, 'BF16'])}")
    if array.size != math.prod(shape):
        raise FileFormatError(f"{path}: {name} has {array.size} values for shape {shape}")
    return ad.tensor(array.reshape(shape))


def _metadata(data):
    """The free-form part of the header, which `deserialize` has validated."""
    size = int.from_bytes(data[:8], "little")
    found = json.loads(data[8:8 + size]).get("__metadata__") or {}
    return found if isinstance(found, dict) else {}


def _foreign(data):
    for magic, kind in ((b"PK", "a zip archive; is it a PyTorch .pt or NumPy .npz file? In PyTorch "
                         "write it with safetensors.torch.save_file"),
                        (b"\x80", "a pickle, which is never loaded"),
                        (b"\x93NUMPY", "a NumPy .npy file"), (b"\x89HDF", "an HDF5 file")):
        if data.startswith(magic):
            return f" (it looks like {kind})"
    return " (it is empty)" if not data else ""


def _write_atomically(path, data):
    path = os.path.realpath(os.fspath(path))        # a link stays a link
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
    if hasattr(os, "O_DIRECTORY"):                  # make the new name last as well
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# Nested contents: tensors by name, the rest as JSON ------------------------------------------

def _take_apart(value, path, tensors, depth):
    if depth > _MAX_DEPTH:
        raise ArgumentError(f"save: more than {_MAX_DEPTH} levels of nesting at {path}")
    if _is_array(value):
        name = path or "value"
        tensors[name] = _array(name, value)
        return {"tensor": name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    inside = f"{path}." if path else ""
    if isinstance(value, dict):
        pairs = []
        for key, v in value.items():
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise ArgumentError(f"save: keys must be strings or integers, got {key!r} at "
                                    f"{path or 'the top'}")
            name = _free(f"{inside}{key}", tensors)
            pairs.append([key, _take_apart(v, name, tensors, depth + 1)])
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_take_apart(v, _free(f"{inside}{k}", tensors), tensors, depth + 1)
                       for k, v in enumerate(value)]}
    if isinstance(value, Module):
        return _take_apart(value.state_dict(), path, tensors, depth)
    raise ArgumentError(f"save: cannot store a {type(value).__name__} at {path or 'the top'}; "
                        "expected tensors, arrays, numbers, strings, dicts and lists")


def _free(name, taken):
    """`name`, or with a mark where {"a": {"b": x}, "a.b": y} would collide."""
    while name in taken:
        name += "'"
    return name


def _put_together(node, tensors, depth):
    if depth > _MAX_DEPTH or not isinstance(node, dict) or len(node) != 1:
        raise ValueError("unexpected node")
    (kind, body), = node.items()
    if kind == "tensor":
        return tensors[body]
    if kind == "value":
        if body is not None and not isinstance(body, (bool, int, float, str)):
            raise ValueError("unexpected value")
        return body
    if kind == "dict":
        return {key: _put_together(v, tensors, depth + 1) for key, v in body}
    if kind in ("list", "tuple"):
        items = [_put_together(v, tensors, depth + 1) for v in body]
        return tuple(items) if kind == "tuple" else items
    raise ValueError(f"unexpected kind {kind!r}")
