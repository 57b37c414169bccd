"""Transformer layers: by their parts, causality, masks; ParameterList; copies with operations."""

import copy

import numpy as np
import pytest

import autodiff as ad
import nn


def normal(*shape, seed=0):
    return ad.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def close(a, b):
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer_is_its_parts(norm_first):
    m, x = nn.TransformerEncoderLayer(8, 2, 16, 0.0, norm_first=norm_first), normal(5, 3, 8)

    def attend(x):
        return m.self_attn(x, x, x)[0]

    def feed(x):
        return m.linear2(ad.relu(m.linear1(x)))
    if norm_first:
        y = x + attend(m.norm1(x))
        y = y + feed(m.norm2(y))
    else:
        y = m.norm1(x + attend(x))
        y = m.norm2(y + feed(y))
    close(m(x), y)


def test_a_causal_block_sees_nothing_after_a_position():
    m, x = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), normal(2, 6, 8)
    whole = m(x, is_causal=True)
    for n in (1, 3):
        close(whole[:, :n], m(x[:, :n], is_causal=True))
    decoder, memory = nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True), normal(2, 3, 8)
    close(decoder(x, memory, tgt_is_causal=True)[:, :3],
          decoder(x[:, :3], memory, tgt_is_causal=True))


def test_stacks():
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation="gelu")
    stack, x = nn.TransformerEncoder(layer, 3, nn.LayerNorm(8)), normal(5, 3, 8)
    close(stack(x), stack.norm(layer(layer(layer(x)))))
    stack(x).sum().backward()
    assert all(p.grad is not None for p in stack.parameters()) and layer.norm1.weight.grad is None
    with pytest.raises(ad.ArgumentError, match="activation must be"):
        nn.TransformerEncoderLayer(8, 2, activation="swish")


def test_operations_are_copied_as_themselves():
    m = nn.Linear(2, 2)
    m.activations = {"a": ad.relu, "b": [ad.tanh]}
    other = copy.deepcopy(m)
    assert other.activations["a"] is ad.relu and other.activations["b"][0] is ad.tanh


def test_parameter_list():
    m = nn.Module()
    m.scales = nn.ParameterList([ad.ones((2,)), nn.Parameter(ad.zeros((3,)))])
    m.scales.append(ad.ones(()))
    assert list(m.state_dict()) == ["scales.0", "scales.1", "scales.2"] and len(m.scales) == 3
    assert m.scales[-1].shape == () and len(m.scales[1:]) == 2
    assert all(p.requires_grad for p in m.scales) and m.scales[1:][0] is m.scales[1]
    m.scales[1] = ad.ones((4,))
    assert m.state_dict()["scales.1"].shape == (4,)
    assert repr(m.scales) == "ParameterList((0): float32 (2,), (1): float32 (4,), (2): float32 ())"
