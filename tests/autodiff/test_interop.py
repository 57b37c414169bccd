"""Tensors beside NumPy arrays, in pickles and copies, over DLPack, and in threads.

Invariant: no gradient is lost, no dtype widened and no meaning changed without an error.
"""

import copy
import pickle
import threading

import numpy as np
import pytest

import autodiff as ad
from autodiff.errors import ArgumentError, DtypeError, GradientError, InPlaceError

A = np.array([1.0, 2.0], np.float32)


def data():
    return ad.tensor(A)


def leaf():
    return ad.parameter(A)


# Mixed arithmetic -----------------------------------------------------------------------------

@pytest.mark.parametrize("make, dtype", [
    (lambda t: t + A, "float32"), (lambda t: A + t, "float32"), (lambda t: A @ t, "float32"),
    (lambda t: np.float64(2) * t, "float32"), (lambda t: t * np.float64(2), "float32"),
    (lambda t: np.float32(2) * t, "float32"), (lambda t: np.int64(2) * t, "float32"),
    (lambda t: np.float64(2) / t, "float32"), (lambda t: t ** np.float64(2), "float32"),
    (lambda t: 2.0 * t, "float32"), (lambda t: True * t, "float32"),
    (lambda t: ad.tensor([1, 2]) * t, "float32"), (lambda t: ad.tensor([1, 2]) / 2, "float32"),
    (lambda t: 2.5 * ad.tensor([1, 2]), "float32"),
    (lambda t: t + A.astype(float), "float64"), (lambda t: np.array(2.0) * t, "float64")])
def test_dtypes_of_mixed_arithmetic(make, dtype):
    """Scalars are weak, also NumPy's float64 (it is a Python float); arrays are not."""
    got = make(data())
    assert isinstance(got, ad.Tensor) and got.dtype == dtype


def test_the_array_on_the_left_keeps_the_gradient():
    p = leaf()
    (A * p + A).sum().backward()
    np.testing.assert_array_equal(p.grad.numpy(), A)


@pytest.mark.parametrize("f, g", [
    (np.tanh, ad.tanh), (np.add, ad.add), (np.power, ad.pow), (np.sum, ad.sum), (np.mean, ad.mean),
    (np.max, ad.max), (np.matmul, ad.matmul), (np.abs, ad.abs), (np.negative, ad.negative),
    (np.var, ad.var), (np.transpose, ad.permute_dims), (np.expand_dims, ad.expand_dims)])
def test_numpy_functions_stay_on_the_tape(f, g):
    p = leaf()
    more = {np.add: (A,), np.power: (2,), np.matmul: (A,), np.expand_dims: (0,)}.get(f, ())
    y = f(p, *more)
    assert y.requires_grad
    np.testing.assert_array_equal(y.numpy(), g(p, *more).numpy())


@pytest.mark.parametrize("f", [
    lambda t: np.split(t, 2), lambda t: np.add.reduce(t), lambda t: np.add(t, t, out=A.copy()),
    lambda t: np.linalg.norm(t), lambda t: np.sort(t), lambda t: np.exp(t, dtype=float),
    lambda t: np.einsum("i,i", t, t), lambda t: np.var(t, ddof=1), lambda t: np.invert(t)])
def test_what_has_no_counterpart_says_so(f):
    with pytest.raises(ArgumentError):
        f(data())


def test_an_array_takes_no_tensor_in_place():
    a = A.copy()
    with pytest.raises(ArgumentError, match="out="):
        a -= data()


def test_questions_are_answered():
    t = leaf()
    assert np.shape(t) == (2,) and np.ndim(t) == 1 and np.size(t) == 2
    assert np.allclose(t, A) and np.array_equal(t, A)
    np.testing.assert_allclose(data(), A)


def test_bits_are_not_truth():
    """`a & b` of integers works on bits in NumPy; here it is for bools alone."""
    t = data() > 1
    np.testing.assert_array_equal((t & ~t).numpy(), [False, False])
    np.testing.assert_array_equal((t | True ^ t).numpy(), [True, True])
    with pytest.raises(DtypeError):
        ad.tensor([6, 5]) & ad.tensor([3, 3])


# Arrays ---------------------------------------------------------------------------------------

