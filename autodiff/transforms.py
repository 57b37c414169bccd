"""Functions of functions: grad, value_and_grad, vjp, hvp, jacobian, hessian.

Invariant: the arguments of the caller are never touched: each transform differentiates with
respect to aliases of its own, so transforms nest.
"""

from . import core
from .errors import ArgumentError, DtypeError, GradientError
from .forward import jvp, lift, off_tape
from .guard import cotangent, need_callable, need_tensors
from .making import tensor
from .op import registry


def gradients(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False,
              allow_unused=False):
    """Gradients of `outputs` with respect to `inputs`, as a list; `.grad` stays untouched.

    outputs, inputs: a tensor or a list of tensors. grad_outputs: cotangents (ones for scalars).
    create_graph=True records the sweep, so that the result can be differentiated again.
    Raises GradientError for an input that the outputs do not depend on, unless allow_unused.
    """
    single = isinstance(inputs, core.Tensor)
    outs = need_tensors("gradients", "outputs", outputs)
    ins = need_tensors("gradients", "inputs", inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outs)
    elif isinstance(outputs, core.Tensor) and not isinstance(grad_outputs, (list, tuple)):
        grad_outputs = [grad_outputs]
    seeds = _seeds("gradients", outs, grad_outputs)
    found = core.gradients(outs, ins, seeds, retain_graph, create_graph, allow_unused)
    return found[0] if single else found


def _seeds(name, outs, given):
    """One cotangent for each output; None stands for one that is left out."""
    if not isinstance(given, (list, tuple)) or len(given) != len(outs):
        got = len(given) if isinstance(given, (list, tuple)) else type(given).__name__
        raise ArgumentError(f"{name}: {len(outs)} outputs need a list of {len(outs)} cotangents, "
                            f"got {got}")
    return [None if g is None else cotangent(name, out, g)
            for out, g in zip(outs, given, strict=True)]


def _axes_of(name, argnums):
    """The positions of the arguments to differentiate."""
    chosen = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for k in chosen:
        if isinstance(k, bool) or not isinstance(k, int):
            raise ArgumentError(f"{name}: argnums must be an integer or a tuple of them, got "
                                f"{argnums!r}")
    return tuple(chosen)


def _argument(name, args, k):
    if not -len(args) <= k < len(args):
        raise ArgumentError(f"{name}: argnums names argument {k}, got {len(args)} arguments")
    return args[k]


def value_and_grad(f, argnums=0, has_aux=False):
    """A function that returns (f(x), gradient of f at x); f must return one element.

    argnums: which positional arguments to differentiate (an int or a tuple).
    has_aux: f returns (loss, anything).
    """
    need_callable("grad", f)
    chosen = _axes_of("grad", argnums)

    def function(*args, **kwargs):
        args = list(args)
        xs = []
        for k in chosen:
            args[k] = _active("grad", _argument("grad", args, k))
            xs.append(args[k])
        outer = core.is_grad_enabled() and any(_from_outside(x) for x in args)
        with core.enable_grad():
            out = f(*args, **kwargs)
            if has_aux and not (isinstance(out, (tuple, list)) and len(out) == 2):
                raise ArgumentError("grad: with has_aux the function must return (loss, anything), "
                                    f"got {type(out).__name__}")
            value, aux = out if has_aux else (out, None)
            if not isinstance(value, core.Tensor) or value.size != 1:
                raise GradientError(
                    "grad: the function must return a tensor with one element, got "
                    f"{getattr(value, 'shape', type(value).__name__)}")
            if value.requires_grad:
                grads = core.gradients([value], xs, [None], None, True, True)
            else:
                grads = [None] * len(xs)
        from .ops.creation import zeros_like
        grads = [zeros_like(x) if g is None else g for g, x in zip(grads, xs)]
        if not outer:
            value, grads = off_tape(value), [off_tape(g) for g in grads]
        result = grads[0] if isinstance(argnums, int) else tuple(grads)
        return ((value, aux), result) if has_aux else (value, result)
    return function


def grad(f, argnums=0, has_aux=False):
    """A function that returns the gradient of `f`; see value_and_grad."""
    both = value_and_grad(f, argnums, has_aux)

    def function(*args, **kwargs):
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads
    return function


def vjp(f, *primals):
    """(f(x), pull): pull(g) gives the gradients g^T J(x), one for each primal."""
    need_callable("vjp", f)
    xs = [_active("vjp", x) for x in primals]
    with core.enable_grad():
        out = f(*xs)
    outs = need_tensors("vjp", "what the function returns", out)

    def pull(*gs):
        from .ops.creation import zeros_like
        got = core.gradients(outs, xs, _seeds("vjp", outs, gs), True, core.is_grad_enabled(), True)
        return tuple(zeros_like(x) if g is None else g for g, x in zip(got, xs))
    return out, pull


def hvp(f, primals, tangents):
    """Gradient of f and the product of its Hessian with a vector: forward over reverse."""
    need_callable("hvp", f)
    if not isinstance(primals, (list, tuple)) or not isinstance(tangents, (list, tuple)):
        raise ArgumentError("hvp: primals and tangents must be lists or tuples of arrays")
    wrt = tuple(range(len(primals)))
    value, tangent = jvp(lambda *xs: grad(f, wrt)(*xs), primals, tangents)
    return value, tangent


def jacobian(f, argnums=0):
    """A function that returns J of shape out.shape + x.shape, row by row in reverse mode."""
    need_callable("jacobian", f)
    if isinstance(argnums, bool) or not isinstance(argnums, int):
        raise ArgumentError(f"jacobian: argnums must be an integer, got {argnums!r}")

    def function(*args):
        import numpy as np
        args = list(args)
        x = args[argnums] = _active("jacobian", _argument("jacobian", args, argnums))
        outer = core.is_grad_enabled() and any(_from_outside(a) for a in args)
        with core.enable_grad():
            out = f(*args)
            if not isinstance(out, core.Tensor):
                raise ArgumentError(f"jacobian: the function must return a Tensor, got "
                                    f"{type(out).__name__}")
            rows = []
            for k in range(out.size):
                seed = np.zeros(out.size, out.dtype)
                seed[k] = 1
                g = core.gradients([out], [x], [core.make(seed.reshape(out.shape))], True, True,
                                   True)[0]
                rows.append(g)
            from .ops.creation import zeros_like
            from .ops.shape import stack
            rows = [zeros_like(x) if r is None else r for r in rows]
            stacked = stack(rows, 0) if rows else zeros_like(x)[None][:0]
        stacked = stacked if outer else off_tape(stacked)
        return registry["reshape"].call(stacked, out.shape + x.shape)
    return function


def hessian(f, argnums=0):
    """A function that returns the matrix of second derivatives of a scalar function."""
    return jacobian(grad(f, argnums), argnums)


def _active(name, x):
    """An alias of x on the tape of its own, connected to x where x is on one."""
    if not isinstance(x, core.Tensor):
        x = tensor(x)
    if x.dtype.kind != "f":
        raise DtypeError(f"{name}: only float32 and float64 can be differentiated, got {x.dtype}; "
                         "convert it with ad.astype")
    if not x.requires_grad:
        return lift(x)
    with core.enable_grad():
        return registry["alias"].call(x)


def _from_outside(x):
    return isinstance(x, core.Tensor) and x.node is not None and not x.node.is_leaf
