"""Losses of class scores against labels.

Invariant: classes lie on axis 1 (axis 0 of a single example); a label that is not one of them,
and not ignore_index, raises LabelError.
"""

import autodiff as ad

from ..errors import DtypeError, ShapeError, ValueRangeError, bad_label, need_tensor, where
from .loss import check_reduction, reduced


def cross_entropy(input, target, weight=None, *, ignore_index=-100, reduction="mean",
                  label_smoothing=0.0):
    """-log softmax(input)[target]: logits (N, C), (N, C, ...) or (C,); integer labels, or the
    probabilities of the classes in the shape of the logits.

    weight (C,) scales the classes; the mean over labels is weighted, that over probabilities
    divides by the number of examples.
    """
    need_tensor("cross_entropy", input)
    need_tensor("cross_entropy", target, "target")
    if target.dtype.kind != "f":
        if input.ndim > 1 and target.shape == input.shape:
            raise ShapeError(f"cross_entropy: a target of the logits' shape {target.shape} holds "
                             f"probabilities, which are floats, got {target.dtype}; convert it "
                             f"with .float(), or take target.argmax(axis=1){where()}")
        try:
            return ad.cross_entropy(input, target, weight, ignore_index, reduction,
                                    label_smoothing)
        except ad.IndexRangeError as error:
            classes = input.shape[1 if input.ndim > 1 else 0]
            raise bad_label("cross_entropy", target, classes, ignore_index) or error from None
    return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)


def _soft_cross_entropy(input, target, weight, reduction, label_smoothing):
    name = "cross_entropy"
    axis = 1 if input.ndim > 1 else 0
    if input.shape != target.shape or not input.ndim:
        rows = input.shape[:axis] + input.shape[axis + 1:]
        raise ShapeError(f"{name}: logits of shape {input.shape} need a target of shape {rows} "
                         "with integer class indices, or of the same shape with floating class "
                         f"probabilities, got {target.dtype} {target.shape}{where()}")
    if not 0 <= label_smoothing <= 1:
        raise ValueRangeError(f"{name}: label_smoothing must be between 0 and 1, got "
                              f"{label_smoothing}")
    classes = input.shape[axis]
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    log_p = ad.log_softmax(input, axis)
    if weight is not None:
        log_p = log_p * _class_weight(name, weight, classes, input.ndim - axis - 1)
    return reduced(name, -(target * log_p).sum(axis=axis), reduction)


def nll_loss(input, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """-weight[target] input[target]: log-probabilities (N, C), (N, C, ...) or (C,), integer
    labels; the mean is weighted."""
    name = "nll_loss"
    check_reduction(name, reduction)
    rows, labels = _rows(name, input, target)
    ignored = labels == ignore_index
    labels = _valid(name, target, labels, rows.shape[1], ignore_index, ignored)
    loss = -rows[ad.arange(rows.shape[0]), labels]
    share = None
    if weight is not None:
        share = _class_weight(name, weight, rows.shape[1], 0)[labels]
        loss = loss * share
    loss = ad.where(ignored, 0.0, loss)
    if reduction == "none":
        return loss.reshape(target.shape)
    if reduction == "sum":
        return loss.sum()
    counted = ad.where(ignored, 0.0, ad.ones_like(loss.detach()) if share is None else share)
    return loss.sum() / counted.sum()


def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, *, reduction="mean"):
    """sum over classes i other than the target of
    weight[target] max(0, margin - input[target] + input[i])**p / C."""
    name = "multi_margin_loss"
    if p not in (1, 2):
        raise ValueRangeError(f"{name}: p must be 1 or 2, got {p!r}")
    rows, labels = _rows(name, input, target)
    if rows.shape[0] != target.size or input.ndim > 2:
        raise ShapeError(f"{name}: expected an input (N, C) or (C,), got {input.shape}{where()}")
    classes = rows.shape[1]
    labels = _valid(name, target, labels, classes)
    own = rows[ad.arange(rows.shape[0]), labels]
    gap = ad.clip(margin - ad.expand_dims(own, 1) + rows, 0.0)
    gap = ad.square(gap) if p == 2 else gap
    is_own = ad.expand_dims(labels, 1) == ad.arange(classes)
    loss = ad.where(is_own, 0.0, gap).sum(axis=1) / classes
    if weight is not None:
        loss = loss * _class_weight(name, weight, classes, 0)[labels]
    return reduced(name, loss.reshape(target.shape), reduction)


def _rows(name, input, target):
    """Scores as (rows, C) and labels as (rows,)."""
    need_tensor(name, input)
    need_tensor(name, target, "target")
    if not input.ndim:
        raise ShapeError(f"{name}: expected an input (C,), (N, C) or (N, C, ...), got a scalar"
                         f"{where()}")
    if target.dtype.kind not in "iu":
        raise DtypeError(f"{name}: target must hold integer class indices, got {target.dtype}"
                         f"{where()}")
    axis = 1 if input.ndim > 1 else 0
    expected = input.shape[:axis] + input.shape[axis + 1:]
    if target.shape != expected:
        raise ShapeError(f"{name}: an input of shape {input.shape} needs a target of shape "
                         f"{expected}, got {target.shape}{where()}")
    order = (*range(axis), *range(axis + 1, input.ndim), axis)
    rows = input if input.ndim < 3 else ad.permute_dims(input, order)
    return rows.reshape((target.size, input.shape[axis])), target.reshape((target.size,))


def _valid(name, target, labels, classes, ignore_index=None, ignored=None):
    """Labels inside the classes; those ignored as 0."""
    error = bad_label(name, target, classes, ignore_index)
    if error is not None:
        raise error
    return labels if ignored is None else ad.where(ignored, 0, labels)


def _class_weight(name, weight, classes, more):
    need_tensor(name, weight, "weight")
    if weight.shape != (classes,):
        raise ShapeError(f"{name}: weight must have shape ({classes},), one for each class, got "
                         f"{weight.shape}{where()}")
    return weight.reshape((classes,) + (1,) * more)
