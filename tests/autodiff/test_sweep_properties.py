"""Indexing, reshaping and broadcasting against NumPy on random shapes and keys."""

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hn  # noqa: E402

from autodiff import core  # noqa: E402
from autodiff.errors import ShapeError  # noqa: E402
from autodiff.op import registry  # noqa: E402
from autodiff.ops import index, shape  # noqa: E402

SHAPES = hn.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
NONEMPTY = hn.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


def numbered(dims):
    return np.arange(1.0, np.prod(dims, dtype=int) + 1).reshape(dims)


def test_a_loop_over_slices_is_linear():
    """The gradients of n slices are added into one buffer: one array of zeros, not n."""
    x = core.make(np.arange(1000.0))
    x.requires_grad = True
    total = x[0] * x[0]
    for k in range(1, 1000):
        total = total + x[k] * x[k]
    seen = []

    def listener(event):
        seen.append(event.op.name)
    core.listen(listener)
    try:
        (g,) = core.gradients([total], [x])
    finally:
        core.unlisten(listener)
    np.testing.assert_allclose(g.numpy(), 2 * np.arange(1000.0))
    assert seen.count("unindex") == 1
    assert seen.count("accumulate") == 1999


@st.composite
def basic(draw):
    dims = draw(SHAPES)
    key = draw(hn.basic_indices(dims, allow_newaxis=True, allow_ellipsis=True, max_dims=6))
    return dims, key


@st.composite
def advanced(draw):
    """Arrays of integers, lists, masks, integers and slices in one key."""
    dims = draw(NONEMPTY)
    common = draw(hn.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3))
    key, arrays, axis = [], 0, 0
    while axis < len(dims):
        kind = draw(st.sampled_from(["array", "slice", "int", "none", "stop", "dots"]))
        n = dims[axis]
        if kind == "array":
            part = common[draw(st.integers(0, len(common))):]
            part = tuple(1 if draw(st.booleans()) else s for s in part)
            key.append(draw(hn.arrays(np.int64, part, elements=st.integers(-n, n - 1))))
            arrays += 1
        elif kind == "slice":
            key.append(draw(st.slices(n)))
        elif kind == "int":
            key.append(draw(st.integers(-n, n - 1)))
        elif kind == "none":
            if key.count(None) > 1:
                break
            key.append(None)
            continue
        elif kind == "dots" and not any(k is Ellipsis for k in key):
            key.append(Ellipsis)
            break
        else:
            break
        axis += 1
    return dims, tuple(key)


@st.composite
def masked(draw):
    dims = draw(NONEMPTY)
    first = draw(st.integers(0, len(dims) - 1))
    last = draw(st.integers(first + 1, len(dims)))
    mask = draw(hn.arrays(np.bool_, dims[first:last]))
    head = tuple(draw(st.sampled_from([slice(None), slice(1, None), 0])) for _ in range(first))
    return dims, (*head, mask)


def check_key(dims, key):
    """Reading, its gradient, writing, and the gradients of writing."""
    a = numbered(dims)
    want = a[key]
    x = core.make(a)
    x.requires_grad = True
    got = x[key]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.numpy(), want)

    g = np.asarray(np.random.default_rng(0).standard_normal(want.shape))
    expected = np.zeros(dims)
    np.add.at(expected, key, g)
    (gx,) = core.gradients([got], [x], [core.make(g)])
    np.testing.assert_allclose(gx.numpy(), expected)

    b = a.copy()
    b[key] = g
    v = core.make(g)
    v.requires_grad = True
    y = registry["copy"].call(x)
    y[key] = v
    np.testing.assert_array_equal(y.numpy(), b)
    u = numbered(dims)
    gx, gv = core.gradients([y], [x, v], [core.make(u)], allow_unused=True)
    order = np.full(dims, -1.0)
    order[key] = numbered(want.shape)           # who wrote last
    np.testing.assert_allclose(gx.numpy(), np.where(order >= 0, 0, u))
    np.testing.assert_allclose(gv.numpy(), np.where(order[key] == numbered(want.shape), u[key], 0))

    z = core.make(a)
    z[key] = 7
    b[...] = a
    b[key] = 7
    np.testing.assert_array_equal(z.numpy(), b)


@given(basic())
def test_basic_keys(case):
    check_key(*case)


@given(advanced())
def test_advanced_keys(case):
    check_key(*case)


@given(masked())
def test_masks(case):
    check_key(*case)


