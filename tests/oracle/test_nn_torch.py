"""nn against PyTorch: keys, repr, weights that load, outputs and gradients, in both float types.

Invariant: float64 agrees to 1e-9 of the largest element, float32 to 1e-5; a public layer, loss or
function without a case in nn_table.py fails test_everything_has_a_case.
"""

import inspect
import re

import numpy as np
import pytest

import autodiff as ad
import nn

torch = pytest.importorskip("torch")

from .nn_table import FUNCTIONS, LAYERS, LOSSES, Fixed, normal  # noqa: E402

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-9}
DTYPES = [np.float32, np.float64]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def close(got, expected, dtype):
    """Equal within the tolerance, relative to the largest element."""
    got, expected = got.numpy(), expected.detach().numpy()
    assert got.dtype == expected.dtype and got.shape == expected.shape
    if got.size:
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def same_repr(ours, theirs):
    """But for attention, where ours says a little more."""
    mine = re.sub(r"\n *embed_dim=\d+, num_heads=\d+(, batch_first=True)?", "", repr(ours))
    return mine == repr(theirs).replace("NonDynamicallyQuantizable", "")


def pair(name, *args, dtype=np.float64, **kwargs):
    """The same layer in both libraries, with the same weights."""
    torch.manual_seed(0)
    if args and callable(args[0]):
        theirs, ours = args[0](torch.nn), args[0](nn)
    else:
        theirs = getattr(torch.nn, name)(*args, **kwargs)
        ours = getattr(nn, name)(*args, **kwargs)
        assert same_repr(ours, theirs)
    theirs, ours = (m.double() if dtype == np.float64 else m for m in (theirs, ours))
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape
                                                                  for k, v in state.items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    return ours, theirs


def tensors(inputs, dtype):
    """Each input as a tensor of both libraries, floats as leaves of `dtype`."""
    a, b = [], []
    for k, x in enumerate(inputs):
        fixed = isinstance(x, Fixed)
        x = normal(*x, seed=k) if isinstance(x, tuple) and not fixed else x
        x = np.asarray(x.value if fixed else x)
        x = x.astype(dtype) if x.dtype.kind == "f" else x
        leaf = x.dtype.kind == "f" and not fixed
        a.append(ad.tensor(x, requires_grad=leaf))
        b.append(torch.tensor(x, requires_grad=leaf))
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
        w = normal(*y.shape, seed=9 + k).astype(dtype)
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


def each(table):
    return [pytest.param(name, *case, id=f"{name}-{k}")
            for name, cases in table.items() for k, case in enumerate(cases)]


def test_everything_has_a_case():
    """A new layer, loss or function of nn must come with its comparison."""
    modules = {name for name in nn.__all__ if inspect.isclass(getattr(nn, name))
               and issubclass(getattr(nn, name), nn.Module)} - {"Module"}
    assert modules == LAYERS.keys() | LOSSES.keys()
    helpers = {"attention_weights", "causal_mask", "check_reduction", "same_padding"}
    assert set(nn.functional.__all__) - helpers == FUNCTIONS.keys()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name,args,kwargs,inputs", each(LAYERS))
