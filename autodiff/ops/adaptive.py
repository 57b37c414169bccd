"""RMSprop's and Adagrad's updates, in place, one pass over a parameter and its state.

Invariant: as with the other updates, no derivative; learning rate and step are tensors of one
element that the kernel reads.
"""

import math

import numpy as np

from ..errors import ArgumentError, ShapeError, ValueRangeError
from ..op import Plan, op
from ..samples import Bad, Sample
from .update import check_like, check_number


def rmsprop_infer(p, g, square_avg, grad_avg, momentum_buffer, lr, alpha, eps, weight_decay,
                  momentum, maximize):
    check_like("rmsprop_", p, g=g, square_avg=square_avg, grad_avg=grad_avg,
               momentum_buffer=momentum_buffer)
    check_number("rmsprop_", lr=lr)
    if not 0.0 <= alpha <= 1.0:
        raise ValueRangeError(f"rmsprop_: alpha must be in [0, 1], got {alpha}")
    if momentum and momentum_buffer is None:
        raise ArgumentError("rmsprop_: momentum needs a momentum_buffer like the parameter")
    return Plan([], ia=(int(bool(maximize)),),
                fa=(float(alpha), float(eps), float(weight_decay), float(momentum)))


def adagrad_infer(p, g, total, lr, step, lr_decay, eps, weight_decay, maximize):
    check_like("adagrad_", p, g=g, total=total)
    check_number("adagrad_", lr=lr, step=step)
    return Plan([], ia=(int(bool(maximize)),),
                fa=(float(lr_decay), float(eps), float(weight_decay)))


def rmsprop_samples(draw):
    def make(shape, centered=False, buffered=False, **attrs):
        mean = draw.uniform(-0.5, 0.5, *shape) if centered else None
        buffer = draw.normal(*shape) if buffered else None
        return Sample(draw.normal(*shape), draw.normal(*shape), draw.positive(*shape), mean,
                      buffer, np.array(0.01), check_grad=False, **attrs)
    return [make(()), make((2, 3), weight_decay=0.1), make((5,), True),
            make((5,), False, True, momentum=0.9),
            make((37,), True, True, momentum=0.9, maximize=True), make((0, 3))]


def rmsprop_bad(draw):
    x, lr = draw.normal(3), np.array(0.1)
    return [Bad(ShapeError, "g has shape", x, draw.normal(4), x, None, None, lr),
            Bad(ArgumentError, "momentum_buffer", x, x, x, None, None, lr, momentum=0.9),
            Bad(ValueRangeError, "alpha", x, x, x, None, None, lr, alpha=1.5)]


def adagrad_samples(draw):
    def make(shape, step=1, **attrs):
        return Sample(draw.normal(*shape), draw.normal(*shape), draw.positive(*shape),
                      np.array(0.01), np.array(step), check_grad=False, **attrs)
    return [make(()), make((2, 3), 3, lr_decay=0.1), make((5,), weight_decay=0.1, maximize=True),
            make((0, 3)), make((37,), 1000)]


def adagrad_bad(draw):
    x, lr = draw.normal(3), np.array(0.1)
    return [Bad(ShapeError, "total has shape", x, x, draw.positive(2), lr, np.array(1)),
            Bad(ShapeError, "step must be", x, x, draw.positive(3), lr, np.ones(2))]


rmsprop_ = op(
    "rmsprop_", "p g square_avg grad_avg? momentum_buffer? lr",
    "RMSprop, in place; centred where grad_avg is given.",
    formula="v = alpha * v + (1 - alpha) * g**2; p -= lr * g / (sqrt(v) + eps)",
    attrs={"alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "maximize": False},
    outputs="", writes="p square_avg grad_avg momentum_buffer", kernel="rmsprop_",
    infer=rmsprop_infer, method=False,
    flops=lambda plan, p, *inputs, **attrs: 9 * math.prod(p.shape), samples=rmsprop_samples,
    bad=rmsprop_bad, source="Hinton, Neural Networks for Machine Learning, lecture 6e (2012)")

adagrad_ = op(
    "adagrad_", "p g total lr step", "Adagrad, in place. `step` counts from 1.",
    formula="total += g**2; p -= lr / (1 + (step - 1) * lr_decay) * g / (sqrt(total) + eps)",
    attrs={"lr_decay": 0.0, "eps": 1e-10, "weight_decay": 0.0, "maximize": False}, outputs="",
    writes="p total", kernel="adagrad_", infer=adagrad_infer, method=False,
    flops=lambda plan, p, *inputs, **attrs: 7 * math.prod(p.shape), samples=adagrad_samples,
    bad=adagrad_bad, source="Duchi, Hazan and Singer, Adaptive Subgradient Methods (2011)")
