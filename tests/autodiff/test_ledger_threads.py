"""The ledger while threads keep and let go of the same bytes, and while garbage is collected."""

import gc

import numpy as np
import pytest

import autodiff as ad
from autodiff import core


def test_threads_that_save_the_same_bytes(in_threads):
    x = ad.tensor(np.ones((7, 4)), requires_grad=True) * 1.0        # a temporary
    before = core.memory_stats()["live"]

    def work(k):
        for _ in range(300):
            ad.tanh(x) * x
    in_threads(work)
    assert core.memory_stats()["live"] == before


@pytest.mark.skipif(core.name != "plain", reason="the compiled core hides records from collection")
def test_a_cycle_of_garbage_lets_go_in_any_order():
    x = ad.tensor(np.ones((7, 4)), requires_grad=True)
    gc.collect()
    before = core.memory_stats()["live"]
    for _ in range(3):
        y = x * 1.0
        cycle = [ad.tanh(y) * y]
        y.register_hook(lambda g, cycle=cycle: None)
        del y, cycle
        gc.collect()
    assert core.memory_stats()["live"] == before
