"""nn.optim: trajectories against the formulas in NumPy, groups, state, named errors."""

import numpy as np
import pytest

import autodiff as ad
import nn
from nn import optim

STEPS = 6


def sgd(lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    def start(p):
        return {"buf": None}

    def update(p, g, s, t):
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            s["buf"] = g if s["buf"] is None else momentum * s["buf"] + (1 - dampening) * g
            g = g + momentum * s["buf"] if nesterov else s["buf"]
        return p - lr * g
    return start, update


def adam(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False):
    def start(p):
        return {"m": np.zeros_like(p), "v": np.zeros_like(p), "top": np.zeros_like(p)}

    def update(p, g, s, t):
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        s["m"] = betas[0] * s["m"] + (1 - betas[0]) * g
        s["v"] = betas[1] * s["v"] + (1 - betas[1]) * g * g
        s["top"] = np.maximum(s["top"], s["v"])
        v = (s["top"] if amsgrad else s["v"]) / (1 - betas[1] ** t)
        return p - lr * s["m"] / (1 - betas[0] ** t) / (np.sqrt(v) + eps)
    return start, update


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    return [nn.Parameter(rng.standard_normal(s)) for s in ((2, 3), (4,), ())]


def gradients(p, t):
    """Any smooth function of the parameter and the step."""
    return np.sin(3 * p + t) + 0.1 * p


def run(params, optimizer, steps=STEPS, first=1):
    for t in range(first, first + steps):
        for p in params:
            p.grad = ad.tensor(gradients(p.numpy(), t))
        optimizer.step()


def values(params):
    return [p.numpy().copy() for p in params]


CASES = [(optim.SGD, sgd, {}), (optim.SGD, sgd, {"momentum": 0.9, "weight_decay": 0.1}),
         (optim.SGD, sgd, {"momentum": 0.9, "dampening": 0.5}),
         (optim.SGD, sgd, {"momentum": 0.9, "nesterov": True}),
         (optim.SGD, sgd, {"maximize": True}),
         (optim.Adam, adam, {}), (optim.Adam, adam, {"weight_decay": 0.1, "betas": (0.5, 0.9)}),
         (optim.Adam, adam, {"amsgrad": True, "eps": 1e-3}),
         (optim.AdamW, adam, {"weight_decay": 0.1})]


@pytest.mark.parametrize("make,formula,options", CASES)
def test_trajectories(make, formula, options):
    params = parameters()
    more = {"decoupled": True} if make is optim.AdamW else {}
    start, update = formula(lr=0.1, **options, **more)
    expected = values(params)
    states = [start(p) for p in expected]
    for t in range(1, STEPS + 1):
        expected = [update(p, gradients(p, t), s, t)
                    for p, s in zip(expected, states, strict=True)]
    run(params, make(params, lr=0.1, **options))
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.numpy(), e, rtol=1e-10, atol=1e-12)


def test_defaults_are_pytorchs():
    p = parameters()
    assert optim.SGD(p).defaults == {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0,
                                     "weight_decay": 0.0, "nesterov": False, "maximize": False}
    assert optim.Adam(p).defaults["weight_decay"] == 0 and optim.Adam(p).defaults["lr"] == 1e-3
    assert optim.AdamW(p).defaults["weight_decay"] == 1e-2


