"""nn.Trainer: training, resumption to the bit, interruption, named errors, counts, callbacks."""

import json
import math
import os
import signal

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.data
from nn.metrics import R2, Accuracy, ConfusionMatrix, Perplexity, TopK

from . import kill_run

safetensors = pytest.importorskip("safetensors")


def regression(n=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3)).astype(np.float32)
    return nn.data.TensorDataset(x, (x @ np.float32([[1], [-2], [0.5]])).astype(np.float32))


def trainer(lr=0.05, **options):
    ad.manual_seed(0)
    model = nn.Linear(3, 1)
    return nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), lr=lr),
                      progress=False, **options)


def loader(data=None, **options):
    return nn.data.DataLoader(data or regression(), batch_size=8, shuffle=True, seed=0, **options)


class StopAt(nn.Callback):
    """Interrupts the run as Ctrl-C does, after a number of batches."""

    def __init__(self, batch):
        self.left = batch

    def on_batch_end(self, trainer, loss):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_fit_lowers_the_loss_and_keeps_plain_history():
    t = trainer(metrics=[R2()])
    h = t.fit(loader(), regression(16, 1), epochs=8)
    assert h["val_loss"][-1] < 0.1 * h["val_loss"][0] and h["val_R²"][-1] > 0.9
    assert json.loads(h.to_json()) == h.state_dict() and len(h) == 8
    assert h.best()["epoch"] == 8 and t.stopped == "epochs"
    assert "40 steps" in str(h) and "R²" in str(h)
    with pytest.raises(KeyError, match="there is epoch, loss"):
        h["accuracy"]


def test_counts():
    t = trainer()
    h = t.fit(loader(), epochs=2)
    assert (h.steps, h.samples, h.updates) == (10, 80, 10 * 4)


def test_losses_are_means_over_samples():
    data = regression(11)
    t = trainer(lr=0.0)
    x, y = (ad.tensor(a) for a in data.tensors)
    expected = nn.MSELoss()(t.model(x), y).item()
    h = t.fit(loader(data), data, epochs=1)
    assert h["loss"][0] == pytest.approx(expected, rel=1e-6)
    assert h["val_loss"][0] == pytest.approx(expected, rel=1e-6)


def test_accumulated_gradients_are_those_of_the_large_batch():
    data = regression(20)
    a, b = trainer(accumulate=2), trainer()
    order = list(range(20))
    a.fit(nn.data.DataLoader(data, batch_size=4, sampler=order), epochs=2)      # groups 2, 2, 1
    b.fit(nn.data.DataLoader(data, batch_size=8, sampler=order), epochs=2)
    assert a.history.steps == b.history.steps == 6
    for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-5)


def test_clipping():
    t = trainer(lr=1.0, clip_norm=1e-3)
    before = [p.numpy().copy() for p in t.model.parameters()]
    t.fit(nn.data.DataLoader(regression(8), batch_size=8), epochs=1)
    moved = [p.numpy() - b for p, b in zip(t.model.parameters(), before, strict=True)]
    assert math.sqrt(sum((m ** 2).sum() for m in moved)) == pytest.approx(1e-3, rel=1e-2)


def test_batches_of_any_iterable_and_several_inputs():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 1)

        def forward(self, a, b):
            return self.fc(a + b)
    model = Both()
    x, y = regression(8).tensors
    batch = (ad.tensor(x), ad.tensor(x), ad.tensor(y))
    t = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters()), progress=False)
    assert t.fit([batch, batch], [batch], epochs=2).steps == 4


# Exact resumption -----------------------------------------------------------------------------

@pytest.mark.parametrize("batch", [1, 3, 8, 13])
def test_an_interrupted_run_resumes_bit_identical(tmp_path, batch):
    whole, train, test = kill_run.make()
    whole.fit(train, test, epochs=3)
    path = tmp_path / "run"
    t, train, test = kill_run.make(path, callbacks=[StopAt(batch)])
    before = signal.getsignal(signal.SIGINT)
    t.fit(train, test, epochs=3)
    assert t.stopped == "interrupted" and signal.getsignal(signal.SIGINT) is before
    assert 0 < t.history.samples < whole.history.samples
    ad.manual_seed(99)
    t, train, test = kill_run.make(path, callbacks=[StopAt(1000)])
    t.fit(train, test, epochs=3, resume=True)
    assert kill_run.fingerprint(t) == kill_run.fingerprint(whole)


