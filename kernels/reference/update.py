"""Twins of the optimizers' updates; each returns the new values of what the kernel writes.

Invariant: the formulas and the order of their steps are PyTorch's.
"""

import numpy as np


def increment_(step):
    """step + 1, the count of optimizer steps."""
    return np.asarray(step + step.dtype.type(1))


def _gradient(p, g, weight_decay, maximize):
    g = -g if maximize else g
    return g + p.dtype.type(weight_decay) * p if weight_decay else g


def sgd_(p, g, momentum_buffer, lr, step, nesterov, maximize, momentum, dampening, weight_decay):
    """(p, buffer): buffer = momentum buffer + (1 - dampening) g, p -= lr buffer."""
    real = p.dtype.type
    g = _gradient(p, g, weight_decay, maximize)
    buffer = None
    if momentum_buffer is not None:
        if step is not None and step <= 1:
            buffer = g.copy()           # the first step takes the gradient undampened
        else:
            buffer = real(momentum) * momentum_buffer + real(1 - dampening) * g
        g = g + real(momentum) * buffer if nesterov else buffer
    return p - real(lr) * g, buffer


def adam_(p, g, m, v, vmax, lr, step, decoupled, maximize, beta1, beta2, eps, weight_decay):
    """(p, m, v, vmax): p -= lr m' / (sqrt(v') + eps), moments m', v' corrected for their start."""
    real = p.dtype.type
    lr, step = float(lr), float(step)
    if decoupled:
        p, weight_decay = p * real(1 - lr * weight_decay), 0
    g = _gradient(p, g, weight_decay, maximize)
    m = m + real(1 - beta1) * (g - m)
    v = real(beta2) * v + real(1 - beta2) * (g * g)
    second = v
    if vmax is not None:
        second = vmax = np.maximum(vmax, v)
    step_size = real(lr / (1 - beta1 ** step))
    root = real(np.sqrt(1 - beta2 ** step))
    return p - step_size * (m / (np.sqrt(second) / root + real(eps))), m, v, vmax
