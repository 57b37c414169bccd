"""Linear: an affine map of the last axis.

Invariant: weight is (out_features, in_features), as in PyTorch.
"""

import autodiff as ad

from . import init
from .errors import ShapeError, need_like, need_size, positive_int
from .module import Module
from .parameter import Parameter


class Linear(Module):
    """out = input @ weight.T + bias; input (..., in_features), out (..., out_features).

    weight and bias start uniform within 1 / sqrt(in_features). Raises DtypeError for another dtype
    than the weight's, ShapeError for another last axis.
    """

    def __init__(self, in_features, out_features, bias=True, *, dtype=None):
        super().__init__()
        self.in_features = positive_int("Linear", "in_features", in_features)
        self.out_features = positive_int("Linear", "out_features", out_features)
        self.weight = Parameter(ad.empty((out_features, in_features), dtype=dtype))
        self.register_parameter("bias", Parameter(ad.empty((out_features,), dtype=dtype))
                                if bias else None)
        self.reset_parameters()

    def reset_parameters(self, generator=None):
        """Draw weight and bias anew."""
        init.linear_like_(self.weight, self.bias, generator)

    def forward(self, input):
        weight = self.weight
        if getattr(input, "dtype", None) != weight.dtype:
            need_like("Linear", input, weight)
        try:
            return ad.linear(input, weight, self.bias)
        except ShapeError:
            need_size("Linear", input, -1, self.in_features, "in_features")
            raise

    def extra_repr(self):
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")
