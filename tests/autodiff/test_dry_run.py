"""Dry runs count what real runs count, compute nothing, and leave what was made outside alone."""

import copy
import pickle

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import call, core
from autodiff.errors import DryRunError
from autodiff.op import registry
from autodiff.testing import cases

BLOCKS = [b for b in registry.values() if b.samples is not None]


def dry(*shape):
    with ad.dry_run():
        return ad.empty(shape)


@pytest.mark.parametrize(("name", "read"), [
    ("item", lambda t: t.item()), ("numpy", lambda t: t.numpy()),
    ("tolist", lambda t: t.tolist()), ("bool", lambda t: bool(t)),
    ("item", lambda t: float(t)), ("numpy", lambda t: np.asarray(t)), ("in", lambda t: 1.0 in t),
    ("nonzero", lambda t: ad.nonzero(t)), ("nonzero", lambda t: t[t > 0]),
    ("writable", lambda t: t.writable().__enter__()),
    ("__dlpack__", lambda t: np.from_dlpack(t)), ("pickle", lambda t: pickle.dumps(t)),
    ("data_ptr", lambda t: t.data_ptr())])
def test_values_are_refused_by_name(name, read):
    with ad.dry_run(), pytest.raises(DryRunError, match=f"^{name}: needs the values"):
        read(ad.zeros((1,)))


@pytest.mark.parametrize("use", [
    lambda t: t * 2, lambda t: t @ t, lambda t: t.sum(), lambda t: t.mT, lambda t: t[0],
    lambda t: ad.concat([t, t]), lambda t: t.copy_(1.0), lambda t: ad.tensor(t),
    lambda t: copy.deepcopy(t), lambda t: t + ad.ones((2, 2)), lambda t: ad.ones((2, 2)) + t,
    lambda t: ad.add_(ad.ones((2, 2)), t), lambda t: t.__iadd__(1.0)])
def test_refused_outside(use):
    t = dry(2, 2)
    with pytest.raises(DryRunError, match="dry run"):
        use(t)


def test_says_what_it_is():
    t = dry(2, 3)
    assert repr(t) == "tensor(no values, shape=(2, 3))"
    assert (t.is_dry, t.shape, t.nbytes) == (True, (2, 3), 24)
    assert not ad.ones((2,)).is_dry
    assert not ad.in_dry_run()
    with ad.dry_run(), ad.dry_run():
        pass
    assert not ad.in_dry_run()


def test_a_tape_of_a_dry_run_stays_there():
    with ad.dry_run():
        w = ad.parameter(np.ones(3))
        loss = w.sum()
    with pytest.raises(DryRunError, match="backward: the output was computed in a dry run"):
        loss.backward()
    with pytest.raises(DryRunError, match="gradients: "):
        ad.gradients([loss], [w])


@pytest.mark.skipif(core.name != "compiled", reason="launches are the compiled core's")
def test_a_dry_launch_is_not_replayed():
    events = []
    core.listen(events.append)
    try:
        with ad.dry_run():
            ad.ones((2,)) * 2.0
    finally:
        core.unlisten(events.append)
    assert [e.op.name for e in events] == ["full", "multiply"]
    with pytest.raises(DryRunError, match="replay: multiply was launched in a dry run"):
        events[-1].launch.replay()


def classifier():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                          nn.Dropout(0.5), nn.Linear(144, 3))
    return model, nn.optim.Adam(model.parameters())


def train(model, optimizer, steps=2):
    x, y = ad.tensor(np.ones((5, 1, 8, 8), np.float32)), ad.tensor(np.zeros(5, int))
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def everything(model, optimizer):
    tensors = [*model.parameters(), *model.buffers(), ad.random_state(),
               *(t for s in optimizer.state.values() for t in s.values())]
    return [(t.numpy().tobytes(), t.version, t.is_dry) for t in tensors]


def test_a_copy_is_predicted_and_the_original_untouched():
    real = classifier()
    train(*real)
    with ad.memory.track() as m:
        train(*copy.deepcopy(real))
    before = everything(*real)
    with ad.dry_run(), ad.memory.track() as predicted:
        model, optimizer = copy.deepcopy(real)
        assert all(p is q for p, q in zip(model.parameters(), optimizer.param_groups[0]["params"],
                                          strict=True))
        train(model, optimizer)
        assert all(p.is_dry and p.category == "parameter" for p in model.parameters())
    assert predicted.peak == m.peak
    assert everything(*real) == before
    assert not any(p.grad.is_dry for p in real[0].parameters())


def test_what_was_made_outside_is_never_written():
    model, optimizer = classifier()
    train(model, optimizer)
    loss = model(ad.tensor(np.ones((5, 1, 8, 8), np.float32))).sum()    # saves the parameters
    before = everything(model, optimizer)
    with ad.dry_run():
        train(model, optimizer)
        ad.manual_seed(7)
        with ad.random_state().writable() as state:
            state[...] = 5
    assert everything(model, optimizer) == before
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_no_write_through_the_tape_of_a_real_tensor():
    x = ad.tensor(np.ones(3), requires_grad=True) * 2.0
    with ad.dry_run(), pytest.raises(DryRunError, match="keeps its values and its place"):
        x *= 3.0
    x.sum().backward()


# What is counted --------------------------------------------------------------------------------

def launches(f):
    """f(), and what the listeners heard: (operation, phase, shapes of inputs and outputs)."""
    heard = []

    def note(event):
        shapes = [None if t is None else (t.shape, t.dtype)
                  for t in (*event.inputs, *event.outputs)]
        heard.append((event.op.name, event.phase, shapes, event.attrs))
    core.listen(note)
    try:
        return f(), heard
    finally:
        core.unlisten(note)


def counted(case):
    """Bytes of one sample, forward and backward: peak by category, live, saved, at the end."""
    with ad.memory.track() as m:
        tensors = call.convert(case.block, case.tensors(), core.Tensor, core.make)
        for x in tensors:
            if x is not None and x.dtype.kind == "f" and case.block.differentiable:
                x.requires_grad = True
        out = case(*tensors)
        found = [o for o in (out if isinstance(out, tuple) else (out,)) if o.requires_grad]
        saved = ad.memory.saved_bytes(*found) if found else 0
        live = core.memory_stats()["live"]
        if found:
            core.backward(found, [ad.ones(o.shape, dtype=o.dtype) for o in found])
    return m.peak, live, saved, m.end


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.name)
def test_counts_of_every_operation(block):
    """Peak, live and saved bytes and all launches, forward and backward: to the byte."""
    for case in cases(block):
        counted(case)                   # whatever is made once and kept
        real = counted(case)
        with ad.dry_run():
            assert counted(case) == real, case.sample
            heard = launches(lambda case=case: counted(case))
        assert heard == launches(lambda case=case: counted(case)), case.sample


@pytest.mark.skipif(core.name != "compiled", reason="NumPy asks the system for address space")
def test_more_than_any_machine_has():
    """A layer of a terabyte with Adam: counted, not taken."""
    n = 1 << 19
    with ad.dry_run(), ad.memory.track() as m:
        model = nn.Linear(n, n, bias=False)
        optimizer = nn.optim.Adam(model.parameters())
        loss = model(ad.empty((2, n))).sum()
        assert ad.memory.reconcile().live_bytes < 1 << 30
        loss.backward()
        optimizer.step()
    grown = {category: m.end[category] - m.start[category] for category in m.end}
    assert grown["parameter"] == grown["gradient"] == 4 * n * n > 1e12
    assert grown["optimizer state"] == 8 * n * n + 12       # and a rate, a step count
