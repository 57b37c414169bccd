"""Checkpoints: all that a run needs to go on, in one file that is whole or not there.

A safetensors file (tensors) with its structure as JSON in the metadata, as `nn.save` writes it,
plus a format name, a version and a SHA-256 of the content.  Invariant: what `load_checkpoint`
returns is byte for byte what was saved, and nothing in the file is executed.
"""

import hashlib
import os
import re

import numpy as np

import autodiff as ad

from .errors import FileFormatError
from .files import load, save

FORMAT, VERSION = "autodiff checkpoint", 1


def save_checkpoint(state, path):
    """Write nested dicts, lists, tensors, arrays, numbers and strings to `path`, atomically.

    A crash at any moment leaves the old file or the new one. Raises what `nn.save` raises.
    """
    save({"format": FORMAT, "version": VERSION, "sha256": _digest(state), "state": state}, path)


def load_checkpoint(path):
    """What `save_checkpoint` wrote; array values come back as tensors.

    Raises FileFormatError for a damaged, foreign or newer file, FileNotFoundError for none.
    """
    found = load(path)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise FileFormatError(f"{path}: a model file, but no checkpoint; read it with nn.load")
    if found.get("version") != VERSION:
        raise FileFormatError(f"{path}: checkpoint version {found.get('version')!r}, this is "
                              f"version {VERSION}; load it with a newer release")
    if "state" not in found or found.get("sha256") != _digest(found["state"]):
        raise FileFormatError(f"{path}: the checkpoint is damaged: its content does not match its "
                              "SHA-256; go back to an older one")
    return found["state"]


def remove_unfinished(path):
    """Remove the temporary files that killed saves to `path` left beside it."""
    folder, name = os.path.split(os.path.realpath(os.fspath(path)))
    ours = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{12}\.tmp")
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        if ours.fullmatch(entry):
            os.unlink(os.path.join(folder, entry))


def _digest(state):
    """SHA-256 over structure and bytes, the same before saving and after loading."""
    digest = hashlib.sha256()
    _feed(digest, state)
    return digest.hexdigest()


def _feed(digest, value):
    if isinstance(value, (ad.Tensor, np.ndarray, np.generic)):
        array = value.numpy() if isinstance(value, ad.Tensor) else np.asarray(value)
        digest.update(f"{array.dtype.name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    elif isinstance(value, dict):
        digest.update(b"{%d" % len(value))
        for key, v in value.items():
            digest.update(repr(key).encode())
            _feed(digest, v)
    elif isinstance(value, (list, tuple)):
        digest.update(f"{'(' if isinstance(value, tuple) else '['}{len(value)}".encode())
        for v in value:
            _feed(digest, v)
    else:
        digest.update(f"{type(value).__name__}{value!r};".encode())
