"""Forward mode: a tensor carries its tangent, and each operation computes its output's.

Invariant: tangents belong to the `jvp` call that made them (its level); an operation peels the
innermost level off first, so derivatives of derivatives do not mix.
"""

import itertools
from typing import NamedTuple

from . import core, rules
from .call import group
from .errors import ArgumentError, DtypeError, ShapeError
from .guard import need_callable, need_tensors
from .making import tensor
from .op import registry

_levels = itertools.count(1)
_noted = {}             # level of a running jvp -> records that hold tangents of it


class Dual(NamedTuple):
    """What hangs on a tensor in forward mode: level, the tensor without it, and its tangent."""
    level: int
    primal: object
    tangent: object


def jvp(f, primals, tangents):
    """Value and directional derivative of `f`: (f(x), J(x) v).

    primals, tangents: lists of arrays of equal shapes; f takes them as arguments and returns a
    tensor or a tuple. One forward pass; nothing is kept. Source: Griewank and Walther,
    "Evaluating Derivatives", 2008, chapter 3.
    """
    need_callable("jvp", f)
    if not isinstance(primals, (list, tuple)) or not isinstance(tangents, (list, tuple)):
        raise ArgumentError("jvp: primals and tangents must be lists or tuples of arrays")
    if len(primals) != len(tangents):
        raise ArgumentError(f"jvp: {len(primals)} primals but {len(tangents)} tangents")
    xs = [x if isinstance(x, core.Tensor) else tensor(x) for x in primals]
    ts = [t if isinstance(t, core.Tensor) else tensor(t) for t in tangents]
    for k, (x, t) in enumerate(zip(xs, ts)):
        if x.dtype.kind != "f":
            raise DtypeError(f"jvp: primal {k} is {x.dtype}; only floating arrays have tangents")
        if x.shape != t.shape:
            raise ShapeError(f"jvp: primal {k} has shape {x.shape}, its tangent {t.shape}")
        if x.dtype != t.dtype:
            raise DtypeError(f"jvp: primal {k} is {x.dtype}, its tangent {t.dtype}")
    return _run(f, xs, ts)


def _run(f, xs, ts):
    level = next(_levels)
    _noted[level] = []
    core.set_tangents(1)
    try:
        out = f(*[x if t is None else _attach(x, Dual(level, x, t)) for x, t in zip(xs, ts)])
    finally:
        core.set_tangents(-1)
        for record in _noted.pop(level):
            _forget(record, level)
    need_tensors("jvp", "what the function returns", out)
    if isinstance(out, (tuple, list)):
        pairs = [_split(o, level) for o in out]
        return tuple(p for p, _ in pairs), tuple(t for _, t in pairs)
    return _split(out, level)


def _forget(record, level):
    """Take the tangents of a finished `jvp` off a record: they hang on the tape themselves, and
    would keep it, and so their record, alive for ever."""
    duals = {k: d.primal.dual if d.level == level else d
             for k, d in (record.duals or {}).items()}
    record.duals = {k: d for k, d in duals.items() if d is not None} or None


def _attach(x, dual):
    """A second handle on the same tensor that carries a tangent."""
    handle = x.detach()
    handle._place(x.node, x.index)
    handle.dual = dual
    return handle


def off_tape(x):
    """`x` without its place on the tape, its tangents kept."""
    if x.dual is None:
        return x.detach()
    primal = off_tape(x.dual.primal)
    return _attach(primal, Dual(x.dual.level, primal, off_tape(x.dual.tangent)))


def lift(x):
    """`x` as a leaf of its own, its tangents kept."""
    if x.dual is None:
        y = x.detach()
        y.requires_grad = True
        return y
    primal = lift(x.dual.primal)
    return _attach(primal, Dual(x.dual.level, primal, x.dual.tangent))


def _split(out, level):
    if out.dual is not None and out.dual.level == level:
        return out.dual.primal, out.dual.tangent
    from .ops.creation import zeros_like
    return out, zeros_like(out)


def jvp_flat(f, inputs, tangents):
    """Tangent of f(*inputs) where a missing tangent is zero (for composites)."""
    return _run(f, inputs, tangents)[1]


def apply_dual(block, inputs, attrs):
    """Apply one operation to tensors some of which carry tangents."""
    level = max(x.dual.level for x in inputs if x is not None and x.dual is not None)
    if block.into is not None:
        raise ArgumentError(f"{block.name}: writes in place are not supported under jvp; use the "
                            "functional form")
    flat, tangents = [], []
    for x in inputs:
        carries = x is not None and x.dual is not None and x.dual.level == level
        flat.append(x.dual.primal if carries else x)
        tangents.append(x.dual.tangent if carries else None)
    out = block.call(*group(block, flat), *attrs)
    if not block.differentiable and not block.linear:
        return out
    plan = block.infer(*group(block, flat), *attrs)
    attrs = attrs if plan.attrs is None else plan.attrs
    shapes = [None if x is None else x.shape for x in flat]
    types = [None if x is None else x.dtype for x in flat]
    tangent = rules.tangent_out(block, flat, tangents, attrs, out, shapes, types, core)
    outs = out if isinstance(out, tuple) else (out,)
    tangents = tangent if isinstance(out, tuple) else (tangent,)
    joined = tuple(_join(o, t, level) for o, t in zip(outs, tangents))
    if outs[0].node is not None and not outs[0].is_leaf and outs[0].node.op is block:
        outs[0].node.note_duals(inputs, joined)     # so that a sweep inside carries tangents
        _noted[level].append(outs[0].node)
    return joined if isinstance(out, tuple) else joined[0]


def _join(out, tangent, level):
    if tangent is None or out.dtype.kind != "f":
        return out
    if tangent.shape != out.shape:
        tangent = registry["broadcast_to"].call(tangent, out.shape)
    return _attach(out, Dual(level, out, tangent))