def test_training_lowers_the_loss():
    ad.manual_seed(0)
    m = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    x = ad.tensor(np.random.default_rng(0).standard_normal((32, 2)).astype(np.float32))
    y = ad.expand_dims(x[:, 0] * x[:, 1], 1)
    o, f, losses = optim.Adam(m.parameters(), lr=0.02), nn.MSELoss(), []
    for _ in range(60):
        o.zero_grad()
        loss = f(m(x), y)
        loss.backward()
        o.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_groups_and_changed_rates():
    params = parameters()
    o = optim.SGD([{"params": params[:1], "lr": 0.5}, {"params": params[1:]}], lr=0.1)
    assert [g["lr"] for g in o.param_groups] == [0.5, 0.1]
    before = values(params)
    run(params, o, steps=1)
    for p, b, lr in zip(params, before, (0.5, 0.1, 0.1), strict=True):
        np.testing.assert_allclose(p.numpy(), b - lr * gradients(b, 1), rtol=1e-12)
    o.param_groups[0]["lr"] = 0.0
    before = values(params)
    run(params, o, steps=1)
    assert (params[0].numpy() == before[0]).all() and (params[1].numpy() != before[1]).all()
    rate = ad.tensor(0.25, dtype=ad.float64)
    o.param_groups[1]["lr"] = rate                      # a 0-d tensor is read where it stands
    before = values(params)
    run(params, o, steps=1)
    np.testing.assert_allclose(params[1].numpy(), before[1] - 0.25 * gradients(before[1], 1))


def test_rates_and_counts_are_tensors_that_stay():
    params = parameters()
    o = optim.Adam(params, lr=0.1)
    run(params, o, steps=1)
    counts = {id(o.state[p]["step"]) for p in params}
    rate, count = o._rates[0][1], o.state[params[0]]["step"]
    o.param_groups[0]["lr"] = 0.3
    o.write_rates()
    assert rate.item() == 0.3 and rate.shape == count.shape == ()
    run(params, o, steps=2, first=2)
    assert o._rates[0][1] is rate and o.state[params[0]]["step"] is count and count.item() == 3
    assert len(counts) == 1                             # one launch counts for all three
    kinds = {t.category for s in o.state.values() for t in s.values()} | {rate.category}
    assert kinds == {"optimizer state"}


def test_parameters_without_gradient_stay_and_count_for_themselves():
    params = parameters()
    o = optim.Adam(params, lr=0.1)
    start, update = adam(lr=0.1)
    expected = values(params)
    states, steps = [start(p) for p in expected], [0, 0, 0]
    active = [(0,), (0, 1), (1,), (0, 1, 2), (0, 1, 2), (2,), (0, 1, 2)]
    for t, who in enumerate(active):
        for k, p in enumerate(params):
            p.grad = ad.tensor(gradients(p.numpy(), t)) if k in who else None
            if k in who:
                steps[k] += 1
                expected[k] = update(expected[k], gradients(expected[k], t), states[k], steps[k])
        o.step()
    assert [o.state[p]["step"].item() for p in params] == steps
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.numpy(), e, rtol=1e-10)


def test_momentum_switched_on_later():
    p = nn.Parameter(np.ones(2))
    o = optim.SGD([p], lr=1.0)
    buffer, expected = None, np.ones(2)
    for t in range(4):
        if t == 2:
            o.param_groups[0].update(momentum=0.5, dampening=0.5)
        p.grad = ad.tensor(np.full(2, t + 1.0))
        o.step()
        if t == 2:
            buffer = t + 1.0
        elif t == 3:
            buffer = 0.5 * buffer + 0.5 * (t + 1)
        expected -= t + 1 if buffer is None else buffer
    assert p.tolist() == expected.tolist()


def test_closure_and_zero_grad():
    p = nn.Parameter(ad.tensor([2.0]))
    o = optim.SGD([p], lr=0.1)

    def closure():
        o.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss
    with ad.no_grad():
        assert o.step(closure).item() == 4.0
    assert p.numpy()[0] == pytest.approx(1.6)
    o.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0]
    o.zero_grad()
    assert p.grad is None and ad.is_grad_enabled()


@pytest.mark.parametrize("make,formula,options", CASES)
def test_state_dict_resumes_exactly(make, formula, options, tmp_path):
    whole, halves = parameters(), parameters()
    run(whole, make(whole, lr=0.1, **options), steps=6)
    first = make(halves, lr=0.1, **options)
    run(halves, first, steps=3)
    nn.save(first.state_dict(), tmp_path / "optimizer.safetensors")
    second = make(halves, lr=0.7)
    second.load_state_dict(nn.load(tmp_path / "optimizer.safetensors"))
    assert second.param_groups[0]["lr"] == 0.1
    run(halves, second, steps=3, first=4)
    assert [p.numpy().tobytes() for p in whole] == [p.numpy().tobytes() for p in halves]


