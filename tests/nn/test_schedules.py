"""Schedules by their formulas, chained and saved; optimizers of one's own; clipping; averages."""

import math

import numpy as np
import pytest

import autodiff as ad
import nn
from nn import optim
from nn.optim import lr_scheduler as lrs


def one(lr=1.0, **options):
    return optim.SGD([nn.Parameter(ad.zeros((2,)))], lr=lr, **options)


def rates(scheduler, count):
    out = []
    for _ in range(count):
        out.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.step()
    return out


def test_formulas():
    close = pytest.approx
    assert rates(lrs.StepLR(one(), 2, 0.5), 5) == close([1, 1, 0.5, 0.5, 0.25])
    assert rates(lrs.MultiStepLR(one(), [3, 1]), 5) == close([1, 0.1, 0.1, 0.01, 0.01])
    assert rates(lrs.ExponentialLR(one(), 0.5), 3) == close([1, 0.5, 0.25])
    assert rates(lrs.LinearLR(one(), 0.25, total_iters=3), 5) == close([0.25, 0.5, 0.75, 1, 1])
    assert rates(lrs.LambdaLR(one(2.0), lambda e: 1 / (e + 1)), 3) == close([2, 1, 2 / 3])
    half = [0.5 + 0.5 * math.cos(math.pi * k / 4) for k in range(5)]
    assert rates(lrs.CosineAnnealingLR(one(), 4), 9) == close(half + half[-2::-1], abs=1e-12)
    assert rates(lrs.CosineAnnealingWarmRestarts(one(), 4), 8) == close(half[:-1] * 2)
    up = rates(lrs.OneCycleLR(one(momentum=0.9), 1.0, 10), 9)
    assert up[0] == close(0.04) and max(up) == close(1.0) and up.index(max(up)) == 2
    assert up == sorted(up[:3]) + sorted(up[3:], reverse=True)


def test_warm_up_then_cosine():
    o = one()
    s = lrs.SequentialLR(o, [lrs.LinearLR(o, 0.5, total_iters=2), lrs.CosineAnnealingLR(o, 4)],
                         [2])
    got = rates(s, 7)
    assert got[:3] == pytest.approx([0.5, 0.75, 1.0]) and got[6] == pytest.approx(0, abs=1e-12)


def test_chained_schedules_multiply_and_keep_what_the_user_sets():
    o = one()
    s = lrs.ChainedScheduler([lrs.ExponentialLR(o, 0.9), lrs.StepLR(o, 2, 0.5)])
    assert rates(s, 4) == pytest.approx([1, 0.9, 0.405, 0.3645])
    o = one()
    s = lrs.ExponentialLR(o, 0.5)
    o.param_groups[0]["lr"] = 8.0
    s.step()
    assert o.param_groups[0]["lr"] == 4.0


def test_rates_reach_the_update():
    o = one()
    p = o.param_groups[0]["params"][0]
    s = lrs.StepLR(o, 1, 0.1)
    for _ in range(3):
        p.grad = ad.ones((2,))
        o.step()
        s.step()
    np.testing.assert_allclose(p.numpy(), -1.11, rtol=1e-6)


MAKERS = [lambda o: lrs.StepLR(o, 3), lambda o: lrs.CosineAnnealingLR(o, 5),
          lambda o: lrs.OneCycleLR(o, 1.0, 20), lambda o: lrs.CosineAnnealingWarmRestarts(o, 3, 2),
          lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o), lrs.ExponentialLR(o, 0.9)], [5]),
          lambda o: lrs.ChainedScheduler([lrs.LinearLR(o), lrs.MultiStepLR(o, [2, 6])])]


@pytest.mark.parametrize("make", MAKERS)
def test_a_saved_schedule_goes_on_as_if_never_stopped(make):
    o = one(momentum=0.9)
    whole = make(o)
    rates(whole, 7)
    fresh = one(momentum=0.9)
    resumed = make(fresh)
    fresh.load_state_dict(o.state_dict())
    resumed.load_state_dict(whole.state_dict())
    assert resumed.get_last_lr() == whole.get_last_lr()
    assert rates(resumed, 10) == rates(whole, 10)
    assert all(isinstance(k, str) for k in whole.state_dict())
    with pytest.raises(nn.StateDictError):
        resumed.load_state_dict({})


def test_plateau():
    o = one()
    s = lrs.ReduceLROnPlateau(o, patience=1, factor=0.5)
    seen = []
    for loss in (1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1):
        s.step(ad.tensor(loss))
        seen.append(o.param_groups[0]["lr"])
    assert seen == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    other = lrs.ReduceLROnPlateau(one(), patience=1, factor=0.5)
    other.load_state_dict(s.state_dict())
    assert other.best == pytest.approx(0.1)


