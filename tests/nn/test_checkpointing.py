"""Checkpointing of chains: the tracked peak against the budget, and bits against the plain run."""

import gc

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import core, profile
from autodiff import schedule as planning
from autodiff.errors import ArgumentError, GradientError, SavedTensorChangedError
from nn import optim
from nn.checkpointing import (
    ChainError,
    Checkpointed,
    MemoryBudgetError,
    checkpoint_sequential,
    measure_chain,
)


class Residual(nn.Module):
    """x + f(norm(x)): the gradient of the output is shared between two ways."""

    def __init__(self, d):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def mlp_block(d, hidden, p=0.1):
    return nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Dropout(p), nn.Linear(hidden, d),
                         nn.Tanh())


def normal(*shape):
    return ad.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def mlp():
    """64 small blocks of three widths."""
    return nn.Sequential(*[mlp_block(16, (16, 32, 64)[k % 3]) for k in range(64)]), normal(64, 16)


def mixed():
    """Convolutions with statistics, a view, residual blocks: every block is different."""
    blocks = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
              nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 24), Residual(24), Residual(24),
              nn.Identity(), *[Residual(24) for _ in range(10)], nn.Linear(24, 24, bias=False),
              nn.GELU(), nn.Linear(24, 5)]
    return nn.Sequential(*blocks), normal(48, 1, 8, 8)


def tied():
    """The same block at several places."""
    block = mlp_block(16, 32)
    return nn.Sequential(*[block if k % 3 == 1 else mlp_block(16, 32) for k in range(10)]), \
        normal(32, 16)


def run(model, x, call, gradient_of=lambda y: y * 0.5):
    """(peak bytes added, output, gradients, buffers) of forward and backward."""
    ad.manual_seed(7)
    buffers = [b.numpy().copy() for b in model.buffers()]
    model.zero_grad()
    if x.requires_grad:
        x.grad = None
    with core.no_grad():
        seed = gradient_of(model.eval()(x))
    model.train()
    with ad.memory.track() as m:
        y = call(x)
        y.backward(seed)
        values = y.numpy().copy()
        del y
    found = [values, *(p.grad.numpy().copy() for p in model.parameters()),
             *(b.numpy().copy() for b in model.buffers()), ad.rand((3,)).numpy()]
    if x.requires_grad:
        found.append(x.grad.numpy().copy())
    for b, values in zip(model.buffers(), buffers, strict=True):
        with core.no_grad(), b.writable() as array:
            array[...] = values
    return m.added_bytes, found


def same(a, b):
    assert len(a) == len(b)
    for u, v in zip(a, b, strict=True):
        np.testing.assert_array_equal(u, v)


@pytest.fixture(params=[mlp, mixed, tied], ids=lambda f: f.__name__)
def case(request):
    ad.manual_seed(1)
    model, x = request.param()
    return model, x, measure_chain(model, x, repeats=3)


@pytest.mark.parametrize("input_gradient", [False, True])
def test_peak_within_every_budget_and_the_same_bits(case, input_gradient):
    model, x, costs = case
    if input_gradient:
        x.requires_grad = True
        costs = measure_chain(model, x, repeats=1)
    plain_peak, plain = run(model, x, model)
    low, top = planning.smallest_budget(costs), planning.record_all(costs).peak_bytes
    assert low < top and plain_peak <= top
    for part in (0.0, 0.1, 0.3, 0.5, 0.8, 1.0):
        budget = low + int(part * (top - low))
        plan = planning.optimal(costs, budget)
        peak, found = run(model, x, lambda t, plan=plan: checkpoint_sequential(
            model, t, schedule=plan, costs=costs))
        print(f"budget {budget}: tracked peak {peak}, {plan}")
        assert peak <= budget
        same(plain, found)


def test_no_worse_than_sqrt_at_its_memory(case):
    model, x, costs = case
    sqrt = planning.sqrt_n(costs)
    plan = planning.optimal(costs, sqrt.peak_bytes)
    print(f"{sqrt}\n{plan}")
    assert plan.seconds <= sqrt.seconds
    peak, found = run(model, x, lambda t: checkpoint_sequential(
        model, t, memory_budget=sqrt.peak_bytes, costs=costs))
    assert peak <= sqrt.peak_bytes
    same(run(model, x, model)[1], found)


