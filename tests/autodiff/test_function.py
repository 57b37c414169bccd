"""Custom operations: values, gradients of any order, memory, and errors that name the class."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import core
from autodiff.errors import (
    ArgumentError,
    GradientError,
    InPlaceError,
    ReleasedTapeError,
    SavedTensorChangedError,
    ShapeError,
)
from autodiff.function import Function, once_differentiable
from autodiff.testing import gradcheck, gradgradcheck


class Exp(Function):
    """e^x from its output."""

    @staticmethod
    def forward(ctx, x):
        y = ad.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        y, = ctx.saved_tensors
        return g * y


class Two(Function):
    """Two outputs, two tensors, a number between them."""

    @staticmethod
    def forward(ctx, x, k, y):
        ctx.k = k
        ctx.save_for_backward(x, y)
        return x * y * k, x + y

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        return g * y * ctx.k + h, None, g * x * ctx.k + h


class Sine(Function):
    """Computed by NumPy, both ways."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ad.tensor(np.sin(x.numpy()))

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return ad.tensor(g.numpy() * np.cos(x.numpy()))


class SineOnce(Sine):
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return ad.tensor(g.numpy() * np.cos(x.numpy()))


class Middle(Function):
    """Saves what is neither input nor output."""

    @staticmethod
    def forward(ctx, x):
        m = ad.exp(x)
        ctx.save_for_backward(m, None)
        return m * m

    @staticmethod
    def backward(ctx, g):
        m, nothing = ctx.saved_tensors
        assert nothing is None
        return g * m * m * 2.0


@pytest.fixture
def x():
    return np.array([0.3, -1.2, 0.7])


def returning(*values, forward=lambda ctx, x, k=None: ad.exp(x)):
    """A Function whose backward returns `values`."""
    return type("Custom", (Function,), {
        "forward": staticmethod(forward),
        "backward": staticmethod(lambda ctx, *g: values if len(values) != 1 else values[0])})


def test_first_and_second_order(x):
    assert gradcheck(Exp.apply, x)
    assert gradgradcheck(Exp.apply, x, forward=True)


def test_several_outputs(x):
    def f(a, b):
        return Two.apply(a, 2.0, b)
    assert gradcheck(f, x, x[::-1].copy())
    assert gradgradcheck(f, x, x[::-1].copy(), forward=True)


def test_unused_output_comes_as_zeros(x):
    a, b = (ad.tensor(x, requires_grad=True) for _ in range(2))
    Two.apply(a, 2.0, b)[1].sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), np.ones(3))


def test_unmaterialized_gradient_is_none(x):
    seen = []

    class F(Two):
        @staticmethod
        def forward(ctx, x, y):
            ctx.set_materialize_grads(False)
            return x * 2.0, y * 2.0

        @staticmethod
        def backward(ctx, g, h):
            seen.append((g, ctx.needs_input_grad))
            return None, h * 2.0
    a, b = ad.tensor(x), ad.tensor(x, requires_grad=True)
    F.apply(a, b)[1].sum().backward()
    assert seen == [(None, (False, True))]
    np.testing.assert_array_equal(b.grad.numpy(), np.full(3, 2.0))


def test_the_same_tensor_twice(x):
    a = ad.tensor(x, requires_grad=True)
    Two.apply(a, 3.0, a)[0].sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), 6 * x)


def test_one_record_and_its_saves(x):
    a = ad.tensor(x, requires_grad=True)
    before = core.memory_stats()["live"]
    y = Exp.apply(a)
    assert y.node.name == "Exp"
    assert y.node.parents == (a.node,)
    assert list(y.node.saved_tensors()) == ["out"]
    assert core.memory_stats()["live"]["saved"] - before["saved"] == 24
    y.sum().backward()
    del y
    assert core.memory_stats()["live"]["saved"] == before["saved"]


def test_no_record_without_need(x):
    assert Exp.apply(ad.tensor(x)).node is None
    with core.no_grad():
        assert Exp.apply(ad.tensor(x, requires_grad=True)).node is None


def test_blocks_stay_out_of_the_registry(x):
    Exp.apply(ad.tensor(x, requires_grad=True))
    assert "Exp" not in ad.registry


def test_numpy_inside(x):
    a = ad.tensor(x, requires_grad=True)
    Sine.apply(a).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), np.cos(x))


@pytest.mark.parametrize("sine", [Sine, SineOnce])
def test_left_the_tape(x, sine):
    def f(x):
        y = sine.apply(x)
        return (y * y).sum()
    np.testing.assert_allclose(ad.grad(f)(ad.tensor(x)).numpy(), np.sin(2 * x))
    a = ad.tensor(x, requires_grad=True)
    g = ad.gradients(f(a), a, create_graph=True)
    with pytest.raises(GradientError, match="cannot be differentiated again"):
        g.sum().backward()


