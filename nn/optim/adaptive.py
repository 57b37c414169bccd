"""RMSprop and Adagrad: steps scaled by the squares of past gradients."""

import autodiff as ad

from ..errors import ValueRangeError
from .optimizer import Optimizer, as_state, at_least, zeros_like


class RMSprop(Optimizer):
    """v = alpha v + (1 - alpha) g^2;  p -= lr g / (sqrt(v) + eps).

    centered subtracts the square of the gradient's running mean from v; momentum accumulates the
    steps. Hinton (2012); Graves (2013).
    """

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0,
                 centered=False, *, maximize=False):
        super().__init__(params, {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps,
                                  "centered": centered, "weight_decay": weight_decay,
                                  "maximize": maximize})

    def _check(self, group):
        at_least(self, group, lr=0.0, weight_decay=0.0, eps=0.0, momentum=0.0, alpha=0.0)
        if group["alpha"] > 1:
            raise ValueRangeError(f"RMSprop: alpha must be in [0, 1], got {group['alpha']}")

    def _start(self, p, group, count):
        state = {"step": count, "square_avg": zeros_like(p)}
        return state | self._extra(p, group)

    def _extra(self, p, group):
        names = (("grad_avg", group["centered"]), ("momentum_buffer", group["momentum"]))
        return {name: zeros_like(p) for name, wanted in names if wanted}

    def _update(self, p, g, state, lr, group):
        wanted = (group["centered"] and "grad_avg" not in state
                  or group["momentum"] and "momentum_buffer" not in state)
        if wanted:                              # switched on after the start
            state.update(self._extra(p, group) | state)
        ad.rmsprop_(p, g, state["square_avg"], state["grad_avg"] if group["centered"] else None,
                    state["momentum_buffer"] if group["momentum"] else None, lr, group["alpha"],
                    group["eps"], group["weight_decay"], group["momentum"], group["maximize"])


class Adagrad(Optimizer):
    """s += g^2;  p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).

    s starts at initial_accumulator_value. Duchi, Hazan and Singer (2011).
    """

    def __init__(self, params, lr=1e-2, lr_decay=0.0, weight_decay=0.0,
                 initial_accumulator_value=0.0, eps=1e-10, maximize=False):
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "eps": eps,
                                  "weight_decay": weight_decay,
                                  "initial_accumulator_value": initial_accumulator_value,
                                  "maximize": maximize})

    def _check(self, group):
        at_least(self, group, lr=0.0, weight_decay=0.0, eps=0.0, lr_decay=0.0,
                 initial_accumulator_value=0.0)

    def _start(self, p, group, count):
        first = group["initial_accumulator_value"]
        return {"step": count, "sum": as_state(ad.full(p.shape, first, dtype=p.dtype))}

    def _update(self, p, g, state, lr, group):
        ad.adagrad_(p, g, state["sum"], lr, state["step"], group["lr_decay"], group["eps"],
                    group["weight_decay"], group["maximize"])
