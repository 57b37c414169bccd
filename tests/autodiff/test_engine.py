"""The engine's promises: order, ownership, memory, in-place writes, errors, threads.

Values here are small enough to check by hand; the sweep tests cover every operation.
"""

import gc

import numpy as np
import pytest

import autodiff as ad
from autodiff import core

compiled = pytest.mark.skipif(core.name != "compiled", reason="about the compiled core")


def leaf(value, dtype=ad.float64):
    return ad.tensor(np.asarray(value, dtype), requires_grad=True)


# Gradients ------------------------------------------------------------------------------------

def test_reused_tensor_adds_up():
    x = leaf(3.0)
    y = x * x + x
    y.backward()
    assert x.grad.item() == 7.0


def test_grad_accumulates_across_calls():
    x = leaf([1.0, 2.0])
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]


def test_two_leaves_never_share_a_gradient_buffer():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (a + b).sum().backward()
    with ad.no_grad():
        a.grad.zero_()
    assert b.grad.tolist() == [1.0, 1.0]


def test_seed_is_not_written_to():
    x = leaf([1.0, 2.0])
    seed = ad.tensor(np.array([1.0, 1.0]))
    y = x + x + x
    y.backward(seed)
    assert seed.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [3.0, 3.0]


def test_broadcast_gradient_is_summed():
    w, x = leaf(np.ones((3, 1))), leaf(np.ones((2, 1, 4)))
    (w * x).sum().backward()
    assert w.grad.shape == (3, 1) and (w.grad.numpy() == 8).all()
    assert x.grad.shape == (2, 1, 4) and (x.grad.numpy() == 3).all()


def test_promotion_casts_the_gradient_back():
    a, b = leaf([1.0, 2.0], np.float32), leaf([3.0, 4.0], np.float64)
    (a * b).sum().backward()
    assert a.grad.dtype == ad.float32 and b.grad.dtype == ad.float64


def test_python_scalars_are_weak():
    x = ad.tensor([1.0, 2.0])
    assert x.dtype == ad.float32
    for y in (x * 2, x * 2.5, 1 - x, 2 / x, x ** 2, 2.0 ** x):
        assert y.dtype == ad.float32


def test_detach_stops_the_gradient():
    x = leaf(2.0)
    (x * x.detach()).backward()
    assert x.grad.item() == 2.0


def test_retain_grad_and_hooks():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    seen = []
    remove = x.register_hook(lambda g: seen.append(g.item()) or g * 10)
    (y * y).backward(retain_graph=True)
    assert y.grad.item() == 12.0 and seen == [36.0] and x.grad.item() == 360.0
    remove()


def test_second_derivative():
    x = leaf(2.0)
    g = ad.gradients(x ** 3, x, create_graph=True)
    assert g.item() == 12.0
    assert ad.gradients(g, x).item() == 12.0


def test_gradients_leaves_grad_alone_and_takes_inner_tensors():
    x = leaf(2.0)
    y = x * x
    z = y * 3
    gy, gx = ad.gradients(z, [y, x])
    assert (gy.item(), gx.item()) == (3.0, 12.0)
    assert x.grad is None


def test_gradients_of_a_shared_path():
    x = leaf(2.0)
    y = x * 3
    z = y * x
    assert ad.gradients(z, y, retain_graph=True).item() == 2.0
    assert ad.gradients(z, x).item() == 12.0


def test_transforms():
    f = lambda x: (x * x * x).sum()             # noqa: E731
    x = np.array([1.0, 2.0, 3.0])
    assert ad.grad(f)(x).tolist() == [3.0, 12.0, 27.0]
    value, tangent = ad.jvp(f, [x], [np.array([1.0, 0.0, 1.0])])
    assert (value.item(), tangent.item()) == (36.0, 30.0)
    assert np.allclose(ad.hessian(f)(x).numpy(), np.diag([6.0, 12.0, 18.0]))
    assert ad.hvp(f, [x], [np.array([1.0, 0.0, 1.0])])[1][0].tolist() == [6.0, 0.0, 18.0]
    out, pull = ad.vjp(lambda a: a * 2, x)
    assert pull(ad.tensor(np.ones(3)))[0].tolist() == [2.0, 2.0, 2.0]
    assert np.allclose(ad.jacobian(lambda a: a * a)(x).numpy(), np.diag(2 * x))


