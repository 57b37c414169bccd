"""A captured function computes what the function does, bit for bit, or is refused by name."""

import gc

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
from autodiff import call, core, planner
from autodiff.errors import ArgumentError, CaptureError, IndexRangeError
from autodiff.op import registry
from autodiff.testing import cases

if core.name != "compiled":
    pytest.skip("the plain core runs the function itself", allow_module_level=True)

pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from .test_random_programs import Engine, run  # noqa: E402
from .test_random_programs import step as program_step  # noqa: E402

BLOCKS = [b for b in registry.values() if b.samples is not None]


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """A trace looks for tensors among all objects: those of other tests are out of its way."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def tiny_groups(monkeypatch):
    """Arrays of two elements are worth a group, and a chunk is as small as it can be."""
    monkeypatch.setattr(planner, "LEAST", 2)
    monkeypatch.setattr(planner, "CHUNK_BYTES", 1)


def values(*tensors):
    return [None if t is None else (t.dtype, t.shape, t.numpy().tobytes()) for t in tensors]


def launched(captured):
    """(launches, in groups, groups) of the last program."""
    words = str(captured).splitlines()[-1].split("): ")[1].split()
    return int(words[0]), int(words[5]), int(words[9])


# Whatever the operation -------------------------------------------------------------------------

@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.name)
def test_every_operation(block, tiny_groups):
    for case in cases(block):
        raw = call.convert(case.block, case.tensors(), core.Tensor, core.make)
        for x in raw:
            if x is not None and x.dtype.kind == "f" and block.differentiable:
                x.requires_grad = True

        def function(raw=raw, case=case):
            for x in raw:
                if x is not None and x.requires_grad:
                    x.grad = None
            out = case(*[None if x is None else ad.copy(x) for x in raw])
            out = out if isinstance(out, tuple) else (out,)
            found = [o for o in out if o is not None and o.requires_grad]
            if found:
                core.backward(found, [ad.ones(o.shape, dtype=o.dtype) for o in found])
            return out

        def everything(function, raw=raw):
            ad.manual_seed(3)
            return values(*function(), *(x.grad for x in raw if x is not None))

        expected = everything(function)
        captured = ad.capture(function)
        if block.dynamic_shape:
            captured()
            with pytest.raises(CaptureError, match="cannot be traced"):
                captured()
            continue
        for _ in range(3):
            assert everything(captured) == expected, case.sample


@settings(max_examples=60)
@given(st.lists(program_step(), min_size=1, max_size=14), st.integers(0, 2 ** 16))
def test_random_programs(program, seed):
    rng = np.random.default_rng(seed)
    leaves = [ad.tensor(rng.uniform(-1, 1, (3, 3)), requires_grad=True) for _ in range(2)]

    def function():
        loss = run(Engine(), program, [x * 1.0 for x in leaves], [True])
        loss.backward()
        return loss

    def gradients():
        found = values(*(x.grad for x in leaves))
        for x in leaves:
            x.grad = None
        return found

    try:
        expected = values(function()), gradients()
    except ad.GradientError:
        return
    before = planner.LEAST, planner.CHUNK_BYTES
    planner.LEAST, planner.CHUNK_BYTES = 2, 1
    try:
        captured = ad.capture(function)
        for _ in range(3):
            assert (values(captured()), gradients()) == expected
    except ad.DryRunError:
        return                                  # a write in place that a trace refuses
    finally:
        planner.LEAST, planner.CHUNK_BYTES = before


@pytest.mark.parametrize("n", [2, 31, 32, 33, 1000, 70_001, 300_007])
@pytest.mark.parametrize("dtype", [ad.float32, ad.float64])
@pytest.mark.parametrize("total", ["sum", "mean"])
def test_a_chain_in_one_pass(n, dtype, total, tiny_groups):
    rng = np.random.default_rng(n)
    x = ad.tensor(rng.standard_normal(n), dtype=dtype, requires_grad=True)
    y = ad.tensor(rng.standard_normal(n), dtype=dtype)

    def function(y):
        x.grad = None
        h = ad.tanh(x) * y + ad.exp(-x * x)
        h = ad.where(h > 0.3, h, ad.sigmoid(x))
        h += y
        loss = getattr(h * 2.0, total)()
        loss.backward()
        return loss, h, y.sum()

    expected = values(*function(y), x.grad)
    captured = ad.capture(function)
    for _ in range(4):
        assert values(*captured(y), x.grad) == expected
    launches, fused, groups = launched(captured)
    assert groups == 1
    assert fused >= launches - 5


def test_a_group_keeps_in_the_cache_what_nobody_reads():
    x = ad.tensor(np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32))
    captured = ad.capture(lambda x: ad.tanh(ad.exp(-x * x) * 0.5) + 1.0)
    with ad.memory.track() as eager:
        expected = values(captured(x))
    captured(x)
    with ad.memory.track() as m:
        assert values(captured(x)) == expected
    assert m.peak_bytes - sum(m.start.values()) < x.nbytes + (1 << 18)
    assert eager.peak_bytes - sum(eager.start.values()) >= 2 * x.nbytes


# Training steps ---------------------------------------------------------------------------------

class Language(nn.Module):
    """Something of everything: embedding, attention, recurrence, norms, dropout."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, x):
        return self.head(self.lstm(self.block(self.embed(x)))[0]).reshape((-1, 11))


