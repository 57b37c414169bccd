"""nn against PyTorch: keys, repr, weights that load, outputs, gradients, optimizer trajectories."""

import numpy as np
import pytest

import autodiff as ad
import nn

torch = pytest.importorskip("torch")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def pair(name, *args, **kwargs):
    """The same layer in both libraries, with the same weights."""
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs)
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape
                                                                 for k, v in state.items()}
    ours.load_state_dict(state)
    return ours, theirs


def agree(ours, theirs, inputs, call=lambda m, *xs: m(*xs), first=lambda y: y, tol=2e-5):
    """Outputs, gradients of the parameters and of the floating inputs."""
    a = [ad.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    b = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    y, z = first(call(ours, *a)), first(call(theirs, *b))
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=tol, atol=tol)
    if not y.requires_grad:
        return
    g = normal(*y.shape, seed=9)
    y.backward(ad.tensor(g))
    z.backward(torch.tensor(g))
    grads = [(x.grad, t.grad) for x, t in zip(a, b, strict=True) if x.requires_grad]
    grads += [(p.grad, q.grad) for p, q in zip(ours.parameters(), theirs.parameters(),
                                               strict=True)]
    for got, expected in grads:
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=10 * tol, atol=10 * tol)


LAYERS = [
    (("Linear", 3, 4), {}, [(2, 5, 3)]),
    (("Conv2d", 4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [(2, 4, 7, 6)]),
    (("Conv2d", 2, 3, (3, 1)), {"padding": "same", "dilation": 2, "bias": False}, [(2, 2, 6, 5)]),
    (("MaxPool2d", 3), {"stride": 2, "padding": 1, "ceil_mode": True}, [(2, 3, 8, 7)]),
    (("AvgPool2d", 3), {"stride": 2, "padding": 1, "count_include_pad": False}, [(2, 3, 8, 7)]),
    (("BatchNorm2d", 3), {}, [(4, 3, 2, 2)]),
    (("BatchNorm2d", 3), {"momentum": None, "affine": False}, [(4, 3, 2, 2)]),
    (("BatchNorm2d", 3), {"bias": False, "track_running_stats": False}, [(4, 3, 2, 2)]),
    (("LayerNorm", (3, 4)), {}, [(2, 3, 4)]), (("LayerNorm", 4), {"bias": False}, [(2, 3, 4)]),
    (("LayerNorm", 4), {"elementwise_affine": False}, [(2, 3, 4)]),
    (("GELU",), {"approximate": "tanh"}, [(3, 4)]),
    (("GELU",), {}, [(3, 4)]), (("SiLU",), {}, [(3, 4)]), (("ReLU",), {}, [(3, 4)]),
    (("Softmax",), {"dim": 1}, [(3, 4)]), (("LogSoftmax",), {"dim": 0}, [(3, 4)]),
]


@pytest.mark.parametrize("args,kwargs,shapes", LAYERS)
def test_layers(args, kwargs, shapes):
    ours, theirs = pair(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    agree(ours, theirs, [normal(*s, seed=k) for k, s in enumerate(shapes)])
    for k, v in theirs.state_dict().items():            # running statistics moved alike
        np.testing.assert_allclose(ours.state_dict()[k].numpy(), v.numpy(), rtol=1e-5, atol=1e-6)
    agree(ours.eval(), theirs.eval(), [normal(*s, seed=k + 5) for k, s in enumerate(shapes)])


def test_embedding():
    ours, theirs = pair("Embedding", 6, 3, padding_idx=2)
    agree(ours, theirs, [np.array([[1, 2], [5, 1]])])


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True},
                                     {"batch_first": True, "bias": False}])
def test_lstm(options):
    ours, theirs = pair("LSTM", 3, 4, **options)
    for pick in (lambda r: r[0], lambda r: r[1][0], lambda r: r[1][1]):
        ours.zero_grad()
        theirs.zero_grad()
        agree(ours, theirs, [normal(5, 2, 3)], first=pick)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"kdim": 5, "vdim": 6}])