def test_forward_over_reverse_over_forward_do_not_mix():
    inner = lambda x: ad.jvp(lambda y: y * x, [x], [ad.tensor(np.float64(1.0))])[1]  # noqa: E731
    x = ad.tensor(np.float64(3.0))
    # inner(x) = d(y x)/dy at y = x, with x held: x; so its derivative is 1.
    assert ad.jvp(inner, [x], [ad.tensor(np.float64(1.0))])[1].item() == 1.0
    assert ad.grad(inner)(x).item() == 1.0


# Chains and memory ----------------------------------------------------------------------------

def test_deep_chain_runs_and_is_freed_without_recursion():
    n = 1_000_000 if core.name == "compiled" else 20_000
    h = leaf(0.0, np.float32)
    x = h
    for _ in range(n):
        h = h + 1.0
    h.backward()
    assert x.grad.item() == 1.0 and h.item() == n
    del h


def test_deep_chain_of_products_is_freed_without_backward():
    n = 100_000 if core.name == "compiled" else 5_000
    w = leaf(1.0, np.float32)
    h = w
    for _ in range(n):
        h = h * w
    del h


@compiled
def test_dropping_the_loss_returns_memory_to_the_baseline_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        w = leaf(np.ones((64, 64)))
        x = ad.tensor(np.ones((64, 64)))
        base = core.memory_stats()["live_bytes"]
        loss = ((x @ w).tanh() * w).sum()
        assert core.memory_stats()["live_bytes"] > base
        del loss
        assert core.memory_stats()["live_bytes"] == base
        loss = ((x @ w).tanh() * w).sum()
        loss.backward()
        del loss
        w.grad = None
        assert core.memory_stats()["live_bytes"] == base
    finally:
        gc.enable()


@compiled
@pytest.mark.parametrize("step, kept", [
    (lambda z, w: z + 1, 1), (lambda z, w: z.reshape(512, 512), 1), (lambda z, w: w @ z, 1),
    (lambda z, w: z.tanh(), 50), (lambda z, w: z.relu(), 50)],
    ids=["add", "reshape", "matmul", "tanh", "relu"])
def test_memory_kept_by_fifty_operations(step, kept):
    mib = 1 << 20
    w = ad.tensor(np.eye(512, dtype=np.float32))
    x = ad.tensor(np.ones((512, 512), np.float32), requires_grad=True)
    base = core.memory_stats()["live_bytes"]
    z = x
    for _ in range(50):
        z = step(z, w)
    assert (core.memory_stats()["live_bytes"] - base) / mib <= kept + 0.01
    del z
    assert core.memory_stats()["live_bytes"] == base


@compiled
def test_categories_add_up_and_count_once():
    w = ad.parameter(np.ones((8, 8), np.float32))
    y = (w * w).tanh()
    stats = core.memory_stats()
    assert sum(stats["live"].values()) == stats["live_bytes"]
    assert stats["live"]["parameter"] >= 256 and stats["live"]["saved"] >= 256
    del y
    assert core.memory_stats()["live"]["saved"] == stats["live"]["saved"] - 256


def test_no_grad_makes_no_record():
    x = leaf([1.0, 2.0])
    with ad.no_grad():
        y = (x * x).sum()
    assert y.node is None and not y.requires_grad
    with ad.no_grad(), ad.enable_grad():
        assert (x * 2).requires_grad

    @ad.no_grad()
    def f():
        return x * 2
    assert not f().requires_grad


# In place -------------------------------------------------------------------------------------

def test_saved_tensor_that_changed_is_an_error_that_names_the_line():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = x * w
    with ad.no_grad():
        w += 1
    with pytest.raises(ad.SavedTensorChangedError, match=r"multiply.*test_engine.py:\d+"):
        y.sum().backward()


def test_unsaved_tensor_may_change():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = x + w
    with ad.no_grad():
        w += 1
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_in_place_on_a_recorded_tensor_moves_it_on_the_tape():
    x = leaf([1.0, 2.0])
    y = x * 2
    y += x
    y[0] = 0.0
    y.sum().backward()
    assert y.tolist() == [0.0, 6.0] and x.grad.tolist() == [0.0, 3.0]


