"""Optimizers, schedules, clipping and averages against PyTorch: the same trajectory.

Invariant: 20 steps end within 1e-9 in float64 and 1e-5 in float32; a public optimizer or schedule
that is not in OPTIMIZERS or SCHEDULES fails test_everything_has_a_case.
"""

import copy
import inspect

import numpy as np
import pytest

import autodiff as ad
import nn

torch = pytest.importorskip("torch")
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-9}


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def models(dtype=np.float64):
    """The same small network in both libraries."""
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    ours = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    theirs, ours = (m.double() if dtype == np.float64 else m for m in (theirs, ours))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def train(ours, theirs, a, b, steps, dtype=np.float64, before=lambda t, m, o: None,
          after=lambda t: None):
    for t in range(steps):
        x = normal(4, 5, seed=t, dtype=dtype)
        for m, o, wrap in ((ours, a, ad.tensor), (theirs, b, torch.tensor)):
            o.zero_grad()
            (m(wrap(x)) ** 2).mean().backward()
            before(t, m, o)
            o.step()
        after(t)


def same(ours, theirs, tolerance=1e-9):
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance)


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 1.0}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.05}), ("Adam", {"lr": 0.05, "weight_decay": 0.1, "eps": 1e-3}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    ("Adam", {"lr": 0.05, "betas": (0.0, 0.5)}), ("AdamW", {"lr": 0.05, "weight_decay": 0.2}),
    ("AdamW", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    # eps: else a denominator that is nearly 0 magnifies the rounding of float32.
    ("RMSprop", {"lr": 0.02, "centered": True, "momentum": 0.9, "eps": 1e-3}),
    ("RMSprop", {"alpha": 0.9, "weight_decay": 0.1, "eps": 1e-4, "maximize": True}),
    ("Adagrad", {}), ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1,
                                  "initial_accumulator_value": 0.2})]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name,options", OPTIMIZERS)
def test_twenty_steps(name, options, dtype):
    """Half-way the learning rate falls, and one step leaves out a parameter."""
    def before(t, model, optimizer):
        if t == 5:
            model[2].bias.grad = None
        if t == 10:
            optimizer.param_groups[0]["lr"] /= 2

    ours, theirs = models(dtype)
    a = getattr(nn.optim, name)(ours.parameters(), **options)
    b = getattr(torch.optim, name)(theirs.parameters(), **options)
    train(ours, theirs, a, b, 20, dtype, before)
    same(ours, theirs, TOLERANCE[dtype])
    if name == "SGD":               # torch counts no steps, so a state with dampening is ours alone
        return
    mine = a.state_dict()           # states travel both ways
    c, d = copy.deepcopy(ours), copy.deepcopy(theirs)
    a2, b2 = (getattr(lib.optim, name)(m.parameters(), **options)
              for lib, m in ((nn, c), (torch, d)))
    a2.load_state_dict(b.state_dict())
    mine["state"] = {k: {n: torch.tensor(v.numpy()) for n, v in s.items()}
                     for k, s in mine["state"].items()}
    b2.load_state_dict({"state": mine["state"], "param_groups": b.state_dict()["param_groups"]})
    train(c, d, a2, b2, 3, dtype)
    same(c, d, TOLERANCE[dtype])


SCHEDULES = [
    ("LambdaLR", lambda o, s: s.LambdaLR(o, lambda e: 0.9 ** e)),
    ("StepLR", lambda o, s: s.StepLR(o, 3, 0.5)),
    ("MultiStepLR", lambda o, s: s.MultiStepLR(o, [2, 5, 5, 9], 0.3)),
    ("ExponentialLR", lambda o, s: s.ExponentialLR(o, 0.9)),
    ("LinearLR", lambda o, s: s.LinearLR(o)),
    ("LinearLR-down", lambda o, s: s.LinearLR(o, 1.0, 0.1, 7)),
    ("CosineAnnealingLR", lambda o, s: s.CosineAnnealingLR(o, 6, 0.01)),
    ("CosineAnnealingWarmRestarts", lambda o, s: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01)),
    ("CosineAnnealingWarmRestarts-even", lambda o, s: s.CosineAnnealingWarmRestarts(o, 4)),
    ("OneCycleLR", lambda o, s: s.OneCycleLR(o, [0.5, 0.2], 30)),
    ("OneCycleLR-three", lambda o, s: s.OneCycleLR(o, 0.5, epochs=10, steps_per_epoch=3,
                                                   three_phase=True, anneal_strategy="linear")),
    ("OneCycleLR-plain", lambda o, s: s.OneCycleLR(o, 0.5, 26, cycle_momentum=False)),
    ("SequentialLR", lambda o, s: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=4), s.CosineAnnealingLR(o, 8),
            s.ExponentialLR(o, 0.8)], [4, 12])),
    ("SequentialLR-restarts", lambda o, s: s.SequentialLR(
        o, [s.StepLR(o, 2), s.CosineAnnealingWarmRestarts(o, 3)], [5])),
    ("ChainedScheduler", lambda o, s: s.ChainedScheduler(
        [s.LinearLR(o, 0.5, total_iters=4), s.ExponentialLR(o, 0.9), s.StepLR(o, 5)])),
    ("ChainedScheduler-cosine", lambda o, s: s.ChainedScheduler(
        [s.CosineAnnealingLR(o, 7, 0.001), s.MultiStepLR(o, [3, 8])])),
]


