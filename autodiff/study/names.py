"""Names for the tensors of a tape: given, of a model's parameters, or of the caller's variables.

Invariant: names are found by identity (a tensor's node, else its storage), so a name is never
given to another tensor; the first one found for a tensor stays.
"""

import sys

from .. import caller, core
from ..errors import ArgumentError

__all__ = ["caller_variables", "named_tensors"]


def caller_variables():
    """The variables of the nearest frame outside the library: locals, then globals."""
    frame = sys._getframe(1)
    while frame is not None and caller.is_internal(frame.f_code):
        frame = frame.f_back
    if frame is None:
        return {}
    return {**frame.f_globals, **frame.f_locals}


def named_tensors(who, names, model, variables):
    """[(name, Tensor), ...], the most trusted names first.

    names: {"w": w, ...}, which also switches the search through `variables` off, {} included;
    model: whatever has named_parameters(); variables: of the caller.
    """
    found = []
    for name, t in (names or {}).items():
        if not isinstance(t, core.Tensor):
            raise ArgumentError(f"{who}: names must map names to Tensors; {name!r} is "
                                f"{type(t).__name__}")
        found.append((str(name), t))
    if model is not None:
        if not _is_model(model):
            raise ArgumentError(f"{who}: model must have named_parameters(), as an nn.Module has; "
                                f"got {type(model).__name__}")
        found += _members(model)
    if names is None:
        found += _of_variables(variables)
    return found


def _is_model(value):
    return callable(getattr(type(value), "named_parameters", None))


def _members(model):
    found = list(model.named_parameters())
    if callable(getattr(type(model), "named_buffers", None)):
        found += model.named_buffers()
    return found


def _of_variables(variables):
    """Parameters by their path in the largest model that holds them, then plain variables."""
    public = [(n, v) for n, v in variables.items() if not n.startswith("_")]
    models = [(n, _members(v)) for n, v in public if _is_model(v)]
    models.sort(key=lambda pair: -len(pair[1]))
    found, taken = [], {}
    for variable, members in models:
        for path, t in members:
            if taken.setdefault(path, id(t)) == id(t):
                found.append((path, t))
            else:
                found.append((f"{variable}.{path}", t))
    return found + [(n, v) for n, v in public if isinstance(v, core.Tensor)]
