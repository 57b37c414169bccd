"""The optimizers' updates, in place, one pass over a parameter and its state.

Learning rate and step count are tensors of one element that the kernel reads, so that a captured
training step can be replayed while they change.  Invariant: no update has a derivative; each
writes what `writes` names and nothing else.
"""

import math

import numpy as np

from ..errors import ArgumentError, DtypeError, ShapeError, ValueRangeError
from ..infer import need_float
from ..op import Plan, op
from ..samples import Bad, Sample


def check_like(name, p, **others):
    """The arrays beside a parameter have its shape and dtype."""
    need_float(name, p=p)
    for arg, x in others.items():
        if x is None:
            continue
        if x.shape != p.shape:
            raise ShapeError(f"{name}: {arg} has shape {x.shape}, the parameter {p.shape}")
        if x.dtype != p.dtype:
            raise DtypeError(f"{name}: {arg} is {x.dtype}, the parameter {p.dtype}")


def check_number(name, **numbers):
    """Tensors of one number that the kernel reads."""
    for arg, x in numbers.items():
        if x is not None and x.shape != ():
            raise ShapeError(f"{name}: {arg} must be a 0-d tensor, got shape {x.shape}")


def increment_infer(step):
    check_number("increment_", step=step)
    if step.dtype.name not in ("int64", "float32", "float64"):
        raise DtypeError(f"increment_: step must be int64 or floating, got {step.dtype}")
    return Plan([])


def sgd_infer(p, g, momentum_buffer, lr, step, momentum, dampening, weight_decay, nesterov,
              maximize):
    check_like("sgd_", p, g=g, momentum_buffer=momentum_buffer)
    check_number("sgd_", lr=lr, step=step)
    if momentum and momentum_buffer is None:
        raise ArgumentError("sgd_: momentum needs a momentum_buffer like the parameter")
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueRangeError("sgd_: nesterov needs momentum > 0 and dampening = 0")
    return Plan([], ia=(int(bool(nesterov)), int(bool(maximize))),
                fa=(float(momentum), float(dampening), float(weight_decay)))


def adam_infer(p, g, m, v, vmax, lr, step, beta1, beta2, eps, weight_decay, decoupled, maximize):
    check_like("adam_", p, g=g, m=m, v=v, vmax=vmax)
    check_number("adam_", lr=lr, step=step)
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        if not 0.0 <= beta < 1.0:
            raise ValueRangeError(f"adam_: {name} must be in [0, 1), got {beta}")
    return Plan([], ia=(int(bool(decoupled)), int(bool(maximize))),
                fa=(float(beta1), float(beta2), float(eps), float(weight_decay)))


def _flops(per_element):
    return lambda plan, p, *inputs, **attrs: per_element * math.prod(p.shape)


def sgd_samples(draw):
    lr, step = np.array(0.1), np.array(1)

    def make(shape, buffered, step=None, **attrs):
        buffer = draw.normal(*shape) if buffered else None
        return Sample(draw.normal(*shape), draw.normal(*shape), buffer, lr, step,
                      check_grad=False, **attrs)
    return [make((), False), make((2, 3), False, weight_decay=0.1), make((5,), True, momentum=0.9),
            make((5,), True, step, momentum=0.9, dampening=0.5),
            make((5,), True, np.array(2.0), momentum=0.9, dampening=0.5, maximize=True),
            make((5,), True, momentum=0.9, nesterov=True), make((0, 2), True, momentum=0.5)]


def sgd_bad(draw):
    x, lr = draw.normal(3), np.array(0.1)
    return [Bad(ShapeError, "g has shape", x, draw.normal(4), None, lr),
            Bad(ShapeError, "lr must be", x, x, None, np.ones(2)),
            Bad(ArgumentError, "momentum_buffer", x, x, None, lr, momentum=0.9),
            Bad(ValueRangeError, "nesterov", x, x, x.copy(), lr, nesterov=True)]


def adam_samples(draw):
    def make(shape, amsgrad=False, step=3, **attrs):
        return Sample(draw.normal(*shape), draw.normal(*shape), draw.normal(*shape),
                      draw.positive(*shape), draw.positive(*shape) if amsgrad else None,
                      np.array(0.01), np.array(step), check_grad=False, **attrs)
    return [make(()), make((2, 3), step=1), make((5,), weight_decay=0.1),
            make((5,), weight_decay=0.1, decoupled=True), make((5,), amsgrad=True, maximize=True),
            make((0, 3)), make((37,), step=1000)]


def adam_bad(draw):
    x, lr, step = draw.normal(3), np.array(0.1), np.array(1)
    return [Bad(ShapeError, "v has shape", x, x, x, draw.positive(2), None, lr, step),
            Bad(DtypeError, "m is int64", x, x, draw.ints(0, 2, 3), x, None, lr, step),
            Bad(ValueRangeError, "beta1", x, x, x, x, None, lr, step, beta1=1.0)]


increment_ = op(
    "increment_", "step", "Add 1 to a count of steps, in place.", formula="step += 1",
    outputs="", writes="step", kernel="increment_", infer=increment_infer, method=False,
    flops=lambda plan, step: 1,
    samples=lambda draw: [Sample(np.array(3), check_grad=False),
                          Sample(np.array(2.0, np.float32), check_grad=False)],
    bad=lambda draw: [Bad(ShapeError, "0-d", np.zeros(2))])

sgd_ = op(
    "sgd_", "p g momentum_buffer? lr step?",
    "Stochastic gradient descent, in place. With dampening, `step` (1 for the first) lets the "
    "buffer start as the gradient itself.",
    formula="buffer = momentum * buffer + (1 - dampening) * g; p -= lr * buffer",
    attrs={"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False,
           "maximize": False},
    outputs="", writes="p momentum_buffer", kernel="sgd_", infer=sgd_infer, method=False,
    flops=_flops(4), samples=sgd_samples, bad=sgd_bad,
    source="Sutskever et al., On the importance of initialization and momentum (2013)")

adam_ = op(
    "adam_", "p g m v vmax? lr step",
    "Adam, in place; AdamW with decoupled=True, AMSGrad where vmax is given. `step` counts from "
    "1.",
    formula="p -= lr * m / (1 - beta1**step) / (sqrt(v / (1 - beta2**step)) + eps)",
    attrs={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "decoupled": False,
           "maximize": False},
    outputs="", writes="p m v vmax", kernel="adam_", infer=adam_infer, method=False,
    flops=_flops(12), samples=adam_samples, bad=adam_bad,
    source="Kingma and Ba, Adam (2015); Loshchilov and Hutter, AdamW (2019)")
