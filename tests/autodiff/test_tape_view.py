"""ad.Tape shows what was recorded and holds none of it, unless asked."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import core
from autodiff.errors import ArgumentError, GradientError, ReleasedTapeError
from autodiff.scope import scope
from autodiff.tapes import Tape, nodes


@pytest.fixture
def x():
    return ad.tensor(np.arange(1.0, 4.0), requires_grad=True)


def test_entries(x):
    with Tape() as tape, scope("part"):
        y = ad.tanh(x)
        z = y * x
    assert [e.op for e in tape] == ["tanh", "multiply"]
    assert len(tape) == 2
    first, second = tape[0], tape[-1]
    assert first.serial < second.serial
    assert second.parents == (first.serial, x.node.serial)
    assert (second.parent_name(0), second.parent_name(1)) == (f"#{first.serial}",
                                                              f"leaf#{x.node.serial}")
    assert first.shapes == ((3,),)
    assert first.dtypes == (np.float64,)
    assert (first.saved, second.saved) == ({"out": 24}, {"x": 24, "y": 24})
    assert tape.saved_nbytes == 72
    assert first.scope == "part"
    assert first.line.rpartition("/")[2].startswith("test_tape_view.py:")
    assert second.formula == "x * y"
    del z


def test_nothing_without_a_gradient(x):
    with Tape() as tape:
        with core.no_grad():
            ad.tanh(x)
        ad.tanh(x.detach())
    assert len(tape) == 0


def test_stops(x):
    with Tape() as tape:
        pass
    ad.tanh(x)
    assert len(tape) == 0
    with tape:
        ad.tanh(x)
        with pytest.raises(ArgumentError, match="running already"):
            tape.__enter__()
    assert len(tape) == 1


@pytest.mark.parametrize("keep", [None, "values"])
def test_holds_no_memory(x, keep):
    before = core.memory_stats()["live_bytes"]
    with Tape(keep=keep) as tape:
        ad.tanh(x).sum()
    assert core.memory_stats()["live_bytes"] == before
    assert tape[0].record is None


def test_values(x):
    with Tape(keep="values") as tape:
        (x * 2.0).sum()
        ad.tanh(ad.broadcast_to(x, (100, 3)))
    np.testing.assert_array_equal(tape[0].values[0], [2, 4, 6])
    assert tape[1].previews == ("12",)
    assert tape[-1].values == (None,)           # large: its range alone
    assert "in 0.76159 .. 0.99505" in tape[-1].previews[0]
    assert "value" in str(tape)


def test_saves_outlive_backward(x):
    """keep="saves" implies retain_graph for as long as the Tape lives."""
    with Tape(keep="saves") as tape:
        y = ad.tanh(x)
    out = np.tanh(x.numpy())
    loss = (y * y).sum()                            # recorded after the Tape: kept as well
    loss.backward()
    np.testing.assert_allclose(tape[0].saves["out"].numpy(), out)
    np.testing.assert_allclose(tape[0].record.saved_tensors()["out"].numpy(), out)
    first = x.grad.numpy().copy()
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * first)
    ad.gradients(loss, x, retain_graph=False)
    ad.tanh(x).sum().backward()                     # not on the Tape: released as ever
    del tape
    loss.backward()
    with pytest.raises(ReleasedTapeError):
        loss.backward()


def test_a_tape_that_keeps_nothing_retains_nothing(x):
    with Tape(keep="values") as tape:
        y = ad.tanh(x).sum()
    y.backward()
    with pytest.raises(ReleasedTapeError):
        y.backward()
    assert len(tape) == 2


def test_of_a_loss(x):
    y = ad.tanh(x)
    loss = (y * y).sum()
    assert [e.op for e in Tape.of(loss)] == ["tanh", "multiply", "sum"]
    assert [n.is_leaf for n in nodes(loss)] == [True, False, False, False]
    with pytest.raises(GradientError, match="not on the tape"):
        Tape.of(ad.tensor(1.0))


def test_prints(x):
    with Tape() as tape:
        y = ad.tanh(x).sum()
    lines = str(tape).splitlines()
    assert lines[0].split() == ["record", "op", "inputs", "output", "saved", "scope", "line"]
    assert "out 24 B" in lines[2]
    assert repr(tape) == "<Tape of 2 records, 24 B saved>"
    del y


def test_bad_keep():
    with pytest.raises(ArgumentError, match="keep must be"):
        Tape(keep="all")


def test_a_deep_tape_is_walked_without_recursion(x):
    y = x
    for _ in range(20_000):
        y = y + 1.0
    assert len(nodes(y)) == 20_001
