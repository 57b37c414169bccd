"""Operations of one's own: a class with `forward` and `backward`.

    class Exp(ad.Function):
        @staticmethod
        def forward(ctx, x):
            y = ad.exp(x)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            y, = ctx.saved_tensors
            return g * y

    y = Exp.apply(x)

`apply` runs `forward` without recording and puts one record on the tape. Each pattern of inputs,
outputs and saves of a class is an Op block of its own, outside the registry, so that records, the
sweep and the ledger see nothing special.  Invariant: what backward needs is on the record, with
its version, and is freed with it; ctx holds no tensor unless the user puts one there.
"""

import copy
import functools
import inspect

from . import core
from .errors import ArgumentError, GradientError, InPlaceError, ShapeError
from .op import Op, Plan

__all__ = ["Context", "Function", "once_differentiable"]


class Context:
    """What `forward` tells `backward`; further attributes are free for static values.

    needs_input_grad: one bool for each argument of forward after ctx. Tensors belong in
    save_for_backward: as attributes they escape the ledger and the check of versions, and an
    output kept there never goes out of memory by itself.
    """

    def __init__(self, needs):
        self.needs_input_grad = needs
        self._saves, self._constant, self._materialize, self._dual = (), (), True, False

    def save_for_backward(self, *tensors):
        """Keep tensors (or None) for backward. Call it once, in forward.

        Inputs, outputs and intermediate results may be saved; a change in place before backward
        is noticed. Only inputs and outputs can be differentiated through, in a second backward.
        """
        for t in tensors:
            if t is not None and not isinstance(t, core.Tensor):
                raise ArgumentError("save_for_backward: expected Tensors, got "
                                    f"{type(t).__name__}; set other values as attributes of ctx")
        self._saves = tensors

    @property
    def saved_tensors(self):
        """The tensors given to save_for_backward, in order; in backward alone."""
        return self._saves

    def mark_non_differentiable(self, *outputs):
        """Say in forward that these outputs have no gradient."""
        self._constant = outputs

    def set_materialize_grads(self, on):
        """False: backward gets None instead of zeros for outputs without a gradient."""
        self._materialize = bool(on)