def test_a_run_goes_on_in_the_same_process():
    whole, train, test = kill_run.make()
    whole.fit(train, test, epochs=3)
    t, train, test = kill_run.make(callbacks=[StopAt(11)])
    t.fit(train, test, epochs=3)
    assert t.stopped == "interrupted"
    t.fit(train, test, epochs=3)
    assert kill_run.fingerprint(t) == kill_run.fingerprint(whole)


@pytest.mark.parametrize("kind", ["list", "stream"])
def test_resuming_without_loader_state(tmp_path, kind):
    class Stream(nn.data.IterableDataset):
        def __iter__(self):
            return iter(regression(20))
    x, y = (ad.tensor(a) for a in regression(20).tensors)
    data = (nn.data.DataLoader(Stream(), batch_size=4) if kind == "stream" else
            [(x[k:k + 4], y[k:k + 4]) for k in range(0, 20, 4)])
    whole, path = trainer(), tmp_path / "run"
    whole.fit(data, epochs=2)
    trainer(checkpoint=path, callbacks=[StopAt(7)]).fit(data, epochs=2)
    t = trainer(checkpoint=path, callbacks=[StopAt(99)])
    t.fit(data, epochs=2, resume=True)
    assert kill_run.fingerprint(t) == kill_run.fingerprint(whole)


def test_the_second_interrupt_stops_at_once():
    class Twice(nn.Callback):
        def on_batch_end(self, trainer, loss):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer(callbacks=[Twice()]).fit(loader(), epochs=1)


def test_resume_asks_for_the_same_trainer(tmp_path):
    path = tmp_path / "run"
    trainer(checkpoint=path).fit(loader(), epochs=1)
    with pytest.raises(ad.ArgumentError, match="0 callbacks, this Trainer 1"):
        trainer(checkpoint=path, callbacks=[nn.Callback()]).fit(loader(), epochs=2, resume=True)
    with pytest.raises(ad.ArgumentError, match="resume=True needs"):
        trainer().fit(loader(), resume=True)
    model = nn.Linear(4, 1)
    other = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters()), checkpoint=path)
    with pytest.raises(nn.StateDictError, match="weight: expected shape"):
        other.fit(loader(), epochs=2, resume=True)


# Checkpoint files -----------------------------------------------------------------------------

def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run"
    state = {"w": np.arange(64.0), "epoch": 3, "nested": [1, (2.5, None)]}
    nn.save_checkpoint(state, path)
    back = nn.load_checkpoint(path)
    assert back["nested"] == [1, (2.5, None)] and (back["w"].numpy() == state["w"]).all()
    whole = bytearray(path.read_bytes())
    for at in range(9, len(whole), 7):
        for flipped in (whole[at] ^ 1, whole[at] ^ 0x40):
            path.write_bytes(whole[:at] + bytes([flipped]) + whole[at + 1:])
            try:
                found = nn.load_checkpoint(path)
            except nn.FileFormatError as error:
                assert str(path) in str(error)
            else:                           # a flip in what JSON ignores changes nothing
                assert found["nested"] == [1, (2.5, None)] and found["epoch"] == 3
                assert (found["w"].numpy() == state["w"]).all()
    nn.save({"w": np.ones(2)}, path)
    with pytest.raises(nn.FileFormatError, match="no checkpoint; read it with nn.load"):
        nn.load_checkpoint(path)


def test_leftovers_of_killed_saves_are_removed(tmp_path):
    path = tmp_path / "run"
    (tmp_path / ".run.0123456789ab.tmp").write_bytes(b"half")
    (tmp_path / ".other.0123456789ab.tmp").write_bytes(b"not ours")
    trainer(checkpoint=path).fit(loader(), epochs=1)
    assert sorted(os.listdir(tmp_path)) == [".other.0123456789ab.tmp", "run"]


# Errors ---------------------------------------------------------------------------------------

def test_nan_loss():
    x, y = regression(16).tensors
    y[11] = np.nan
    t = trainer()
    before = t.model.weight.numpy().copy()
    with pytest.raises(nn.NonFiniteLossError, match="nan in epoch 1, batch 1: this batch holds NaN "
                                                    "or infinity: clean the data"):
        t.fit(nn.data.DataLoader(nn.data.TensorDataset(x, y), batch_size=8), epochs=1)
    assert (t.model.weight.numpy() != before).any() and np.isfinite(t.model.weight.numpy()).all()
    with ad.no_grad():
        t.model.weight.fill_(np.inf)
    with pytest.raises(ad.NonFiniteError, match="weight is not finite since the update before"):
        t.fit(loader(), epochs=1)


