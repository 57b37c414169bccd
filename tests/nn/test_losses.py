"""Losses by their formulas, in the corners of their range, and the shapes they refuse."""

import math

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got, expected, tol=1e-12):
    np.testing.assert_allclose(got.numpy(), expected, rtol=tol, atol=tol)


X, Y = normal(5, 4) * 2, normal(5, 4, seed=1)


def t(a, **kw):
    return ad.tensor(a, **kw)


def test_huber_and_smooth_l1():
    d = np.abs(X - Y)
    close(F.smooth_l1_loss(t(X), t(Y), beta=0.5), np.where(d < 0.5, d * d, d - 0.25).mean())
    close(F.huber_loss(t(X), t(Y), delta=0.5), np.where(d < 0.5, d * d / 2, 0.5 * d - 0.125).mean())
    with pytest.raises(ad.ValueRangeError, match="delta"):
        F.huber_loss(t(X), t(Y), delta=0)


def test_labels_as_probabilities():
    labels = np.array([0, 3, 1, 1, 2])
    hot = np.eye(4)[labels]
    close(F.cross_entropy(t(X), t(hot)), F.cross_entropy(t(X), t(labels)).numpy())
    close(F.cross_entropy(t(X), t(hot), label_smoothing=0.1),
          F.cross_entropy(t(X), t(labels), label_smoothing=0.1).numpy())
    log_p = X - np.log(np.exp(X).sum(1, keepdims=True))
    close(F.nll_loss(t(log_p), t(labels), reduction="none"), -log_p[np.arange(5), labels])
    close(F.multi_margin_loss(t(X), t(labels), margin=0.0, reduction="none"),
          np.maximum(X - X[np.arange(5), labels][:, None], 0).sum(1) / 4)


def test_labels_out_of_range():
    for loss in (F.nll_loss, F.multi_margin_loss, F.cross_entropy):
        for wrong in (4, -1):
            with pytest.raises(ad.IndexRangeError):
                loss(t(X), t(np.array([0, 1, 2, 3, wrong])))
        with pytest.raises(ad.DtypeError if loss is not F.cross_entropy else ad.ShapeError):
            loss(t(X), t(np.zeros(5)))
        with pytest.raises(ad.ShapeError):
            loss(t(X), t(np.zeros((5, 1), int)))


def test_binary_cross_entropy():
    p, y = 1 / (1 + np.exp(-X)), (Y > 0) * 1.0
    each = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    close(F.binary_cross_entropy(t(p), t(y)), each.mean())
    close(F.binary_cross_entropy_with_logits(t(X), t(y)), each.mean())
    weighted = F.binary_cross_entropy_with_logits(t(X), t(y), pos_weight=[1.0, 2.0, 3.0, 4.0],
                                                  reduction="none")
    close(weighted, each * np.where(y, [1, 2, 3, 4], 1))
    with pytest.raises(ad.ValueRangeError, match="with_logits"):
        F.binary_cross_entropy(t(X), t(y))
    with pytest.raises(ad.ShapeError, match="pos_weight"):
        F.binary_cross_entropy_with_logits(t(X), t(y), pos_weight=np.ones((2, 5, 4)))


def test_logarithms_at_the_ends():
    p = t(np.array([0.0, 1.0, 0.0, 1.0]), requires_grad=True)
    loss = F.binary_cross_entropy(p, t(np.array([0.0, 1.0, 1.0, 0.0])), reduction="none")
    close(loss, [0, 0, 100, 100])
    loss.sum().backward()
    assert np.isfinite(p.grad.numpy()).all()
    x = t(np.array([-1e4, 1e4, 0.0]), requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, t(np.array([1.0, 0.0, 0.0])), reduction="none")
    close(loss, [1e4, 1e4, math.log(2)])
    loss.sum().backward()
    close(x.grad, [-1, 1, 0.5])
    close(F.kl_div(t(np.array([-1.0])), t(np.array([0.0]))), 0)


def test_gaussian_and_hinge():
    var = np.abs(Y) + 0.1
    close(F.gaussian_nll_loss(t(X), t(Y), t(var), full=True),
          (np.log(2 * np.pi * var) + (X - Y) ** 2 / var).mean() / 2)
    close(F.gaussian_nll_loss(t(X), t(Y), 2.0), (np.log(2) + (X - Y) ** 2 / 2).mean() / 2)
    with pytest.raises(ad.ValueRangeError, match="var must not be negative"):
        F.gaussian_nll_loss(t(X), t(Y), t(-var))
    with pytest.raises(ad.ShapeError, match="var must have shape"):
        F.gaussian_nll_loss(t(X), t(Y), t(var[0]))
    s = np.where(Y > 0, 1.0, -1.0)
    close(F.hinge_embedding_loss(t(X), t(s)), np.where(s > 0, X, np.maximum(0, 1 - X)).mean())


ELEMENTWISE = ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss",
               "KLDivLoss", "HingeEmbeddingLoss"]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_shapes_are_never_broadcast(name):
    loss = getattr(nn, name)()
    with pytest.raises(ad.ShapeError):
        loss(ad.zeros((5, 1)), ad.zeros((5,)))
    with pytest.raises(ad.ArgumentError, match="reduction"):
        getattr(nn, name)(reduction="average")
    model = nn.Sequential(nn.Linear(3, 1))
    model.loss = loss
    with pytest.raises(ad.ArgumentError, match="must be a Tensor"):
        loss(ad.zeros(3), [0.0] * 3)


def test_batchmean_belongs_to_kl_div():
    assert nn.KLDivLoss(reduction="batchmean")(t(X), t(np.abs(Y))).shape == ()
    with pytest.raises(ad.ArgumentError, match="'none', 'mean' or 'sum'"):
        nn.MSELoss(reduction="batchmean")