def test_asarray_shares_and_array_copies():
    t = data()
    assert np.shares_memory(np.asarray(t), t.numpy())
    assert not np.asarray(t).flags.writeable and np.array(t).flags.writeable
    assert np.array(t, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(t, dtype=np.float64, copy=False)


def test_asarray_loses_no_gradient():
    with pytest.raises(GradientError, match="detach"):
        np.asarray(leaf())
    with ad.no_grad():
        np.testing.assert_array_equal(np.asarray(leaf()), A)


def test_sequence_protocol():
    p = leaf()
    first, second = p
    (first * second).backward()
    np.testing.assert_array_equal(p.grad.numpy(), [2, 1])
    assert [x.item() for x in data()] == [1, 2] and 2.0 in data() and sum(data()).item() == 3
    assert list(range(ad.tensor(2))) == [0, 1] and f"{ad.tensor(1.5):.2f}" == "1.50"
    assert {p: 1}[p] == 1


# DLPack ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [data, lambda: ad.tensor([True, False]), lambda: ad.tensor(3),
                                  lambda: ad.tensor(np.ones((2, 3))).T, lambda: ad.zeros((0, 2))])
def test_dlpack_out(make):
    t = make()
    a = np.from_dlpack(t)
    np.testing.assert_array_equal(a, t.numpy())
    assert a.dtype == t.dtype and (not t.size or np.shares_memory(a, t.numpy()))


@pytest.mark.parametrize("a", [A, A[::-1], np.ones((3, 2))[::2].T, np.broadcast_to(A, (3, 2)),
                               np.ones((0, 2)), np.array(5)])
def test_dlpack_in(a):
    t = ad.from_dlpack(a)
    np.testing.assert_array_equal(t.numpy(), a)
    assert not a.size or np.shares_memory(t.numpy(), a)


def test_dlpack_refuses():
    with pytest.raises(GradientError, match="detach"):
        np.from_dlpack(leaf())
    with pytest.raises(DtypeError, match="float16"):
        ad.from_dlpack(np.ones(2, np.float16))
    frozen = np.frombuffer(bytes(8), np.float32)
    with pytest.raises(InPlaceError, match="read-only"):
        ad.from_numpy(frozen).fill_(1)


def test_namespace():
    xp = data().__array_namespace__(api_version="2023.12")
    assert xp is ad and xp.permute_dims is ad.permute_dims


def test_the_namespace_holds_no_foreign_names():
    for name in ("walk_packages", "get_data", "import_module", "np", "exported_value"):
        assert not hasattr(ad, name)


# Copies ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [data, leaf, lambda: ad.tensor([1, 2]), lambda: ad.tensor(2.0),
                                  lambda: ad.zeros((0, 3)), lambda: ad.tensor(np.eye(3)[:, ::2]).T])
@pytest.mark.parametrize("via", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_of_leaves(make, via):
    t = make()
    new = via(t)
    np.testing.assert_array_equal(new.numpy(), t.numpy())
    assert (new.dtype, new.category, new.requires_grad) == (t.dtype, t.category, t.requires_grad)
    assert new.storage_id != t.storage_id


def test_deepcopy_keeps_the_gradient_and_sharing():
    p = leaf()
    p.sum().backward()
    a, b = copy.deepcopy([p, p])
    assert a is b and a.grad is not p.grad
    np.testing.assert_array_equal(a.grad.numpy(), [1, 1])


@pytest.mark.parametrize("via", [copy.deepcopy, pickle.dumps])
def test_what_is_on_the_tape_is_not_copied(via):
    with pytest.raises(GradientError, match="output of multiply"):
        via(leaf() * 2)


# Threads --------------------------------------------------------------------------------------

def test_threads_have_grad_modes_of_their_own():
    seen = []

    def other():
        seen.append(ad.is_grad_enabled())
        with ad.no_grad():
            ready.set()
            go.wait(5)
        seen.append(ad.is_grad_enabled())
    ready, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(5) and ad.is_grad_enabled()
    go.set()
    thread.join()
    assert seen == [True, True]


def test_threads_train_apart_and_share_a_leaf(in_threads):
    shared, results = ad.parameter(np.ones(100)), {}

    def work(k):
        w = ad.parameter(np.full(100, float(k + 1)))
        for _ in range(50):
            loss = (ad.tanh(w) * shared).sum()
            loss.backward()
        results[k] = w.grad.numpy().copy()
    in_threads(work)                            # so that the sweeps meet at the shared leaf
    for k in range(4):
        np.testing.assert_allclose(results[k], 50 * (1 - np.tanh(k + 1.0) ** 2))
    np.testing.assert_allclose(shared.grad.numpy(),
                               50 * sum(np.tanh(k + 1.0) for k in range(4)) * np.ones(100))
