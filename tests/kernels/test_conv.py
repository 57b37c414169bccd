"""conv2d and its gradients against their twins: strides, padding, dilation, groups, sizes."""

import numpy as np
import pytest

import kernels
from kernels import reference

pytestmark = pytest.mark.skipif(kernels.PLAIN, reason="compiled kernels are off")

# x, weight, stride, padding, dilation, groups
CASES = {
    "plain": ((2, 3, 5, 6), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    "same": ((3, 4, 7, 5), (6, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "same, wide": ((2, 2, 4, 9), (3, 2, 5, 5), (1, 1), (2, 2), (1, 1), 1),
    "padding over the image": ((2, 2, 2, 2), (3, 2, 3, 3), (1, 1), (4, 5), (1, 1), 1),
    "stride": ((2, 3, 9, 8), (4, 3, 3, 3), (2, 3), (1, 0), (1, 1), 1),
    "stride leaves a rest": ((1, 1, 8, 8), (2, 1, 3, 3), (3, 3), (0, 0), (1, 1), 1),
    "dilation": ((2, 2, 9, 8), (3, 2, 3, 2), (1, 1), (2, 1), (2, 3), 1),
    "dilated same": ((2, 2, 9, 8), (3, 2, 3, 3), (1, 1), (2, 2), (2, 2), 1),
    "one by one": ((3, 5, 4, 4), (7, 5, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    "one by one, large": ((3, 5, 12, 13), (7, 5, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    "one by one, stride": ((3, 5, 12, 13), (7, 5, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    "one by one, grouped": ((2, 6, 12, 13), (4, 3, 1, 1), (1, 1), (0, 0), (1, 1), 2),
    "groups": ((2, 6, 6, 5), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 2),
    "depthwise": ((2, 5, 8, 7), (5, 1, 3, 3), (1, 1), (1, 1), (1, 1), 5),
    "depthwise, stride": ((2, 4, 9, 20), (8, 1, 3, 2), (2, 2), (1, 0), (1, 2), 4),
    "depthwise, wide": ((2, 3, 5, 50), (3, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
    "many out of one": ((2, 3, 6, 6), (15, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
    "many small images": ((37, 8, 4, 4), (6, 8, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "many small images, grouped": ((19, 8, 3, 4), (6, 4, 2, 2), (1, 1), (0, 0), (1, 1), 2),
    "bands": ((1, 3, 40, 50), (5, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "many taps": ((2, 130, 14, 14), (9, 130, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "wide channels": ((3, 20, 9, 11), (40, 20, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "wide channels, stride": ((2, 17, 11, 20), (16, 17, 3, 2), (2, 3), (1, 2), (1, 1), 1),
    "wide channels, dilated": ((2, 16, 12, 10), (33, 16, 3, 3), (1, 1), (2, 1), (2, 2), 1),
    "wide channels, grouped": ((2, 36, 7, 9), (40, 18, 2, 3), (1, 1), (0, 1), (1, 1), 2),
    "wide channels, much padding": ((2, 16, 4, 3), (16, 16, 3, 2), (1, 1), (3, 4), (1, 1), 1),
    "wide channels, bands": ((1, 16, 40, 50), (16, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "wide channels, small kernel": ((2, 16, 6, 5), (24, 16, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    "few taps": ((3, 1, 28, 28), (32, 1, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "few taps, grouped": ((2, 2, 9, 37), (12, 1, 3, 2), (2, 1), (1, 0), (1, 2), 2),
    "tiles": ((3, 32, 14, 14), (64, 32, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "tiles, few in an image": ((5, 32, 4, 5), (17, 32, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "tiles, many images": ((9, 16, 12, 13), (40, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "tiles, odd": ((2, 17, 9, 11), (33, 17, 3, 3), (1, 1), (2, 0), (1, 1), 1),
    "no image": ((0, 3, 5, 6), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    "no channel in": ((2, 0, 5, 6), (4, 0, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    "no channel in, long rows": ((2, 0, 5, 20), (4, 0, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    "no channel out": ((2, 3, 5, 6), (0, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
}


def close(got, want, terms):
    eps = np.finfo(got.dtype).eps
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=0, atol=64 * eps * (terms + 1) ** 0.5)


def make(case, dtype, seed=0):
    x, weight, *geo, groups = CASES[case]
    rng = np.random.default_rng(seed)
    ia = (*geo[0], *geo[1], *geo[2], groups)
    x, weight = (rng.standard_normal(s).astype(dtype) for s in (x, weight))
    bias = rng.standard_normal(weight.shape[0]).astype(dtype)
    out = reference.conv2d(x, weight, bias, *ia)
    g = rng.standard_normal(out.shape).astype(dtype)
    return x, weight, bias, out, g, ia


def scratch(x, weight, out, width, partials=8):
    """Bytes for `width` columns on each thread, and for the partial weight gradients."""
    channels = weight.shape[0] // max(1, x.shape[1] // max(1, weight.shape[1]))
    columns = (int(np.prod(weight.shape[1:])) + channels) * max(width, out.shape[3])
    front = max(1, min(x.shape[0], partials)) * -(-weight.nbytes // 64) * 64
    return front + kernels.num_threads() * -(-columns * x.itemsize // 64) * 64


def run(case, dtype, width=300, seed=0):
    x, weight, bias, want, g, ia = make(case, dtype, seed)
    work = scratch(x, weight, want, width)
    out, bare = np.full_like(want, np.nan), np.full_like(want, np.nan)
    kernels.call("conv2d", [out], [x, weight, bias], ia, work_bytes=work)
    kernels.call("conv2d", [bare], [x, weight, None], ia, work_bytes=work)
    gx, gw = np.full_like(x, np.nan), np.full_like(weight, np.nan)
    kernels.call("conv2d_backward_input", [gx], [g, weight], (*ia, *x.shape[2:]), work_bytes=work)
    kernels.call("conv2d_backward_weight", [gw], [g, x], (*ia, *weight.shape[2:]), work_bytes=work)
    return out, bare, gx, gw


@pytest.mark.parametrize("width", [1, 300, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_conv2d(case, dtype, width):
    x, weight, bias, want, g, ia = make(case, dtype)
    out, bare, gx, gw = run(case, dtype, width)
    taps = int(np.prod(weight.shape[1:]))
    close(out, want, taps)
    close(bare, want - bias[:, None, None], taps)
    close(gx, reference.conv2d_backward_input(g, weight, *ia, *x.shape[2:]),
          taps * weight.shape[0])
    close(gw, reference.conv2d_backward_weight(g, x, *ia, *weight.shape[2:]),
          g.shape[0] * g.shape[2] * g.shape[3])


@pytest.mark.parametrize("case", CASES)
def test_backward_weight_adds_into_out(case):
    x, weight, _, out, g, ia = make(case, np.float64)
    got = weight.copy()
    kernels.call("conv2d_backward_weight", [got], [g, x], (*ia, *weight.shape[2:]),
                 work_bytes=scratch(x, weight, out, 100), beta=1)
    close(got, weight + reference.conv2d_backward_weight(g, x, *ia, *weight.shape[2:]), g.size)


@pytest.mark.parametrize("case", ["same", "stride", "groups", "depthwise", "bands",
                                  "many small images", "many taps", "wide channels",
                                  "wide channels, bands", "few taps", "tiles"])
def test_results_do_not_depend_on_the_threads(case):
    before = kernels.num_threads()
    results = []
    try:
        for n in (1, 2, 3, 5):
            kernels.set_num_threads(n)
            # few taps: its gradient by columns, whose blocks would follow from this scratch
            results.append(run(case, np.float32, width=5000 if case == "few taps" else 300))
    finally:
        kernels.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def errors(case, work):
    """Largest error of forward, input and weight gradients in float32, against float64 twins."""
    x, weight, bias, out, g, ia = make(case, np.float32)
    tail, taps = (*ia, *x.shape[2:]), (*ia, *weight.shape[2:])
    calls = [("conv2d", out, [x, weight, bias], ia),
             ("conv2d_backward_input", x, [g, weight], tail),
             ("conv2d_backward_weight", weight, [g, x], taps)]
    found = []
    for name, like, ins, integers in calls:
        got = np.full_like(like, np.nan)
        kernels.call(name, [got], ins, integers, work_bytes=work)
        exact = getattr(reference, name)(*(a.astype(np.float64) for a in ins), *integers)
        found.append(np.abs(got - exact).max() / np.abs(exact).max())
    return found


@pytest.mark.parametrize("case", ["tiles", "tiles, odd", "tiles, many images"])
def test_minimal_filtering_errs_by_little(case):
    """In units of the largest result: within 16 units in the last place of float32."""
    x, weight, _, out, _, _ = make(case, np.float32)
    assert max(errors(case, 1 << 24)) < 16 * np.finfo(np.float32).eps


def test_a_missing_scratch_is_refused():
    x, weight, bias, out, _, ia = make("same", np.float32)
    with pytest.raises(ValueError):
        kernels.call("conv2d", [out], [x, weight, bias], ia)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", ["same", "depthwise", "one by one, large", "wide channels",
                                  "tiles", "few taps"])
def test_nan_stays_where_it_is_read(case, dtype):
    x, weight, bias, _, _, ia = make(case, dtype)
    x[0, 0, 2, 2] = np.nan
    want = reference.conv2d(x, weight, bias, *ia)
    out = np.zeros_like(want)
    kernels.call("conv2d", [out], [x, weight, bias], ia, work_bytes=scratch(x, weight, out, 5000))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(want))


def test_the_ops_ask_for_enough_scratch():
    from autodiff.ops import conv
    for case in CASES:
        x, weight, bias, want, g, ia = make(case, np.float32)
        attrs = dict(stride=ia[:2], padding=ia[2:4], dilation=ia[4:6], groups=ia[6])
        threads = kernels.num_threads()
        for op, name, ins, extra in [
                (conv.conv2d, "conv2d", [x, weight, bias], {}),
                (conv.conv2d_backward_input, "conv2d_backward_input", [g, weight],
                 {"size": x.shape[2:]}),
                (conv.conv2d_backward_weight, "conv2d_backward_weight", [g, x],
                 {"size": weight.shape[2:]})]:
            block, all_attrs = op.op, {**extra, **attrs}
            plan = block.infer(*ins, *all_attrs.values())
            out = np.empty(*plan.outputs[0])
            kernels.call(name, [out], ins, plan.ia,
                         work_bytes=block.scratch(plan, *ins, threads=threads, **all_attrs))
            close(out, getattr(reference, name)(*ins, *plan.ia), 10 * out.size + 1000)
