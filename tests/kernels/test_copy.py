"""copy and fill: every pair of dtypes, every layout, equal to NumPy's own casts."""

import itertools
import threading

import numpy as np
import pytest

import kernels

if kernels.PLAIN:
    pytest.skip("needs the compiled kernels", allow_module_level=True)

from kernels import reference

DTYPES = ["?", "u1", "i1", "i2", "i4", "i8", "f4", "f8"]


def values(shape, dtype, target="f8"):
    x = np.random.default_rng(0).standard_normal(shape) * 50
    return (np.abs(x) if "u1" in (dtype, target) else x).astype(dtype)


def layouts(x):
    yield x
    yield x[::-1]
    yield x[:, ::2]
    yield x.T
    yield np.asfortranarray(x)
    yield np.broadcast_to(x[:1], x.shape)
    yield np.broadcast_to(x[0, 0], x.shape)
    yield x[:0]
    yield x[0, 0:1].reshape(())
    yield x[1:-1, 1:-1][::3]


@pytest.mark.parametrize("source, target", list(itertools.product(DTYPES, DTYPES)))
def test_casts(source, target):
    x = values((7, 9), source, target)
    for view in layouts(x):
        expected = reference.copy(view).astype(target)
        out = np.empty(view.shape, target)
        kernels.call("copy", [out], [view])
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(33, 70), (300, 700)])
def test_layouts_of_both(dtype, shape):
    x = values(shape, dtype)
    for view in layouts(x):
        outs = [np.empty(view.shape[::-1], dtype).T]
        if view.ndim == 2:
            wide = np.zeros((view.shape[0] * 2, view.shape[1] * 3), dtype)
            outs.append(wide[::-2, ::3])
        for out in outs:
            kernels.call("copy", [out], [view])
            np.testing.assert_array_equal(out, view)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_permuted_axes(order):
    x = values((3, 16, 20, 10), "f4").transpose(order)
    out = np.empty(x.shape, "f4")
    kernels.call("copy", [out], [x])
    np.testing.assert_array_equal(out, x)


def test_nan_and_infinity_stay():
    x = np.array([np.nan, np.inf, -np.inf, -0.0])
    out = np.empty(4, "f4")
    kernels.call("copy", [out], [x])
    np.testing.assert_array_equal(out, x)
    assert np.signbit(out[3])
    truth = np.empty(4, "?")
    kernels.call("copy", [truth], [x])
    assert truth.tolist() == [True, True, True, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_fill(dtype):
    floating = np.dtype(dtype).kind == "f"
    value = reference.fill(0, 2.5) if floating else reference.fill(3, 0.0)
    for out in (np.zeros((5, 6), dtype), np.zeros((10, 12), dtype)[::2, ::-2],
                np.zeros((), dtype), np.zeros((0, 3), dtype), np.zeros(300_000, dtype)):
        kernels.call("fill", [out], [], (3,), (2.5,))
        np.testing.assert_array_equal(out, np.full(out.shape, value).astype(dtype))


def test_from_many_threads():
    x = values((600, 700), "f8")
    wrong = []

    def caller():
        out = np.empty_like(x.T)
        for _ in range(30):
            out[...] = 0
            kernels.call("copy", [out], [x.T])
            if not np.array_equal(out, x.T):
                wrong.append(1)

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert not wrong