def test_prediction_is_close():
    model, x = mlp()
    costs = measure_chain(model, x, repeats=1)
    low, plain = planning.smallest_budget(costs), planning.record_all(costs)
    assert run(model, x, model)[0] >= 0.95 * plain.peak_bytes
    peak, _ = run(model, x, lambda t: checkpoint_sequential(model, t, memory_budget=low,
                                                            costs=costs))
    assert 0.9 * low <= peak <= low < 0.4 * plain.peak_bytes


@pytest.mark.parametrize("way", [{"every": 1}, {"every": 4}, {"every": 10}, {"strategy": "sqrt"},
                                 {"strategy": "none"}])
def test_ways_without_costs(case, way):
    model, x, _ = case
    same(run(model, x, model)[1],
         run(model, x, lambda t: checkpoint_sequential(model, t, **way))[1])


def test_an_input_that_is_dropped_is_made_again():
    model, x = small()
    costs = measure_chain(model, x, repeats=1)
    F, C, R, D, B = "forward", "checkpoint", "record", "drop", "backward"
    n = len(costs)
    operations = [(F, 0), (C, 1), *((F, k) for k in range(2, n - 1)), (R, n - 1), (B, n - 1),
                  (F, 1), (D, 1), *((F, k) for k in range(2, n - 2)), (R, n - 2), (B, n - 2)]
    for t in reversed(range(n - 2)):
        operations += [*((F, k) for k in range(t)), (R, t), (B, t)]
    seconds, peak = planning.simulate(costs, operations)
    plan = planning.Schedule(tuple(operations), seconds, peak, seconds, "by hand")
    _, plain = run(model, x, model)
    tracked, found = run(model, x, lambda t: checkpoint_sequential(model, t, schedule=plan,
                                                                   costs=costs))
    assert tracked <= peak
    same(plain, found)


def small(p=0.1):
    ad.manual_seed(1)
    return nn.Sequential(*[mlp_block(8, 16, p) for _ in range(9)]), normal(20, 8)


def test_gradients_accumulate_and_training_goes_on():
    weights = []
    for wrap in (lambda m: m, lambda m: Checkpointed(m, every=3)):
        model, x = small()
        model = wrap(model)
        optimizer = optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(3):
            for _ in range(2):
                model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        weights.append([p.numpy().copy() for p in model.parameters()])
    same(*weights)


def test_memory_budget_error_names_the_smallest():
    model, x = small()
    with pytest.raises(MemoryBudgetError, match="the smallest budget that can work is") as error:
        checkpoint_sequential(model, x, memory_budget=100)
    least = error.value.smallest
    # Times are measured anew, bytes are not.
    assert measure_chain(model, x).blocks[3].saved == measure_chain(model, x).blocks[3].saved
    peak, _ = run(model, x, lambda t: checkpoint_sequential(model, t, memory_budget=least))
    assert peak <= least
    with pytest.raises(MemoryBudgetError):
        checkpoint_sequential(model, x, memory_budget=least - 1)


def test_checkpointed_is_a_sequential():
    model, x = small()
    wrapped = Checkpointed(model, memory_budget=10 ** 9)
    assert list(wrapped.state_dict()) == list(model.state_dict())
    assert "memory_budget=1000000000" in repr(wrapped)
    y = wrapped(x)
    assert wrapped.schedule.again == 0
    plan, costs = wrapped.schedule, wrapped.costs
    assert wrapped(x) is not y and wrapped.schedule is plan         # planned once
    wrapped.memory_budget = planning.smallest_budget(costs)
    wrapped(x)
    assert wrapped.schedule.again > 0 and wrapped.costs is costs    # measured once
    wrapped(normal(10, 8))
    assert wrapped.costs is not costs                               # another shape
    with core.no_grad():
        assert wrapped(x).node is None
    assert wrapped.eval()(x).shape == x.shape
    assert len(Checkpointed(list(model), strategy="sqrt")) == 9


class Wide(nn.Module):
    def forward(self, x, y):
        return x + y


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Own(nn.Sequential):
    def forward(self, input):
        return super().forward(input) + input