class Function:
    """Base of custom operations: subclass with static `forward(ctx, *args)` and
    `backward(ctx, *grads)`, call with `apply(*args)`.

    forward gets the arguments as given and returns a Tensor or a tuple of them; backward gets one
    gradient for each output and returns one gradient, or None, for each argument of forward.
    Tensors inside lists or dicts are passed on, but get no gradient. Use registered operations in
    backward and it can be differentiated again (and forward mode works); otherwise mark it with
    `once_differentiable`.
    Raises ArgumentError, GradientError or ShapeError, by the class's name, for wrong returns.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls._blocks = {}        # pattern of inputs, outputs and saves -> Op

    @staticmethod
    def forward(ctx, *args):
        """Compute the result; ctx.save_for_backward keeps what backward needs."""
        raise NotImplementedError("Function: define forward(ctx, *args) in your subclass")

    @staticmethod
    def backward(ctx, *grads):
        """The gradient of each argument of forward, from that of each output."""
        raise NotImplementedError("Function: define backward(ctx, *grads) in your subclass")

    def __init__(self):
        raise ArgumentError(f"{type(self).__name__}: a Function is not instantiated; call "
                            f"{type(self).__name__}.apply(...)")

    @classmethod
    def apply(cls, *args):
        """Run forward, and record it where an argument requires a gradient."""
        places = [k for k, a in enumerate(args) if isinstance(a, core.Tensor)]
        tensors = [args[k] for k in places]
        if any(t.dual is not None for t in tensors):
            return _forward_mode(cls, args, places)
        grad = core.is_grad_enabled()
        ctx = Context(tuple(grad and isinstance(a, core.Tensor) and a.requires_grad
                            for a in args))
        versions = [t.version for t in tensors]
        with core.no_grad():
            result = cls.forward(ctx, *args)
        for k, t, version in zip(places, tensors, versions, strict=True):
            if t.version != version and grad and t.requires_grad:
                raise InPlaceError(f"{cls.__name__}.forward: argument {k} requires a gradient and "
                                   "was changed in place; write to a copy")
        several = isinstance(result, (tuple, list))
        outputs = list(result) if several else [result]
        for o in outputs:
            if not isinstance(o, core.Tensor):
                raise ArgumentError(f"{cls.__name__}.forward: expected a Tensor or a tuple of "
                                    f"Tensors, got {type(o).__name__}; make one with ad.tensor")
        saves, ctx._saves = ctx._saves, ()
        constant, ctx._constant = ctx._constant, ()
        # An output that is an input (or a tensor from outside) gets a handle of its own.
        fresh = [o.detach() if o.node is not None or _position(o, tensors) is not None else o
                 for o in outputs]
        if any(ctx.needs_input_grad):
            _record(cls, ctx, args, places, tensors, outputs, fresh, saves)
            fresh = [f.detach() if _position(o, constant) is not None else f
                     for o, f in zip(outputs, fresh, strict=True)]
        return tuple(fresh) if several else fresh[0]


def once_differentiable(backward):
    """Mark a backward that leaves the tape (NumPy inside): differentiating it again then errors.

    Put it under @staticmethod. Without it such a backward may give a wrong second derivative.
    """
    if not callable(backward):
        raise ArgumentError("once_differentiable: put it on the backward of a Function, under "
                            f"@staticmethod; got {type(backward).__name__}")

    @functools.wraps(backward)
    def wrapper(ctx, *grads):
        with core.no_grad():
            result = backward(ctx, *grads)
        if not core.is_grad_enabled():
            return result
        sources = [*grads, *ctx.saved_tensors]
        given = result if isinstance(result, (tuple, list)) else [result]
        return tuple(_end(x, sources, f"{backward.__qualname__} is once_differentiable")
                     for x in given)
    return wrapper


def _position(tensor, among):
    """Index of the very same object; == would compare elements."""
    for k, other in enumerate(among):
        if other is tensor:
            return k
    return None


def _record(cls, ctx, args, places, tensors, outputs, fresh, saves):
    """Put one record on the tape, with what forward saved as inputs, outputs and residuals."""
    pattern, residuals = [], []
    for t in saves:
        where = None if t is None else _position(t, tensors)
        if t is None:
            pattern.append(None)
        elif where is not None:
            pattern.append(("in", where))
        elif (where := _position(t, outputs)) is not None:
            pattern.append(("out", where))
        else:
            pattern.append(("res", len(residuals)))
            residuals.append(t.detach())
    key = (len(args), tuple(places), len(outputs), tuple(pattern), len(residuals))
    block = cls._blocks.get(key)
    if block is None:
        block = cls._blocks[key] = _block(cls, *key)
    ctx._outputs = [(o.shape, o.dtype) for o in outputs]
    ctx._shapes = [t.shape for t in tensors]
    ctx._parents = [(t.node, t.index) for t in tensors if t.node is not None]
    core.custom_record(block, tensors, [*fresh, *residuals], (ctx,))


def _block(cls, nargs, places, nout, pattern, nres):
    """The Op of a class for one pattern: which arguments are tensors, what is saved."""
    names = _argument_names(cls, nargs)
    inputs = tuple(names[k] for k in places)
    outs = ("out",) if nout == 1 else tuple(f"out{k}" for k in range(nout))
    residuals = tuple(f"saved{k}" for k in range(nres))
    groups = {"in": inputs, "out": outs, "res": residuals}
    saved = tuple(None if p is None else groups[p[0]][p[1]] for p in pattern)
    needed = tuple(dict.fromkeys(n for n in saved if n is not None))

    def rule(g, needs, ctx, *values):
        by_name = dict(zip(needed, values, strict=True))
        return _backward(cls, ctx, g, needs, [n and by_name[n] for n in saved], pattern, names,
                         places)

    # The engine fills parameters by name, so the rule names what this pattern saves.
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    rule.__signature__ = inspect.Signature(
        [inspect.Parameter(n, kind) for n in ("g", "needs", "ctx", *needed)])
    rule.__doc__ = cls.__doc__
    block = Op(cls.__name__, inputs, (cls.__doc__ or "").strip().split("\n")[0],
               formula=f"{cls.__name__}({', '.join(inputs)})", attrs={"ctx": None}, outputs=outs,
               residuals=residuals, saves={n: needed for n in inputs}, vjp=rule, opaque=True,
               method=False)
    block.call = core.bind(block)
    return block


def _argument_names(cls, nargs):
    """Names of forward's arguments after ctx, made distinct from the rule's own."""
    names = []
    for p in list(inspect.signature(cls.forward).parameters.values())[1:]:
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}{k}" for k in range(nargs - len(names))]
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
    taken = {"g", "needs", "ctx", "out"}
    return [f"{n}_" if n in taken or n.startswith(("out", "saved")) else n
            for n in names[:nargs]]


def _backward(cls, ctx, g, needs, saved, pattern, names, places):
    """Run the user's backward on a copy of ctx that holds the saved tensors, and check it."""
    grads = list(g) if isinstance(g, (tuple, list)) else [g]
    call = copy.copy(ctx)
    call._saves = tuple(_intermediate(cls, ctx, x) if p and p[0] == "res" else x
                        for x, p in zip(saved, pattern, strict=True))
    # The sweep may want fewer gradients than forward was told of.
    call.needs_input_grad = tuple(k in places and bool(needs >> places.index(k) & 1)
                                  for k in range(len(names)))
    if ctx._materialize:
        grads = [_zeros(*meta) if x is None else x
                 for x, meta in zip(grads, ctx._outputs, strict=True)]
    result = cls.backward(call, *grads)
    given = list(result) if isinstance(result, (tuple, list)) else [result]
    who = f"{cls.__name__}.backward"
    if len(given) != len(names):
        raise GradientError(f"{who}: returned {len(given)} gradients, expected {len(names)}: one "
                            f"for each argument of forward ({', '.join(names) or 'none'}), None "
                            "where there is none")
    # A gradient that does not depend on the incoming one was computed off the tape.
    live = core.is_grad_enabled() and any(x is not None and x.requires_grad for x in grads)
    for k, (x, name) in enumerate(zip(given, names, strict=True)):
        if x is None:
            continue
        if not isinstance(x, core.Tensor):
            raise GradientError(f"{who}: the gradient of {name} must be a Tensor or None, got "
                                f"{type(x).__name__}")
        if k not in places:
            raise GradientError(f"{who}: returned a gradient for {name}, which is not a Tensor; "
                                "return None for it")
        _check_shape(who, name, x.shape, ctx._shapes[places.index(k)])
        if live and not x.requires_grad:
            given[k] = _end(x, grads, f"{who} computed the gradient of {name} off the tape")
    return tuple(given[k] for k in places)


