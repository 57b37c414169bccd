"""Losses of predictions against numbers.

The squared error and the binary cross-entropy of logits are fused operations, the rest
compositions.
Invariant: input and target have one shape; what would broadcast silently is refused.
"""

import math

import autodiff as ad

from ..errors import ArgumentError, ShapeError, ValueRangeError, need_tensor, where

REDUCTIONS = ("none", "mean", "sum")


def check_reduction(name, reduction, allowed=REDUCTIONS):
    """ArgumentError unless reduction is one of those allowed."""
    if reduction not in allowed:
        listed = ", ".join(map(repr, allowed[:-1]))
        raise ArgumentError(f"{name}: reduction must be {listed} or {allowed[-1]!r}, got "
                            f"{reduction!r}")
    return reduction


def reduced(name, loss, reduction):
    """The losses themselves, their mean or their sum."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    check_reduction(name, reduction)
    return loss


def same_shape(name, x, y, what="target"):
    """ShapeError unless both are Tensors of one shape."""
    need_tensor(name, x)
    need_tensor(name, y, what)
    if x.shape != y.shape:
        reshape = (f": reshape one of them, for instance {what}.reshape({x.shape})"
                   if x.size == y.size else "")
        raise ShapeError(f"{name}: input has shape {x.shape}, {what} {y.shape}; a loss does not "
                         f"broadcast{reshape}{where()}")


def fits(name, x, weight, what="weight"):
    """`weight` as a Tensor that broadcasts to the shape of x without enlarging it."""
    weight = weight if isinstance(weight, ad.Tensor) else ad.tensor(weight, dtype=x.dtype)
    shape = weight.shape
    if len(shape) > x.ndim or any(n not in (1, m) for n, m in
                                  zip(shape[::-1], x.shape[::-1], strict=False)):
        raise ShapeError(f"{name}: {what} of shape {shape} does not broadcast to the input's "
                         f"{x.shape}{where()}")
    return weight


def mse_loss(input, target, *, reduction="mean"):
    """(input - target)**2, averaged; shapes must be equal."""
    same_shape("mse_loss", input, target)
    return ad.mse(input, target, reduction)


def l1_loss(input, target, *, reduction="mean"):
    """|input - target|, averaged; shapes must be equal."""
    same_shape("l1_loss", input, target)
    return reduced("l1_loss", ad.abs(input - target), reduction)


def smooth_l1_loss(input, target, *, reduction="mean", beta=1.0):
    """d = |input - target|: d**2 / (2 beta) below beta, d - beta / 2 above. Girshick (2015)."""
    same_shape("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueRangeError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    d = ad.abs(input - target)
    loss = ad.where(d < beta, ad.square(d) * (0.5 / beta), d - 0.5 * beta)
    return reduced("smooth_l1_loss", loss, reduction)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """d = |input - target|: d**2 / 2 up to delta, delta (d - delta / 2) above. Huber (1964)."""
    same_shape("huber_loss", input, target)
    if delta <= 0:
        raise ValueRangeError(f"huber_loss: delta must be positive, got {delta}")
    d = ad.abs(input - target)
    loss = ad.where(d <= delta, ad.square(d) * 0.5, (d - 0.5 * delta) * delta)
    if weight is not None:
        loss = loss * fits("huber_loss", input, weight)
    return reduced("huber_loss", loss, reduction)


def binary_cross_entropy(input, target, weight=None, *, reduction="mean"):
    """-target log(input) - (1 - target) log(1 - input), logarithms no less than -100; input in
    [0, 1].  Where a logarithm is cut off its gradient is zero.

    From logits take binary_cross_entropy_with_logits: it loses no digits near 0 and 1.
    """
    name = "binary_cross_entropy"
    same_shape(name, input, target)
    if input.size and not input.is_dry:
        values = input.numpy()
        if values.min() < 0 or values.max() > 1:
            raise ValueRangeError(f"{name}: input must be in [0, 1], got {values.min()} .. "
                                  f"{values.max()}; of logits take {name}_with_logits{where()}")
    zero, one = input <= 0, input >= 1          # the logarithms never see what makes them infinite
    log_p = ad.where(zero, -100.0, ad.clip(ad.log(ad.where(zero, 1.0, input)), -100.0))
    log_q = ad.where(one, -100.0, ad.log1p(-ad.where(one, 0.0, input)))
    loss = (target - 1) * log_q - target * log_p
    if weight is not None:
        loss = loss * fits(name, input, weight)
    return reduced(name, loss, reduction)


def binary_cross_entropy_with_logits(input, target, weight=None, *, reduction="mean",
                                     pos_weight=None):
    """-pos_weight target log(s) - (1 - target) log(1 - s), s = sigmoid(input), without overflow."""
    name = "binary_cross_entropy_with_logits"
    same_shape(name, input, target)
    check_reduction(name, reduction)
    if pos_weight is None:
        if weight is None:
            return ad.bce_with_logits(input, target, reduction)
        loss = ad.bce_with_logits(input, target, "none")
    else:
        softplus = ad.bce_with_logits(input, ad.ones_like(input.detach()), "none")  # -log(s)
        more = (fits(name, input, pos_weight, "pos_weight") - 1) * target + 1
        loss = (1 - target) * input + softplus * more
    if weight is not None:
        loss = loss * fits(name, input, weight)
    return reduced(name, loss, reduction)


def kl_div(input, target, *, reduction="mean", log_target=False):
    """target (log target - input): input holds log-probabilities, target probabilities, or their
    logarithms with log_target.  "batchmean" is the divergence; "mean" divides by all elements."""
    same_shape("kl_div", input, target)
    check_reduction("kl_div", reduction, ("none", "mean", "sum", "batchmean"))
    if log_target:
        loss = ad.exp(target) * (target - input)
    else:
        log = ad.log(ad.where(target > 0, target, 1.0))                 # 0 log 0 = 0
        loss = target * (log - input)
    if reduction == "batchmean":
        return loss.sum() / max(input.shape[0] if input.ndim else 1, 1)
    return reduced("kl_div", loss, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """(log var + (input - target)**2 / var) / 2, plus log(2 pi) / 2 if full; var at least eps.

    var: a number, or a tensor of the input's shape, of that with a last axis of 1, or without the
    last axis. The gradient passes where var was raised to eps. Nix and Weigend (1994).
    """
    name = "gaussian_nll_loss"
    same_shape(name, input, target)
    var = var if isinstance(var, ad.Tensor) else ad.full(input.shape, var, dtype=input.dtype)
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = ad.expand_dims(var, -1)
        elif var.shape != (*input.shape[:-1], 1):
            raise ShapeError(f"{name}: var must have shape {input.shape}, {input.shape[:-1]} or "
                             f"{(*input.shape[:-1], 1)}, got {var.shape}{where()}")
    if eps <= 0:
        raise ValueRangeError(f"{name}: eps must be positive, got {eps}")
    if var.size and not var.is_dry and (least := var.numpy().min()) < 0:
        raise ValueRangeError(f"{name}: var must not be negative, got {least}{where()}")
    with ad.no_grad():
        raised = ad.clip(var.detach(), eps) - var.detach()
    var = var + raised
    loss = (ad.log(var) + ad.square(input - target) / var) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(name, loss, reduction)


def hinge_embedding_loss(input, target, margin=1.0, *, reduction="mean"):
    """input where the target is 1, max(0, margin - input) where it is -1."""
    name = "hinge_embedding_loss"
    same_shape(name, input, target)
    apart = ad.where(target != 1, ad.clip(margin - input, 0.0), 0.0)
    together = ad.where(target != -1, input, 0.0)
    return reduced(name, apart + together, reduction)