def test_in_place_where_a_view_lives_is_refused():
    y = leaf([1.0, 2.0]) * 2
    view = y[0]
    with pytest.raises(ad.InPlaceError, match="view"):
        y += 1.0
    del view


def test_in_place_on_a_leaf_is_refused_while_recording():
    x = leaf([1.0])
    with pytest.raises(ad.InPlaceError, match="no_grad"):
        x += 1.0
    with pytest.raises(ad.InPlaceError, match="no_grad"):
        with x.writable():
            pass
    with ad.no_grad(), x.writable() as a:
        a[0] = 5.0
    assert x.item() == 5.0


def test_numpy_view_is_read_only_and_shared():
    x = ad.tensor([1.0, 2.0])
    a = x.numpy()
    with pytest.raises(ValueError):
        a[0] = 3.0
    x[0] = 7.0
    assert a[0] == 7.0


# Errors ---------------------------------------------------------------------------------------

def test_backward_twice():
    x = leaf([1.0])
    for y in (x + 1, x * x, x.tanh()):
        loss = y.sum()
        loss.backward()
        with pytest.raises(ad.ReleasedTapeError, match="retain_graph=True"):
            loss.backward()
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()


def test_backward_of_a_non_scalar_and_of_nothing():
    x = leaf([1.0, 2.0])
    with pytest.raises(ad.GradientError, match="one element"):
        (x * 2).backward()
    with pytest.raises(ad.ShapeError):
        (x * 2).backward(ad.tensor(np.ones(3)))
    with pytest.raises(ad.GradientError, match="requires_grad"):
        ad.tensor([1.0]).backward()
    with pytest.raises(ad.GradientError, match="allow_unused"):
        ad.gradients(x.sum(), leaf([1.0]))
    with pytest.raises(ad.GradientError):
        np.asarray(x)


def test_bad_data_and_dtypes():
    with pytest.raises(ad.DtypeError):
        ad.tensor(np.ones(2, np.complex64))
    with pytest.raises(ad.DtypeError):
        ad.tensor(["a"])
    with pytest.raises(ad.ArgumentError):
        ad.tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(ad.DtypeError):
        ad.tensor([1, 2], requires_grad=True)
    with pytest.raises(ad.ShapeError):
        ad.tensor(np.ones((1,) * 9))
    with pytest.raises(ad.ArgumentError, match="unexpected keyword 'axes'"):
        ad.sum(ad.tensor([1.0]), axes=0)


def test_exception_in_the_sweep_leaves_the_engine_usable():
    x = leaf([1.0, 2.0])
    y = x * 2

    def boom(g):
        raise RuntimeError("boom")
    remove = y.register_hook(boom)
    loss = (y * y).sum() + x.sum()
    with pytest.raises(RuntimeError, match="boom"):
        loss.backward(retain_graph=True)
    assert x.grad is None and core.is_grad_enabled()
    remove()
    loss2 = (x * x).sum()
    loss2.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_module_path_in_errors():
    previous = core.push_scope("encoder.0.linear1")
    try:
        with pytest.raises(ad.ShapeError, match=r"\(3, 4\) @ \(5, 2\).*encoder.0.linear1"):
            ad.tensor(np.ones((3, 4))) @ ad.tensor(np.ones((5, 2)))
    finally:
        core.pop_scope(previous)


# Threads and Python protocols -----------------------------------------------------------------

def test_two_threads_do_not_disturb_each_other(in_threads):
    results = {}

    def train(seed):
        w = leaf(np.full((16, 16), 0.01 * (seed + 1)))
        for _ in range(30):
            loss = ((w @ w).tanh() * w).sum()
            w.grad = None
            loss.backward()
            with ad.no_grad():
                w -= 0.01 * w.grad
        results[seed] = w.numpy().copy()

    with ad.no_grad():
        in_threads(train)
    for k in range(4):
        threaded = results[k]
        train(k)
        assert (results[k] == threaded).all()


def test_numpy_functions_run_on_the_tape():
    x = leaf([1.0, 2.0])
    y = np.tanh(x) + np.exp(x)
    assert isinstance(y, ad.Tensor) and y.requires_grad
    z = np.array([1.0, 2.0]) * x
    assert isinstance(z, ad.Tensor) and z.requires_grad