def _intermediate(cls, ctx, tensor):
    """A saved tensor that is neither input nor output: where it came from is not on the tape."""
    if ctx._dual:
        raise GradientError(f"{cls.__name__}: its backward reads a saved intermediate result, "
                            "whose tangent is not known; for forward over reverse save inputs and "
                            "outputs alone")
    if not core.is_grad_enabled() or tensor.dtype.kind != "f":
        return tensor
    sources = []
    for node, index in ctx._parents:
        stand_in = core.empty((), tensor.dtype)
        stand_in._place(node, index)
        sources.append(stand_in)
    return _end(tensor, sources, f"{cls.__name__}.backward reads a saved intermediate result; "
                "save inputs and outputs alone")


def _end(tensor, sources, why):
    """`tensor` on the tape, so that a sweep from it to `sources` says why it cannot pass."""
    sources = [s for s in sources if s is not None and s.requires_grad]
    if tensor is None or not sources:
        return tensor
    handle = tensor.detach()
    core.custom_record(_end_block, sources, [handle], (why,))
    return handle


def _refuse(g, needs, why):
    raise GradientError(f"{why}, so it cannot be differentiated again; use operations of autodiff "
                        "alone in backward")


_end_block = Op("differentiated_once", ("sources",), "A gradient computed off the tape.",
                attrs={"why": ""}, variadic=True, vjp=_refuse, opaque=True, method=False)
_end_block.call = core.bind(_end_block)


def _check_shape(who, name, got, expected):
    """The engine sums over broadcast axes, as for any operation; nothing else may differ."""
    tail = got[len(got) - len(expected):]
    if len(got) < len(expected) or any(m not in (1, n) for n, m in zip(tail, expected,
                                                                       strict=True)):
        raise ShapeError(f"{who}: the gradient of {name} has shape {got}, expected {expected}")


def _zeros(shape, dtype):
    from .ops.creation import zeros
    return zeros(shape, dtype=dtype)


def _forward_mode(cls, args, places):
    """jvp of a custom operation: the transpose of its backward."""
    from .forward import apply_dual
    names = _argument_names(cls, len(args))

    def call(*tensors, **attrs):
        filled = list(args)
        for k, t in zip(places, tensors, strict=True):
            filled[k] = t
        return cls.apply(*filled)

    block = Op(cls.__name__, tuple(names[k] for k in places), "", infer=lambda *xs: Plan([]),
               vjp=_backward, opaque=True, call=call)
    tensors = [args[k] for k in places]
    result = apply_dual(block, tensors, ())
    outputs = result if isinstance(result, tuple) else (result,)
    for out in outputs:
        record = out.node
        if record is not None and not record.is_leaf and record.op in cls._blocks.values():
            record.note_duals(tensors, outputs)     # a sweep inside the jvp carries tangents
            record.attrs[0]._dual = True
            break
    return result