@pytest.mark.parametrize("key", [
    (slice(1, None), 0, slice(None, None, -1), slice(None), -1, slice(0, 1), slice(None), 1),
    (0, Ellipsis, None, slice(None, None, -1)), (slice(None),) * 8,
    (1, Ellipsis, np.array([1, 0, 1]))])
def test_keys_in_eight_dimensions(key):
    check_key((2, 1, 2, 1, 2, 2, 1, 2), key)


@given(st.data())
def test_reshape_of_views(data):
    """A reshape of any view has NumPy's values, and is a view where NumPy's is one."""
    dims = data.draw(NONEMPTY)
    key = data.draw(hn.basic_indices(dims))
    axes = None
    a, x = numbered(dims)[key], core.make(numbered(dims))[key]
    if isinstance(a, np.ndarray) and a.ndim:
        axes = tuple(data.draw(st.permutations(range(a.ndim))))
        a, x = a.transpose(axes), registry["permute_dims"].call(x, axes)
    a = np.asarray(a)
    pieces = [f for n in a.shape for f in data.draw(st.sampled_from(factors(n)))]
    new = tuple(data.draw(st.permutations(pieces)))[:8] if len(pieces) <= 8 else (-1,)
    got = registry["reshape"].call(x, new)
    want = a.reshape(new)
    np.testing.assert_array_equal(got.numpy(), want)
    if a.size > 1:
        assert np.shares_memory(got.numpy(), x.numpy()) == np.shares_memory(want, a)


def factors(n):
    return [(n,)] + [(d, n // d) for d in range(1, n + 1) if n and n % d == 0]


@given(hn.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4))
def test_broadcast(shapes):
    one, result = shapes.input_shapes[0], shapes.result_shape
    x = core.make(numbered(one))
    x.requires_grad = True
    y = registry["broadcast_to"].call(x, result)
    np.testing.assert_array_equal(y.numpy(), np.broadcast_to(numbered(one), result))
    u = numbered(result)
    (g,) = core.gradients([y], [x], [core.make(u)])
    lead = u.sum(tuple(range(len(result) - len(one))))
    kept = tuple(k for k, n in enumerate(one) if n == 1 and lead.shape[k] != 1)
    np.testing.assert_allclose(g.numpy(), lead.sum(kept, keepdims=True))


@given(SHAPES, SHAPES)
def test_shapes_that_do_not_broadcast(one, other):
    try:
        want = np.broadcast_shapes(one, other)
    except ValueError:
        with pytest.raises(ShapeError):
            shape.broadcast_shape("test", one, other)
    else:
        assert shape.broadcast_shape("test", one, other) == want


@given(st.data())
def test_composites_of_shape(data):
    dims = data.draw(NONEMPTY)
    a, axis = numbered(dims), data.draw(st.integers(-len(dims), len(dims) - 1))
    x = core.make(a)
    n = dims[axis]
    cut = data.draw(st.integers(0, n))
    for got, want in zip(shape.split(x, [cut, n - cut], axis), np.split(a, [cut], axis)):
        np.testing.assert_array_equal(got.numpy(), want)
    np.testing.assert_array_equal(shape.stack([x, x], axis).numpy(), np.stack([a, a], axis))
    np.testing.assert_array_equal(shape.roll(x, cut + 1, axis=axis).numpy(),
                                  np.roll(a, cut + 1, axis))
    np.testing.assert_array_equal(shape.repeat(x, 3, axis=axis).numpy(), np.repeat(a, 3, axis))
    times = data.draw(st.lists(st.integers(0, 3), max_size=3))
    np.testing.assert_array_equal(shape.tile(x, times).numpy(), np.tile(a, times))
    to = data.draw(st.integers(-len(dims), len(dims) - 1))
    np.testing.assert_array_equal(shape.moveaxis(x, axis, to).numpy(), np.moveaxis(a, axis, to))
    i = data.draw(hn.arrays(np.int64, dims[:axis] + (2,) + dims[axis:][1:] if axis >= 0 else
                            dims[:len(dims) + axis] + (2,) + dims[len(dims) + axis + 1:],
                            elements=st.integers(0, n - 1)))
    np.testing.assert_array_equal(index.take_along_axis(x, core.make(i), axis).numpy(),
                                  np.take_along_axis(a, i, axis))
    np.testing.assert_array_equal(index.take(x, core.make(i), axis=axis).numpy(),
                                  np.take(a, i, axis))
