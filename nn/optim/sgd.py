"""SGD: stochastic gradient descent, with momentum."""

import autodiff as ad

from ..errors import ValueRangeError
from .optimizer import Optimizer, at_least, zeros_like


class SGD(Optimizer):
    """g += weight_decay p;  buf = momentum buf + (1 - dampening) g;  p -= lr buf.

    The first buf is g; with nesterov the step is g + momentum buf. Sutskever et al. (2013).
    """

    def __init__(self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0,
                 nesterov=False, maximize=False):
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening,
                                  "weight_decay": weight_decay, "nesterov": nesterov,
                                  "maximize": maximize})

    def _check(self, group):
        at_least(self, group, lr=0.0, weight_decay=0.0, momentum=0.0)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueRangeError("SGD: nesterov needs momentum > 0 and dampening = 0")
        # Without dampening a buffer of zeros is the same start; else the count tells the first.
        self.counts_steps = self.counts_steps or bool(group["momentum"] and group["dampening"])

    def _start(self, p, group, count):
        state = {"step": count} if self.counts_steps else {}
        if group["momentum"]:
            state["momentum_buffer"] = zeros_like(p)
        return state

    def _update(self, p, g, state, lr, group):
        ad.sgd_(p, g, state.get("momentum_buffer"), lr,
                state.get("step") if group["dampening"] else None, group["momentum"],
                group["dampening"], group["weight_decay"], group["nesterov"], group["maximize"])
