"""explain: the numbers it prints are those of the hand-derived derivative."""

import io
import re

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.checkpoint import checkpoint
from autodiff.errors import ArgumentError, GradientError
from autodiff.function import Function
from autodiff.op import registry
from autodiff.scope import scope
from autodiff.study import explain
from autodiff.study.rules import expressions
from autodiff.tapes import Tape
from autodiff.testing import cases


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
    text = explain(y, names={})
    assert f"leaf#{b.node.serial}: leaf, float32, value (not kept)" in text
    assert f"leaf#{w.node.serial}: leaf, float32, value 0.5" in text    # multiply saved it


def test_values_that_nobody_kept_are_computed_again(chain):
    y, w, b, _ = chain
    product = y.node.parents[0].parents[0].parents[0]
    text = explain(y, names={"w": w, "b": b})
    assert f"inputs  x = #{product.serial} = 1;  y = b = -1" in lines_of(text)
    assert f"x = #{product.serial} = (not kept)" not in text


def test_computing_again_draws_the_same_random_numbers():
    x = ad.tensor(np.arange(1.0, 5.0), requires_grad=True)
    dropped = ad.functional_dropout(x, 0.5)
    text = explain((dropped + 0.0).sum() * 1.0, names={"x": x})
    assert f"output  float64[4] {ad.study.trace.Value(dropped.numpy()).text}" in text
    assert ad.study.trace.Trace("test", dropped, names={"x": x}).again == set()     # it is the root


def test_names_are_found():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x, gain = ad.ones((4, 2)), ad.tensor(2.0, requires_grad=True)
    hidden = model(x) * gain
    loss = hidden.sum()
    text = explain(loss)
    for name in ("0.weight", "2.bias", "gain"):
        assert f"\n  {name}: leaf" in text, name
    assert "x = x = [" in text                      # a constant, by its variable
    assert ". hidden = multiply" in text
    assert ". loss = sum" in text
    assert "0.weight" not in explain(loss, names={})
    assert "0.weight" in explain(loss, names={}, model=model)
    with pytest.raises(ArgumentError, match="model must have named_parameters"):
        explain(loss, model=3)


def test_names_of_two_models_are_told_apart():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    text = explain(second(first(ad.ones((1, 2)))).sum())
    assert "\n  weight: leaf" in text
    assert "\n  second.weight: leaf" in text


def test_saves_and_when_they_go(chain):
    y, *_ = chain
    lines = lines_of(explain(y))
    assert "saves   out (4 B)" in lines
    assert "after   a backward frees out (4 B)" in lines
    assert "after   lets go of x (other records still need it), y (counts as input)" in lines


@pytest.fixture
def two_layers():
    """x = [1, 2]; h = relu(x w1 + b1) = relu([2, -1]) = [2, 0]; out = h w2 = 6; loss = (6 - 5)^2.

    By hand: dout = 2 (6 - 5) = 2; dw2 = h^T 2 = [4, 0]; dh = 2 w2^T = [6, 8]; relu lets the first
    pass, so db1 = [6, 0] and dw1 = x^T [6, 0] = [[6, 0], [12, 0]].
    """
    values = {"w1": [[1.0, -1.0], [0.5, 1.0]], "b1": [0.0, -2.0], "w2": [[3.0], [4.0]]}
    params = {n: ad.tensor(v, requires_grad=True) for n, v in values.items()}
    x = ad.tensor([[1.0, 2.0]])
    h = ad.relu(x @ params["w1"] + params["b1"])
    return nn.functional.mse_loss(h @ params["w2"], ad.tensor([[5.0]])), params


def test_two_layers_by_hand(two_layers):
    loss, params = two_layers
    lines = lines_of(explain(loss, names=params))
    out, pre, product = (f"#{e.serial}" for e in [Tape.of(loss)[k] for k in (3, 1, 0)])
    relu = f"#{Tape.of(loss)[2].serial}"
    for line in [f"inputs  x = {product} = [[2, 1]];  y = b1 = [0, -2]",
                 f"inputs  x = {pre} = [[2, -1]]",
                 "output  float32[1, 2] [[2, 0]]",
                 "output  float32[1, 1] [[6]]",
                 "output  float32 1",
                 f"d x = mse_backward(g, x, y, reduction) = g * 2 * (x - y) / n = [[2]]  -> {out}",
                 f"d x = [[6, 8]]  -> {relu}",
                 "d y = [[4], [0]]  -> w2",
                 f"d x = relu_backward(g, out) = out > 0 ? g : 0 = [[6, 0]]  -> {pre}",
                 "d y = g = [[6, 0]], summed over broadcast axes = [6, 0]  -> b1",
                 "d y = [[6, 0], [12, 0]]  -> w1",
                 "w1: leaf, finished: gradient [[6, 0], [12, 0]]",
                 "b1: leaf, finished: gradient [6, 0]",
                 "w2: leaf, finished: gradient [[4], [0]]"]:
        assert line in lines, line
    loss.backward()
    np.testing.assert_array_equal(params["w1"].grad.numpy(), [[6, 0], [12, 0]])


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


