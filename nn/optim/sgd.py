"""SGD: stochastic gradient descent, with momentum."""

import numpy as np

import autodiff as ad

from ..errors import ValueRangeError
from .optimizer import Optimizer, at_least, number, zeros_like


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

    def _start(self, p, group, count):
        if not group["momentum"]:
            return {}
        # Without dampening, zeros are the same start; with it, the count tells the first step.
        buffer = {"momentum_buffer": zeros_like(p)}
        return {"step": count, **buffer} if group["dampening"] else buffer

    def _update(self, p, g, state, lr, group):
        if group["momentum"] and "momentum_buffer" not in state:    # switched on after the start
            state.update(self._start(p, group, number(1, np.float32)))
        ad.sgd_(p, g, state.get("momentum_buffer"), lr, state.get("step"), group["momentum"],
                group["dampening"], group["weight_decay"], group["nesterov"], group["maximize"])