def image_net():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 11))


NETS = {"image": (image_net, lambda rng: rng.standard_normal((6, 1, 8, 8)).astype(np.float32)),
        "text": (Language, lambda rng: rng.integers(0, 11, (2, 3)))}
OPTIMIZERS = {
    "sgd": lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: nn.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: nn.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: nn.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "adagrad": lambda p: nn.optim.Adagrad(p, lr=0.01)}


def trained(net, optimizer, wrap, zero="before", steps=6):
    """Losses and final tensors of some steps, the learning rate changing."""
    ad.manual_seed(5)
    make, batch = NETS[net]
    model, rng = make(), np.random.default_rng(1)
    opt = OPTIMIZERS[optimizer](model.parameters())
    schedule = nn.optim.lr_scheduler.StepLR(opt, 2, gamma=0.5)

    def step(x, y):
        if zero == "before":
            opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if zero == "after":
            opt.zero_grad()
        return loss

    step, losses = wrap(step), []
    for k in range(steps):
        if k == 4:
            model.eval()
        x = ad.tensor(batch(rng))
        y = ad.tensor(rng.integers(0, 11, 6))
        losses.append(step(x, y).item())
        if zero == "outside":
            opt.zero_grad()
        schedule.step()
    return losses, values(*model.parameters(), *model.buffers(), *(
        p.grad for p in model.parameters()), *(t for s in opt.state.values() for t in s.values()))


@pytest.mark.parametrize(("optimizer", "zero"), [(name, "before") for name in OPTIMIZERS] + [
    ("adam", zero) for zero in ("after", "outside", "never")])
@pytest.mark.parametrize("net", NETS)
def test_steps_are_the_functions(net, optimizer, zero):
    expected = trained(net, optimizer, lambda step: step, zero)
    assert trained(net, optimizer, ad.capture, zero) == expected


def test_plain_calls_take_the_shortest_way():
    f = ad.capture(lambda x: x + 1.0)
    for _ in range(2):
        f(ad.ones(3))
    f._long_way = None
    assert f(ad.ones(3)).numpy().tolist() == [2.0] * 3


def test_a_step_runs_without_python():
    calls = []
    w = ad.parameter(np.ones(3))
    opt = nn.optim.SGD([w], lr=0.5)

    @ad.capture
    def step(x):
        calls.append(1)
        opt.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        opt.step()
        return loss

    for k in range(5):
        assert step(np.ones(3) * k).item() == (w.numpy() * k).sum() + 1.5 * k * k
    assert len(calls) == 2
    opt.param_groups[0]["lr"] = 0.0
    before = values(w)
    step(np.ones(3))
    assert values(w) == before
    assert len(calls) == 2


def test_a_listener_hears_the_function_itself():
    captured = ad.capture(lambda x: ad.tanh(x) + 1.0)
    x = ad.ones((4,))
    for _ in range(3):
        captured(x)
    with ad.profile.profile() as p:
        captured(x)
    assert [e.op for e in p.events] == ["tanh", "add"]
    w = ad.parameter(np.ones(4))
    slope = ad.capture(lambda: (w * x).sum().backward())
    for _ in range(3):
        slope()
    with ad.Tape() as tape:
        slope()
    assert [e.op for e in tape] == ["multiply", "sum"]
    assert ad.jvp(captured, (x,), (ad.ones((4,)),))[1].numpy() == pytest.approx(
        1 - np.tanh(1.0) ** 2)


