"""Twins of RMSprop's and Adagrad's updates; each returns the new values of what the kernel writes.

Invariant: the formulas and the order of their steps are PyTorch's.
"""

import numpy as np


def _gradient(p, g, weight_decay, maximize):
    g = -g if maximize else g
    return g + p.dtype.type(weight_decay) * p if weight_decay else g


def rmsprop_(p, g, square_avg, grad_avg, momentum_buffer, lr, maximize, alpha, eps, weight_decay,
             momentum):
    """(p, square_avg, grad_avg, buffer): p -= lr g / (sqrt(square_avg - grad_avg^2) + eps)."""
    real = p.dtype.type
    g = _gradient(p, g, weight_decay, maximize)
    share = real(1 - alpha)
    square_avg = real(alpha) * square_avg + share * (g * g)
    centred = square_avg
    if grad_avg is not None:
        grad_avg = grad_avg + share * (g - grad_avg)
        centred = square_avg - grad_avg * grad_avg
    step = g / (np.sqrt(centred) + real(eps))
    if momentum_buffer is not None:
        step = momentum_buffer = step + real(momentum) * momentum_buffer
    return p - real(lr) * step, square_avg, grad_avg, momentum_buffer


def adagrad_(p, g, total, lr, step, maximize, lr_decay, eps, weight_decay):
    """(p, total): total += g^2, p -= lr g / (sqrt(total) + eps)."""
    real = p.dtype.type
    g = _gradient(p, g, weight_decay, maximize)
    total = total + g * g
    rate = real(float(lr) / (1 + (float(step) - 1) * lr_decay))
    return p - rate * (g / (np.sqrt(total) + real(eps))), total
