"""The wider list of layers, losses, optimizers and schedules against PyTorch.

Same weights in, same outputs and gradients, in both float types.
"""

import numpy as np
import pytest

import autodiff as ad
import nn

torch = pytest.importorskip("torch")
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-9}
DTYPES = [np.float32, np.float64]


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got, expected, dtype):
    """Equal within the tolerance, relative to the largest element."""
    got, expected = got.numpy(), expected.detach().numpy()
    assert got.dtype == expected.dtype and got.shape == expected.shape
    if got.size:
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def pair(name, *args, dtype=np.float64, **kwargs):
    """The same layer in both libraries, with the same weights and the same repr."""
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs)
    theirs, ours = (m.double() if dtype == np.float64 else m for m in (theirs, ours))
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape
                                                                  for k, v in state.items()}
    assert list(ours.state_dict()) == list(state)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(state)
    return ours, theirs


def tensors(inputs, dtype):
    """Each input as a tensor of both libraries, floats as leaves of `dtype`."""
    a, b = [], []
    for x in inputs:
        x = np.asarray(x)
        x = x.astype(dtype) if x.dtype.kind == "f" else x
        a.append(ad.tensor(x, requires_grad=x.dtype.kind == "f"))
        b.append(torch.tensor(x, requires_grad=x.dtype.kind == "f"))
    return a, b


def flat(y):
    """All tensors in nested tuples."""
    if not isinstance(y, (tuple, list)):
        return [y]
    return [t for part in y for t in flat(part)]


def agree(ours, theirs, inputs, dtype):
    """Outputs, gradients of the floating inputs, and of the parameters of modules."""
    a, b = tensors(inputs, dtype)
    ys, zs = flat(ours(*a)), flat(theirs(*b))
    loss, other = 0.0, 0.0
    for k, (y, z) in enumerate(zip(ys, zs, strict=True)):
        close(y, z, dtype)
        w = normal(*y.shape, seed=9 + k, dtype=dtype)
        loss, other = loss + (y * ad.tensor(w)).sum(), other + (z * torch.tensor(w)).sum()
    if not loss.requires_grad:
        return
    loss.backward()
    other.backward()
    for x, t in zip(a, b, strict=True):
        if t.grad is not None:
            close(x.grad, t.grad, dtype)
    if isinstance(ours, nn.Module):
        theirs = dict(theirs.named_parameters())
        for name, p in ours.named_parameters():
            close(p.grad, theirs[name].grad, dtype)


# Recurrent layers -----------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [
    {}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True, "bias": False}])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent(name, options, dtype):
    ours, theirs = pair(name, 3, 4, dtype=dtype, **options)
    agree(ours, theirs, [normal(5, 2, 3)], dtype)
    ours, theirs = pair(name, 3, 4, dtype=dtype, **options)
    agree(ours, theirs, [normal(5, 3)], dtype)
    count = options.get("num_layers", 1) * (2 if "bidirectional" in options else 1)
    x = normal(2, 5, 3) if "batch_first" in options else normal(5, 2, 3)
    states = [normal(count, 2, 4, seed=k) for k in range(2 if name == "LSTM" else 1)]
    ours, theirs = pair(name, 3, 4, dtype=dtype, **options)
    for m in (ours, theirs):
        m.call = (lambda m: lambda x, *s: m(x, s if len(s) > 1 else s[0]))(m)
    agree(ours.call, theirs.call, [x, *states], dtype)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_lengths_are_packed_sequences(name):
    ours, theirs = pair(name, 3, 4, num_layers=2, bidirectional=True)
    lengths = [2, 5, 4]
    states = [normal(4, 3, 4, seed=k) for k in range(2 if name == "LSTM" else 1)]

    def mine(x, *s):
        return ours(x, s if len(s) > 1 else s[0], lengths=lengths)

    def packed(x, *s):
        p = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        out, last = theirs(p, s if len(s) > 1 else s[0])
        return torch.nn.utils.rnn.pad_packed_sequence(out)[0], last
    agree(mine, packed, [normal(5, 3, 3), *states], np.float64)
    named = dict(theirs.named_parameters())
    for key, p in ours.named_parameters():
        close(p.grad, named[key].grad, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name,options", [
    ("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu", "bias": False}), ("LSTMCell", {}),
    ("GRUCell", {}), ("GRUCell", {"bias": False})])
def test_cells(name, options, dtype):
    ours, theirs = pair(name, 3, 4, dtype=dtype, **options)
    agree(ours, theirs, [normal(2, 3)], dtype)
    ours, theirs = pair(name, 3, 4, dtype=dtype, **options)
    states = [normal(4, seed=k) for k in range(2 if name == "LSTMCell" else 1)]
    agree(lambda x, *s: ours(x, s if len(s) > 1 else s[0]),
          lambda x, *s: theirs(x, s if len(s) > 1 else s[0]), [normal(3), *states], dtype)
