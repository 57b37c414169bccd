"""Twins of cross_entropy and mse, forward and backward.

Invariant: an ignored label contributes neither loss nor gradient, and counts nothing in a mean.
`reduction` is 0 for none, 1 for mean, 2 for sum.
"""

import numpy as np


def _classes(logits):
    return 1 if logits.ndim > 1 else 0


def _labels(logits, target, ignore_index):
    """Which labels count, and the labels with 0 in place of the ignored ones."""
    counted = target != ignore_index
    label = np.where(counted, target, 0)
    classes = logits.shape[_classes(logits)]
    wrong = (label < 0) | (label >= classes)
    if wrong.any():
        raise IndexError(f"label {target[wrong].flat[0]} is out of range for {classes} classes")
    return counted, label


def _weights(logits, weight):
    if weight is None:
        weight = np.ones(logits.shape[_classes(logits)], logits.dtype)
    return weight


def cross_entropy(logits, target, weight, reduction, ignore_index, label_smoothing):
    """(loss, lse): (1 - s) w_t (lse - x_t) + s/C sum_c w_c (lse - x_c) for each label t."""
    axis = _classes(logits)
    counted, label = _labels(logits, target, ignore_index)
    w = _weights(logits, weight)
    top = np.max(logits, axis=axis, keepdims=True)
    shifted = logits - top
    log_sum = np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    log_p = shifted - log_sum
    column = w.reshape(-1, *[1] * (logits.ndim - axis - 1))
    picked = np.take_along_axis(log_p, np.expand_dims(label, axis), axis).squeeze(axis)
    loss = -(1 - label_smoothing) * w[label] * picked
    if label_smoothing:
        loss = loss - label_smoothing / logits.shape[axis] * (column * log_p).sum(axis=axis)
    loss = np.where(counted, loss, 0)
    if reduction:
        loss = loss.sum(dtype=np.float64)
        if reduction == 1:
            with np.errstate(invalid="ignore", divide="ignore"):
                loss = loss / np.where(counted, w[label], 0).sum(dtype=np.float64)
    lse = (top + log_sum).squeeze(axis)
    return np.asarray(loss, logits.dtype), np.asarray(lse, logits.dtype)


def cross_entropy_backward(g, logits, target, weight, lse, reduction, ignore_index,
                           label_smoothing):
    """(1 - s) w_t (p_c - [c = t]) + s/C (p_c sum w - w_c), times the cotangent."""
    axis = _classes(logits)
    counted, label = _labels(logits, target, ignore_index)
    w = _weights(logits, weight)
    classes = logits.shape[axis]
    column = w.reshape(-1, *[1] * (logits.ndim - axis - 1))
    p = np.exp(logits - np.expand_dims(lse, axis))
    index = np.arange(classes).reshape(column.shape)
    hit = index == np.expand_dims(label, axis)
    factor = np.where(counted, g, 0)
    if reduction == 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = factor / np.where(counted, w[label], 0).sum(dtype=np.float64)
        factor = np.where(counted, factor, 0)
    out = (1 - label_smoothing) * np.expand_dims(w[label], axis) * (p - hit)
    if label_smoothing:
        out = out + label_smoothing / classes * (p * w.sum() - column)
    return np.asarray(np.expand_dims(factor, axis) * out, logits.dtype)


def mse(x, y, reduction):
    """(x - y)^2, as it is, its mean or its sum."""
    squares = (x - y) ** 2
    if reduction:
        squares = squares.sum(dtype=np.float64)
        if reduction == 1:
            with np.errstate(invalid="ignore", divide="ignore"):
                squares = squares / x.size
    return np.asarray(squares, x.dtype)


def mse_backward(g, x, y, reduction):
    """2 (x - y) times the cotangent: the gradient of x; that of y is its negative."""
    scale = 2.0 / x.size if reduction == 1 and x.size else 2.0
    return np.asarray(g * ((x - y) * x.dtype.type(scale)), x.dtype)
