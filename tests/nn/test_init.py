"""nn.init and the layers' starting values: bounds, moments, seeds."""

import math

import numpy as np
import pytest

import autodiff as ad
import nn
from nn import init


def uniform_within(t, bound):
    """Uniform in [-bound, bound): by range, mean and variance."""
    a = t.numpy().astype(np.float64)
    assert np.abs(a).max() <= bound * (1 + 1e-6) and np.abs(a).max() > 0.95 * bound
    assert abs(a.mean()) < 5 * bound / math.sqrt(3 * a.size)
    assert abs(a.var() / (bound ** 2 / 3) - 1) < 5 / math.sqrt(a.size)


@pytest.fixture(autouse=True)
def seed():
    ad.manual_seed(0)


def test_linear_and_conv_start_as_in_pytorch():
    layer = nn.Linear(100, 400)
    uniform_within(layer.weight, 0.1)
    uniform_within(layer.bias, 0.1)
    layer = nn.Conv2d(8, 200, (3, 5), groups=2)
    uniform_within(layer.weight, 1 / math.sqrt(4 * 15))
    uniform_within(layer.bias, 1 / math.sqrt(4 * 15))


def test_other_layers():
    lstm = nn.LSTM(20, 25)
    for p in lstm.parameters():
        uniform_within(p, 0.2)
    e = nn.Embedding(200, 50).weight.numpy()
    assert abs(e.mean()) < 0.05 and abs(e.std() - 1) < 0.05
    m = nn.MultiheadAttention(40, 4)
    uniform_within(m.in_proj_weight, math.sqrt(6 / (160)))
    uniform_within(m.out_proj.weight, 1 / math.sqrt(40))
    assert not m.in_proj_bias.numpy().any() and not m.out_proj.bias.numpy().any()
    assert (nn.LayerNorm(3).weight.numpy() == 1).all()


def test_distributions():
    t = ad.empty((60, 80))
    uniform_within(init.xavier_uniform_(t, gain=2.0), 2 * math.sqrt(6 / 140))
    uniform_within(init.kaiming_uniform_(t, nonlinearity="relu"), math.sqrt(6 / 80))
    uniform_within(init.kaiming_uniform_(t, mode="fan_out", nonlinearity="linear"),
                   math.sqrt(3 / 60))
    for fill, std in ((lambda: init.xavier_normal_(t), math.sqrt(2 / 140)),
                      (lambda: init.kaiming_normal_(t), math.sqrt(2 / 80)),
                      (lambda: init.normal_(t, 0.0, 3.0), 3.0)):
        a = fill().numpy()
        assert abs(a.std() / std - 1) < 0.05 and abs(a.mean()) < 5 * std / 69
    a = init.trunc_normal_(t, std=2.0, a=-1.0, b=3.0).numpy()
    assert a.min() >= -1 and a.max() <= 3 and a.max() > 2.5
    q = init.orthogonal_(t, gain=2.0).numpy()
    np.testing.assert_allclose(q @ q.T, 4 * np.eye(60), atol=1e-4)
    assert (init.ones_(t).numpy() == 1).all() and (init.zeros_(t).numpy() == 0).all()
    assert (init.constant_(t, 2.5).numpy() == 2.5).all()


def test_seeds():
    def draw(generator=None):
        return init.normal_(ad.empty((5,)), generator=generator).tolist()
    ad.manual_seed(7)
    a, b = draw(), draw()
    ad.manual_seed(7)
    assert draw() == a and a != b
    state = ad.random_state().tolist()
    own = init.generator(7)
    assert draw(own) == a and draw(own) == b and draw(init.generator(8)) != a
    assert ad.random_state().tolist() == state


def test_parameters_are_filled_outside_the_tape():
    p = nn.Parameter(ad.zeros((2, 2)))
    assert init.uniform_(p) is p and p.requires_grad and p.is_leaf
    d = init.normal_(nn.Parameter(ad.zeros((3,), dtype=ad.float64)))
    assert d.dtype == np.float64


def test_errors():
    with pytest.raises(ad.ShapeError, match="at least 2 dimensions"):
        init.kaiming_uniform_(ad.zeros((3,)))
    with pytest.raises(ad.ArgumentError, match="mode"):
        init.kaiming_uniform_(ad.zeros((3, 3)), mode="fan")
    with pytest.raises(ad.ArgumentError, match="expected one of"):
        init.calculate_gain("relux")
    with pytest.raises(ad.ArgumentError, match="must be a Tensor"):
        init.zeros_([1.0])
    with pytest.raises(ad.ValueRangeError, match="std"):
        init.normal_(ad.zeros((3,)), std=-1.0)
    with pytest.raises(ad.DtypeError, match="can be trained"):
        nn.Parameter(ad.tensor([1, 2]))
    assert nn.Parameter(ad.tensor([1, 2]), requires_grad=False).category == "parameter"
