"""Convolutions, pooling, norms, activations and padding by plain NumPy; keys and named errors."""

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got, expected, tol=1e-5):
    np.testing.assert_allclose(got.numpy(), expected, rtol=tol, atol=tol)


def shapes(module):
    return {k: v.shape for k, v in module.state_dict().items()}


# Convolution and pooling

def test_conv1d():
    layer, x = nn.Conv1d(2, 3, 3, stride=2, padding=1), normal(2, 2, 7)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, 2)[:, :, ::2]
    expected = np.einsum("nclj,kcj->nkl", windows, layer.weight.numpy())
    close(layer(ad.tensor(x)), expected + layer.bias.numpy()[:, None])
    close(layer(ad.tensor(x[1])), layer(ad.tensor(x)).numpy()[1])
    assert shapes(layer) == {"weight": (3, 2, 3), "bias": (3,)}
    assert repr(layer) == "Conv1d(2, 3, kernel_size=(3,), stride=(2,), padding=(1,))"
    assert not isinstance(layer, nn.Conv2d)
    with pytest.raises(ad.ShapeError, match=r"\(C, L\) or \(N, C, L\)"):
        layer(ad.zeros((1, 2, 5, 5)))
    with pytest.raises(ad.ShapeError, match="in_channels=2 at axis -2"):
        layer(ad.zeros((1, 3, 5)))


def test_depthwise_is_one_convolution_for_each_channel():
    layer, x = nn.Conv2d(3, 3, 3, groups=3, padding=1, bias=False), normal(2, 3, 4, 5)
    out = layer(ad.tensor(x)).numpy()
    for c in range(3):
        one = F.conv2d(ad.tensor(x[:, c:c + 1]), layer.weight[c:c + 1], padding=1)
        np.testing.assert_allclose(out[:, c:c + 1], one.numpy(), atol=1e-6)


def test_transposed_convolution_is_the_adjoint():
    forward, back = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.ConvTranspose2d(
        3, 2, 3, stride=2, padding=1, bias=False)
    back.load_state_dict(forward.state_dict())
    x, y = normal(1, 2, 7, 9), normal(1, 3, 4, 5, seed=1)
    left = (forward(ad.tensor(x)).numpy() * y).sum()
    right = (back(ad.tensor(y)).numpy() * x).sum()
    np.testing.assert_allclose(left, right, rtol=1e-4)
    assert shapes(nn.ConvTranspose2d(4, 6, 3, groups=2)) == {"weight": (4, 3, 3, 3), "bias": (6,)}
    assert back(ad.tensor(y), output_size=(8, 9)).shape == (1, 2, 8, 9)
    with pytest.raises(ad.ValueRangeError, match="output_size must be between"):
        back(ad.tensor(y), output_size=(9, 9))
    with pytest.raises(ad.ValueRangeError, match="smaller than the stride"):
        nn.ConvTranspose2d(3, 2, 3, output_padding=1)(ad.tensor(y))


def test_pooling_by_windows():
    x = normal(2, 3, 8)
    close(nn.MaxPool1d(2)(ad.tensor(x)), x.reshape(2, 3, 4, 2).max(-1))
    close(nn.AvgPool1d(4)(ad.tensor(x)), x.reshape(2, 3, 2, 4).mean(-1))
    image = normal(2, 3, 7, 5)
    bounds = [(0, 3), (2, 5), (4, 7)]
    for layer, f in ((nn.AdaptiveAvgPool2d((3, 1)), np.mean),
                     (nn.AdaptiveMaxPool2d((3, 1)), np.max)):
        close(layer(ad.tensor(image)),
              np.stack([f(image[:, :, a:b], (2, 3)) for a, b in bounds], 2)[..., None])
    close(nn.AdaptiveAvgPool2d(1)(ad.tensor(image)), image.mean((2, 3), keepdims=True))
    close(F.avg_pool2d(ad.tensor(image[:, :, :6, :4]), 2, divisor_override=1),
          image[:, :, :6, :4].reshape(2, 3, 3, 2, 2, 2).sum((3, 5)))
    with pytest.raises(ad.ShapeError, match=r"\(C, L\)"):
        nn.MaxPool1d(2)(ad.tensor(image))
    with pytest.raises(ad.ValueRangeError, match="output_size"):
        nn.AdaptiveAvgPool1d(0)(ad.tensor(x))


# Normalisation

