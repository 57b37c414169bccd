"""The kernels that address by index, and concat, against their twins over layouts and dtypes."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="needs the compiled kernels")

rng = np.random.default_rng(0)

# x, shape of the index, axis, axes
PICKS = [((7,), (5,), 0, 1), ((7, 3), (4,), 0, 1), ((7, 3), (2, 2), 1, 1), ((2, 5, 3), (4,), 1, 1),
         ((2, 3, 4, 5), (6,), 1, 2), ((3, 4), (5,), 0, 2), ((7, 3), (), 0, 1), ((7, 3), (0,), 0, 1),
         ((7, 0), (4,), 0, 1), ((0, 4), (3,), 1, 1), ((40, 900), (70,), 0, 1),
         ((900, 40), (3,), 1, 1), ((100,), (60000,), 0, 1), ((2, 3, 4, 5, 2), (2, 3), 2, 1)]


def strided(x):
    """The same values with other strides along every axis."""
    big = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
    view = big[(*(slice(None, None, 2) for _ in x.shape), ...)]
    view[...] = x
    return view


def swapped(x):
    return np.asarray(np.asfortranarray(x))


def make(shape, dtype):
    x = rng.standard_normal(shape) * 10
    return np.asarray(x, dtype)


def index_for(shape, x, axis, axes, dtype):
    n = int(np.prod(x[axis:axis + axes]))
    return np.asarray(rng.integers(-n, n, shape), dtype)


def region(x, index, axis, axes):
    return (*x[:axis], *index, *x[axis + axes:])


@pytest.mark.parametrize("lay", [np.asarray, strided, swapped])
@pytest.mark.parametrize("dtype, kind", [("f4", "i8"), ("f8", "i4"), ("i8", "i2"), ("?", "i8"),
                                         ("i2", "i8")])
@pytest.mark.parametrize("shape, ishape, axis, axes", PICKS)
def test_gather(shape, ishape, axis, axes, dtype, kind, lay):
    x, index = make(shape, dtype), index_for(ishape, shape, axis, axes, kind)
    out = np.full(region(shape, ishape, axis, axes), 9, dtype)
    kernels.call("gather", [out], [lay(x), lay(index)], (axis, axes))
    np.testing.assert_array_equal(out, reference.gather(x, index, axis, axes))


@pytest.mark.parametrize("lay", [np.asarray, strided, swapped])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "i4"])
@pytest.mark.parametrize("shape, ishape, axis, axes", PICKS)
def test_scatters(shape, ishape, axis, axes, dtype, lay):
    index = index_for(ishape, shape, axis, axes, "i8")
    v, x = make(region(shape, ishape, axis, axes), dtype), make(shape, dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype == "f4" else {"rtol": 1e-12, "atol": 1e-11}
    out = np.full(shape, 9, dtype)
    kernels.call("scatter_add", [out], [lay(v), lay(index)], (axis, axes, *shape))
    np.testing.assert_allclose(out, reference.scatter_add(v, index, axis, axes, *shape),
                               **tolerance)
    for name in ("scatter_add_", "scatter_"):
        for value in (v, v[..., :1], v.reshape(-1)[:1].reshape(())) if v.size else (v,):
            if value.ndim == 0 or region(shape, ishape, axis, axes):
                out = lay(x.copy())
                kernels.call(name, [out], [out, value, index], (axis, axes))
                want = getattr(reference, name)(x, value, index, axis, axes)
                np.testing.assert_allclose(out, want, **tolerance)


def test_sums_do_not_depend_on_the_threads():
    v, index = make((5000, 8), "f4"), rng.integers(0, 30, 5000)
    results, before = [], kernels.num_threads()
    try:
        for n in (1, 2, 3, 7):
            kernels.set_num_threads(n)
            out = np.empty((30, 8), "f4")
            kernels.call("scatter_add", [out], [v, index], (0, 1, 30, 8))
            results.append(out)
    finally:
        kernels.set_num_threads(before)
    for out in results[1:]:
        np.testing.assert_array_equal(out, results[0])


@pytest.mark.parametrize("bad", [4, -5])
def test_index_out_of_range(bad):
    x, out = np.zeros((4, 2)), np.full((2, 2), 9.0)
    index = np.array([0, bad])
    with pytest.raises(ValueError, match=f"index {bad} is out of range"):
        kernels.call("gather", [out], [x, index], (0, 1))
    assert (out == 9).all(), "nothing is written before the check"
    with pytest.raises(ValueError, match=f"index {bad} is out of range"):
        kernels.call("scatter_add_", [x], [x, out, index], (0, 1))
    with pytest.raises(ValueError, match=f"index {bad} is out of range"):
        kernels.call("ravel_index", [np.zeros(2, np.int64)], [index], (4,))
    with pytest.raises(IndexError, match=f"index {bad} is out of range"):
        reference.gather(x, index, 0, 1)


@pytest.mark.parametrize("shapes, sizes", [([(4,), (4,)], (3, 5)), ([(2, 1), (3,)], (3, 5)),
                                           ([(3,)], (7,)), ([(), (2, 2), (2,)], (3, 4, 5)),
                                           ([(0,), (0,)], (3, 3)), ([(200, 1), (200,)], (9, 4))])
def test_ravel_index(shapes, sizes):
    xs = [np.asarray(rng.integers(-n, n, s), d)
          for s, n, d in zip(shapes, sizes, ("i8", "i4", "i1"))]
    want = reference.ravel_index(*xs, *sizes)
    out = np.full(want.shape, 9, np.int64)
    kernels.call("ravel_index", [out], xs, sizes)
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("key", [(slice(1, 4), 2), (slice(None, None, -2), slice(3, 0, -1)),
                                 (0, 0), (slice(2, 2), slice(None)), (None, 1, slice(None))])
@pytest.mark.parametrize("dtype", ["f4", "i8"])
def test_unindex(key, dtype):
    base = np.arange(30, dtype=np.int64).reshape(5, 6)
    view = np.asarray(base[key])
    g, out = make(view.shape, dtype), np.full((5, 6), 9, dtype)
    first = int(view.flat[0]) if view.size else 0
    ia = (first, 5, 6, *(s // 8 for s in view.strides))
    kernels.call("unindex", [out], [g], ia)
    want = np.zeros((5, 6), dtype)
    want[key] = g
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(reference.unindex(g, *ia), want)


@pytest.mark.parametrize("shape, vshape", [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 4), (3, 1)),
                                           ((), ()), ((0, 4), (4,)), ((300, 400), (400,))])
def test_setitem_and_accumulate(shape, vshape):
    v = make(vshape, "f8")
    for lay in (np.asarray, strided, swapped):
        x = make(shape, "f8")
        out = lay(x.copy())
        kernels.call("accumulate", [out], [out, v])
        np.testing.assert_array_equal(out, reference.accumulate(x, v))
        kernels.call("setitem", [out], [out, v.astype("f4")])
        np.testing.assert_array_equal(out, np.broadcast_to(v.astype("f4"), shape))


@pytest.mark.parametrize("shapes, axis", [([(2, 3), (4, 3)], 0), ([(2, 3), (2, 1), (2, 0)], 1),
                                          ([(2, 3), (4,), ()], -1), ([(3,)], 0),
                                          ([(2, 3, 4)] * 30, 1), ([(200, 300), (200, 100)], 1)])
@pytest.mark.parametrize("lay", [np.asarray, strided, swapped])
@pytest.mark.parametrize("dtype", ["f4", "f8", "?", "i2"])
def test_concat(shapes, axis, lay, dtype):
    xs = [make(s, dtype) for s in shapes]
    want = reference.concat(*xs, axis)
    out = np.full(want.shape, 9, dtype)
    kernels.call("concat", [out], [lay(x) for x in xs], (axis,))
    np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 5), (4, 2), (0, 3), (3, 0), (90, 300)])
@pytest.mark.parametrize("dtype", ["f4", "f8", "?"])
@pytest.mark.parametrize("k", [-4, -1, 0, 2, 9])
def test_triangles(shape, dtype, k):
    x = make(shape, dtype)
    for name in ("tril", "triu"):
        out = np.full(shape, 9, dtype)
        kernels.call(name, [out], [x], (k,))
        np.testing.assert_array_equal(out, getattr(np, name)(x, k))
