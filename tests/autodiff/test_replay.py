"""A training step, recorded as launches, runs again without Python.

This is what keeps the launch door honest: if any operation hid state or wrote outside a launch,
the replayed parameters would differ from the eager ones.
"""

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import core

pytestmark = pytest.mark.skipif(core.name != "compiled", reason="launches are the compiled core's")


class Recorder:
    """Collects the launches of a stretch of code; `replay` runs them again in order."""

    def __enter__(self):
        self.events = []
        self.note = self.events.append
        core.listen(self.note)
        return self

    def __exit__(self, *exc):
        core.unlisten(self.note)

    def replay(self):
        for event in self.events:
            event.launch.replay()


def model_and_data(optimizer, dropout):
    ad.manual_seed(0)
    layers = [nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.5) if dropout else nn.Identity(),
              nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)]
    model = nn.Sequential(*layers)
    rng = np.random.default_rng(0)
    x = ad.tensor(rng.standard_normal((8, 6)).astype(np.float32))
    y = ad.tensor(rng.integers(0, 3, 8))
    return model, x, y, optimizer(model.parameters())


def step(model, x, y, opt):
    loss = nn.functional.cross_entropy(model(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss


@pytest.mark.parametrize("dropout", [False, True], ids=["plain", "dropout"])
@pytest.mark.parametrize("optimizer", [
    lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: nn.optim.AdamW(p, lr=0.01)],
    ids=["sgd", "adamw"])
def test_replayed_steps_equal_eager_ones(optimizer, dropout):
    model, x, y, opt = model_and_data(optimizer, dropout)
    for _ in range(5):
        loss = step(model, x, y, opt)
    expected = [p.numpy().copy() for p in model.parameters()]

    model, x, y, opt = model_and_data(optimizer, dropout)
    step(model, x, y, opt)              # makes the optimizer's state
    with Recorder() as recorder:
        recorded_loss = step(model, x, y, opt)
    for _ in range(3):
        recorder.replay()
    for p, want in zip(model.parameters(), expected, strict=True):
        assert (p.numpy() == want).all()
    assert recorded_loss.item() == loss.item()     # the loss lives in the same buffer


def test_phases_of_the_launches():
    model, x, y, opt = model_and_data(lambda p: nn.optim.SGD(p, lr=0.1), False)
    with Recorder() as recorder:
        step(model, x, y, opt)
    phases = [e.phase for e in recorder.events]
    assert phases == sorted(phases, key=["forward", "backward", "update"].index)
    assert set(phases) == {"forward", "backward", "update"}
    assert "5" in {e.scope for e in recorder.events}
