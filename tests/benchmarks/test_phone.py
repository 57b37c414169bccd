"""The phone table: bytes and counts by hand, percentiles, the text's width, refusals."""

import pytest

pytest.importorskip("safetensors")

from benchmarks import cli, phone  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    return phone.measure_widths(WORKLOADS["cnn"], (4, 8), 16, widths=(0.5, 1), repetitions=100,
                                epochs=1)


def test_counts_by_hand(rows):
    for row in rows:
        (a, b), h = row["channels"], row["hidden"]
        parameters = 9 * a + a + 9 * a * b + b + 4 * b * h + h + 10 * h + 10
        assert row["parameters"] == parameters
        assert 4 * parameters < row["file_bytes"] < 4 * parameters + 2000
        image = 4 * 64
        first = 4 * 64 * a                              # what the first convolution makes
        assert row["peak_bytes"] >= 4 * parameters + image + first
        assert row["training"]["peak_bytes"] > 4 * 4 * parameters       # and gradient, two moments
        products = 2 * (9 * a * 64 + 9 * a * b * 16 + 4 * b * h + h * 10)
        assert products <= row["flops"] < 1.6 * products
        assert row["training"]["flops"] > 2 * row["training"]["steps"] * row["flops"]


def test_latency_is_ordered_and_threads_come_back(rows):
    import autodiff as ad
    before = ad.get_num_threads()
    assert all(0 < r["latency"]["p50"] <= r["latency"]["p99"] for r in rows)
    assert ad.get_num_threads() == before


def test_percentile_by_hand():
    assert phone._percentile([4, 1, 3, 2], 0.5) == 2
    assert phone._percentile(range(1, 101), 0.99) == 99
    assert phone._percentile([7], 0.99) == 7


def test_text_fits_and_says_what_is_not_measured(rows):
    from benchmarks import machine
    text = phone.describe({"machine": machine.state(), "data": "Fashion-MNIST", "images": 60000,
                           "epochs": 12, "rows": rows})
    assert all(len(line) <= 100 for line in text.splitlines())
    head, rule, *table = text.split("(right)\n")[1].splitlines()[:2 + len(rows)]
    assert {len(line) for line in (head, *table)} == {len(rule)}
    assert "Energy is not measured" in text and "server or a GPU" in text
    assert "Fashion-MNIST" in text and "60,000 training images, 12 epochs:" in text


@pytest.mark.parametrize("option, what", [("--repetitions", "at least 100"),
                                          ("--epochs", "at least one pass")])
def test_too_few_are_refused(option, what, capsys):
    assert cli.main(["phone", option, "0"]) == 2
    assert what in capsys.readouterr().err