def test_layers(name, args, kwargs, inputs, dtype):
    args = args if isinstance(args, tuple) else (args,)
    ours, theirs = pair(name, *args, dtype=dtype, **kwargs)
    agree(ours, theirs, inputs, dtype)
    for key, v in theirs.state_dict().items():              # running statistics moved alike
        close(ours.state_dict()[key], v, dtype)
    for m in (ours.eval(), theirs.eval()):
        m.zero_grad()
    agree(ours, theirs, inputs, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
@pytest.mark.parametrize("name,kwargs,inputs", each(LOSSES))
def test_losses(name, kwargs, inputs, reduction, dtype):
    if reduction == "batchmean" and name != "KLDivLoss":
        return
    a, b = ({k: wrap(np.asarray(v, dtype)) if isinstance(v, np.ndarray) else v
             for k, v in kwargs.items()} for wrap in (ad.tensor, torch.tensor))
    ours, theirs = (getattr(lib, name)(reduction=reduction, **options)
                    for lib, options in ((nn, a), (torch.nn, b)))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert same_repr(ours, theirs)
    agree(ours, theirs, inputs, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name,args,kwargs,inputs", each(FUNCTIONS))
def test_functions(name, args, kwargs, inputs, dtype):
    ours = getattr(nn.functional, name)
    theirs = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    agree(lambda *x: ours(*x, *args, **kwargs), lambda *x: theirs(*x, *args, **kwargs), inputs,
          dtype)


# What the table cannot say -------------------------------------------------------------------

def states(name, count, *shape):
    """h_0, and for an LSTM c_0."""
    return [normal(*([count] if count else []), *shape, seed=k)
            for k in range(2 if "LSTM" in name else 1)]


def with_states(layer, **options):
    return lambda x, *s: layer(x, s if len(s) > 1 else s[0], **options)


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
    ours, theirs = pair(name, 3, 4, dtype=dtype, **options)
    agree(with_states(ours), with_states(theirs), [x, *states(name, count, 2, 4)], dtype)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_lengths_are_packed_sequences(name):
    ours, theirs = pair(name, 3, 4, num_layers=2, bidirectional=True)
    lengths = [2, 5, 4]

    def packed(x, *s):
        p = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        out, last = theirs(p, s if len(s) > 1 else s[0])
        return torch.nn.utils.rnn.pad_packed_sequence(out)[0], last
    agree(with_states(ours, lengths=lengths), packed,
          [normal(5, 3, 3), *states(name, 4, 3, 4)], np.float64)
    named = dict(theirs.named_parameters())
    for key, p in ours.named_parameters():
        close(p.grad, named[key].grad, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_with_states(name, dtype):
    ours, theirs = pair(name, 3, 4, dtype=dtype)
    agree(with_states(ours), with_states(theirs), [normal(3), *states(name, 0, 4)], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"kdim": 5, "vdim": 6}])
def test_attention(options, need_weights, average, dtype):
    ours, theirs = pair("MultiheadAttention", 8, 2, dtype=dtype, **options)
    shapes = [(4, 3, 8), (5, 3, options.get("kdim", 8)), (5, 3, options.get("vdim", 8))]
    if "batch_first" in options:
        shapes = [(s[1], s[0], s[2]) for s in shapes]
    mask = np.triu(np.ones((4, 5), bool), 2)
    padding = np.zeros((3, 5), bool)
    padding[1, 4] = True

    def call(m, wrap):
        def run(q, k, v):
            out, weights = m(q, k, v, attn_mask=wrap(mask), key_padding_mask=wrap(padding),
                             need_weights=need_weights, average_attn_weights=average)
            assert (weights is None) != need_weights
            return [out, weights] if need_weights else out
        return run
    agree(call(ours, ad.tensor), call(theirs, torch.tensor), shapes, dtype)
    named = dict(theirs.named_parameters())
    for key, p in ours.named_parameters():
        close(p.grad, named[key].grad, dtype)


@pytest.mark.parametrize("options", [
    {}, {"batch_first": True, "norm_first": True, "activation": "gelu"}, {"bias": False}])
@pytest.mark.parametrize("causal", [False, True])
def test_transformer_with_masks(options, causal):
    def build(lib):
        args = (8, 2, 16, 0.0)
        enc = lib.TransformerEncoder(lib.TransformerEncoderLayer(*args, **options), 2,
                                     lib.LayerNorm(8))
        dec = lib.TransformerDecoder(lib.TransformerDecoderLayer(*args, **options), 2)
        return lib.ModuleList([enc, dec])

    ours, theirs = pair("ModuleList", build)
    first = options.get("batch_first", False)
    padding = np.zeros((3, 5), bool)
    padding[1, 3:] = True

    def mine(src, tgt):
        memory = ours[0](src, None, ad.tensor(padding), is_causal=causal)
        return ours[1](tgt, memory, memory_key_padding_mask=ad.tensor(padding),
                       tgt_is_causal=causal)

    def other(src, tgt):
        hide = {n: torch.triu(torch.ones(n, n, dtype=bool), 1) if causal else None
                for n in (4, 5)}
        memory = theirs[0](src, hide[5], torch.tensor(padding))
        return theirs[1](tgt, memory, hide[4], memory_key_padding_mask=torch.tensor(padding))
    agree(mine, other, [(3, 5, 8), (3, 4, 8)] if first else [(5, 3, 8), (4, 3, 8)], np.float64)
    named = dict(theirs.named_parameters())
    for key, p in ours.named_parameters():
        close(p.grad, named[key].grad, np.float64)


def test_kinks_have_the_same_derivative():
    x = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, 20.0])
    for name in ("LeakyReLU", "PReLU", "ELU", "Softplus", "ReLU", "Hardswish"):
        agree(*pair(name), [x], np.float64)


def test_output_size_of_a_transposed_convolution():
    ours, theirs = pair("ConvTranspose2d", 2, 3, 3, stride=2, padding=1)
    agree(lambda x: ours(x, (10, 9)), lambda x: theirs(x, (10, 9)), [normal(1, 2, 5, 5)],
          np.float64)


INITIALISERS = {
    "uniform_": {"a": -2.0, "b": 3.0}, "normal_": {"mean": 1.0, "std": 0.5},
    "trunc_normal_": {"std": 2.0, "a": -1.0, "b": 3.0}, "constant_": {"val": 0.3}, "ones_": {},
    "zeros_": {}, "xavier_uniform_": {"gain": 2.0}, "xavier_normal_": {}, "orthogonal_": {},
    "kaiming_uniform_": {"a": 0.5}, "kaiming_normal_": {"mode": "fan_out", "nonlinearity": "relu"}}


@pytest.mark.parametrize("name", sorted(set(nn.init.__all__) - {"generator", "calculate_gain"}))
def test_initialisers_have_the_same_distribution(name):
    """Mean, spread, extremes and quartiles of 60,000 numbers; orthogonal ones also in product."""
    a = getattr(nn.init, name)(ad.empty((200, 300)), **INITIALISERS[name]).numpy()
    torch.manual_seed(0)
    b = getattr(torch.nn.init, name)(torch.empty(200, 300), **INITIALISERS[name]).numpy()
    spread = b.std()
    assert abs(a.mean() - b.mean()) <= 0.02 * spread + 1e-7
    np.testing.assert_allclose(a.std(), spread, rtol=0.02, atol=1e-6)
    for q in (0.0, 0.25, 0.75, 1.0) if "normal" not in name or "trunc" in name else (0.25, 0.75):
        assert abs(np.quantile(a, q) - np.quantile(b, q)) <= 0.04 * spread + 1e-7 or (
            name == "orthogonal_" and q in (0.0, 1.0))
    if name == "orthogonal_":
        np.testing.assert_allclose(a @ a.T, np.eye(200), atol=1e-5)


def test_gains():
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert nn.init.calculate_gain("leaky_relu", 0.3) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.3))
