"""What a user's hook closes into a cycle is collected; threads keep their modes to themselves.

The library makes no reference cycles of its own (see test_sweep_memory.py); a hook on a leaf that
refers to that leaf is the user's, and the garbage collector finds it.
"""

import gc
import threading
import weakref

import numpy as np
import pytest

import autodiff as ad
from autodiff.errors import InPlaceError


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_cycle_through_a_leaf_s_hook_is_collected(register):
    w = ad.tensor([1.0, 2.0], requires_grad=True)
    seen = weakref.ref(w)
    getattr(w, register)(lambda g, w=w: None)
    (w * w).sum().backward()
    del w
    gc.collect()
    assert seen() is None


def test_hook_s_cycle_with_a_closure_and_a_graph_returns_the_bytes():
    gc.collect()
    before = ad.memory.stats()["live_bytes"]
    w = ad.tensor(np.ones(1000), requires_grad=True)
    w.register_hook(lambda g: g + w * 0)    # noqa: F821 (deleted below)
    loss = (w * w).sum()
    loss.backward()
    del w, loss
    gc.collect()
    assert ad.memory.stats()["live_bytes"] == before


def test_removed_hook_runs_no_more():
    w = ad.tensor(1.0, requires_grad=True)
    calls = []
    remove = w.register_hook(lambda g: calls.append(1))
    (w * w).backward()
    remove()
    (w * w).backward()
    assert calls == [1]


def test_threads_have_scopes_phases_and_modes_of_their_own():
    barrier = threading.Barrier(2)
    found = {}

    def work(name, on):
        w = ad.tensor(2.0, requires_grad=True)
        with ad.scope(name):
            before = ad.core.set_phase("update" if on else "recompute")
            ad.core.set_grad_enabled(on)
            barrier.wait()
            for _ in range(50):
                y = w * w
            barrier.wait()
            found[name] = (ad.core.current_scope(), ad.core.current_phase(),
                           y.node and y.node.scope)
            ad.core.set_phase(before)

    threads = [threading.Thread(target=work, args=a) for a in (("left", True), ("right", False))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {"left": ("left", "update", "left"), "right": ("right", "recompute", None)}
    assert (ad.core.current_scope(), ad.core.current_phase()) == ("", "forward")
    assert ad.is_grad_enabled()


def test_two_threads_train_side_by_side():
    def train(seed, out):
        rng = np.random.default_rng(seed)
        x = ad.tensor(rng.standard_normal((8, 3)))
        w = ad.tensor(rng.standard_normal((3, 1)), requires_grad=True)
        for _ in range(30):
            with ad.scope(f"model{seed}"):
                ((x @ w) ** 2).sum().backward()
            with ad.no_grad():
                w -= 0.01 * w.grad
            w.grad = None
        out[seed] = np.array(w.numpy())

    together, alone = {}, {}
    threads = [threading.Thread(target=train, args=(s, together)) for s in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for s in (1, 2):
        train(s, alone)
        np.testing.assert_array_equal(together[s], alone[s])


@pytest.mark.skipif(ad.core.name == "plain", reason="the plain core counts handles its own way")
def test_write_refused_while_an_array_is_alive_says_so():
    w = ad.tensor([1.0, 2.0], requires_grad=True)
    y = w + 0.0
    array = y.numpy()
    with pytest.raises(InPlaceError, match=r"numpy\(\) is still alive"):
        y += 1.0
    del array
    y += 1.0
    np.testing.assert_array_equal(y.numpy(), [2.0, 3.0])