def test_conversions():
    x = ad.tensor([[1.5, 2.0], [3.0, 4.0]])
    assert float(x[0, 0]) == 1.5 and int(ad.tensor(3)) == 3 and bool(ad.tensor(True))
    assert len(x) == 2 and [r.tolist() for r in x] == [[1.5, 2.0], [3.0, 4.0]]
    assert np.asarray(x).shape == (2, 2)
    assert x.T.shape == (2, 2) and x.mT[0, 1].item() == 3.0
    assert ad.from_dlpack(x).tolist() == x.tolist()
    assert f"{ad.tensor(1.25):.1f}" == "1.2"
    with pytest.raises(ad.ShapeError):
        bool(x)


def test_in_place_product_keeps_the_old_value_where_its_gradient_needs_it():
    x, w = leaf([2.0, 3.0]), leaf([5.0, 7.0])
    y = x * 1
    y *= w
    y /= w
    y *= w
    y.sum().backward()
    assert np.allclose(x.grad.tolist(), [5.0, 7.0])
    assert np.allclose(w.grad.tolist(), [2.0, 3.0])


def test_in_place_on_overlapping_parts():
    x = ad.tensor(np.arange(5.0))
    x[1:] = x[:-1]
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0]
    y = ad.tensor(np.arange(5.0))
    part = y[1:]
    part += y[:-1]
    assert y.tolist() == [0.0, 1.0, 3.0, 5.0, 7.0]


def test_equal_attributes_of_other_kinds_are_told_apart():
    x = ad.tensor(np.ones((2, 3)))
    ad.sum(x, axis=1)
    with pytest.raises(ad.ArgumentError, match="axis"):
        ad.sum(x, axis=True)


@compiled
def test_derivatives_of_derivatives_leave_nothing_behind():
    x = ad.tensor(np.linspace(0.1, 1.0, 1000))
    v = ad.tensor(np.ones(1000))

    def all_orders():
        f = lambda a: (a.tanh() * a).softmax().log().sum()             # noqa: E731
        ad.hvp(f, [x], [v])
        ad.grad(lambda a: ad.jvp(f, [a], [v])[1])(x)
        ad.jvp(lambda a: ad.jvp(f, [a], [v])[1], [x], [v])
        ad.grad(lambda a: (ad.grad(f)(a) * v).sum())(x)
    all_orders()
    gc.collect()
    base = core.memory_stats()["live_bytes"]
    gc.disable()
    try:
        all_orders()
        assert core.memory_stats()["live_bytes"] == base
    finally:
        gc.enable()


def test_cached_plans_tell_equal_attributes_apart():
    assert ad.full((2,), 1.0).dtype == ad.float32 and ad.full((2,), 1).dtype == ad.int64
    ad.sum(ad.tensor(np.ones((2, 3))), axis=1)
    with pytest.raises(ad.ArgumentError):
        ad.sum(ad.tensor(np.ones((2, 3))), axis=1.0)
    assert ad.zeros((2,)).dtype == ad.float32
    ad.set_default_dtype(ad.float64)            # put back by the fixture
    assert ad.zeros((2,)).dtype == ad.float64


@compiled                                       # the plain core's fill loses the sign of zero
def test_cached_plans_keep_the_sign_of_zero():
    ad.full((2,), 0.0)
    assert np.signbit(ad.full((2,), -0.0).numpy()).all()


def test_a_score_that_is_nan_is_not_a_mask():
    q = ad.tensor(np.full((1, 1, 2, 4), np.nan, np.float32))
    k = ad.tensor(np.ones((1, 1, 3, 4), np.float32))
    assert np.isnan(ad.attention(q, k, k).numpy()).all()


def test_the_core_checks_what_a_sweep_is_asked_for():
    x = leaf([1.0, 2.0])
    for outputs, inputs, seeds in (([1.0], [x], None), ([x.sum()], ["x"], None),
                                   ([x.sum()], [x], [1.0]), ([x.sum()], [x], [])):
        with pytest.raises(ad.ArgumentError):
            core.gradients(outputs, inputs, seeds)


@compiled
def test_out_of_memory_has_a_name():
    with pytest.raises(ad.OutOfMemoryError, match="out of memory"):
        ad.zeros((1 << 44,))