class Logarithm(nn.Module):
    def forward(self, x):
        hidden = ad.where(ad.tensor([True, True, False]), x, -np.inf)   # a mask is no error
        return ad.log(ad.softmax(hidden, -1) - 2.0)


def test_nan_loss_names_the_operation():
    """Its module and its line; random numbers and running statistics do not move once more."""
    ad.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), Logarithm())
    x, y = regression(16).tensors
    t = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters()), progress=False)
    data = nn.data.TensorDataset(x, np.repeat(y, 3, 1))
    with pytest.raises(nn.NonFiniteLossError) as caught:
        t.fit(nn.data.DataLoader(data, batch_size=8), epochs=1)
    assert "that of log in 3 (" in str(caught.value) and "test_trainer.py:" in str(caught.value)
    assert model[1].num_batches_tracked.item() == 1
    moved = ad.random_state().numpy().copy()
    ad.manual_seed(0)
    nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))(ad.tensor(x[:8]))
    assert (ad.random_state().numpy() == moved).all()


def test_empty_loaders():
    with pytest.raises(nn.EmptyLoaderError, match="training loader gave no batch"):
        trainer().fit([], epochs=1)
    with pytest.raises(nn.data.DataError, match="used up by the epoch before"):
        x, y = (ad.tensor(a) for a in regression(8).tensors)
        trainer().fit(iter([(x, y)]), epochs=2)
    with pytest.raises(nn.EmptyLoaderError, match="evaluate: "):
        trainer().fit(loader(), [], epochs=1)


@pytest.mark.parametrize("label", [10, -3])
def test_label_out_of_range(label):
    x = np.ones((4, 3), np.float32)
    y = np.array([0, 1, label, 2])
    model = nn.Linear(3, 10)
    t = nn.Trainer(model, nn.CrossEntropyLoss(), nn.optim.SGD(model.parameters()), progress=False)
    with pytest.raises(nn.LabelError, match=rf"label {label} of sample 2 is none of the 10 classes"
                                            r": .*in \[0, 10\).*correct.*; in epoch 1, batch 0"):
        t.fit(nn.data.DataLoader(nn.data.TensorDataset(x, y), batch_size=4), epochs=1)


def test_other_misuse():
    with pytest.raises(ad.ShapeError, match="reduction='mean'"):
        t = trainer()
        t.loss = nn.MSELoss(reduction="none")
        t.fit(loader(), epochs=1)
    with pytest.raises(ad.ArgumentError, match="schedule_by"):
        trainer(schedule_by="batch")
    with pytest.raises(ad.ArgumentError, match="no 'val_loss' in this epoch's history"):
        trainer(callbacks=[nn.EarlyStopping()]).fit(loader(), epochs=1)
    with pytest.raises(ad.ValueRangeError, match="epochs"):
        trainer().fit(loader(), epochs=0)


# Callbacks, modes, progress -------------------------------------------------------------------

def test_early_stopping_restores_the_best_weights():
    class Worse(nn.Callback):
        """Raises the rate so that later epochs are worse."""

        def on_epoch_end(self, trainer, entry):
            trainer.optimizer.param_groups[0]["lr"] = 0.0 if entry["epoch"] < 2 else 0.9
            self.weights = getattr(self, "weights", []) + [trainer.model.weight.numpy().copy()]
    worse = Worse()
    t = trainer(callbacks=[worse, nn.EarlyStopping(patience=2)])
    h = t.fit(loader(), regression(16, 1), epochs=20)
    assert t.stopped == "early stopping" and len(h) == h.best()["epoch"] + 2
    assert (t.model.weight.numpy() == worse.weights[h.best()["epoch"] - 1]).all()


def test_best_checkpoint(tmp_path):
    t = trainer(callbacks=[nn.BestCheckpoint(tmp_path / "best")])
    h = t.fit(loader(), regression(16, 1), epochs=3)
    best = nn.load_checkpoint(tmp_path / "best")
    assert len(best["history"]["epochs"]) == h.best()["epoch"]


def test_modes_come_back_after_evaluation():
    t = trainer()
    t.model = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5), nn.BatchNorm2d(1)).train()
    t.model[2].eval()
    with pytest.raises(ad.AutodiffError):       # also after an exception
        t.evaluate(regression(8))
    assert [m.training for m in t.model.modules()] == [True, True, True, False]


