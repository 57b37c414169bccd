"""Layers and losses: values against plain NumPy, keys, defaults, modes, named errors."""

import math

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


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Linear, convolution, pooling

def test_linear():
    layer, x = nn.Linear(3, 4), normal(2, 5, 3)
    close(layer(ad.tensor(x)), x @ layer.weight.numpy().T + layer.bias.numpy())
    assert shapes(layer) == {"weight": (4, 3), "bias": (4,)}
    assert shapes(nn.Linear(3, 4, bias=False)) == {"weight": (4, 3)}
    with pytest.raises(ad.ValueRangeError, match="in_features must be at least 1"):
        nn.Linear(0, 4)
    with pytest.raises(ad.ArgumentError, match="out_features must be an integer"):
        nn.Linear(3, 4.0)
    with pytest.raises(TypeError):
        nn.Linear(3, 4, biass=False)
    with pytest.raises(ad.ShapeError):
        layer(ad.tensor(normal(2, 4)))


def test_conv2d():
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    x = normal(2, 2, 5, 5)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]
    expected = np.einsum("nchwij,kcij->nkhw", windows, layer.weight.numpy())
    close(layer(ad.tensor(x)), expected + layer.bias.numpy()[:, None, None])
    close(layer(ad.tensor(x[0])), layer(ad.tensor(x)).numpy()[0])
    assert shapes(layer) == {"weight": (3, 2, 3, 3), "bias": (3,)}
    assert nn.Conv2d(2, 2, 3, padding="same")(ad.tensor(x)).shape == (2, 2, 5, 5)
    assert repr(nn.Conv2d(4, 6, (1, 3), padding=1, groups=2, bias=False)) == (
        "Conv2d(4, 6, kernel_size=(1, 3), stride=(1, 1), padding=(1, 1), groups=2, bias=False)")
    with pytest.raises(ad.ShapeError, match="in_channels=2 at axis -3 of the input, got 3"):
        layer(ad.zeros((1, 3, 5, 5)))
    with pytest.raises(ad.ShapeError, match=r"\(C, H, W\) or \(N, C, H, W\)"):
        layer(ad.zeros((5, 5)))
    with pytest.raises(ad.ValueRangeError, match="groups"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ad.ArgumentError, match="padding_mode"):
        nn.Conv2d(3, 4, 3, padding_mode="mirror")
    with pytest.raises(ad.ArgumentError, match="odd kernel"):
        nn.Conv2d(3, 4, 2, padding="same")


def test_pooling():
    x = normal(2, 3, 4, 6)
    blocks = x.reshape(2, 3, 2, 2, 3, 2)
    close(nn.MaxPool2d(2)(ad.tensor(x)), blocks.max((3, 5)))
    close(nn.AvgPool2d(2)(ad.tensor(x)), blocks.mean((3, 5)))
    close(nn.MaxPool2d(2)(ad.tensor(x[0])), blocks.max((3, 5))[0])
    assert nn.MaxPool2d(3, stride=1, padding=1)(ad.tensor(x)).shape == x.shape
    with pytest.raises(ad.ShapeError, match="N, C, H, W"):
        nn.MaxPool2d(2)(ad.zeros((4, 4)))


# Normalisation

def test_batch_norm():
    bn, x = nn.BatchNorm2d(3), normal(4, 3, 2, 2) * 2 + 1
    assert list(shapes(bn)) == ["weight", "bias", "running_mean", "running_var",
                                "num_batches_tracked"]
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    column = (slice(None), None, None)
    close(bn(ad.tensor(x)), (x - mean[column]) / np.sqrt(var + 1e-5)[column], 1e-4)
    close(bn.running_mean, 0.1 * mean)
    close(bn.running_var, 0.9 + 0.1 * var * 16 / 15)
    assert bn.num_batches_tracked.item() == 1 and bn.num_batches_tracked.dtype == np.int64
    bn.eval()
    rm, rv = bn.running_mean.numpy().copy(), bn.running_var.numpy().copy()
    close(bn(ad.tensor(x)), (x - rm[column]) / np.sqrt(rv + 1e-5)[column], 1e-4)
    assert (bn.running_mean.numpy() == rm).all() and bn.num_batches_tracked.item() == 1
    with pytest.raises(ad.ShapeError, match="num_features=3"):
        bn(ad.zeros((1, 2, 2, 2)))
    with pytest.raises(ad.ShapeError, match="4 dimensions"):
        bn(ad.zeros((1, 3)))


def test_batch_norm_options():
    batches = [normal(4, 2, 3, 3, seed=s) for s in range(3)]
    bn = nn.BatchNorm2d(2, momentum=None)
    for x in batches:
        bn(ad.tensor(x))
    close(bn.running_mean, np.mean([x.mean((0, 2, 3)) for x in batches], 0))
    bare = nn.BatchNorm2d(2, affine=False, track_running_stats=False).eval()
    assert shapes(bare) == {}
    assert abs(bare(ad.tensor(batches[0])).numpy().mean()) < 1e-6     # the batch's own statistics


