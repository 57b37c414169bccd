"""Parameter and Buffer: tensors that belong to a module.

Invariant: what makes a tensor a parameter is its memory category, "parameter", carried by its
storage; so the memory ledger and the module always agree, on either core.
"""

import autodiff as ad

from .errors import DtypeError


def Parameter(data, requires_grad=True):                    # noqa: N802 (PyTorch's name)
    """A leaf tensor that a Module registers when it is assigned as an attribute.

    data: a Tensor (its memory is shared, as in PyTorch), or anything `ad.tensor` takes (copied).
    Raises DtypeError where a gradient is asked of integers.
    """
    t = data.detach() if isinstance(data, ad.Tensor) else ad.tensor(data)
    if requires_grad and t.dtype.kind != "f":
        raise DtypeError(f"Parameter: only float32 and float64 can be trained, got {t.dtype}; pass "
                         "requires_grad=False, or register_buffer for constants")
    t.category = "parameter"
    t.requires_grad = bool(requires_grad)
    return t


def is_parameter(value):
    """True for what `Parameter` made (not for results computed from one)."""
    return isinstance(value, ad.Tensor) and value.category == "parameter" and value.is_leaf


def as_buffer(t):
    """Count the bytes of `t` as a buffer's, unless they are a parameter's."""
    if t.category != "parameter":
        t.category = "buffer"


def replaced(t, dtype=None):
    """A copy of parameter or buffer `t` of the same kind, in `dtype`; it holds no gradient."""
    new = ad.tensor(t, dtype=t.dtype if dtype is None else dtype)
    new.category = t.category
    new.requires_grad = t.requires_grad and t.is_leaf
    return new