def fields(text, key):
    return [line[10:] for line in text.splitlines() if line.startswith(f"  {key:8}")]


def differences(text):
    return [float(v) for v in re.findall(r"relative difference (\S+)", text)]


def test_a_record(chain):
    y, w, b, _ = chain
    text = explain(y.node.parents[0], names={"w": w, "b": b})
    s = f"#{y.node.parents[0].parents[0].serial}"
    assert "1 - tanh^2 = 1 - out^2" in " ".join(text.split())
    assert fields(text, "saved") == ["out (4 B), for d x", "not x: the output says enough"]
    assert fields(text, "rule") == [
        f"d x = tanh_backward(g, out) = g (1 - out^2) = 1 (1 - 0^2) = 1  -> {s}"]
    assert "d x: rule 1, finite difference 1, relative difference" in fields(text, "check")[1]
    assert max(differences(text)) < 1e-8


def test_a_record_within_its_loss(chain):
    """The tanh is followed by * w, so g = w = 0.5 arrives."""
    y, w, b, _ = chain
    text = explain(y.node.parents[0], within=y, names={"w": w, "b": b})
    assert fields(text, "g") == ["0.5   (from the loss)"]
    assert "0.5 (1 - 0^2) = 0.5" in text
    assert "rule 0.5, finite difference 0.5, " in text
    other = (w * 2.0).sum()
    with pytest.raises(ArgumentError, match="not on the tape of the loss"):
        explain(y.node, within=other)
    with pytest.raises(ArgumentError, match="goes with a record"):
        explain(y, within=y)


def test_a_record_of_arrays():
    rng = np.random.default_rng(3)
    x = ad.tensor(rng.standard_normal((4, 3)))
    w = ad.tensor(rng.standard_normal((3, 2)), requires_grad=True)
    b = ad.tensor(rng.standard_normal(2), requires_grad=True)
    h = x @ w
    loss = ((h + b) ** 2).sum()
    text = explain(h.node, within=loss)
    assert "gx = g y^T, gy = x^T g" in " ".join(text.split())
    grad = 2 * x.numpy().T @ (x.numpy() @ w.numpy() + b.numpy())
    at = np.unravel_index(np.argmax(np.abs(grad)), grad.shape)
    assert f"d y[{at[0]}, {at[1]}]: rule {grad[at]:.9g}, finite difference" in text
    assert "all 6 entries: largest difference" in text
    assert max(differences(text)) < 1e-7
    added = explain(loss.node.parents[0].parents[0])
    assert "y of shape (2,) was repeated to (4, 2)" in " ".join(added.split())


def test_a_record_whose_inputs_were_not_kept():
    x = ad.tensor([0.5], requires_grad=True)
    y = ad.tanh(x.detach().log() + x)
    text = explain(y.node, names={})
    assert "at a sample of the operation's own (tanh-" in text
    assert max(differences(text)) < 1e-7


def test_a_record_after_backward(chain):
    y, *_ = chain
    y.backward()
    assert "no numbers: an earlier backward released" in explain(y.node)


def test_an_entry_of_a_tape(chain):
    _, w, b, tape = chain
    with Tape(keep="saves") as kept:
        ad.exp(w)
    assert "(e^x)' = e^x" in explain(kept[0])
    with pytest.raises(ArgumentError, match="holds no record"):
        explain(tape[0])


@pytest.mark.parametrize("block", [b for b in registry.values() if b.vjp is not None],
                         ids=lambda b: b.name)
def test_every_rule_agrees_with_its_finite_difference(block):
    """explain(record) of the smallest float64 sample of each operation."""
    for case in cases(block):
        tensors = case.tensors()
        floats = [t for t in tensors if isinstance(t, ad.Tensor) and t.dtype.kind == "f"]
        if case.sample.check_grad and floats and all(t.size for t in floats):
            break
    else:
        pytest.skip("no sample that can be differentiated")
    for t in floats:
        t.requires_grad = True
    out = case(*tensors)
    outs = out if isinstance(out, tuple) else (out,)
    node = next(o for o in outs if o.requires_grad).node
    while node.op is not block:
        node = next(p for p in node.parents if p is not None)
    text = explain(node, names={f"t{k}": t for k, t in enumerate(floats)})
    assert "check" in text
    assert max(differences(text), default=0) < 1e-5, text


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
