"""Activation functions as modules.

Invariant: they hold no state.
"""

import autodiff as ad

from .errors import ArgumentError
from .module import Module


class Identity(Module):
    """The input, whatever the arguments of the constructor."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input


class ReLU(Module):
    """max(input, 0). `inplace` is accepted for PyTorch's signature and changes nothing."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return ad.relu(input)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class GELU(Module):
    """input * Phi(input), or its tanh form with approximate="tanh"."""

    def __init__(self, approximate="none"):
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ArgumentError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, input):
        return ad.gelu(input, self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """input * sigmoid(input). `inplace` is accepted and changes nothing."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return ad.silu(input)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, input):
        return ad.tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-input))."""

    def forward(self, input):
        return ad.sigmoid(input)


class Softmax(Module):
    """exp(input) / sum(exp(input)) along `dim`."""

    def __init__(self, dim=None):
        super().__init__()
        self.dim = _axis(self, dim)

    def forward(self, input):
        return ad.softmax(input, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(input)) along `dim`."""

    def __init__(self, dim=None):
        super().__init__()
        self.dim = _axis(self, dim)

    def forward(self, input):
        return ad.log_softmax(input, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


def _axis(module, dim):
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise ArgumentError(f"{type(module).__name__}: dim must be an integer, got {dim!r}; the "
                            "last axis is dim=-1")
    return dim.__index__()