def optimizers(name="SGD"):
    options = {"momentum": 0.9} if name == "SGD" else {}
    made = []
    for lib, p in ((nn, [ad.zeros((2,)), ad.zeros((3,))]),
                   (torch, [torch.zeros(2), torch.zeros(3)])):
        p = [nn.Parameter(q) if lib is nn else torch.nn.Parameter(q) for q in p]
        groups = [{"params": [p[0]]}, {"params": [p[1]], "lr": 0.05}]
        made.append(getattr(lib.optim, name)(groups, lr=0.1, **options))
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("make", [m for _, m in SCHEDULES], ids=[n for n, _ in SCHEDULES])
def test_schedules(make, kind):
    a, b = optimizers(kind)
    s, t = make(a, nn.optim.lr_scheduler), make(b, torch.optim.lr_scheduler)
    for k in range(25):
        for g, h in zip(a.param_groups, b.param_groups, strict=True):
            assert g["lr"] == pytest.approx(h["lr"], rel=1e-9, abs=1e-15), k
            if kind == "SGD":
                assert g["momentum"] == pytest.approx(h["momentum"], rel=1e-12)
            else:
                assert g["betas"] == pytest.approx(h["betas"], rel=1e-12)
        assert s.get_last_lr() == pytest.approx(t.get_last_lr(), rel=1e-9, abs=1e-15)
        for o, schedule in ((a, s), (b, t)):
            o.step()
            schedule.step()


def test_everything_has_a_case():
    """A new optimizer or schedule of nn must come with its comparison."""
    optim, schedules = nn.optim, nn.optim.lr_scheduler
    public = {n for n in optim.__all__ if inspect.isclass(getattr(optim, n))} - {"Optimizer"}
    assert public == {name for name, _ in OPTIMIZERS}
    own = {name.partition("-")[0] for name, _ in SCHEDULES} | {"ReduceLROnPlateau"}
    assert set(schedules.__all__) - {"LRScheduler"} == own


@pytest.mark.parametrize("options", [
    {"patience": 2}, {"mode": "max", "patience": 1, "factor": 0.5, "min_lr": [0.02, 0.01]},
    {"threshold_mode": "abs", "threshold": 0.05, "patience": 0, "cooldown": 2, "eps": 1e-4}])
def test_plateau(options):
    a, b = optimizers()
    s = nn.optim.lr_scheduler.ReduceLROnPlateau(a, **options)
    t = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    for value in np.cumsum(normal(40, seed=3) * 0.05) + 1:
        s.step(value)
        t.step(value)
        for g, h in zip(a.param_groups, b.param_groups, strict=True):
            assert g["lr"] == pytest.approx(h["lr"], rel=1e-12)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, np.inf])
@pytest.mark.parametrize("max_norm", [0.05, 100.0])
def test_clipping(norm_type, max_norm):
    ours, theirs = models()
    x = normal(4, 5)
    (ours(ad.tensor(x)) ** 2).mean().backward()
    (theirs(torch.tensor(x)) ** 2).mean().backward()
    total = nn.utils.clip_grad_norm_(ours.parameters(), max_norm, norm_type)
    other = torch.nn.utils.clip_grad_norm_(theirs.parameters(), max_norm, norm_type)
    assert total.item() == pytest.approx(other.item(), rel=1e-12)
    nn.utils.clip_grad_value_(ours.parameters(), 0.01)
    torch.nn.utils.clip_grad_value_(theirs.parameters(), 0.01)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_averaged_model(decay):
    ours, theirs = models()
    a, b = nn.optim.swa_utils, torch.optim.swa_utils
    mine = a.AveragedModel(ours, avg_fn=decay and a.get_ema_avg_fn(decay))
    other = b.AveragedModel(theirs, avg_fn=decay and b.get_ema_avg_fn(decay))
    assert list(mine.state_dict()) == list(other.state_dict())

    def after(t):
        mine.update_parameters(ours)
        other.update_parameters(theirs)
    train(ours, theirs, nn.optim.SGD(ours.parameters(), lr=0.1),
          torch.optim.SGD(theirs.parameters(), lr=0.1), 8, after=after)
    same(mine, other)
    assert mine.n_averaged.item() == other.n_averaged.item() == 8