def test_load_refuses_what_does_not_fit():
    params = parameters()
    o = optim.Adam(params, lr=0.1)
    run(params, o, steps=1)
    good = o.state_dict()
    other = optim.Adam(params[:2])
    with pytest.raises(nn.StateDictError, match=r"groups of \[3\] parameters"):
        other.load_state_dict(good)
    with pytest.raises(nn.StateDictError, match="'state' and 'param_groups'"):
        o.load_state_dict({"state": {}})
    bad = o.state_dict()
    bad["state"][0]["exp_avg"] = ad.zeros((5,))
    with pytest.raises(nn.StateDictError, match="exp_avg of parameter 0 has shape"):
        o.load_state_dict(bad)
    bad = o.state_dict()
    del bad["state"][1]["exp_avg_sq"]
    with pytest.raises(nn.StateDictError, match="parameter 1 has no 'exp_avg_sq'"):
        o.load_state_dict(bad)
    assert o.state[params[0]]["step"].item() == 1
    assert list(good["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert good["param_groups"][0]["params"] == [0, 1, 2]


def test_errors():
    p = parameters()
    with pytest.raises(ad.ArgumentError, match="put it into a list"):
        optim.SGD(p[0])
    with pytest.raises(ad.ArgumentError, match="no parameters"):
        optim.SGD(iter(()))
    with pytest.raises(ad.ArgumentError, match="must be a leaf Tensor"):
        optim.SGD([p[0] * 2])
    with pytest.raises(ad.ArgumentError, match="parameter 1 appears twice"):
        optim.SGD([p[0], p[0]])
    with pytest.raises(ad.ArgumentError, match="unknown option 'momentun'"):
        optim.SGD([{"params": p, "momentun": 0.9}])
    with pytest.raises(TypeError):
        optim.Adam(p, momentum=0.9)
    with pytest.raises(ad.ValueRangeError, match="lr must be at least 0"):
        optim.SGD(p, lr=-1.0)
    with pytest.raises(ad.ArgumentError, match="lr must be a number"):
        optim.SGD(p, lr="fast")
    with pytest.raises(ad.ValueRangeError, match="nesterov"):
        optim.SGD(p, nesterov=True)
    with pytest.raises(ad.ValueRangeError, match="betas"):
        optim.Adam(p, betas=(0.9, 1.0))
    with pytest.raises(ad.ArgumentError, match="weight is int64"):
        optim.Adam([("weight", ad.tensor([1]))])
    assert optim.Adam([("w", p[0])]).param_groups[0]["param_names"] == ["w"]


def test_repr():
    assert repr(optim.SGD(parameters(), lr=0.5)).startswith("SGD (\nParameter Group 0\n    damp")


class Lion(nn.optim.Optimizer):
    """In PyTorch's way: all in `step`, the state in self.state[p]."""

    def __init__(self, params, lr=1e-2):
        super().__init__(params, {"lr": lr})

    @ad.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["step"], state["average"] = 0, ad.zeros_like(p)
                state["step"] += 1
                state["average"].copy_(state["average"] * 0.9 + p.grad * 0.1)
                p -= ad.sign(state["average"]) * group["lr"]


def test_an_optimizer_in_the_way_of_pytorch(tmp_path):
    def steps(optimizer, p, count):
        for _ in range(count):
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
        return p.numpy().copy()
    p, q = (nn.Parameter(ad.tensor([1.0, -2.0])) for _ in range(2))
    whole = steps(Lion([p]), p, 6)
    half = Lion([q])
    steps(half, q, 3)
    nn.save_checkpoint(half.state_dict(), tmp_path / "run")
    again = Lion([q])
    again.load_state_dict(nn.load_checkpoint(tmp_path / "run"))
    assert again.state[q]["step"] == 3
    assert (steps(again, q, 3) == whole).all()
