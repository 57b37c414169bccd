"""The ledger while threads keep and let go of the same bytes, and while garbage is collected."""

import gc
import sys
import threading

import numpy as np
import pytest

import autodiff as ad
from autodiff import core


def test_threads_that_save_the_same_bytes():
    x = ad.tensor(np.ones((7, 4)), requires_grad=True) * 1.0        # a temporary
    before = core.memory_stats()["live"]

    def work():
        for _ in range(300):
            ad.tanh(x) * x

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)
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
