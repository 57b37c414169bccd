"""How the engine calls derivative rules, and what it does where an operation gives none.

A rule names its parameters; `arguments` fills them in.  Invariant: everything here works on
Tensors through registered operations, so both cores share it and any order of derivative
follows by recording.
"""

from . import call
from .errors import GradientError
from .op import registry, rule_parameters

_parameters = {}        # rule -> names of its parameters


def arguments(rule, skip, block, values, attrs, shapes, dtypes):
    """Arguments of `rule` after the first `skip`, found by name.

    values: name -> Tensor or None; attrs: tuple in the order of the block; shapes, dtypes: of the
    flat inputs.
    """
    names = _parameters.get(rule)
    if names is None:
        names = _parameters[rule] = rule_parameters(rule)
    out = []
    for name in names[skip:]:
        if name in values:
            out.append(values[name])
        elif name in block.attrs:
            out.append(attrs[tuple(block.attrs).index(name)])
        elif name.endswith("_shape") and name[:-6] in block.inputs:
            out.append(_of_input(block, name[:-6], shapes))
        elif name.endswith("_dtype") and name[:-6] in block.inputs:
            out.append(_of_input(block, name[:-6], dtypes))
        else:
            out.append(None)
    return out


def _of_input(block, name, values):
    k = block.inputs.index(name)
    if block.variadic and k == len(block.inputs) - 1:
        return tuple(values[k:])
    return values[k]


def composite_vjp(block, inputs, attrs, g, needs, core):
    """Gradient of a fused operation by way of its composite (for create_graph and tangents).

    Each input passes through `alias` first: one input may be computed from another, and the
    path from input to input must not count twice.
    """
    from .forward import lift
    alias = _op("alias")
    create_graph = core.is_grad_enabled()
    with core.enable_grad():
        stand_in = [None if x is None else alias(x) if x.requires_grad
                    else lift(x) if needs >> k & 1 else x for k, x in enumerate(inputs)]
        out = block.composite(*call.group(block, stand_in), *attrs)
        outs = out if isinstance(out, tuple) else (out,)
        gs = g if isinstance(g, tuple) else (g,)
        pairs = [(o, s) for o, s in zip(outs, gs) if s is not None and o.requires_grad]
        wanted = [k for k in range(len(inputs)) if needs >> k & 1]
        grads = core.gradients([o for o, _ in pairs], [stand_in[k] for k in wanted],
                               [s for _, s in pairs], create_graph=create_graph, allow_unused=True)
    result = [None] * len(inputs)
    for k, grad in zip(wanted, grads):
        result[k] = grad
    return tuple(result)


def tangent_out(block, inputs, tangents, attrs, out, shapes, dtypes, core):
    """Tangent of the output(s) of one operation, given tangents of its inputs (None = zero)."""
    zeros_like = _op("zeros_like")
    outs = out if isinstance(out, tuple) else (out,)
    full = [t if t is not None or x is None or not x.dtype.kind == "f" else zeros_like(x)
            for x, t in zip(inputs, tangents)]
    values = dict(zip(block.inputs, call.group(block, inputs)))
    values.update(zip(block.outputs, outs))
    if block.jvp is not None:
        for name, t in zip(block.inputs, call.group(block, full)):
            values["d" + name] = t
        return block.jvp(*arguments(block.jvp, 0, block, values, attrs, shapes, dtypes))
    if block.linear:
        return block.call(*call.group(block, full), *attrs)
    if block.composite is not None:
        return _jvp_of(block.composite, inputs, tangents, attrs, block, core)
    if block.vjp is None:
        raise GradientError(f"{block.name} cannot be differentiated")
    if block.elementwise:
        return _elementwise(block, values, tangents, attrs, shapes, dtypes, outs[0])
    return _transposed(block, inputs, tangents, attrs, core)


def _elementwise(block, values, tangents, attrs, shapes, dtypes, out):
    """The Jacobian is diagonal, so the vjp applied to the tangent is the jvp."""
    broadcast_to = _op("broadcast_to")
    total = None
    for k, t in enumerate(tangents):
        if t is None:
            continue
        t = broadcast_to(t, out.shape) if t.shape != out.shape else t
        got = block.vjp(t, 1 << k,
                        *arguments(block.vjp, 2, block, values, attrs, shapes, dtypes))
        part = got[k] if isinstance(got, tuple) else got
        if part is not None:
            total = part if total is None else total + part
    return total


def _jvp_of(f, inputs, tangents, attrs, block, core):
    from .forward import jvp_flat
    return jvp_flat(lambda *xs: f(*call.group(block, list(xs)), *attrs), inputs, tangents)


def _transposed(block, inputs, tangents, attrs, core):
    """jvp as the gradient of the vjp with respect to its cotangent."""
    zeros_like = _op("zeros_like")
    active = [k for k, t in enumerate(tangents) if t is not None]
    alias = _op("alias")
    with core.enable_grad():
        xs = [None if x is None else alias(x) for x in inputs]
        for k in active:
            if not xs[k].requires_grad:
                xs[k] = xs[k].detach()
                xs[k].requires_grad = True
        out = block.call(*call.group(block, xs), *attrs)
        outs = out if isinstance(out, tuple) else (out,)
        us = [zeros_like(o) for o in outs]
        for u in us:
            u.requires_grad = True
        pulled = core.gradients(list(outs), [xs[k] for k in active], us, create_graph=True,
                                allow_unused=True)
        pairs = [(p, tangents[k]) for p, k in zip(pulled, active) if p is not None]
        if not pairs:
            result = [zeros_like(o) for o in outs]
        else:
            result = core.gradients([p for p, _ in pairs], us, [t for _, t in pairs],
                                    create_graph=core.is_grad_enabled(), allow_unused=True)
            result = [zeros_like(o) if r is None else r for r, o in zip(result, outs)]
    return tuple(result) if isinstance(out, tuple) else result[0]


def _op(name):
    if name in registry:
        return registry[name].call
    from .ops import creation
    return getattr(creation, name)
