"""explain: the numbers it prints are those of the hand-derived derivative."""

import io

import numpy as np
import pytest

import autodiff as ad
from autodiff.checkpoint import checkpoint
from autodiff.errors import ArgumentError, GradientError
from autodiff.function import Function
from autodiff.op import registry
from autodiff.scope import scope
from autodiff.study import explain
from autodiff.study.rules import expressions
from autodiff.tapes import Tape


@pytest.fixture
def chain():
    """y = tanh(w x + b) w at w = 0.5, x = 2, b = -1: the tanh is at 0, so dy/db = w = 0.5 and
    dy/dw = tanh(0) + w x = 1."""
    w, b = (ad.tensor(v, requires_grad=True) for v in (0.5, -1.0))
    x = ad.tensor(2.0)
    with Tape(keep="values") as tape:
        y = ad.tanh(w * x + b) * w
    return y, w, b, tape


def lines_of(text):
    return [line.strip() for line in text.splitlines()]


def test_by_hand(chain):
    y, w, b, tape = chain
    text = explain(y, tape=tape, names={"w": w, "b": b})
    m, s, t, _ = (f"#{e.serial}" for e in tape)
    lines = lines_of(text)
    for line in ["w: leaf, float32, value 0.5",
                 f"inputs  x = {m} = 1;  y = b = -1",
                 f"d x = g * y = 1 * 0.5 = 0.5  -> {t}",
                 "d y = g * x = 1 * 0 = 0  -> w",
                 f"d x = tanh_backward(g, out) = g (1 - out^2) = 0.5 (1 - 0^2) = 0.5  -> {s}",
                 f"d x = g = 0.5  -> {m}",
                 "d y = g = 0.5  -> b",
                 "d x = g * y = 0.5 * 2 = 1  -> w, added: now 1",
                 "b: leaf, finished: gradient 0.5",
                 "w: leaf, finished: gradient 1"]:
        assert line in lines, line
    assert w.grad is None
    y.backward()
    assert (w.grad.item(), b.grad.item()) == (1.0, 0.5)


def test_says_what_is_not_kept(chain):
    y, w, b, _ = chain
    text = explain(y)
    assert f"leaf#{b.node.serial}: leaf, float32, value (not kept)" in text
    assert f"leaf#{w.node.serial}: leaf, float32, value 0.5" in text    # multiply saved it


def test_saves_and_when_they_go(chain):
    y, *_ = chain
    lines = lines_of(explain(y))
    assert "saves   out (4 B)" in lines
    assert "after   a backward frees out (4 B)" in lines
    assert "after   lets go of x (other records still need it), y (counts as input)" in lines


def test_mlp():
    rng = np.random.default_rng(0)
    params = {n: ad.parameter(rng.standard_normal(s))
              for n, s in {"w1": (3, 4), "b1": (4,), "w2": (4, 2)}.items()}
    x = ad.tensor(rng.standard_normal((5, 3)))
    with scope("hidden"):
        h = ad.relu(x @ params["w1"] + params["b1"])
    loss = ad.cross_entropy(h @ params["w2"], ad.tensor([0, 1, 0, 1, 1]))
    text = explain(loss, names=params)
    assert "FORWARD: 5 records on 3 leaves" in text
    assert "in hidden)" in text
    assert "target = [0, 1, 0, 1, 1] (constant)" in text
    assert "rule    out = x y: gx = g y^T, gy = x^T g." in text
    assert all(p.grad is None for p in params.values())
    loss.backward()                                 # the saves are still there
    for name in params:
        assert f"{name}: leaf, finished: gradient" in text
    shown = ", ".join(f"{v:.5g}" for v in params["b1"].grad.numpy())
    assert f"b1: leaf, finished: gradient [{shown}]" in text


def test_broadcast_is_said():
    x = ad.tensor(np.ones((2, 2)))
    b = ad.tensor(np.zeros(2), requires_grad=True)
    text = explain((x * b).sum())
    assert "summed over broadcast axes" in text
    assert "finished: gradient [2, 2]" in text


def test_released(chain):
    y, *_ = chain
    y.backward()
    text = explain(y)
    assert "released by an earlier backward" in text
    assert "no numbers" in text


def test_retained(chain):
    y, w, _, _ = chain
    y.backward(retain_graph=True)
    before = w.grad.item()
    assert "finished: gradient 1" in explain(y)
    assert w.grad.item() == before


def test_a_record(chain):
    y, *_ = chain
    text = explain(y.node.parents[0])
    assert "FORWARD: 3 records" in text
    assert "(tanh): g = 1" in text


def test_not_a_scalar():
    x = ad.tensor(np.arange(3.0), requires_grad=True)
    text = explain(x * 2.0)
    assert "= [1, 1, 1]" in text
    assert "finished: gradient [2, 2, 2]" in text


def test_slices_functions_and_checkpoints():
    class Double(Function):
        """Twice x."""

        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return g * 2.0
    x = ad.tensor(np.arange(1.0, 4.0), requires_grad=True)
    text = explain(checkpoint(ad.tanh, Double.apply(x[1:])).sum())
    assert "Double(x)" in text
    assert "rule    Double.backward" in text
    assert "nothing: a checkpoint computes it again" in text
    assert "finished: gradient [0, " in text


def test_prints_well(chain):
    y, *_ = chain
    out = io.StringIO()
    text = explain(y, file=out)
    assert out.getvalue() == text + "\n"
    assert repr(text) == str(text)


def test_errors(chain):
    y, *_ = chain
    with pytest.raises(ArgumentError, match="expected a Tensor or a Record, got int"):
        explain(3)
    with pytest.raises(GradientError, match="not on the tape"):
        explain(ad.tensor(1.0))
    with pytest.raises(ArgumentError, match="must map names to Tensors"):
        explain(y, names={"w": 3})


@pytest.mark.parametrize(("name", "needs", "expected"), [
    ("multiply", 3, ["g * y", "g * x"]),
    ("multiply", 1, ["g * y", "None"]),
    ("divide", 2, ["None", "negative(g / y * out)"]),
    ("matmul", 3, [None, None]),
])
def test_rules_are_read_from_source(name, needs, expected):
    assert expressions(registry[name], needs, 2) == expected


def test_every_rule_has_some_text():
    for block in registry.values():
        if block.vjp is not None and not block.variadic:
            count = len(block.inputs)
            assert len(expressions(block, (1 << count) - 1, count)) == count
