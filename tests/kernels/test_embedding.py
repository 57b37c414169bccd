"""embedding and its gradient against their twins: widths, repeated indices, padding, errors."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")
TABLES = [(5, 3), (4,), (6, 2, 2), (50, 129), (1000, 16), (3, 0)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [(), (0,), (7,), (30, 40)])
@pytest.mark.parametrize("table", TABLES)
def test_forward_and_backward(table, count, dtype):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(table).astype(dtype)
    indices = np.asarray(rng.integers(0, table[0], count))
    out = np.empty(indices.shape + table[1:], dtype)
    kernels.call("embedding", [out], [weight, indices])
    np.testing.assert_array_equal(out, reference.embedding(weight, indices))
    g = rng.standard_normal(out.shape).astype(dtype)
    for padding in (-1, 1):
        dweight = np.empty_like(weight)
        expected = reference.embedding_backward(g, indices, table[0], padding)
        kernels.call("embedding_backward", [dweight], [g, indices], ia=(table[0], padding))
        np.testing.assert_allclose(dweight, expected, rtol=1e-5, atol=1e-5)
        x = weight.copy()
        kernels.call("index_add_rows_", [], [x, indices, g], ia=(padding,))
        np.testing.assert_allclose(x, weight + expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("index", [-1, 5, 1 << 40])
def test_an_index_out_of_range_is_named_and_nothing_written(index):
    weight, indices = np.ones((5, 3)), np.array([0, index])
    with pytest.raises(ValueError, match=str(index)):
        kernels.call("embedding", [np.empty((2, 3))], [weight, indices])
    with pytest.raises(ValueError, match=str(index)):
        kernels.call("index_add_rows_", [], [weight, indices, np.ones((2, 3))], ia=(-1,))
    assert (weight == 1).all()


@pytest.mark.parametrize("width", [4, 300])
def test_threads_do_not_change_the_sums(width):
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 20, 3000)
    g = rng.standard_normal((3000, width)).astype(np.float32)
    before, seen = kernels.num_threads(), set()
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            out = np.empty((20, width), np.float32)
            kernels.call("embedding_backward", [out], [g, indices], ia=(20, -1))
            seen.add(out.tobytes())
    finally:
        kernels.set_num_threads(before)
    assert len(seen) == 1
