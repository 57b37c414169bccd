"""nn.summary: shapes, counts and bytes against what is known, and nothing left behind."""

import numpy as np
import pytest

import autodiff as ad
import nn


def model():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
                         nn.Linear(256, 10))


def test_rows():
    s = nn.summary(model(), ad.zeros((2, 1, 8, 8)))
    rows = {r.path: r for r in s}
    assert [r.kind for r in s] == ["Sequential", "Conv2d", "ReLU", "Dropout", "Flatten", "Linear"]
    assert [rows[k].shape for k in "01234"] == [(2, 4, 8, 8)] * 3 + [(2, 256), (2, 10)]
    assert rows["0"].parameters == 40 and rows["4"].parameters == 2570 and s.parameters == 2610
    assert rows["4"].flops >= 2 * 2 * 256 * 10 and rows["0"].flops >= 2 * 2 * 4 * 64 * 9
    # relu keeps its output; the linear layer keeps its input, which dropout made.
    array = 2 * 4 * 8 * 8 * 4
    assert rows["1"].saved_training == array and rows["4"].saved_training == array
    assert rows["0"].saved_training == 0 and s.saved_inference == 0
    assert s.saved_training >= 2 * array and s.peak_training > s.peak_inference > 0
    assert s.flops_training > 2 * s.flops_inference > 0


def test_it_prints_a_table():
    text = str(nn.summary(model(), ad.zeros((2, 1, 8, 8))))
    assert "4: Linear" in text and "(2, 10)" in text and "2,570" in text and "0 B" in text
    assert "2,610 trainable parameters" in text


def test_nothing_is_left_behind():
    m = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    ad.manual_seed(4)
    before = {k: v.numpy().copy() for k, v in m.state_dict().items()}
    random = np.array(ad.random_state().numpy())
    x = ad.ones((2, 1, 5, 5))
    with ad.no_grad():                      # also from inside no_grad
        assert nn.summary(m, x).saved_training > 0
    assert (ad.random_state().numpy() == random).all() and m.training
    assert all((v.numpy() == before[k]).all() for k, v in m.state_dict().items())
    assert all(p.grad is None for p in m.parameters()) and "forward" not in m.__dict__


def test_several_inputs_outputs_and_own_modules():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.unused = nn.LSTM(3, 4), nn.Linear(1, 1)
            self.scale = nn.Parameter(ad.ones(()))

        def forward(self, x, h):
            with ad.scope("scaled"):
                y = ad.exp(x * self.scale)
            return self.rnn(y, (h, h))
    s = nn.summary(Model(), np.ones((5, 2, 3), np.float32), ad.zeros((1, 2, 4)))
    rows = {r.path: r for r in s}
    assert rows["rnn"].shape == [(5, 2, 4), [(1, 2, 4), (1, 2, 4)]]
    assert rows["unused"].shape is None and rows["unused"].parameters == 2
    assert rows[""].flops > 0 and rows[""].saved_training == 5 * 2 * 3 * 4
    assert "(5, 2, 4), (1, 2, 4), (1, 2, 4)" in str(s)


def test_frozen_models_keep_nothing():
    frozen = nn.freeze(model())
    s = nn.summary(frozen, ad.zeros((2, 1, 8, 8)))
    assert s.saved_training == 0 and s.trainable == 0 and "2,610 frozen" in str(s)
    assert frozen(ad.zeros((2, 1, 8, 8))).shape == (2, 10) and "forward" not in frozen.__dict__


def test_errors():
    with pytest.raises(ad.ArgumentError, match="expected an input"):
        nn.summary(model())
    with pytest.raises(ad.ShapeError):
        nn.summary(model(), ad.zeros((2, 3, 8, 8)))