def test_layer_norm():
    x = normal(2, 3, 4)
    ln = nn.LayerNorm((3, 4))
    m, v = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    close(ln(ad.tensor(x)), (x - m) / np.sqrt(v + 1e-5), 1e-4)
    assert shapes(ln) == {"weight": (3, 4), "bias": (3, 4)}
    assert shapes(nn.LayerNorm(4, bias=False)) == {"weight": (4,)}
    assert shapes(nn.LayerNorm(4, elementwise_affine=False)) == {}
    for layer in (ln, nn.LayerNorm(5, elementwise_affine=False)):
        with pytest.raises(ad.ShapeError, match="whose last axes are"):
            layer(ad.zeros((2, 4, 4)))


# Embedding, dropout, activations

def test_embedding():
    e = nn.Embedding(5, 3, padding_idx=-1)
    assert e.padding_idx == 4 and (e.weight.numpy()[4] == 0).all()
    i = np.array([[1, 4], [1, 0]])
    close(e(ad.tensor(i)), e.weight.numpy()[i])
    e(ad.tensor(i)).sum().backward()
    assert e.weight.grad.numpy()[:, 0].tolist() == [1, 2, 0, 0, 0]
    with pytest.raises(ad.DtypeError, match="must hold integers"):
        e(ad.zeros((2,)))
    with pytest.raises(ad.IndexRangeError):
        e(ad.tensor([5]))
    with pytest.raises(ad.ValueRangeError, match="padding_idx"):
        nn.Embedding(5, 3, padding_idx=5)
    frozen = nn.Embedding.from_pretrained(normal(4, 2))
    assert not frozen.weight.requires_grad and "weight" in frozen.state_dict()


def test_dropout():
    d, x = nn.Dropout(0.25), ad.ones((4000,))
    ad.manual_seed(1)
    y = d(x).numpy()
    assert set(np.unique(y).tolist()) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.03
    assert not (d(x).numpy() == y).all()
    ad.manual_seed(1)
    assert (d(x).numpy() == y).all()
    assert d.eval()(x) is x and F.dropout(x, 0.5, training=False) is x
    for p in (-0.1, 1.5):
        with pytest.raises(ad.ValueRangeError, match=r"p must be in \[0, 1\]"):
            nn.Dropout(p)


def test_activations():
    x = normal(3, 4)
    t = ad.tensor(x)
    phi = np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))
    close(nn.ReLU(inplace=True)(t), np.maximum(x, 0))
    close(nn.GELU()(t), x * phi(x))
    close(nn.GELU("tanh")(t), x * phi(x), 2e-3)
    close(nn.SiLU()(t), x / (1 + np.exp(-x)))
    close(nn.Tanh()(t), np.tanh(x))
    close(nn.Sigmoid()(t), 1 / (1 + np.exp(-x)))
    close(nn.Softmax(dim=-1)(t), softmax(x))
    close(nn.LogSoftmax(dim=0)(t), np.log(softmax(x.T).T))
    assert nn.Identity(3, anything=True)(t) is t
    with pytest.raises(ad.ArgumentError, match="dim=-1"):
        nn.Softmax()
    with pytest.raises(ad.ArgumentError, match="approximate"):
        nn.GELU("fast")
    assert F.one_hot(ad.tensor([1, 0]), 3).tolist() == [[0, 1, 0], [1, 0, 0]]


# LSTM

def lstm_by_hand(x, h, c, w):
    def sigmoid(v):
        return 1 / (1 + np.exp(-v))
    out = []
    for xt in x:
        i, f, g, o = np.split(xt @ w[0].T + h @ w[1].T + w[2] + w[3], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out), h, c


