"""Adam and AdamW: steps scaled by running moments of the gradient."""

import autodiff as ad

from ..errors import ArgumentError, ValueRangeError
from .optimizer import Optimizer, at_least, zeros_like


class Adam(Optimizer):
    """m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  p -= lr m' / (sqrt(v') + eps).

    m' and v' are corrected for their start at zero; weight_decay is added to g; amsgrad keeps the
    largest v. Kingma and Ba (2015); Reddi et al. (2018).
    """

    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0,
                 amsgrad=False, maximize=False):
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps,
                                  "weight_decay": weight_decay, "amsgrad": amsgrad,
                                  "maximize": maximize})

    def _check(self, group):
        at_least(self, group, lr=0.0, weight_decay=0.0, eps=0.0)
        if len(group["betas"]) != 2:
            raise ArgumentError(f"{type(self).__name__}: betas must be a pair, got "
                                f"{group['betas']!r}")
        for beta in group["betas"]:
            if not 0.0 <= beta < 1.0:
                raise ValueRangeError(f"{type(self).__name__}: betas must be in [0, 1), got "
                                      f"{group['betas']}")

    def _start(self, p, group, count):
        state = {"step": count, "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(p)
        return state

    def _update(self, p, g, state, lr, group):
        beta1, beta2 = group["betas"]
        ad.adam_(p, g, state["exp_avg"], state["exp_avg_sq"], state.get("max_exp_avg_sq"), lr,
                 state["step"], beta1, beta2, group["eps"], group["weight_decay"], self.decoupled,
                 group["maximize"])


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter itself: p -= lr weight_decay p.

    Loshchilov and Hutter (2019).
    """

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2,
                 amsgrad=False, maximize=False):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize)