# Arguments and results ---------------------------------------------------------------------------

def test_shapes_layouts_and_values_lead_to_programs_of_their_own():
    calls = []

    @ad.capture
    def f(x, scale=1.0, *, more=None):
        calls.append(x.shape)
        y = x * scale
        return {"y": y, "more": [more["a"] + 1.0, 7] if more else None}

    x = np.arange(24.0).reshape(4, 6)
    for _ in range(4):
        for a in (x, x[:, ::2], x.T, x[:2]):
            out = f(ad.from_numpy(a), 2.0)
            assert (out["y"].numpy() == a * 2.0).all()
            assert out["more"] is None
            out = f(ad.from_numpy(a), more={"a": ad.ones(3)})
            assert (out["y"].numpy() == a).all()
            assert out["more"][0].numpy().tolist() == [2.0] * 3
            assert out["more"][1] == 7
    assert len(calls) == 2 * 8


def test_batches_may_be_slices_of_one_array():
    data = ad.tensor(np.arange(40.0).reshape(10, 4))
    f = ad.capture(lambda x: (x * 2.0, x.T))
    for k in range(8):
        double, turned = f(data[k:k + 2])
        assert (double.numpy() == data.numpy()[k:k + 2] * 2.0).all()
        assert (turned.numpy() == data.numpy()[k:k + 2].T).all()


def test_results_are_the_callers():
    f = ad.capture(lambda x: x + 1.0)
    found = [f(ad.ones(3) * float(k)) for k in range(5)]
    assert [t.numpy()[0] for t in found] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert not any(t.requires_grad or t.is_dry for t in found)


def test_a_write_to_an_argument_is_noticed():
    def f(x):
        x += 1.0
    f = ad.capture(f)
    for _ in range(3):
        x = ad.zeros(3)
        f(x)
        assert x.numpy().tolist() == [1.0] * 3
    w = ad.tensor(np.ones(3, np.float32), requires_grad=True)
    y = ad.ones(3)
    loss = (w * y).sum()
    f(y)
    with pytest.raises(ad.SavedTensorChangedError):
        loss.backward()


def test_memory_under_two_names():
    f = ad.capture(lambda a, b: a + b)
    x = ad.tensor(np.arange(8.0))
    for _ in range(4):
        assert (f(x, x).numpy() == 2 * x.numpy()).all()
        assert (f(x[:4], x[4:]).numpy() == x.numpy()[:4] + x.numpy()[4:]).all()

    def write(a, b):
        a += 1.0
        return a * b
    g, state = ad.capture(write), ad.zeros(3)
    for _ in range(3):
        assert g(ad.ones(3), ad.ones(3)).numpy().tolist() == [2.0] * 3
    y = ad.ones(3)
    with pytest.raises(CaptureError, match="writes to an argument whose memory it also gets"):
        g(y, y)

    def count(x):
        state.copy_(state + x)
        return state * 2.0
    h = ad.capture(count)
    for k in range(1, 4):
        assert h(ad.ones(3)).numpy().tolist() == [2.0 * k] * 3
    with pytest.raises(CaptureError, match="from outside"):
        h(state)


def test_gradients_of_arguments():
    f = ad.capture(lambda x: (x * x).sum().backward())
    for k in range(1, 5):
        x = ad.tensor(np.ones(3) * k, requires_grad=True)
        for times in range(1, 5):
            f(x)
            assert x.grad.numpy().tolist() == [2.0 * k * times] * 3


def test_nothing_is_kept_alive():
    f = ad.capture(lambda x: ad.tanh(x * 2.0).sum())
    gc.collect()
    before = core.memory_stats()["live_bytes"]
    for _ in range(4):
        f(ad.ones((100, 100)))
    assert core.memory_stats()["live_bytes"] <= before + 64       # the constant 2.0
    assert core.memory_stats()["dry_bytes"] == 0
    del f
    gc.collect()
    assert core.memory_stats()["live_bytes"] == before


