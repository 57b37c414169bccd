"""Checkpointing: bit-equal gradients, less memory, and errors where the second run differs."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import core, memory, profile
from autodiff.checkpoint import checkpoint
from autodiff.errors import ArgumentError, GradientError, SavedTensorChangedError
from autodiff.function import Function
from autodiff.testing import gradcheck, gradgradcheck


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    x, w = (ad.tensor(rng.standard_normal(s), requires_grad=True) for s in [(3, 4), (4, 4)])

    def f(t):
        for _ in range(3):
            t = ad.tanh(t @ w)
            t = ad.functional_dropout(t, 0.3)
        return t
    return f, x, w


def test_gradients_are_bit_equal(parts):
    f, x, w = parts
    found = []
    for call in (f, lambda t: checkpoint(f, t)):
        ad.manual_seed(1)
        loss = call(x).sum()
        ad.functional_dropout(x)                # the generator moves on before backward
        found.append([loss.item(), *(g.numpy() for g in ad.gradients(loss, [x, w]))])
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_the_generator_is_left_where_it_was(parts):
    f, x, _ = parts
    ad.manual_seed(1)
    loss = checkpoint(f, x).sum()
    before = ad.ops.random.random_state().numpy().copy()
    loss.backward()
    np.testing.assert_array_equal(ad.ops.random.random_state().numpy(), before)


def test_captured_parameters_get_gradients(parts):
    f, x, w = parts
    checkpoint(f, x.detach()).sum().backward()
    assert w.grad is not None
    assert x.grad is None


def test_captured_result_on_the_same_tape(parts):
    _, x, w = parts

    def run(call):
        h = ad.tanh(x @ w)
        return call(lambda t: ad.tanh(t @ w) * h, h).sum()
    plain = ad.gradients(run(lambda f, t: f(t)), [x, w])
    again = ad.gradients(run(checkpoint), [x, w])
    for a, b in zip(plain, again, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_saves_its_arguments_alone():
    x = ad.tensor(np.ones(1000), requires_grad=True)

    def f(t):
        for _ in range(10):
            t = ad.tanh(t)
        return t
    with memory.track() as kept:
        loss = f(x).sum()
    del loss
    with memory.track() as less:
        loss = checkpoint(f, x).sum()
    assert kept.saved_bytes == 10 * 8000
    assert less.saved_bytes == 0                # x counts as an input
    before = memory.stats()["live"]
    loss.backward()
    after = memory.stats()["live"]
    assert after["saved"] == before["saved"]
    assert after["gradient"] - before["gradient"] == 8000
    assert after["temporary"] - before["temporary"] <= 0


def test_peak_of_a_chain_of_checkpoints():
    x = ad.tensor(np.ones(10_000), requires_grad=True)

    def f(t):
        for _ in range(10):
            t = ad.tanh(t)
        return t

    def peak(call):
        x.grad = None
        with memory.track() as m:
            t = x
            for _ in range(10):
                t = call(f, t)
            loss = t.sum()
            del t
            loss.backward()
        return m.added_bytes
    assert peak(checkpoint) < 0.35 * peak(lambda f, t: f(t))


def test_phase(parts):
    f, x, _ = parts
    with profile.profile() as p:
        checkpoint(f, x).sum().backward()
    first, again = ([e.op for e in p.events if e.phase == phase and e.op not in ("sum", "full")]
                    for phase in ("forward", "recompute"))
    assert first == again
    assert core.current_phase() == "forward"


def test_runs_again_once(parts):
    f, x, _ = parts
    runs = []
    loss = checkpoint(lambda t: runs.append(1) or f(t), x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert len(runs) == 2


def test_nested(parts):
    f, x, w = parts

    def run(call):
        ad.manual_seed(3)
        return call(lambda t: call(f, call(f, t)) * t, x).sum()
    plain = ad.gradients(run(lambda f, t: f(t)), [x, w])
    before = memory.stats()["live"]["saved"]
    loss = run(checkpoint)
    assert memory.stats()["live"]["saved"] == before
    for a, b in zip(plain, ad.gradients(loss, [x, w]), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_higher_orders():
    x = np.array([0.3, -0.5])

    def f(t):
        return checkpoint(lambda u: ad.tanh(u) * u, t)
    assert gradcheck(f, x)
    assert gradgradcheck(f, x)


def test_several_arguments_outputs_and_keywords():
    a, b = (ad.tensor(np.array([1.0, 2.0]), requires_grad=True) for _ in range(2))
    y, z = checkpoint(lambda a, k, b: (a * b * k, a + b), a, 3.0, b=b)
    (y + z).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [4.0, 7.0])
    np.testing.assert_array_equal(b.grad.numpy(), [4.0, 7.0])


def test_with_a_custom_function():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            m = x * 2.0
            ctx.save_for_backward(m)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]
    assert gradcheck(lambda t: checkpoint(Square.apply, t), np.array([1.0, -2.0]), forward=False)


def test_plain_call_without_recording(parts):
    f, x, _ = parts
    with core.no_grad():
        assert checkpoint(f, x).node is None
    value, tangent = ad.jvp(lambda t: checkpoint(ad.tanh, t), [np.ones(2)], [np.ones(2)])
    np.testing.assert_allclose(tangent[0].numpy(), 1 - np.tanh(1.0) ** 2)


def test_a_different_second_run(parts):
    _, x, _ = parts
    calls = []

    def unstable(t):
        calls.append(1)
        return ad.tanh(t) if len(calls) == 1 else ad.exp(t)
    loss = checkpoint(unstable, x).sum()
    with pytest.raises(GradientError, match=r"operation 0 was tanh .* in forward and exp"):
        loss.backward()

    calls.clear()
    loss = checkpoint(lambda t: ad.tanh(t) if calls.append(1) or len(calls) < 2
                      else ad.tanh(t) + 1.0, x).sum()
    with pytest.raises(GradientError, match="must do the same both times"):
        loss.backward()
    assert core.current_phase() == "forward"
    assert core.is_grad_enabled()


def test_changed_in_between(parts):
    f, x, w = parts
    loss = checkpoint(f, x).sum()
    with core.no_grad():
        w += 1.0
    with pytest.raises(SavedTensorChangedError, match="matmul reads was changed in place"):
        loss.backward()
    loss = checkpoint(f, x).sum()
    with core.no_grad():
        x += 1.0
    with pytest.raises(SavedTensorChangedError, match="an argument of shape"):
        loss.backward()


def test_backward_inside(parts):
    _, x, _ = parts

    def inner(t):
        return ad.grad(lambda u: ad.tanh(u).sum())(t)
    with pytest.raises(GradientError, match="inside the checkpointed function"):
        checkpoint(inner, x)
    assert checkpoint(ad.tanh, x).requires_grad       # usable again


def test_forward_that_raises(parts):
    f, x, _ = parts
    with pytest.raises(ZeroDivisionError):
        checkpoint(lambda t: f(t) / (1 // 0), x)
    loss = ad.tanh(x).sum()
    assert memory.saved_bytes(loss) == x.nbytes


def test_wrong_argument():
    with pytest.raises(ArgumentError, match="must be callable"):
        checkpoint(3)
