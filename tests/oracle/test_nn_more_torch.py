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
    agree(lambda x, *s: ours(x, s if len(s) > 1 else s[0]),
          lambda x, *s: theirs(x, s if len(s) > 1 else s[0]), [x, *states], dtype)


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


# Layers ---------------------------------------------------------------------------------------

LAYERS = [
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 9)),
    ("Conv1d", (4, 4, 5), {"padding": "same", "dilation": 2, "bias": False}, (4, 9)),
    ("Conv2d", (4, 8, 3), {"groups": 4, "padding": 1}, (2, 4, 5, 6)),           # depthwise
    ("Conv2d", (4, 4, (3, 5)), {"groups": 4, "stride": 2, "dilation": (2, 1)}, (2, 4, 9, 8)),
    ("Conv2d", (2, 3, 3), {"padding": "valid"}, (2, 5, 6)),
    ("ConvTranspose2d", (4, 6, 3), {}, (2, 4, 5, 4)),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 3), "padding": 1, "output_padding": (1, 2),
                                         "groups": 2, "bias": False}, (2, 4, 5, 4)),
    ("ConvTranspose2d", (4, 4, 3), {"dilation": 2, "groups": 4}, (4, 5, 4)),
    ("ConvTranspose1d", (4, 6, 4), {"stride": 2, "padding": 1, "output_padding": 1}, (2, 4, 5)),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 8)),
    ("MaxPool1d", (2,), {"dilation": 2}, (3, 8)),
    ("MaxPool2d", ((2, 3),), {"stride": 1, "dilation": (2, 1)}, (2, 3, 8, 7)),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 8)),
    ("AvgPool1d", (3,), {"padding": 1, "count_include_pad": False}, (3, 8)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "divisor_override": 5}, (2, 3, 8, 7)),
    ("AdaptiveAvgPool1d", (4,), {}, (2, 3, 8)), ("AdaptiveAvgPool1d", (3,), {}, (3, 8)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 8, 7)), ("AdaptiveAvgPool2d", ((3, 5),), {},
                                                    (2, 3, 8, 7)),
    ("AdaptiveAvgPool2d", ((None, 9),), {}, (3, 8, 7)),
    ("AdaptiveMaxPool1d", (3,), {}, (2, 3, 8)), ("AdaptiveMaxPool1d", (4,), {}, (3, 8)),
    ("AdaptiveMaxPool2d", ((3, 7),), {}, (2, 3, 8, 7)), ("AdaptiveMaxPool2d", (1,), {}, (3, 8, 7)),
    ("BatchNorm1d", (3,), {}, (5, 3)), ("BatchNorm1d", (3,), {}, (5, 3, 4)),
    ("BatchNorm1d", (3,), {"momentum": None, "affine": False}, (5, 3)),
    ("GroupNorm", (2, 6), {}, (3, 6, 4, 2)), ("GroupNorm", (3, 6), {}, (3, 6)),
    ("GroupNorm", (6, 6), {"affine": False, "eps": 1e-3}, (3, 6, 5)),
    ("RMSNorm", (4,), {}, (2, 3, 4)), ("RMSNorm", ((3, 4),), {"eps": 1e-3}, (2, 3, 4)),
    ("RMSNorm", (4,), {"elementwise_affine": False}, (2, 3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)), ("LeakyReLU", (), {"inplace": False}, (3, 4)),
    ("PReLU", (), {}, (3, 4, 2)), ("PReLU", (4,), {"init": 0.5}, (3, 4, 2)),
    ("PReLU", (4,), {}, (3, 4)),
    ("ELU", (), {}, (3, 4)), ("ELU", (0.5,), {}, (3, 4)), ("Softplus", (), {}, (3, 4)),
    ("Softplus", (3.0, 1.5), {}, (30, 4)), ("Hardswish", (), {}, (30, 4)), ("GLU", (), {}, (3, 4)),
    ("GLU", (1,), {}, (3, 4, 5)),
    ("ZeroPad2d", ((1, 2, 0, 3),), {}, (2, 3, 4, 5)),
    ("ZeroPad2d", ((-1, 2, 1, -2),), {}, (3, 4, 5)),
    ("ZeroPad1d", (2,), {}, (2, 3, 4)), ("ConstantPad1d", (1, 3.5), {}, (2, 3, 4)),
    ("ConstantPad2d", ((1, -1, 2, 0), -1.0), {}, (2, 3, 4, 5)),
    ("ReflectionPad1d", (2,), {}, (2, 3, 4)), ("ReflectionPad2d", ((1, 2, 3, 0),), {},
                                               (2, 3, 4, 5)),
    ("ReplicationPad1d", ((3, 1),), {}, (3, 4)), ("ReplicationPad2d", (2,), {}, (2, 3, 4, 5)),
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("Upsample", (), {"scale_factor": (2.0, 1.5)}, (2, 3, 4, 5)),
    ("Upsample", (), {"size": (7, 3)}, (2, 3, 4, 5)), ("Upsample", (), {"size": 12}, (2, 3, 4)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name,args,kwargs,shape", LAYERS, ids=lambda v: str(v))
def test_layers(name, args, kwargs, shape, dtype):
    ours, theirs = pair(name, *args, dtype=dtype, **kwargs)
    x = normal(*shape) * 2
    agree(ours, theirs, [x], dtype)
    for key, v in theirs.state_dict().items():              # running statistics moved alike
        np.testing.assert_allclose(ours.state_dict()[key].numpy(), v.numpy(), rtol=1e-5,
                                   atol=1e-6)
    for m in (ours.eval(), theirs.eval()):
        m.zero_grad()
    agree(ours, theirs, [x + 1], dtype)


def test_kinks_have_the_same_derivative():
    x = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, 20.0])
    for name in ("LeakyReLU", "PReLU", "ELU", "Softplus", "ReLU"):
        agree(*pair(name), [x], np.float64)