# Refused by name ----------------------------------------------------------------------------------

kept = []


@pytest.mark.parametrize(("function", "message"), [
    (lambda x: x * x.sum().item(), "cannot be traced: item"),
    (lambda x: x if x.sum() > 0 else -x, "cannot be traced: bool"),
    (lambda x: ad.tensor(np.tanh(x.numpy())), "cannot be traced: numpy"),
    (lambda x: kept.append(x * 2.0), "keeps a float32 tensor of shape"),
    (lambda x: ad.empty((3,)) + x, "reads values that no operation gave"),
    (lambda x: {1, 2}, "values that can be hashed; got set"),
])
def test_what_cannot_be_repeated(function, message):
    captured = ad.capture(function)
    if message.startswith("cannot"):
        captured(ad.ones(3))
    else:
        captured._seen.add(None)
        try:
            captured(ad.ones(3))
        except CaptureError:
            pass
    with pytest.raises(CaptureError, match=message):
        captured(ad.ones(3))
    kept.clear()
    assert not ad.in_dry_run()
    assert (ad.ones(3) + 1.0).numpy().tolist() == [2.0] * 3


def test_a_refused_trace_leaves_gradients_as_they_were():
    w = ad.parameter(np.ones(3))

    def f():
        w.grad = None
        loss = (w * w).sum()
        loss.backward()
        return loss.item()

    f = ad.capture(f)
    f()
    with pytest.raises(CaptureError):
        f()
    assert w.grad.numpy().tolist() == [2.0] * 3


def test_bad_use():
    with pytest.raises(CaptureError, match="expected a function, got int"):
        ad.capture(3)
    x = ad.ones(4)
    f = ad.capture(lambda a, b: a + b)
    with pytest.raises(ArgumentError):
        f(x, "a")
    y = ad.parameter(np.ones(4)) * 2.0
    f(x, y)
    with pytest.raises(CaptureError, match="an argument of <lambda> is on the tape"):
        f(x, y)


def test_errors_of_kernels_keep_their_names():
    table = ad.ones((4, 2))
    f = ad.capture(lambda k: F.embedding(k, table) + 1.0)
    for _ in range(3):
        f(ad.tensor([0, 3]))
    with pytest.raises(IndexRangeError, match="embedding: index 9 is out of range"):
        f(ad.tensor([0, 9]))
    assert f(ad.tensor([0, 3])).numpy().tolist() == [[2.0, 2.0]] * 2


def test_values_that_the_function_changes_are_not_fixed():
    average = nn.optim.swa_utils.AveragedModel(model := nn.Linear(2, 2))
    f = ad.capture(lambda: average.update_parameters(model))
    f()
    with pytest.raises(CaptureError, match="reads values of a tensor that it also changes"):
        f()
    lstm = nn.LSTM(2, 3)
    g = ad.capture(lambda x, lengths: lstm(x, lengths=lengths)[0])
    g(ad.ones((4, 2, 2)), ad.tensor([4, 2]))
    with pytest.raises(CaptureError, match="lengths"):
        g(ad.ones((4, 2, 2)), ad.tensor([4, 2]))


def test_threads_take_turns():
    from concurrent.futures import ThreadPoolExecutor
    f = ad.capture(lambda x: ad.tanh(x * 2.0).sum())
    xs = [ad.ones(1000) * (k / 100) for k in range(100)]
    expected = [values(f.function(x)) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda x: values(f(x)), xs)) == expected


# The plan ----------------------------------------------------------------------------------------

@given(st.lists(st.tuples(st.integers(1, 300_000), st.integers(0, 20), st.integers(0, 6)),
                max_size=40))
def test_blocks_alive_together_never_share_bytes(drawn):
    blocks = {k: (size, first, first + length) for k, (size, first, length) in enumerate(drawn)}
    found, end = planner.placed(blocks)
    assert found.keys() == blocks.keys()
    for k, (size, first, last) in blocks.items():
        assert found[k] % planner.ALIGN == 0
        assert found[k] + size <= end
        for j in range(k):
            other, since, until = blocks[j]
            if since <= last and first <= until:
                assert found[j] + other <= found[k] or found[k] + size <= found[j]
