"""The small trades: what each must show of bytes, by hand where it can be."""

import pytest

import autodiff as ad
from benchmarks import measure
from benchmarks.trades import small


@pytest.fixture(scope="module")
def trades():
    ad.manual_seed(0)                               # the random state is there before
    before = measure.live_bytes()
    found = {t.name.split(" (")[0]: t for t in small.all_trades(budget=0.0)}
    assert measure.live_bytes() == before           # nothing of it stays
    return found


def test_micro_batches_lower_the_peak(trades):
    whole, four, sixteen = trades["micro-batches"].rows
    assert whole.peak_bytes > four.peak_bytes > sixteen.peak_bytes
    assert whole.note == "the gradient"
    assert float(four.note.removeprefix("gradient off by ")) < 1e-5


def test_optimizer_state_by_hand(trades):
    assert [row.note for row in trades["optimizer"].rows] == [
        f"state {n} x parameters" for n in ("0.00", "1.00", "2.00")]
    parameters = 4 * (9 * 16 + 16 + 9 * 16 * 32 + 32 + 512 * 64 + 64 + 64 * 10 + 10)
    sgd, momentum, adam = (row.peak_bytes for row in trades["optimizer"].rows)
    assert momentum - sgd == parameters
    assert adam - momentum == parameters + 4        # and the count of steps


def test_float64_takes_twice_the_bytes(trades):
    single, double = trades["dtype"].rows
    assert 1.9 < double.peak_bytes / single.peak_bytes <= 2


def test_a_frozen_model_launches_less(trades):
    plain, frozen = (int(row.note.split()[0]) for row in trades["nn.freeze"].rows)
    assert plain - frozen == 2 + 3 + 2              # batch norms, ReLUs, poolings


def test_no_grad_forgotten_keeps_activations(trades):
    quiet, recording = trades["no_grad forgotten"].rows
    assert quiet.note == "0 kB kept" and not recording.note.startswith("0 ")
    assert recording.peak_bytes > quiet.peak_bytes


def test_a_kept_loss_holds_a_tape_each(trades):
    trade = trades["a loss kept by accident"]
    number, loss = trade.rows
    assert loss.peak_bytes - number.peak_bytes > (small.STEPS - 2) * 1_000_000
    assert "by relu in module" in trade.sentence and "small.py:" in trade.sentence


def test_text_fits(trades):
    assert all(len(line) <= 100 for line in small.describe(trades.values()).splitlines())