def test_batch_norm_1d():
    bn, x = nn.BatchNorm1d(3), normal(6, 3) * 2 + 1
    close(bn(ad.tensor(x)), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 1e-4)
    close(bn.running_var, 0.9 + 0.1 * x.var(0, ddof=1))
    sequence = normal(2, 3, 4)
    m, v = sequence.mean((0, 2), keepdims=True), sequence.var((0, 2), keepdims=True)
    close(nn.BatchNorm1d(3)(ad.tensor(sequence)), (sequence - m) / np.sqrt(v + 1e-5), 1e-4)
    with pytest.raises(ad.ShapeError, match="more than one value a channel"):
        bn(ad.zeros((1, 3)))
    assert bn.eval()(ad.zeros((1, 3))).shape == (1, 3)
    with pytest.raises(ad.ShapeError, match=r"\(N, C\) or \(N, C, L\)"):
        bn(ad.zeros((1, 3, 2, 2)))


def test_group_norm_and_rms_norm():
    x = normal(2, 6, 4)
    layer = nn.GroupNorm(3, 6)
    layer.load_state_dict({"weight": np.arange(6, dtype=np.float32), "bias": np.zeros(6, "f4")})
    groups = x.reshape(2, 3, 8)
    expected = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(
        groups.var(-1, keepdims=True) + 1e-5)
    close(layer(ad.tensor(x)), expected.reshape(x.shape) * np.arange(6)[:, None], 1e-4)
    rms = nn.RMSNorm(4)
    close(rms(ad.tensor(x)), x / np.sqrt((x * x).mean(-1, keepdims=True) + np.finfo("f4").eps))
    assert shapes(rms) == {"weight": (4,)} and shapes(nn.GroupNorm(3, 6, affine=False)) == {}
    with pytest.raises(ad.ValueRangeError, match="must divide"):
        nn.GroupNorm(4, 6)
    with pytest.raises(ad.ShapeError, match="num_channels=6"):
        layer(ad.zeros((2, 3, 4)))
    with pytest.raises(ad.ShapeError, match="whose last axes"):
        rms(ad.zeros((2, 3)))


# Activations

def test_activations():
    x = normal(4, 6) * 3
    positive = np.maximum(x, 0)
    for layer, expected in [
            (nn.LeakyReLU(0.1), np.where(x > 0, x, 0.1 * x)),
            (nn.PReLU(), np.where(x > 0, x, 0.25 * x)),
            (nn.ELU(2.0), np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0)))),
            (nn.Softplus(), np.log1p(np.exp(-np.abs(x))) + positive),
            (nn.Hardswish(), x * np.clip(x + 3, 0, 6) / 6),
            (nn.GLU(1), x[:, :3] / (1 + np.exp(-x[:, 3:])))]:
        close(layer(ad.tensor(x)), expected)
    with pytest.raises(ad.ShapeError, match="does not split in halves"):
        nn.GLU(0)(ad.zeros((3, 4)))
    with pytest.raises(ad.ShapeError, match="weight must have shape"):
        nn.PReLU(5)(ad.zeros((3, 4)))


def test_activations_far_out_are_finite():
    x = ad.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], dtype=ad.float32, requires_grad=True)
    for f in (F.elu, F.softplus, F.hardswish, F.leaky_relu):
        y = f(x)
        y.sum().backward()
        assert np.isfinite(y.numpy()).all() and np.isfinite(x.grad.numpy()).all()


# Padding and upsampling

def test_padding():
    x = normal(2, 3, 4, 5)
    spread = ((0, 0), (0, 0), (3, 1), (1, 2))
    close(nn.ZeroPad2d((1, 2, 3, 1))(ad.tensor(x)), np.pad(x, spread))
    close(nn.ConstantPad2d((1, 2, 3, 1), 7.0)(ad.tensor(x)),
          np.pad(x, spread, constant_values=7))
    close(nn.ReflectionPad2d((1, 2, 3, 1))(ad.tensor(x)), np.pad(x, spread, mode="reflect"))
    close(nn.ReplicationPad2d((1, 2, 3, 1))(ad.tensor(x)), np.pad(x, spread, mode="edge"))
    close(F.pad(ad.tensor(x), (1, 2, 3, 1), "circular"), np.pad(x, spread, mode="wrap"))
    close(F.pad(ad.tensor(x), (-1, -2)), x[..., 1:-2])
    with pytest.raises(ad.ValueRangeError, match="reflect takes at most 4"):
        nn.ReflectionPad1d(5)(ad.zeros((2, 3, 5)))
    with pytest.raises(ad.ArgumentError, match="an integer or 4 of them"):
        nn.ZeroPad2d((1, 2))


def test_upsampling():
    x = normal(1, 2, 3, 2)
    close(nn.Upsample(scale_factor=2)(ad.tensor(x)), x.repeat(2, 2).repeat(2, 3))
    t = ad.tensor(x, requires_grad=True)
    nn.Upsample(size=(4, 5))(t).sum().backward()
    assert t.grad.numpy().sum() == 40 and t.grad.numpy()[0, 0].tolist() == [[6, 4], [3, 2], [3, 2]]
    with pytest.raises(ad.ArgumentError, match="either size or scale_factor"):
        F.interpolate(t)