def test_once_differentiable_with_a_constant_gradient(x):
    a = ad.tensor(x, requires_grad=True)
    g = ad.gradients(SineOnce.apply(a).sum(), a, create_graph=True)
    with pytest.raises(GradientError, match="once_differentiable"):
        g.sum().backward()


def test_saved_intermediate(x):
    np.testing.assert_allclose(ad.grad(lambda t: Middle.apply(t).sum())(ad.tensor(x)).numpy(),
                               2 * np.exp(2 * x))
    assert gradcheck(Middle.apply, x)
    with pytest.raises(GradientError, match="saved intermediate result"):
        gradgradcheck(Middle.apply, x)
    with pytest.raises(GradientError, match="save inputs and outputs alone"):
        ad.hvp(lambda t: Middle.apply(t).sum(), [x], [x])


def test_forward_mode_inside_reverse(x):
    _, (h,) = ad.hvp(lambda t: Exp.apply(t).sum(), [x], [np.ones(3)])
    np.testing.assert_allclose(h.numpy(), np.exp(x))


def test_non_differentiable_output(x):
    class F(Function):
        @staticmethod
        def forward(ctx, x):
            mask = x * 0.0 + 1.0
            ctx.mark_non_differentiable(mask)
            return x * 2.0, mask

        @staticmethod
        def backward(ctx, g, h):
            return g * 2.0
    a = ad.tensor(x, requires_grad=True)
    y, mask = F.apply(a)
    assert y.requires_grad
    assert not mask.requires_grad
    y.sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), np.full(3, 2.0))


def test_an_input_may_be_returned(x):
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 10.0
    a = ad.tensor(x, requires_grad=True)
    y = Same.apply(a)
    assert y is not a
    assert a.is_leaf
    y.sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), np.full(3, 10.0))


def test_gradient_is_summed_over_broadcast_axes():
    class Add(Function):
        @staticmethod
        def forward(ctx, x, b):
            return x + b

        @staticmethod
        def backward(ctx, g):
            return g, g
    assert gradcheck(Add.apply, np.ones((2, 3)), np.ones(3))


def test_variadic():
    class Total(Function):
        @staticmethod
        def forward(ctx, *xs):
            ctx.n = len(xs)
            return sum(xs[1:], xs[0])

        @staticmethod
        def backward(ctx, g):
            return (g,) * ctx.n
    assert gradcheck(Total.apply, *[np.ones(2)] * 5)
    assert gradcheck(Total.apply, np.ones(2))


@pytest.mark.parametrize(("values", "error", "match"), [
    ((1, None), GradientError, r"returned 2 gradients, expected 1: .*\(x\)"),
    ((), GradientError, "returned 0 gradients"),
    ((ad.tensor(np.ones((3, 3))),), None, None),        # broadcasting: summed
    ((ad.tensor(np.ones(4)),), ShapeError, r"gradient of x has shape \(4,\), expected \(3,\)"),
    ((ad.tensor(1.0),), ShapeError, r"has shape \(\), expected \(3,\)"),
    ((np.ones(3),), GradientError, "must be a Tensor or None, got ndarray"),
])
def test_wrong_returns(x, values, error, match):
    custom = returning(*values, forward=lambda ctx, x: ad.exp(x))
    y = custom.apply(ad.tensor(x, requires_grad=True)).sum()
    if error is None:
        y.backward()
        return
    with pytest.raises(error, match=match) as caught:
        y.backward()
    assert str(caught.value).startswith("Custom.backward: ")


def test_gradient_for_a_number(x):
    one = ad.tensor(np.ones(3))
    y = returning(one, one).apply(ad.tensor(x, requires_grad=True), 2.0).sum()
    with pytest.raises(GradientError, match="gradient for k, which is not a Tensor"):
        y.backward()


def test_wrong_use(x):
    a = ad.tensor(x, requires_grad=True)
    with pytest.raises(ArgumentError, match="Exp.apply"):
        Exp()
    with pytest.raises(ArgumentError, match="expected a Tensor or a tuple of Tensors, got int"):
        returning(forward=lambda ctx, x: 3).apply(a)
    with pytest.raises(ArgumentError, match="save_for_backward: expected Tensors, got float"):
        returning(forward=lambda ctx, x: ctx.save_for_backward(1.0)).apply(a)
    with pytest.raises(NotImplementedError):
        Function.apply(a)


def test_changed_in_place(x):
    a = ad.tensor(x, requires_grad=True)
    y = Exp.apply(a)
    with core.no_grad():
        y += 1.0
    with pytest.raises(SavedTensorChangedError, match="Exp"):
        y.sum().backward()

    def write(ctx, x):
        x += 1.0
        return x * 1.0
    with pytest.raises(InPlaceError, match="Custom.forward: argument 0"):
        returning(forward=write).apply(ad.tensor(x, requires_grad=True))


def test_second_backward_errors(x):
    y = Exp.apply(ad.tensor(x, requires_grad=True)).sum()
    y.backward()
    with pytest.raises(ReleasedTapeError):
        y.backward()
