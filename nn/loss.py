"""Losses as modules; what they compute is said by the functions of the same name.

Invariant: shapes that would broadcast are refused.
"""

import autodiff as ad

from . import functional as F
from .functional import check_reduction
from .module import Module


class Loss(Module):
    """What all losses share: reduction "mean", "sum" or "none"."""

    reductions = ("none", "mean", "sum")

    def __init__(self, *, reduction="mean"):
        super().__init__()
        self.reduction = check_reduction(type(self).__name__, reduction, self.reductions)

    def _weight(self, name, weight):
        if weight is not None and not isinstance(weight, ad.Tensor):
            weight = ad.tensor(weight)
        self.register_buffer(name, weight)


class CrossEntropyLoss(Loss):
    """-log softmax(input)[target], averaged; logits (N, C), (N, C, ...) or (C,); integer labels,
    or the classes' probabilities in the shape of the logits.

    weight (C,) scales the classes; labels equal to ignore_index do not count.
    """

    def __init__(self, weight=None, *, ignore_index=-100, reduction="mean",
                 label_smoothing=0.0):
        super().__init__(reduction=reduction)
        self._weight("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input, target):
        return F.cross_entropy(input, target, self.weight, ignore_index=self.ignore_index,
                               reduction=self.reduction, label_smoothing=self.label_smoothing)


class NLLLoss(Loss):
    """-weight[target] input[target] of log-probabilities (N, C), (N, C, ...) or (C,)."""

    def __init__(self, weight=None, *, ignore_index=-100, reduction="mean"):
        super().__init__(reduction=reduction)
        self._weight("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input, target):
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index,
                          reduction=self.reduction)


class MultiMarginLoss(Loss):
    """sum over the wrong classes of max(0, margin - input[target] + input)**p / C."""

    def __init__(self, p=1, margin=1.0, weight=None, *, reduction="mean"):
        super().__init__(reduction=reduction)
        self.p, self.margin = p, margin
        self._weight("weight", weight)

    def forward(self, input, target):
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight,
                                   reduction=self.reduction)


class MSELoss(Loss):
    """(input - target)**2, averaged; shapes must be equal."""

    def forward(self, input, target):
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """|input - target|, averaged; shapes must be equal."""

    def forward(self, input, target):
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """d = |input - target|: d**2 / (2 beta) below beta, d - beta / 2 above."""

    def __init__(self, *, reduction="mean", beta=1.0):
        super().__init__(reduction=reduction)
        self.beta = beta

    def forward(self, input, target):
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """d = |input - target|: d**2 / 2 up to delta, delta (d - delta / 2) above."""

    def __init__(self, reduction="mean", delta=1.0):
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input, target):
        return F.huber_loss(input, target, self.reduction, self.delta)


class BCELoss(Loss):
    """-target log(input) - (1 - target) log(1 - input) of probabilities."""

    def __init__(self, weight=None, *, reduction="mean"):
        super().__init__(reduction=reduction)
        self._weight("weight", weight)

    def forward(self, input, target):
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """BCELoss of sigmoid(input), without overflow; pos_weight scales the positive examples."""

    def __init__(self, weight=None, *, reduction="mean", pos_weight=None):
        super().__init__(reduction=reduction)
        self._weight("weight", weight)
        self._weight("pos_weight", pos_weight)

    def forward(self, input, target):
        return F.binary_cross_entropy_with_logits(input, target, self.weight,
                                                  reduction=self.reduction,
                                                  pos_weight=self.pos_weight)


class KLDivLoss(Loss):
    """target (log target - input) of log-probabilities; "batchmean" gives the divergence."""

    reductions = ("none", "mean", "sum", "batchmean")

    def __init__(self, *, reduction="mean", log_target=False):
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def forward(self, input, target):
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class GaussianNLLLoss(Loss):
    """(log var + (input - target)**2 / var) / 2, var at least eps; full adds log(2 pi) / 2."""

    def __init__(self, *, full=False, eps=1e-6, reduction="mean"):
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input, target, var):
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class HingeEmbeddingLoss(Loss):
    """input where the target is 1, max(0, margin - input) where it is -1."""

    def __init__(self, margin=1.0, *, reduction="mean"):
        super().__init__(reduction=reduction)
        self.margin = margin

    def forward(self, input, target):
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)
