"""Losses as modules.

Invariant: shapes that would broadcast are refused.
"""

import autodiff as ad

from . import functional as F
from .errors import need_tensor
from .functional import check_reduction
from .module import Module


class CrossEntropyLoss(Module):
    """-log softmax(input)[target], averaged; logits (N, C), (N, C, ...) or (C,), integer target.

    weight (C,) scales the classes; labels equal to ignore_index do not count.
    """

    def __init__(self, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
        super().__init__()
        if weight is not None and not isinstance(weight, ad.Tensor):
            weight = ad.tensor(weight)
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.reduction = check_reduction("CrossEntropyLoss", reduction)

    def forward(self, input, target):
        need_tensor("CrossEntropyLoss", input)
        need_tensor("CrossEntropyLoss", target, "target")
        return ad.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction,
                                self.label_smoothing)


class MSELoss(Module):
    """(input - target)**2, averaged; shapes must be equal."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = check_reduction("MSELoss", reduction)

    def forward(self, input, target):
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Module):
    """|input - target|, averaged; shapes must be equal."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = check_reduction("L1Loss", reduction)

    def forward(self, input, target):
        return F.l1_loss(input, target, self.reduction)
