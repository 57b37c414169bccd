"""Twins of the operations fused for inference: the steps one after the other."""

import numpy as np

from .conv import conv2d
from .elementwise import relu
from .matmul import linear
from .pooling import max_pool2d


def linear_relu(x, weight, bias):
    """max(0, x weight^T + bias)."""
    return relu(linear(x, weight, bias))


def conv2d_relu(x, weight, bias, sh, sw, ph, pw, dh, dw, pool):
    """max(0, x * weight + bias), or the largest of each 2 x 2 of it."""
    out = relu(conv2d(x, weight, bias, sh, sw, ph, pw, dh, dw, 1))
    return max_pool2d(out, 2, 2, 2, 2, 0, 0, 1, 1, 0)[0] if pool else np.ascontiguousarray(out)
