"""Activation functions.

The piecewise ones are compositions: they save a byte an element for the choice of the branch, and
what the branch needs.  Invariant: at a kink the derivative is PyTorch's.
"""

import autodiff as ad

from ..errors import ShapeError, need_tensor, where


def sigmoid(input):
    """1 / (1 + exp(-input))."""
    return ad.sigmoid(input)


def tanh(input):
    """Hyperbolic tangent."""
    return ad.tanh(input)


def silu(input, inplace=False):
    """input * sigmoid(input). Elfwing et al. (2018)."""
    return ad.silu(input)


def relu(input, inplace=False):
    """max(input, 0). `inplace` is accepted and not needed: the engine saves the output alone."""
    return ad.relu(input)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """input where positive, else negative_slope * input."""
    need_tensor("leaky_relu", input)
    return ad.where(input > 0, input, input * negative_slope)


def prelu(input, weight):
    """input where positive, else weight * input; one weight, or one for each channel (axis 1)."""
    need_tensor("prelu", input)
    if weight.size == 1:
        slope = weight.reshape(())
    else:
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.shape != (channels,):
            raise ShapeError(f"prelu: weight must have shape (1,) or ({channels},) for an input of "
                             f"shape {input.shape}, got {weight.shape}{where()}")
        slope = weight.reshape((channels,) + (1,) * (input.ndim - 2))
    return ad.where(input > 0, input, input * slope)


def elu(input, alpha=1.0, inplace=False):
    """input where positive, else alpha * (exp(input) - 1)."""
    need_tensor("elu", input)
    positive = input > 0
    return ad.where(positive, input, ad.expm1(ad.where(positive, 0.0, input)) * alpha)


def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + exp(beta * input)) / beta; input itself where beta * input > threshold."""
    need_tensor("softplus", input)
    x = input if beta == 1 else input * beta
    large = x > threshold
    soft = ad.log1p(ad.exp(ad.where(large, 0.0, x)))
    return ad.where(large, input, soft if beta == 1 else soft / beta)


def hardswish(input, inplace=False):
    """input * clip(input + 3, 0, 6) / 6. Howard et al. (2019)."""
    need_tensor("hardswish", input)
    between = 6.0 - ad.relu(6.0 - ad.relu(input + 3.0))     # at -3 and 3 it has the slope 0
    return input * (between / 6.0)


def gelu(input, approximate="none"):
    """input * Phi(input), exactly, or by tanh with approximate="tanh"."""
    return ad.gelu(input, approximate)


def glu(input, dim=-1):
    """a * sigmoid(b), where a and b are the halves of input along `dim`."""
    need_tensor("glu", input)
    if not -input.ndim <= dim < input.ndim or input.shape[dim] % 2:
        raise ShapeError(f"glu: axis {dim} of shape {input.shape} does not split in halves"
                         f"{where()}")
    half, before = input.shape[dim] // 2, (slice(None),) * (dim % input.ndim)
    return input[(*before, slice(half))] * ad.sigmoid(input[(*before, slice(half, None))])


def softmax(input, dim, *, dtype=None):
    """exp(input) / sum(exp(input)) along `dim`, of the input in `dtype` where one is given."""
    return ad.softmax(input if dtype is None else ad.astype(input, dtype), dim)


def log_softmax(input, dim, *, dtype=None):
    """log(softmax(input, dim)), without underflow."""
    return ad.log_softmax(input if dtype is None else ad.astype(input, dtype), dim)
