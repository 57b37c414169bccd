"""Functions of functions: grad, value_and_grad, vjp, hvp, jacobian, hessian.

Invariant: the arguments of the caller are never touched: each transform differentiates with
respect to aliases of its own, so transforms nest.
"""

from . import core
from .errors import ArgumentError, GradientError
from .forward import jvp, lift, off_tape
from .op import registry


def gradients(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False,
              allow_unused=False):
    """Gradients of `outputs` with respect to `inputs`, as a list; `.grad` stays untouched.

    outputs, inputs: a tensor or a list of tensors. grad_outputs: cotangents (ones for scalars).
    create_graph=True records the sweep, so that the result can be differentiated again.
    Raises GradientError for an input that the outputs do not depend on, unless allow_unused.
    """
    single = isinstance(inputs, core.Tensor)
    outs = [outputs] if isinstance(outputs, core.Tensor) else list(outputs)
    ins = [inputs] if single else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, core.Tensor):
        grad_outputs = [grad_outputs] * len(outs)
    for x in (*outs, *ins):
        if not isinstance(x, core.Tensor):
            raise ArgumentError(f"gradients: expected Tensors, got {type(x).__name__}")
    if len(grad_outputs) != len(outs):
        raise ArgumentError(f"gradients: {len(outs)} outputs but {len(grad_outputs)} cotangents")
    found = core.gradients(outs, ins, list(grad_outputs), retain_graph, create_graph,
                           allow_unused)
    return found[0] if single else found


def value_and_grad(f, argnums=0, has_aux=False):
    """A function that returns (f(x), gradient of f at x); f must return one element.

    argnums: which positional arguments to differentiate (an int or a tuple).
    has_aux: f returns (loss, anything).
    """
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def function(*args, **kwargs):
        args = list(args)
        xs = []
        for k in chosen:
            if k >= len(args):
                raise ArgumentError(f"grad: argnums names argument {k}, got {len(args)} arguments")
            args[k] = _active(args[k])
            xs.append(args[k])
        outer = core.is_grad_enabled() and any(_from_outside(x) for x in args)
        with core.enable_grad():
            out = f(*args, **kwargs)
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
    xs = [_active(x) for x in primals]
    with core.enable_grad():
        out = f(*xs)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]

    def pull(*gs):
        from .ops.creation import zeros_like
        got = core.gradients(outs, xs, list(gs), True, core.is_grad_enabled(), True)
        return tuple(zeros_like(x) if g is None else g for g, x in zip(got, xs))
    return out, pull


def hvp(f, primals, tangents):
    """Gradient of f and the product of its Hessian with a vector: forward over reverse."""
    wrt = tuple(range(len(primals)))
    value, tangent = jvp(lambda *xs: grad(f, wrt)(*xs), primals, tangents)
    return value, tangent


def jacobian(f, argnums=0):
    """A function that returns J of shape out.shape + x.shape, row by row in reverse mode."""
    def function(*args):
        import numpy as np
        args = list(args)
        x = args[argnums] = _active(args[argnums])
        with core.enable_grad():
            out = f(*args)
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
        return registry["reshape"].call(stacked, out.shape + x.shape)
    return function


def hessian(f, argnums=0):
    """A function that returns the matrix of second derivatives of a scalar function."""
    return jacobian(grad(f, argnums), argnums)


def _active(x):
    """An alias of x on the tape of its own, connected to x where x is on one."""
    if not isinstance(x, core.Tensor):
        x = core.make(x)
    if not x.requires_grad:
        return lift(x)
    with core.enable_grad():
        return registry["alias"].call(x)


def _from_outside(x):
    return isinstance(x, core.Tensor) and x.node is not None and not x.node.is_leaf
