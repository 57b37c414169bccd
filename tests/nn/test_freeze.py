"""nn.freeze: the same answers, nothing writable, no dropout, folded batch norms; nn.predict."""

import copy

import numpy as np
import pytest

import autodiff as ad
import nn


def images(n=3, channels=2, seed=0):
    return ad.tensor(np.random.default_rng(seed).standard_normal((n, channels, 6, 6))
                     .astype(np.float32))


def convnet():
    """Layers with batch statistics away from their start."""
    ad.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=2, bias=False), nn.Dropout(0.1),
                      nn.BatchNorm2d(4, affine=False)),
        nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))
    for k in range(5):
        model(images(8, seed=k))
    return model


def test_same_answers_without_dropout_and_batch_norm():
    model = convnet()
    frozen = nn.freeze(model)
    kinds = [type(m).__name__ for m in frozen.modules()]
    assert not any("BatchNorm" in k or k == "Dropout" for k in kinds)
    np.testing.assert_allclose(frozen(images()).numpy(), model.eval()(images()).numpy(), rtol=1e-4,
                               atol=1e-5)
    whole = nn.freeze(model, fold=False)
    assert whole(images()).numpy().tobytes() == model(images()).numpy().tobytes()
    assert sum("BatchNorm" in type(m).__name__ for m in whole.modules()) == 3


def test_the_model_itself_stays():
    model = convnet()
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    nn.freeze(model)
    assert model.training and all(p.requires_grad for p in model.parameters())
    for k, v in model.state_dict().items():
        assert (v.numpy() == before[k]).all()


def test_no_tape():
    frozen = nn.freeze(convnet())
    x = images()
    x.requires_grad = True
    assert not frozen(x).requires_grad
    assert ad.is_grad_enabled()


@pytest.mark.parametrize("attempt", [
    lambda m: m[0].weight.fill_(1.0), lambda m: m[0].weight.__setitem__(0, 1.0),
    lambda m: setattr(m[0], "weight", nn.Parameter(ad.ones((4, 2, 3, 3)))),
    lambda m: setattr(m, "0", nn.Identity()), lambda m: m.train(), lambda m: m[0].train(),
    lambda m: m.requires_grad_(), lambda m: m.load_state_dict(m.state_dict()), lambda m: m.double(),
    lambda m: m.append(nn.ReLU()), lambda m: delattr(m[0], "weight"),
    lambda m: setattr(m, "training", True), lambda m: m[0].reset_parameters(),
    lambda m: m.register_buffer("x", ad.ones((1,)))])
def test_nothing_is_writable(attempt):
    frozen = nn.freeze(convnet())
    before = frozen(images()).numpy().copy()
    with pytest.raises(ad.AutodiffError):
        attempt(frozen)
    assert (frozen(images()).numpy() == before).all()


def test_arrays_are_read_only_too():
    with pytest.raises(ValueError):
        nn.freeze(convnet())[0].weight.numpy()[0] = 1


def test_class_and_methods_stay_and_tied_weights_stay_tied():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            self.seen = x.shape             # a plain value may be remembered
            return self.b(self.a(x))

        def label(self, x):
            return self(x).numpy().argmax(axis=-1)
    model = Model()
    frozen = nn.freeze(model)
    assert isinstance(frozen, Model) and frozen.a.weight is frozen.b.weight
    x = ad.ones((2, 3))
    assert (frozen.label(x) == model.label(x)).all() and frozen.seen == (2, 3)
    assert repr(frozen) == repr(model) and copy.deepcopy(frozen) is frozen
    assert frozen.eval() is frozen
    with pytest.raises(nn.FrozenError, match="change the model that it was made from"):
        frozen.train()


def test_what_is_not_folded():
    shared = nn.Conv2d(2, 2, 1)
    no_stats = nn.BatchNorm2d(2, track_running_stats=False)
    twice = nn.Sequential(shared, nn.BatchNorm2d(2), shared, no_stats)
    between = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.BatchNorm2d(2))
    for model in (twice, between):
        for k in range(3):
            model(images(seed=k))
        frozen = nn.freeze(model)
        assert len([m for m in frozen if isinstance(m, nn.BatchNorm2d)]) == \
            len([m for m in model if isinstance(m, nn.BatchNorm2d)])
        np.testing.assert_allclose(frozen(images()).numpy(), model.eval()(images()).numpy(),
                                   rtol=1e-5)


