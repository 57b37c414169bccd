"""Activation functions as modules.

Invariant: PReLU alone has a parameter; the others hold no state.  `inplace` is accepted for
PyTorch's signature and changes nothing.
"""

import autodiff as ad

from . import functional as F
from . import init
from .errors import ArgumentError, need_like, positive_int
from .module import Module
from .parameter import Parameter


class Identity(Module):
    """The input, whatever the arguments of the constructor."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input


class ReLU(Module):
    """max(input, 0)."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return ad.relu(input)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """input where positive, else negative_slope * input."""

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self):
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """input where positive, else weight * input, with one learned weight, or one for each
    channel. He et al. (2015)."""

    def __init__(self, num_parameters=1, init=0.25, *, dtype=None):
        super().__init__()
        self.num_parameters = positive_int("PReLU", "num_parameters", num_parameters)
        self.init = init
        self.weight = Parameter(ad.empty((num_parameters,), dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self):
        """Every weight `init`."""
        init.constant_(self.weight, self.init)

    def forward(self, input):
        need_like("PReLU", input, self.weight)
        return F.prelu(input, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """input where positive, else alpha * (exp(input) - 1). Clevert et al. (2016)."""

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input):
        return F.elu(input, self.alpha)

    def extra_repr(self):
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Softplus(Module):
    """log(1 + exp(beta * input)) / beta; input itself where beta * input > threshold."""

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self):
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardswish(Module):
    """input * clip(input + 3, 0, 6) / 6. Howard et al. (2019)."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardswish(input)


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
    """input * sigmoid(input)."""

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


class GLU(Module):
    """a * sigmoid(b), where a and b are the halves of input along `dim`. Dauphin et al. (2017)."""

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = _axis(self, dim)

    def forward(self, input):
        return F.glu(input, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


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
