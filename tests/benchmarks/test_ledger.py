"""What the ledger costs: the protocol with the worker processes, the words, the refusals; no times.
"""

import sys

import pytest

from benchmarks import cli, ledger


def test_a_worker_counts_and_answers_in_both_modes():
    with ledger._Worker([p for p in sys.path if p], threads=1) as worker:
        assert worker.counts
        assert 0 < worker.seconds("silent") and 0 < worker.seconds("listened")


def test_two_builds_that_count_are_refused():
    with pytest.raises(cli.UsageError, match="AUTODIFF_LEDGER=0"):
        ledger.measure(sys.path[0] or ".", pairs=1, threads=1)


def test_a_folder_without_a_build_is_refused(tmp_path, capsys):
    assert cli.main(["ledger", str(tmp_path)]) == 2
    assert "AUTODIFF_LEDGER=0" in capsys.readouterr().err


def test_the_words_say_what_was_missed():
    t = {"median": 0.2, "q1": 0.1, "q3": 0.3, "rounds": 3}
    found = {"pairs": 3, "threads": 2, "step": {**t, "median": 0.002},
             "silent": {**t, "median": 0.01}, "listened": t}
    text = ledger.text(found)
    assert "+1.00 %" in text and "+20.00 %" in text
    assert text.count("met") == 1 and text.count("MISSED") == 1
    assert max(map(len, text.splitlines())) <= 100