def test_output_size_of_a_transposed_convolution():
    ours, theirs = pair("ConvTranspose2d", 2, 3, 3, stride=2, padding=1)
    agree(lambda x: ours(x, (10, 9)), lambda x: theirs(x, (10, 9)), [normal(1, 2, 5, 5)],
          np.float64)


def test_circular_padding_and_normalize():
    agree(lambda x: nn.functional.pad(x, (1, 2, 0, 2), "circular"),
          lambda x: torch.nn.functional.pad(x, (1, 2, 0, 2), "circular"), [normal(2, 3, 4, 5)],
          np.float64)
    for p in (2.0, 1.0, 3.0):
        agree(lambda x, p=p: nn.functional.normalize(x, p),
              lambda x, p=p: torch.nn.functional.normalize(x, p), [normal(3, 4)], np.float64)


# Losses ---------------------------------------------------------------------------------------

def probabilities(*shape, seed=0):
    e = np.exp(normal(*shape, seed=seed))
    return e / e.sum(1, keepdims=True)


LABELS = np.array([0, 3, 1, -100, 2])
WEIGHT = np.array([0.5, 1.0, 2.0, 0.1])
SIGNS = np.where(normal(5, 4, seed=3) > 0, 1.0, -1.0)
LOSSES = [
    ("SmoothL1Loss", {}, [normal(5, 4) * 2, normal(5, 4, seed=1)]),
    ("SmoothL1Loss", {"beta": 0.3}, [normal(5, 4), normal(5, 4, seed=1)]),
    ("SmoothL1Loss", {"beta": 0.0}, [normal(5, 4), normal(5, 4, seed=1)]),
    ("HuberLoss", {}, [normal(5, 4) * 2, normal(5, 4, seed=1)]),
    ("HuberLoss", {"delta": 0.3}, [normal(5), normal(5, seed=1)]),
    ("CrossEntropyLoss", {}, [normal(5, 4), probabilities(5, 4)]),
    ("CrossEntropyLoss", {"label_smoothing": 0.2, "weight": WEIGHT},
     [normal(5, 4), probabilities(5, 4)]),
    ("CrossEntropyLoss", {"weight": WEIGHT}, [normal(2, 4, 3), probabilities(2, 4, 3)]),
    ("CrossEntropyLoss", {"weight": WEIGHT, "label_smoothing": 0.1}, [normal(5, 4), LABELS]),
    ("NLLLoss", {}, [normal(5, 4), LABELS]),
    ("NLLLoss", {"weight": WEIGHT}, [normal(5, 4), LABELS]),
    ("NLLLoss", {"ignore_index": 1}, [normal(2, 4, 3), np.array([[0, 1, 2], [3, 1, 1]])]),
    ("NLLLoss", {}, [normal(4), np.array(2)]),
    ("BCELoss", {}, [probabilities(5, 4), probabilities(5, 4, seed=1)]),
    ("BCELoss", {"weight": WEIGHT}, [probabilities(5, 4), (SIGNS > 0) * 1.0]),
    ("BCEWithLogitsLoss", {}, [normal(5, 4) * 10, (SIGNS > 0) * 1.0]),
    ("BCEWithLogitsLoss", {}, [np.zeros((5, 4)), probabilities(5, 4)]),
    ("BCEWithLogitsLoss", {"pos_weight": WEIGHT, "weight": WEIGHT[::-1].copy()},
     [normal(5, 4), probabilities(5, 4)]),
    ("KLDivLoss", {"reduction": "batchmean"}, [normal(5, 4), probabilities(5, 4)]),
    ("KLDivLoss", {"log_target": True}, [normal(5, 4), normal(5, 4, seed=1)]),
    ("GaussianNLLLoss", {}, [normal(5, 4), normal(5, 4, seed=1), probabilities(5, 4)]),
    ("GaussianNLLLoss", {"full": True},
     [normal(5, 4), normal(5, 4, seed=1), probabilities(5, 4)[:, 0]]),
    ("GaussianNLLLoss", {"eps": 0.2}, [normal(5, 4), normal(5, 4, seed=1), probabilities(5, 4)]),
    ("HingeEmbeddingLoss", {}, [normal(5, 4) * 2, SIGNS]),
    ("HingeEmbeddingLoss", {"margin": 0.5}, [normal(5, 4), SIGNS]),
    ("MultiMarginLoss", {}, [normal(5, 4), np.array([0, 3, 1, 2, 2])]),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5, "weight": WEIGHT},
     [normal(5, 4), np.array([0, 3, 1, 2, 2])]),
    ("MultiMarginLoss", {}, [normal(4), np.array(1)]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name,kwargs,inputs", LOSSES, ids=lambda v: str(v)[:40])
def test_losses(name, kwargs, inputs, reduction, dtype):
    kwargs = {"reduction": reduction, **kwargs}
    if kwargs["reduction"] == "batchmean" and reduction != "mean":
        return
    a, b = ({k: wrap(np.asarray(v, dtype)) if isinstance(v, np.ndarray) else v
             for k, v in kwargs.items()} for wrap in (ad.tensor, torch.tensor))
    fixed = name in ("HingeEmbeddingLoss",)         # torch gives no gradient of these targets
    ours, theirs = getattr(nn, name)(**a), getattr(torch.nn, name)(**b)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if fixed:
        y = inputs[1].astype(dtype)
        agree(lambda x: ours(x, ad.tensor(y)), lambda x: theirs(x, torch.tensor(y)), inputs[:1],
              dtype)
    else:
        agree(ours, theirs, inputs, dtype)