def test_named_errors():
    with pytest.raises(ad.ArgumentError, match="must be an Optimizer"):
        lrs.StepLR(nn.Linear(2, 2), 3)
    with pytest.raises(ad.ValueRangeError, match="step_size must be at least 1"):
        lrs.StepLR(one(), 0)
    with pytest.raises(ad.ArgumentError, match="cycle_momentum=False"):
        lrs.OneCycleLR(optim.Adagrad([nn.Parameter(ad.zeros(2))]), 1.0, 10)
    with pytest.raises(ad.ArgumentError, match="give total_steps"):
        lrs.OneCycleLR(one(), 1.0)
    s = lrs.OneCycleLR(one(momentum=0.9), 1.0, 3)
    with pytest.raises(ad.ValueRangeError, match="the cycle is over"):
        rates(s, 3)
    with pytest.raises(ad.ArgumentError, match="another optimizer"):
        lrs.SequentialLR(one(), [lrs.StepLR(one(), 1)], [])
    with pytest.raises(ad.ArgumentError, match="no 'initial_lr'"):
        lrs.StepLR(one(), 1, last_epoch=4)
    with pytest.raises(ad.ValueRangeError, match="alpha"):
        optim.RMSprop([nn.Parameter(ad.zeros(2))], alpha=1.5)


def test_an_optimizer_of_ones_own():
    class SignSGD(optim.Optimizer):             # as in Optimizer's docstring
        def __init__(self, params, lr=1e-3, momentum=0.9):
            super().__init__(params, {"lr": lr, "momentum": momentum})

        def _start(self, p, group, count):
            return {"buffer": ad.zeros_like(p)}

        def _update(self, p, g, state, lr, group):
            state["buffer"] *= group["momentum"]
            state["buffer"] += g
            p -= ad.sign(state["buffer"]) * lr.astype(p.dtype)

    p = nn.Parameter(ad.tensor([1.0, -2.0]))
    o = SignSGD([p], lr=0.25)
    for _ in range(2):
        o.zero_grad()
        (p * p).sum().backward()
        o.step()
    assert p.numpy().tolist() == [0.5, -1.5]
    assert not p.grad.requires_grad and p.is_leaf


@pytest.mark.parametrize("make", [lambda p: optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
                                  lambda p: optim.Adagrad(p, lr=0.5, lr_decay=0.1)])
def test_state_resumes_exactly(make):
    def run(o, p, first, steps):
        for t in range(first, first + steps):
            p.grad = ad.tensor(np.sin(3 * p.numpy() + t))
            o.step()
    p, q = (nn.Parameter(ad.tensor(np.linspace(-1, 1, 7))) for _ in range(2))
    a = make([p])
    run(a, p, 0, 5)
    half = make([q])
    run(half, q, 0, 2)
    other = make([q])
    other.load_state_dict(half.state_dict())
    run(other, q, 2, 3)
    np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_momentum_switched_on_later():
    p = nn.Parameter(ad.tensor(np.ones(3)))
    o = optim.RMSprop([p])
    for _ in range(2):
        p.grad = ad.tensor(np.ones(3))
        o.step()
        o.param_groups[0].update(momentum=0.9, centered=True)
    assert set(o.state[p]) == {"step", "square_avg", "grad_avg", "momentum_buffer"}


def test_clipping():
    p, q = nn.Parameter(ad.zeros((2,))), nn.Parameter(ad.zeros((1,)))
    p.grad, q.grad = ad.tensor([3.0, 0.0]), ad.tensor([4.0])
    assert nn.utils.clip_grad_norm_([p, q], 10.0).item() == 5 and p.grad.numpy()[0] == 3
    assert nn.utils.clip_grad_norm_([p, q], 1.0).item() == 5
    np.testing.assert_allclose([*p.grad.numpy(), *q.grad.numpy()], [0.6, 0, 0.8], rtol=1e-5)
    nn.utils.clip_grad_value_([p, q], 0.7)
    np.testing.assert_allclose([*p.grad.numpy(), *q.grad.numpy()], [0.6, 0, 0.7], rtol=1e-5)
    assert nn.utils.clip_grad_norm_([nn.Parameter(ad.zeros(2))], 1.0).item() == 0
    p.grad = ad.tensor([math.nan, 1.0])
    with pytest.raises(ad.NonFiniteError, match="norm is nan"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)


def test_average_of_weights():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    ema = optim.swa_utils.AveragedModel(model, avg_fn=optim.swa_utils.get_ema_avg_fn(0.75))
    expected = None
    for k in range(3):
        with ad.no_grad():
            model[0].weight += 1.0
        model(ad.tensor(np.full((4, 2), k, np.float32)))
        now = model[0].weight.numpy().copy()
        expected = now if expected is None else 0.75 * expected + 0.25 * now
        ema.update_parameters(model)
    np.testing.assert_allclose(ema.module[0].weight.numpy(), expected, rtol=1e-6)
    assert (ema.module[1].running_mean.numpy() == model[1].running_mean.numpy()).all()
    assert "module.0.weight" in ema.state_dict() and ema.n_averaged.item() == 3
