"""RNN, LSTM, GRU and their cells: against a loop in NumPy, lengths, shapes, named errors."""

import numpy as np
import pytest

import autodiff as ad
import nn


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got, expected, tol=1e-5):
    np.testing.assert_allclose(got.numpy(), expected, rtol=tol, atol=tol)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_gru_by_hand():
    gru, x = nn.GRU(3, 4), normal(5, 2, 3)
    w_ih, w_hh, b_ih, b_hh = (p.numpy() for p in gru.parameters())
    h, outs = np.zeros((2, 4)), []
    for step in x:
        (r, z, n), (hr, hz, hn) = (np.split(a, 3, 1) for a in (step @ w_ih.T + b_ih,
                                                               h @ w_hh.T + b_hh))
        r, z = sigmoid(r + hr), sigmoid(z + hz)
        h = (1 - z) * np.tanh(n + r * hn) + z * h
        outs.append(h)
    out, h_n = gru(ad.tensor(x))
    close(out, np.stack(outs))
    close(h_n, h[None])
    assert list(gru.state_dict()) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]


def test_rnn_by_hand():
    rnn, x = nn.RNN(3, 4, nonlinearity="relu", bias=False), normal(5, 3)
    w_ih, w_hh = (p.numpy() for p in rnn.parameters())
    h = np.zeros(4)
    for step in x:
        h = np.maximum(w_ih @ step + w_hh @ h, 0)
    out, h_n = rnn(ad.tensor(x))
    close(out[-1], h)
    close(h_n, h[None])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_cells_are_a_step_of_their_layer(name):
    layer, cell = getattr(nn, name)(3, 4), getattr(nn, name + "Cell")(3, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x, state = normal(5, 2, 3), None
    for step in x:
        state = cell(ad.tensor(step), state)
    last = layer(ad.tensor(x))[1]
    for a, b in zip(*((s if name == "LSTM" else [s]) for s in (state, last)), strict=True):
        close(a, b.numpy()[0])
    assert cell.extra_repr() == "3, 4"
    with pytest.raises(ad.ShapeError, match="input_size=3"):
        cell(ad.zeros((2, 2)))
    with pytest.raises(ad.ShapeError, match="a state must have shape"):
        state = ad.zeros((1, 4))
        cell(ad.zeros((2, 3)), (state, state) if name == "LSTM" else state)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2},
                                     {"batch_first": True}])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_lengths(name, options):
    layer, lengths = getattr(nn, name)(3, 4, **options), [2, 5, 1]
    x = normal(3, 5, 3)
    for k, n in enumerate(lengths):
        x[k, n:] = np.nan                               # padding is never read
    first = "batch_first" in options
    wrap = ad.tensor(x if first else x.transpose(1, 0, 2), requires_grad=True)
    out, last = layer(wrap, lengths=lengths)
    out_n = out if first else ad.permute_dims(out, (1, 0, 2))
    for k, n in enumerate(lengths):
        alone, end = layer(ad.tensor(x[k, :n]))
        close(out_n[k, :n], alone.numpy())
        assert (out_n[k, n:].numpy() == 0).all()
        for a, b in zip(*((s if name == "LSTM" else [s]) for s in (last, end)), strict=True):
            close(a[:, k], b.numpy())
    out.sum().backward()
    g = wrap.grad.numpy() if first else wrap.grad.numpy().transpose(1, 0, 2)
    assert all((g[k, n:] == 0).all() and (g[k, :n] != 0).all() for k, n in enumerate(lengths))
    assert all(np.isfinite(p.grad.numpy()).all() for p in layer.parameters())


def test_named_errors():
    gru, x = nn.GRU(3, 4), ad.zeros((5, 2, 3))
    with pytest.raises(ad.ShapeError, match=r"lengths must have shape \(2,\)"):
        gru(x, lengths=[5])
    with pytest.raises(ad.ValueRangeError, match=r"lengths must be in \[1, 5\], got 0 .. 6"):
        gru(x, lengths=[0, 6])
    with pytest.raises(ad.DtypeError, match="lengths must hold integers"):
        gru(x, lengths=[1.0, 2.0])
    with pytest.raises(ad.ShapeError, match="h_0 must have shape"):
        gru(x, ad.zeros((1, 3, 4)))
    with pytest.raises(ad.ArgumentError, match="pair"):
        nn.LSTM(3, 4)(x, ad.zeros((1, 2, 4)))
    with pytest.raises(ad.ArgumentError, match="nonlinearity"):
        nn.RNN(3, 4, nonlinearity="sigmoid")


def test_dropout_between_layers_and_empty_sequences():
    gru, x = nn.GRU(3, 4, num_layers=2, dropout=0.5), ad.tensor(normal(5, 2, 3))
    a, b = gru(x)[0].numpy(), gru(x)[0].numpy()
    assert (a != b).any()
    gru.eval()
    assert (gru(x)[0].numpy() == gru(x)[0].numpy()).all()
    for layer in (gru, nn.RNN(3, 4), nn.LSTM(3, 4)):
        assert layer(ad.zeros((0, 2, 3)))[0].shape == (0, 2, 4)