def test_the_input_is_a_tensor():
    with pytest.raises(ArgumentError, match="must be a Tensor"):
        checkpoint_sequential(nn.Sequential(nn.Tanh()), np.ones(3), every=1)


@pytest.mark.parametrize("model, message", [
    (Residual(8), "Residual is no chain of blocks: it is not an nn.Sequential"),
    (Own(nn.Tanh()), "a forward of its own"),
    (nn.Sequential(), "no blocks"),
    (nn.Sequential(nn.Tanh(), Wide()), r"block 1 \(Wide\) does not take one input"),
    (nn.Sequential(nn.Tanh(), Pair()), r"block 1 \(Pair\) returned tuple"),
    ([nn.Tanh(), 3], "block 1 is not callable"),
    (ad.tanh, "expected nn.Sequential")])
def test_no_chain(model, message):
    x = normal(4, 8)
    with pytest.raises(ChainError, match=message):
        checkpoint_sequential(model, x, memory_budget=10 ** 6)
    with pytest.raises(ChainError, match=message):
        measure_chain(model, x)


def test_wrong_arguments():
    model, x = small()
    costs = measure_chain(model, x, repeats=1)
    plan = planning.sqrt_n(costs)
    for wrong in ({}, {"every": 2, "strategy": "sqrt"}, {"strategy": "optimal"},
                  {"every": 2, "schedule": plan}):
        with pytest.raises(ArgumentError):
            checkpoint_sequential(model, x, **wrong)
    with pytest.raises(ArgumentError, match="is for 9 blocks, got 8"):
        checkpoint_sequential(list(model)[1:], x, schedule=plan)


def test_a_plan_is_made_once(monkeypatch):
    from nn import checkpointing
    model, x = small()
    made = []
    monkeypatch.setattr(checkpointing, "measure_chain",
                        lambda *a: made.append(1) or measure_chain(*a))
    monkeypatch.setattr(planning, "optimal", lambda *a, f=planning.optimal: made.append(2) or f(*a))
    for _ in range(3):
        checkpoint_sequential(model, x, memory_budget=10 ** 6).sum().backward()
    assert made == [1, 2]
    next(model.parameters()).requires_grad = False
    checkpoint_sequential(model, x, memory_budget=10 ** 6)
    assert made == [1, 2, 1, 2]


def test_callables_and_closures():
    w = ad.tensor(np.full((8, 8), 0.1, np.float32), requires_grad=True)
    chain = [lambda t: ad.tanh(t @ w) for _ in range(8)]
    x = normal(5, 8)
    plain, = ad.gradients([_through(chain, x).sum()], [w])
    costs = measure_chain(chain, x)
    assert costs.blocks[0].gradients == w.nbytes
    y = checkpoint_sequential(chain, x, memory_budget=planning.smallest_budget(costs))
    again, = ad.gradients([y.sum()], [w])
    np.testing.assert_array_equal(plain.numpy(), again.numpy())


def _through(chain, x):
    for f in chain:
        x = f(x)
    return x


def test_measuring_changes_nothing():
    model, x = mixed()
    ad.manual_seed(5)
    expected = ad.rand((4,)).numpy()
    ad.manual_seed(5)
    before = [b.numpy().copy() for b in model.buffers()]
    with ad.memory.track() as m:
        measure_chain(model, x, repeats=2)
    same(before, [b.numpy() for b in model.buffers()])
    np.testing.assert_array_equal(ad.rand((4,)).numpy(), expected)
    assert all(p.grad is None for p in model.parameters())
    assert m.end_bytes == m.start_bytes


def test_blocks_of_the_same_work_share_their_seconds():
    model, x = mlp()
    blocks = measure_chain(model, x, repeats=1).blocks
    assert len({b.backward for b in blocks}) == 4       # three widths; the first wants no dx
    assert blocks[1].again == blocks[61].again and blocks[0].backward != blocks[3].backward