def test_lstm():
    lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    w = {k: v.numpy() for k, v in lstm.state_dict().items()}
    assert list(w)[:4] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert list(w)[4] == "weight_ih_l0_reverse" and len(w) == 16
    assert w["weight_ih_l1"].shape == (16, 8)
    x, h0, c0 = normal(5, 2, 3), normal(4, 2, 4, seed=1), normal(4, 2, 4, seed=2)
    seq, hn, cn = x, [], []
    for layer in range(2):
        outs = []
        for d, end in enumerate(("", "_reverse")):
            ws = [w[f"{n}_l{layer}{end}"]
                  for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            k = 2 * layer + d
            out, h, c = lstm_by_hand(seq[::-1] if d else seq, h0[k], c0[k], ws)
            outs.append(out[::-1] if d else out)
            hn.append(h)
            cn.append(c)
        seq = np.concatenate(outs, -1)
    y, (h, c) = lstm(ad.tensor(x), (ad.tensor(h0), ad.tensor(c0)))
    close(y, seq)
    close(h, np.stack(hn))
    close(c, np.stack(cn))


def test_lstm_layouts_and_errors():
    lstm = nn.LSTM(3, 4)
    x = normal(5, 2, 3)
    y, (h, _) = lstm(ad.tensor(x))
    first = nn.LSTM(3, 4, batch_first=True)
    first.load_state_dict(lstm.state_dict())
    yb, (hb, _) = first(ad.tensor(x.swapaxes(0, 1)))
    close(yb, y.numpy().swapaxes(0, 1))
    close(hb, h.numpy())
    y1, (h1, c1) = lstm(ad.tensor(x[:, 0]))
    close(y1, y.numpy()[:, 0])
    assert h1.shape == c1.shape == (1, 4)
    y.sum().backward()
    assert all(p.grad is not None and np.isfinite(p.grad.numpy()).all()
               for p in lstm.parameters())
    assert len(nn.LSTM(3, 4, bias=False).state_dict()) == 2
    with pytest.raises(ad.ShapeError, match="input_size=3"):
        lstm(ad.zeros((5, 2, 4)))
    with pytest.raises(ad.ShapeError, match=r"h_0 must have shape \(1, 2, 4\)"):
        lstm(ad.tensor(x), (ad.zeros((1, 3, 4)), ad.zeros((1, 2, 4))))
    with pytest.raises(ad.ArgumentError, match="pair"):
        lstm(ad.tensor(x), ad.zeros((1, 2, 4)))
    assert repr(nn.LSTM(3, 4, num_layers=2)) == "LSTM(3, 4, num_layers=2)"


# Attention

def attention_by_hand(m, q, k, v, allowed):
    """Output and averaged weights of batch-first inputs; `allowed` broadcasts to (N, H, L, S)."""
    e, h = m.embed_dim, m.num_heads
    w, b = m.in_proj_weight.numpy(), m.in_proj_bias.numpy()

    def heads(x, part):
        y = x @ w[part * e:(part + 1) * e].T + b[part * e:(part + 1) * e]
        return y.reshape(*y.shape[:2], h, e // h).swapaxes(1, 2)
    q, k, v = heads(q, 0), heads(k, 1), heads(v, 2)
    p = softmax(np.where(allowed, q @ k.swapaxes(-1, -2) / math.sqrt(e // h), -np.inf))
    out = (p @ v).swapaxes(1, 2).reshape(q.shape[0], q.shape[2], e)
    return out @ m.out_proj.weight.numpy().T + m.out_proj.bias.numpy(), p.mean(1)


def attention_layer(**options):
    m = nn.MultiheadAttention(8, 2, batch_first=True, **options)
    with ad.no_grad():
        m.in_proj_bias.copy_(normal(24, seed=5))
    return m


@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_masks(need_weights):
    m = attention_layer()
    q, k, v = normal(3, 4, 8), normal(3, 5, 8, seed=1), normal(3, 5, 8, seed=2)
    left_out = np.random.default_rng(3).random((4, 5)) < 0.3
    padding = np.zeros((3, 5), bool)
    padding[1, 3:] = True
    left_out[:, 0] = False
    allowed = ~left_out & ~padding[:, None, None, :]
    expected, weights = attention_by_hand(m, q, k, v, allowed)
    tq, tk, tv = map(ad.tensor, (q, k, v))
    additive = np.where(left_out, -np.inf, 0).astype(np.float32)
    for mask in (left_out, additive, np.broadcast_to(left_out, (6, 4, 5)).copy()):
        out, got = m(tq, tk, tv, key_padding_mask=ad.tensor(padding), attn_mask=ad.tensor(mask),
                     need_weights=need_weights)
        close(out, expected, 1e-4)
        if need_weights:
            close(got, weights)
        else:
            assert got is None
    out, _ = m(tq, tq, tq, is_causal=True, need_weights=need_weights)
    close(out, attention_by_hand(m, q, q, q, np.tri(4, dtype=bool))[0], 1e-4)


def test_multihead_attention_layouts():
    m, x = attention_layer(), normal(3, 4, 8)
    y, w = m(*[ad.tensor(x)] * 3)
    other = nn.MultiheadAttention(8, 2)
    other.load_state_dict(m.state_dict())
    xs = ad.tensor(x.swapaxes(0, 1))
    close(other(xs, xs, xs)[0], y.numpy().swapaxes(0, 1))
    one = ad.tensor(x[0])
    y1, w1 = m(one, one, one)
    close(y1, y.numpy()[0])
    close(w1, w.numpy()[0])
    assert m(one, one, one, average_attn_weights=False)[1].shape == (2, 4, 4)
    assert list(shapes(m)) == ["in_proj_weight", "in_proj_bias", "out_proj.weight",
                               "out_proj.bias"]
    mixed = nn.MultiheadAttention(8, 2, kdim=5, vdim=6)
    assert list(shapes(mixed))[:3] == ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    assert mixed(ad.zeros((4, 3, 8)), ad.zeros((2, 3, 5)), ad.zeros((2, 3, 6)))[0].shape == (
        4, 3, 8)


def test_attention_gradients_of_both_forms_agree():
    m, x = attention_layer(), ad.tensor(normal(2, 4, 8))
    grads = []
    for need_weights in (True, False):
        m.zero_grad()
        out, _ = m(x, x, x, is_causal=True, need_weights=need_weights)
        (out * out).sum().backward()
        grads.append([p.grad.numpy().copy() for p in m.parameters()])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_attention_row_without_keys():
    q = ad.tensor(normal(1, 2, 4), requires_grad=True)
    mask = ad.tensor(np.array([[True, True], [False, False]]))
    weights = F.attention_weights(q, q, mask)
    assert weights.numpy()[0, 1].tolist() == [0, 0]
    (weights * weights).sum().backward()
    assert np.isfinite(q.grad.numpy()).all()


def test_attention_dropout_and_errors():
    m, x = attention_layer(dropout=0.5), ad.tensor(normal(2, 4, 8))
    a, _ = m(x, x, x, need_weights=False)
    b, _ = m(x, x, x, need_weights=False)
    assert not (a.numpy() == b.numpy()).all()
    m.eval()
    a, _ = m(x, x, x, need_weights=False)
    assert (a.numpy() == m(x, x, x, need_weights=False)[0].numpy()).all()
    with pytest.raises(ad.ValueRangeError, match="multiple of"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(ad.ShapeError, match="embed_dim=8"):
        m(ad.zeros((1, 2, 7)), x, x)
    with pytest.raises(ad.ShapeError, match="attn_mask must have shape"):
        m(x, x, x, attn_mask=ad.zeros((3, 4)))
    with pytest.raises(ad.DtypeError, match="attn_mask must be bool"):
        m(x, x, x, attn_mask=ad.zeros((4, 4), dtype=ad.int64))


# Losses

def test_cross_entropy():
    x, t = normal(4, 3), np.array([0, 2, 1, -100])
    logp = np.log(softmax(x))
    each = -logp[np.arange(3), t[:3]]
    close(nn.CrossEntropyLoss()(ad.tensor(x), ad.tensor(t)), each.mean())
    close(nn.CrossEntropyLoss(reduction="sum")(ad.tensor(x), ad.tensor(t)), each.sum())
    w = np.array([1, 2, 3], np.float32)
    loss = nn.CrossEntropyLoss(weight=w)
    close(loss(ad.tensor(x), ad.tensor(t)), (each * w[t[:3]]).sum() / w[t[:3]].sum())
    assert list(shapes(loss)) == ["weight"]
    with pytest.raises(ad.ArgumentError, match="reduction"):
        nn.CrossEntropyLoss(reduction="avg")
    with pytest.raises(ad.ArgumentError, match="target must be a Tensor"):
        loss(ad.tensor(x), t)


@pytest.mark.parametrize("loss,f", [(nn.MSELoss, np.square), (nn.L1Loss, np.abs)])
def test_losses_refuse_to_broadcast(loss, f):
    x, y = normal(4, 1), normal(4, 1, seed=1)
    close(loss()(ad.tensor(x), ad.tensor(y)), f(x - y).mean())
    close(loss(reduction="sum")(ad.tensor(x), ad.tensor(y)), f(x - y).sum())
    close(loss(reduction="none")(ad.tensor(x), ad.tensor(y)), f(x - y))
    with pytest.raises(ad.ShapeError, match=r"does not broadcast: reshape one .*\(4, 1\)"):
        loss()(ad.tensor(x), ad.tensor(y[:, 0]))
    with pytest.raises(ad.ShapeError, match="does not broadcast"):
        loss()(ad.tensor(x), ad.tensor(np.float32(1)))


# Inference

def test_inference_changes_nothing():
    ad.manual_seed(3)
    m = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
                      nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.Unflatten(1, (2, 4)),
                      nn.LSTM(4, 4, num_layers=2, dropout=0.5, batch_first=True)).eval()
    before = {k: (v.numpy().tobytes(), v.version) for k, v in m.state_dict().items()}
    random = ad.random_state().numpy().tobytes()
    x = ad.tensor(normal(2, 1, 4, 4))
    with ad.no_grad():
        a, _ = m(x)
        b, _ = m(x)
    assert a.numpy().tobytes() == b.numpy().tobytes() and not a.requires_grad
    assert before == {k: (v.numpy().tobytes(), v.version) for k, v in m.state_dict().items()}
    assert random == ad.random_state().numpy().tobytes()
