"""Dropout: random zeros while training, nothing in inference.

Invariant: the mask is never stored; the backward draws it again from the same random counter.
"""

import autodiff as ad

from .errors import need_tensor, probability
from .module import Module


class Dropout(Module):
    """Zero each element with probability p and scale the rest by 1 / (1 - p), in training.

    `inplace` is accepted for PyTorch's signature and changes nothing. Srivastava et al. (2014).
    """

    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        self.p, self.inplace = probability("Dropout", p), inplace

    def forward(self, input):
        if not self.training or self.p == 0:
            return input
        need_tensor("Dropout", input)
        return ad.functional_dropout(input, self.p)

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"