def test_a_view_is_in_the_block_before():
    model, x = mixed()
    costs = measure_chain(model, x, repeats=1)
    assert (3, 5) in costs.groups and (8, 10) in costs.groups     # Flatten, Identity
    assert costs.groups[-1][1] == len(model)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Identity())
    assert measure_chain(flat, x).groups == ((0, 3),)
    assert measure_chain(nn.Sequential(nn.Identity()), x).groups == ((0, 1),)


@pytest.mark.parametrize("seen", ["loss dropped", "backward"])
def test_no_memory_stays(seen):
    model, x = small()
    gc.collect()
    gc.disable()
    try:
        checkpoint_sequential(model, x, every=3).sum().backward()
        before = ad.memory.stats()
        loss = checkpoint_sequential(model, x, every=3).sum()
        if seen == "backward":
            loss.backward()
        del loss
        assert ad.memory.stats()["live"] == before["live"]
    finally:
        gc.enable()


def test_saved_report_shows_the_checkpoints():
    model, x = small(p=0.0)
    report = ad.memory.saved_report(checkpoint_sequential(model, x, every=3))
    kept = [a for a in report if "checkpoint" in str([u[1] for u in a.users])]
    assert [a.shape for a in kept] == [(20, 8)] * 2     # the third part is recorded at once


def test_retain_graph_and_higher_orders():
    model, x = small()
    p = next(model.parameters())

    def both(call):
        ad.manual_seed(2)
        loss = call(x).square().sum()
        first, = ad.gradients([loss], [p], create_graph=True)
        second, = ad.gradients([first.square().sum()], [p], retain_graph=True)
        loss.backward(retain_graph=True)
        model.zero_grad()
        loss.backward()
        return [first.numpy(), second.numpy(), p.grad.numpy().copy()]
    same(both(model), both(lambda t: checkpoint_sequential(model, t, every=2)))


def test_gradients_of_some_inputs():
    model, x = small()
    inner = list(model[4].parameters())
    plan = planning.optimal(measure_chain(model, x, repeats=1), 10 ** 5)

    def some(call):
        ad.manual_seed(2)
        return [g.numpy() for g in ad.gradients([call(x).sum()], inner)]
    same(some(model), some(lambda t: checkpoint_sequential(model, t, schedule=plan)))


def test_nested_with_checkpoint():
    model, x = small()
    nested = nn.Sequential(*model)
    inner = [lambda t, b=b: ad.checkpoint(b, t) for b in model]

    def grads(call):
        model.zero_grad()
        ad.manual_seed(2)
        call(x).sum().backward()
        return [p.grad.numpy().copy() for p in model.parameters()]
    plain = grads(model)
    same(plain, grads(lambda t: checkpoint_sequential(inner, t, every=3)))
    same(plain, grads(lambda t: ad.checkpoint(
        lambda u: checkpoint_sequential(nested, u, every=3), t)))
    same(plain, grads(lambda t: checkpoint_sequential(
        [lambda u: checkpoint_sequential(nested[:5], u, every=2),
         lambda u: checkpoint_sequential(nested[5:], u, every=2)], t, every=1)))


def test_hooks_and_paths():
    class Model(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body, self.head = Checkpointed(body, every=3), nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.body(x))
    body, x = small()
    model, seen = Model(body), []
    p = body[0][0].weight
    p.register_hook(lambda g: seen.append(g.shape))
    loss = model(x).sum()
    with profile.profile() as found:
        loss.backward()
    assert seen == [p.shape]
    again = {e.scope for e in found.events if e.phase == "recompute" and e.op == "linear"}
    assert {"body.0.0", "body.3.3"} <= again and not any(s.startswith("body.8") for s in again)
    assert core.current_phase() == "forward" and core.current_scope() == ""


def test_changes_between_forward_and_backward():
    model, x = small()
    for changed in (model[0][0].weight, model[1][3].bias, x):
        loss = checkpoint_sequential(model, x, every=3).sum()
        with core.no_grad(), changed.writable() as array:
            array *= 2.0
        with pytest.raises(SavedTensorChangedError):
            loss.backward()
    loss = checkpoint_sequential(model, x, every=3).sum()
    model.eval()
    with pytest.raises(GradientError, match="must do the same both times"):
        loss.backward()
    assert core.is_grad_enabled() and core.current_phase() == "forward"
