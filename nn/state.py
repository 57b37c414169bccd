"""Reading a module's state into a dict, and loading one back.

Invariant: loading verifies every key, shape and dtype before it writes the first value, so a state
dict that does not fit leaves the module as it was.
"""

from typing import NamedTuple

import numpy as np

import autodiff as ad

from .errors import ArgumentError, StateDictError


class Keys(NamedTuple):
    """Keys that did not pair up: in the module only, and in the state dict only."""
    missing_keys: list
    unexpected_keys: list


def entries(module, prefix=""):
    """(key, tensor) of parameters, then persistent buffers, then sub-modules, as PyTorch orders."""
    for kind in ("parameter", "buffer"):
        for name, k in module._members.items():
            t = module.__dict__[name]
            if k == kind and t is not None and name not in module._transient:
                yield prefix + name, t
    for name, child in module.named_children():
        yield from entries(child, f"{prefix}{name}.")


def read_state(module, prefix=""):
    """{key: tensor}; the tensors are detached and share memory with the module."""
    return {key: t.detach() for key, t in entries(module, prefix)}


def load_state(module, state, strict):
    """Verify, then write; see Module.load_state_dict."""
    if not hasattr(state, "keys"):
        raise ArgumentError("load_state_dict: expected a dict of tensors, got "
                            f"{type(state).__name__}; read a file with nn.load(path)")
    own = dict(entries(module))
    keys = Keys([k for k in own if k not in state], [k for k in state.keys() if k not in own])
    pairs = [(k, t, state[k]) for k, t in own.items() if k in state]
    problems = [p for p in (_misfit(k, t, v) for k, t, v in pairs) if p]
    if strict and keys.unexpected_keys:
        problems.append("unexpected keys: " + _listed(keys.unexpected_keys))
    if strict and keys.missing_keys:
        problems.append("missing keys: " + _listed(keys.missing_keys))
    if problems:
        raise StateDictError(f"load_state_dict: the state does not fit {type(module).__name__}:\n  "
                             + "\n  ".join([*problems, _remedy(own, state, keys)]))
    for _, t, value in pairs:
        write(t, value)
    return keys


def write(t, value):
    """Overwrite the values of tensor `t`, whether or not it requires a gradient."""
    with ad.no_grad():
        t.copy_(ad.tensor(value, dtype=t.dtype))


def _misfit(key, t, value):
    if not isinstance(value, (ad.Tensor, np.ndarray, np.generic)):
        return f"{key}: expected a tensor, got {type(value).__name__}"
    if tuple(value.shape) != t.shape:
        return f"{key}: expected shape {t.shape}, got {tuple(value.shape)}"
    if (value.dtype.kind == "f") != (t.dtype.kind == "f"):
        return f"{key}: expected {t.dtype}, got {value.dtype}"
    return None


def _remedy(own, state, keys):
    """What to do about a state that does not fit."""
    inner = next((k for k, v in state.items() if hasattr(v, "keys") and own.keys() & set(v.keys())),
                 None)
    if inner is not None:
        return f"it looks like a checkpoint: load its entry state[{inner!r}]"
    for theirs in keys.unexpected_keys:
        prefix, _, rest = theirs.partition(".")
        if rest in own:
            return (f"the keys begin with {prefix + '.'!r}: load "
                    f"{{k.removeprefix({prefix + '.'!r}): v for k, v in state.items()}}")
    for mine in keys.missing_keys:
        prefix, _, rest = mine.partition(".")
        if rest in state:
            return f"the keys lack {prefix + '.'!r}: load it into model.{prefix}"
    if keys.missing_keys or keys.unexpected_keys:
        return "build the model as it was saved, or pass strict=False to load the keys that fit"
    return "build the model as it was saved, or leave out these keys and pass strict=False"


def _listed(keys, most=20):
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
