"""Random trees of modules, the same in both libraries, whose weights travel by file both ways.

Invariant: PyTorch's file loads here and ours loads there, each with every key, and outputs agree to
1e-9; the ten seeds together draw every layer of the table.
"""

import numpy as np
import pytest

import autodiff as ad
import nn

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Draw:
    """Random choices."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def number(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def one(self, *values):
        return values[self.rng.integers(len(values))]

    def flag(self):
        return bool(self.rng.random() < 0.5)


def conv(d, shape):
    groups = d.one(*(g for g in (1, 2, shape[0]) if shape[0] % g == 0))
    return ((shape[0], groups * d.number(1, 3), 3), {
        "padding": d.one(1, "same"), "groups": groups, "bias": d.flag(),
        "padding_mode": d.one("zeros", "reflect", "circular")})


def transposed(d, shape):
    return (shape[0], d.number(1, 4), 3), {"stride": 2, "output_padding": d.number(0, 1)}


def groups(d, shape):
    return (d.one(*(g for g in (1, 2, 3) if shape[0] % g == 0)), shape[0]), {"affine": d.flag()}


def recurrent(d, shape):
    return (shape[-1], d.number(2, 5)), {"num_layers": d.number(1, 2), "bidirectional": d.flag(),
                                         "batch_first": True}


def block(d, shape):
    return (shape[-1], 2 if shape[-1] % 2 == 0 else 1, 8, 0.0), {
        "batch_first": True, "norm_first": d.flag(), "activation": d.one("relu", "gelu")}


def just(*args, **kwargs):
    return lambda d, shape: (args, kwargs)


def least(n):
    return lambda shape: min(shape[1:]) >= n


def always(shape):
    return True


# name: (ranks without the batch axis, drawn arguments, where it fits)
TABLE = {
    "Linear": ((1, 2, 3), lambda d, s: ((s[-1], d.number(2, 6)), {"bias": d.flag()}), always),
    "Conv1d": ((2,), conv, least(3)), "Conv2d": ((3,), conv, least(3)),
    "ConvTranspose1d": ((2,), transposed, always), "ConvTranspose2d": ((3,), transposed, always),
    "MaxPool1d": ((2,), just(2), least(4)), "MaxPool2d": ((3,), just(2), least(4)),
    "AvgPool1d": ((2,), just(2, 1), least(4)), "AvgPool2d": ((3,), just(2, 1), least(4)),
    "AdaptiveAvgPool1d": ((2,), just(4), always), "AdaptiveAvgPool2d": ((3,), just(4), always),
    "AdaptiveMaxPool1d": ((2,), just(3), always), "AdaptiveMaxPool2d": ((3,), just(3), always),
    "BatchNorm1d": ((1, 2), lambda d, s: ((s[0],), {"affine": d.flag()}), always),
    "BatchNorm2d": ((3,), lambda d, s: ((s[0],), {"affine": d.flag()}), always),
    "LayerNorm": ((1, 2, 3), lambda d, s: ((s[-1],), {"bias": d.flag()}), always),
    "GroupNorm": ((1, 2, 3), groups, always),
    "RMSNorm": ((1, 2, 3), lambda d, s: ((s[-1],), {}), always),
    "RNN": ((2,), recurrent, always), "LSTM": ((2,), recurrent, always),
    "GRU": ((2,), recurrent, always), "TransformerEncoderLayer": ((2,), block, always),
    "PReLU": ((1, 2, 3), lambda d, s: ((s[0] if len(s) > 1 else 1,), {}), always),
    "Upsample": ((2, 3), just(scale_factor=2), lambda s: max(s) < 16),
    "ZeroPad1d": ((2,), just((1, 0)), always), "ReflectionPad2d": ((3,), just(1), least(3)),
    "Dropout": ((1, 2, 3), just(0.5), always), "GELU": ((1, 2, 3), just("tanh"), always),
    "Tanh": ((1, 2, 3), just(), always), "Softplus": ((1, 2, 3), just(), always),
    "Hardswish": ((1, 2, 3), just(), always), "ELU": ((1, 2, 3), just(), always),
    "SiLU": ((1, 2, 3), just(), always), "LogSoftmax": ((1, 2, 3), just(-1), always),
    "Identity": ((1, 2, 3), just(), always),
}
SEEDS = range(39, 49)           # ten that together draw all of the table
STARTS = [((2, 8, 8), None), ((4, 12), None), ((11,), "Embedding"), ((9,), None)]


def first_of(lib):
    """A module that keeps the sequence of a recurrent layer and drops its states."""
    class First(lib.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)[0]
    return First


def build(lib, tree):
    """The module of a tree (name, arguments, keywords) or (name, children) in one library."""
    name, args, *rest = tree
    if name == "Sequential":
        return lib.Sequential(*(build(lib, child) for child in args))
    module = getattr(lib, name)(*args, **rest[0])
    return first_of(lib)(module) if name in ("RNN", "LSTM", "GRU") else module


def draw_tree(d, x, steps, depth=0):
    """(tree, output) of a random Sequential on the torch tensor x (N, ...)."""
    children = []
    for _ in range(steps):
        if depth < 2 and d.rng.random() < 0.2:
            tree, x = draw_tree(d, x, d.number(1, 3), depth + 1)
        else:
            shape = tuple(x.shape[1:])
            fitting = [n for n, (ranks, _, fits) in TABLE.items()
                       if len(shape) in ranks and fits(shape)]
            name = d.one(*fitting)
            tree = (name, *TABLE[name][1](d, shape))
            with torch.no_grad():
                x = build(torch.nn, tree).double().eval()(x)
        children.append(tree)
    return ("Sequential", children), x


def draw(seed):
    """(tree, inputs) of one random network."""
    d = Draw(seed)
    shape, first = STARTS[seed % len(STARTS)]
    x = y = d.rng.standard_normal((3, *shape))
    before = []
    if first is not None:
        x = d.rng.integers(0, 7, (3, *shape))
        y, before = d.rng.standard_normal((3, *shape, 6)), [(first, (7, 6), {})]
    body, y = draw_tree(d, torch.tensor(y), d.number(10, 16))
    end, _ = draw_tree(d, y.flatten(1), d.number(3, 6))
    return ("Sequential", [*before, body, ("Flatten", (), {}), end]), x


def output(model, x):
    y = model.eval()(ad.tensor(x) if isinstance(model, nn.Module) else torch.tensor(x))
    return y.detach().numpy()


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_travel_both_ways(seed, tmp_path):
    tree, x = draw(seed)
    torch.manual_seed(seed)
    ad.manual_seed(seed)
    theirs, ours = (build(lib, tree).double() for lib in (torch.nn, nn))
    for b in theirs.buffers():                  # as if it had been trained
        if b.dtype == torch.float64:
            b.uniform_(0.5, 2.0)
    safetensors.save_file(theirs.state_dict(), tmp_path / "theirs")
    assert ours.load_state_dict(nn.load(tmp_path / "theirs")) == ([], [])
    expected = output(theirs, x)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(output(ours, x), expected, rtol=1e-9, atol=1e-9)

    for module in ours.modules():                           # other weights, and back
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    nn.save(ours, tmp_path / "ours")
    state = safetensors.load_file(tmp_path / "ours")
    assert list(theirs.load_state_dict(state)) == [[], []]
    np.testing.assert_allclose(output(theirs, x), output(ours, x), rtol=1e-9, atol=1e-9)


def names(tree):
    return {tree[0]}.union(*map(names, tree[1])) if tree[0] == "Sequential" else {tree[0]}


def test_the_seeds_draw_every_layer():
    drawn = set().union(*(names(draw(seed)[0]) for seed in SEEDS))
    assert TABLE.keys() - drawn == set()