def test_attention(options, need_weights):
    ours, theirs = pair("MultiheadAttention", 8, 2, **options)
    first = options.get("batch_first", False)
    shapes = [(4, 3, 8), (5, 3, options.get("kdim", 8)), (5, 3, options.get("vdim", 8))]
    inputs = [normal(*((s[1], s[0], s[2]) if first else s), seed=k)
              for k, s in enumerate(shapes)]
    mask = np.triu(np.ones((4, 5), bool), 2)
    padding = np.zeros((3, 5), bool)
    padding[1, 4] = True

    def call(m, q, k, v):
        wrap = ad.tensor if m is ours else torch.tensor
        return m(q, k, v, attn_mask=wrap(mask), key_padding_mask=wrap(padding),
                 need_weights=need_weights)
    agree(ours, theirs, inputs, call, first=lambda r: r[0])
    if need_weights:
        ours.zero_grad()
        theirs.zero_grad()
        a, b = (call(m, *map(w, inputs))[1]
                for m, w in ((ours, ad.tensor), (theirs, torch.tensor)))
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"reduction": "sum"}, {"label_smoothing": 0.1},
                                     {"ignore_index": 1, "reduction": "none"}])
def test_cross_entropy(options):
    target = np.array([0, 1, 3, 2, options.get("ignore_index", -100)])
    agree(nn.CrossEntropyLoss(**options), torch.nn.CrossEntropyLoss(**options),
          [normal(5, 4), target])


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 1.0}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.05}), ("Adam", {"lr": 0.05, "weight_decay": 0.1, "eps": 1e-3}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    ("Adam", {"lr": 0.05, "betas": (0.0, 0.5)}), ("AdamW", {"lr": 0.05, "weight_decay": 0.2}),
    ("AdamW", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "maximize": True})]


@pytest.mark.parametrize("dtype,tol", [("float32", 1e-4), ("float64", 1e-10)])
@pytest.mark.parametrize("name,options", OPTIMIZERS)
def test_optimizers(name, options, dtype, tol):
    """20 steps; half-way the learning rate falls, and one step leaves out a parameter."""
    theirs = torch.nn.Linear(5, 3, dtype=getattr(torch, dtype))
    ours = nn.Linear(5, 3, dtype=dtype)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    a = getattr(nn.optim, name)(ours.parameters(), **options)
    b = getattr(torch.optim, name)(theirs.parameters(), **options)
    for t in range(20):
        x = normal(4, 5, seed=t).astype(dtype)
        for m, o, wrap in ((ours, a, ad.tensor), (theirs, b, torch.tensor)):
            o.zero_grad()
            (m(wrap(x)) ** 2).mean().backward()
            if t == 10:
                o.param_groups[0]["lr"] /= 2
            if t == 5:
                m.bias.grad = None
            o.step()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=tol, atol=tol / 10,
                                       err_msg=f"step {t}")
    fresh = getattr(nn.optim, name)(ours.parameters(), **options)
    fresh.load_state_dict(b.state_dict() if name != "SGD" else a.state_dict())


@pytest.mark.parametrize("name", ["xavier_uniform_", "kaiming_uniform_", "kaiming_normal_",
                                  "xavier_normal_"])
def test_initialisers_have_the_same_spread(name):
    ad.manual_seed(0)
    torch.manual_seed(0)
    a = getattr(nn.init, name)(ad.empty((200, 300))).numpy()
    b = getattr(torch.nn.init, name)(torch.empty(200, 300)).numpy()
    np.testing.assert_allclose(a.std(), b.std(), rtol=0.03)
    if "uniform" in name:                   # the bounds; those of a normal are luck
        np.testing.assert_allclose(np.abs(a).max(), np.abs(b).max(), rtol=0.01)


def test_files_travel_both_ways(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    ours, theirs = pair("LSTM", 3, 4)
    safetensors.save_file(theirs.state_dict(), tmp_path / "theirs")
    ours.load_state_dict(nn.load(tmp_path / "theirs"))
    nn.save(ours, tmp_path / "ours")
    theirs.load_state_dict(safetensors.load_file(tmp_path / "ours"))