def test_a_folded_linear_refuses_sequences():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    with pytest.raises(ad.ShapeError, match="fold=False"):
        nn.freeze(model)(ad.ones((2, 4, 4)))
    assert nn.freeze(model, fold=False)(ad.ones((2, 4, 4))).shape == (2, 4, 4)


def fusible(dtype=None):
    ad.manual_seed(0)
    relu = nn.ReLU()                                # shared: taken in where it stands
    return nn.Sequential(
        nn.Conv2d(2, 20, 3, padding=1, dtype=dtype), nn.BatchNorm2d(20, dtype=dtype), relu,
        nn.Dropout(0.1), nn.MaxPool2d(2, stride=(2, 2)), nn.Conv2d(20, 16, 3, padding="same",
                                                                   dtype=dtype), relu,
        nn.MaxPool2d(3), nn.Conv2d(16, 4, 1, dtype=dtype), relu, nn.Flatten(),
        nn.Linear(4, 5, dtype=dtype), nn.BatchNorm1d(5, dtype=dtype), relu,
        nn.Linear(5, 3, dtype=dtype), nn.ReLU(), nn.Linear(3, 2, dtype=dtype))


@pytest.mark.parametrize("dtype", [ad.float32, ad.float64])
def test_relu_and_pooling_become_part_of_the_layer_before(dtype):
    model, x = fusible(dtype), images(3).astype(dtype)
    model(x)
    frozen = nn.freeze(model)
    kinds = [type(m).__name__ for m in frozen]
    assert kinds.count("ReLU") == 1 and kinds.count("MaxPool2d") == 1       # 1 x 1; 3 x 3
    assert "then ReLU, then MaxPool2d(2)" in repr(frozen[0])
    with ad.profile.profile() as p:
        found = frozen(x).numpy()
    assert "conv2d_relu" in str(p) and "linear_relu" in str(p)
    np.testing.assert_allclose(found, model.eval()(x).numpy(), rtol=1e-4, atol=1e-5)
    assert set(frozen.state_dict()) <= set(model.state_dict())


def test_what_is_not_fused():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    model = nn.Sequential(conv, nn.ReLU(), conv, nn.Sequential(nn.ReLU()),
                          nn.Conv2d(2, 2, 3, groups=2), nn.ReLU(),
                          nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), nn.ReLU())
    frozen = nn.freeze(model)
    assert sum(type(m).__name__ == "ReLU" for m in frozen.modules()) == 4
    x = images()
    assert (frozen(x).numpy() == model.eval()(x).numpy()).all()


def test_fused_layers_name_their_errors():
    frozen = nn.freeze(fusible())
    with pytest.raises(ad.ShapeError, match=r"in_channels=2"):
        frozen(ad.ones((1, 3, 6, 6)))
    with pytest.raises(ad.DtypeError, match="convert the input"):
        frozen(ad.ones((1, 2, 6, 6), dtype=ad.float64))
    with pytest.raises(ad.ShapeError, match="in_features=4"):
        frozen(ad.ones((1, 2, 12, 12)))
    with pytest.raises(ad.ShapeError, match=r"fold=False"):
        frozen[11](ad.ones((1, 1, 4)))


def test_frozen_files(tmp_path):
    pytest.importorskip("safetensors")
    frozen = nn.freeze(convnet())
    nn.save(frozen, tmp_path / "m")
    assert set(nn.load(tmp_path / "m")) == set(frozen.state_dict())


def test_predict():
    model = convnet()
    x = images(7).numpy()
    found = nn.predict(model, x, batch_size=3)
    assert model.training and found.shape == (7, 2)
    np.testing.assert_allclose(found, model.eval()(ad.tensor(x)).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(nn.predict(nn.freeze(model), x), found, rtol=1e-4, atol=1e-5)


def test_predict_with_several_inputs():
    class Sum(nn.Module):
        def forward(self, x, y):
            return x + y
    x, y = np.ones((5, 2), np.float32), np.arange(5, dtype=np.float32)[:, None]
    assert (nn.predict(Sum(), (x, ad.tensor(y)), batch_size=2) == x + y).all()
    with pytest.raises(ad.ShapeError, match=r"one first axis, .* got shapes \[\(5, 2\), \(4, 1\)"):
        nn.predict(Sum(), (x, y[:4]))