class Rate:
    """A schedule by its protocol: step, state_dict, load_state_dict."""

    def __init__(self, optimizer):
        self.optimizer, self.steps = optimizer, 0

    def step(self):
        self.steps += 1
        self.optimizer.param_groups[0]["lr"] = 0.1 / (1 + self.steps)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


class Plateau(Rate):
    def step(self, metrics):
        self.seen = metrics


def test_schedules(tmp_path):
    t = trainer()
    t.schedule = Rate(t.optimizer)
    assert t.fit(loader(), epochs=3)["lr"] == pytest.approx([0.05, 0.1 / 2, 0.1 / 3])
    t = trainer(schedule_by="step", checkpoint=tmp_path / "run")
    t.schedule = Rate(t.optimizer)
    t.fit(loader(), epochs=2)
    assert t.schedule.steps == 10
    again = trainer(schedule_by="step")
    again.schedule = Rate(again.optimizer)
    again.load(tmp_path / "run")
    assert again.schedule.steps == 10 and again.optimizer.param_groups[0]["lr"] == 0.1 / 11
    t = trainer()
    t.schedule = Plateau(t.optimizer)
    assert t.fit(loader(), regression(8), epochs=1)["val_loss"] == [t.schedule.seen]


def test_lines_without_a_terminal(capsys):
    t = trainer()
    t.progress = type(t.progress)(True)
    t.fit(loader(), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("epoch 1/2  loss ") and "\r" not in lines[0]


@pytest.mark.parametrize("rich", [True, False])
def test_bar_on_a_terminal(monkeypatch, rich):
    import io

    import nn.progress as progress
    if rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setattr(progress, "_rich_bar", lambda *args: None)

    class Terminal(io.StringIO):
        def isatty(self):
            return True
    t, file = trainer(), Terminal()
    t.progress = progress.Progress(True, file)
    t.fit(loader(), epochs=1)
    assert "epoch 1/1" in file.getvalue() and "loss" in file.getvalue()
    assert rich or " left" in file.getvalue() and "/5" in file.getvalue()


def test_history_plot(tmp_path):
    pytest.importorskip("matplotlib")
    h = trainer(metrics=[R2()]).fit(loader(), regression(8), epochs=3)
    figure = h.plot(tmp_path / "curves.png")
    assert [a.get_ylabel() for a in figure.axes] == ["loss", "R²"]
    assert len(figure.axes[0].lines) == 2 and (tmp_path / "curves.png").stat().st_size > 1000


# Metrics --------------------------------------------------------------------------------------

def test_metrics_against_their_formulas():
    rng = np.random.default_rng(0)
    output, target = rng.standard_normal((50, 6)), rng.integers(0, 6, 50)
    order = np.argsort(-output, axis=1)
    right = (order == target[:, None])
    matrix = np.zeros((6, 6), int)
    for t, o in zip(target, order[:, 0], strict=True):
        matrix[t, o] += 1
    y = rng.standard_normal((50, 1)) + 1000
    guess = y + 0.1 * rng.standard_normal((50, 1))
    cases = [(Accuracy(), output, target, right[:, 0].mean()),
             (TopK(3), output, target, right[:, :3].any(axis=1).mean()),
             (R2(), guess, y, 1 - ((y - guess) ** 2).sum() / ((y - y.mean()) ** 2).sum())]
    for metric, out, want, expected in cases:
        for k in range(0, 50, 16):
            metric.update(out[k:k + 16], want[k:k + 16], 0.0)
        assert metric.value() == pytest.approx(expected, rel=1e-9), metric.name
    confusion = ConfusionMatrix(6)
    assert confusion(output, target) == matrix.tolist()
    perplexity = Perplexity()
    perplexity.update(output, np.zeros((2, 3), int), 1.0)
    perplexity.update(output, np.zeros((1, 3), int), 2.0)
    assert perplexity.value() == pytest.approx(math.exp(4 / 3))
    ignoring = Accuracy(ignore_index=-1)
    assert ignoring(np.eye(3)[None], np.array([[0, -1, 1]])) == 0.5
    assert Accuracy(axis=1)(np.eye(3)[None], np.array([[0, 1, 2]])) == 1.0
    with pytest.raises(ad.ShapeError, match="accuracy: output"):
        Accuracy()(np.ones((4, 3)), np.ones(3, int))
    assert math.isnan(Accuracy().value())
