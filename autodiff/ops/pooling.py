"""Pooling over windows of images (N, C, H, W): max_pool2d and avg_pool2d, as in PyTorch.

Max pooling keeps, for each window, the place of its maximum within the window, in the smallest
integer type that holds it (a byte for windows up to 256).  Invariant: given those places, the
backward operation and its gather are linear, and each is the other's derivative.
"""

from math import prod

from .. import dtypes
from ..errors import ArgumentError, ShapeError, ValueRangeError
from ..infer import need_float, need_ndim
from ..op import Plan, op
from ..samples import Bad, Sample
from .conv import pair


def window(name, kernel_size, stride, padding, dilation, ceil_mode):
    """The attributes in normal form."""
    if not isinstance(ceil_mode, (bool, int)):
        raise ArgumentError(f"{name}: ceil_mode must be a bool, got {ceil_mode!r}")
    kernel = pair(name, "kernel_size", kernel_size, 1)
    stride = pair(name, "stride", kernel_size if stride is None else stride, 1)
    padding, dilation = pair(name, "padding", padding, 0), pair(name, "dilation", dilation, 1)
    for k, p, d in zip(kernel, padding, dilation):
        if p > (d * (k - 1) + 1) // 2:
            raise ValueRangeError(f"{name}: padding {padding} is more than half of the window of "
                                  f"size {kernel}: some windows would lie outside the input")
    return kernel, stride, padding, dilation, bool(ceil_mode)


def pooled_size(name, size, kernel, stride, padding, dilation, ceil_mode):
    """Sizes of the output; with ceil_mode the last window may stick out, but starts inside."""
    out = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation):
        room = n + 2 * p - d * (k - 1) - 1
        m = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (m - 1) * s >= n + p:
            m -= 1
        if m < 1 or n < 1:
            raise ShapeError(f"{name}: window of size {kernel} with dilation {dilation} is larger "
                             f"than the input of size {tuple(size)} padded by {padding}")
        out.append(m)
    return tuple(out)


def need_pooled(name, g, size, geo):
    """ShapeError unless g has the shape of the pooled output."""
    expected = (*g.shape[:2], *pooled_size(name, size, *geo))
    if tuple(g.shape) != expected:
        raise ShapeError(f"{name}: expected shape {expected}, got {tuple(g.shape)}")


def integers(geo, *more):
    """The kernel's integers, in the order of its twin."""
    kernel, stride, padding, dilation, ceil_mode = geo
    return (*kernel, *stride, *padding, *dilation, int(ceil_mode), *more)


def index_dtype(kernel):
    """The smallest integer type that holds a place in the window."""
    places = kernel[0] * kernel[1]
    return dtypes.uint8 if places <= 256 else dtypes.int16 if places <= 32768 else dtypes.int32


def taps(plan, *inputs, **attrs):
    """One operation for each element of each window, padding too."""
    return prod(plan.outputs[0][0]) * prod(plan.attrs[0])


# Maximum --------------------------------------------------------------------------------------

MAX_ATTRS = {"kernel_size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False}


def max_pool2d_infer(x, *attrs):
    need_float("max_pool2d", x=x)
    need_ndim("max_pool2d", 4, x=x)
    geo = window("max_pool2d", *attrs)
    out = (*x.shape[:2], *pooled_size("max_pool2d", x.shape[2:], *geo))
    return Plan([(out, x.dtype), (out, index_dtype(geo[0]))], ia=integers(geo), attrs=geo)


def max_pool2d_vjp(g, needs, place, x_shape, kernel_size, stride, padding, dilation, ceil_mode):
    return max_pool2d_backward(g, place, x_shape[2:], kernel_size, stride, padding, dilation,
                               ceil_mode)


def max_pool2d_samples(draw):
    return [Sample(draw.distinct(2, 2, 4, 6), 2),
            Sample(draw.distinct(1, 2, 5, 5), (3, 2), stride=(2, 1), padding=1),
            Sample(draw.distinct(1, 1, 6, 5), 2, stride=1, dilation=(2, 3)),
            Sample(draw.distinct(1, 1, 5, 6), 3, stride=2, ceil_mode=True),
            Sample(draw.distinct(1, 1, 17, 17), 17), Sample(draw.distinct(0, 2, 4, 4), 2)]


def max_pool2d_bad(draw):
    x = draw.normal(1, 1, 4, 4)
    return [Bad(ShapeError, "larger than the input", x, 5),
            Bad(ShapeError, "larger than the input", x, 3, dilation=2),
            Bad(ShapeError, "4 dimensions", draw.normal(4, 4), 2),
            Bad(ValueRangeError, "stride must be at least 1", x, 2, stride=-1),
            Bad(ValueRangeError, "kernel_size must be at least 1", x, 0),
            Bad(ValueRangeError, "more than half", x, 2, padding=2),
            Bad(ArgumentError, "kernel_size must be an integer", x)]


max_pool2d = op(
    "max_pool2d", "x", "Largest element of each window; padding counts as -inf, NaN wins.",
    formula="out[n, c, oh, ow] = max_ij x[n, c, oh sh + i dh - ph, ow sw + j dw - pw]",
    residuals="place", attrs=MAX_ATTRS, kernel="max_pool2d", infer=max_pool2d_infer,
    saves={"x": "place"}, vjp=max_pool2d_vjp, method=False, flops=taps,
    samples=max_pool2d_samples, bad=max_pool2d_bad,
    source="PyTorch, torch.nn.functional.max_pool2d")


def max_pool2d_backward_infer(g, place, size, *attrs):
    name = "max_pool2d_backward"
    need_float(name, g=g)
    need_ndim(name, 4, g=g, place=place)
    geo, size = window(name, *attrs), pair(name, "size", size, 1)
    need_place(name, g, place, geo)
    need_pooled(name, g, size, geo)
    return Plan([((*g.shape[:2], *size), g.dtype)], ia=integers(geo, *size), attrs=(size, *geo))


def need_place(name, g, place, geo):
    if place.dtype != index_dtype(geo[0]) or (g is not None and g.shape != place.shape):
        raise ShapeError(f"{name}: place must be the {index_dtype(geo[0])} residual of max_pool2d, "
                         f"got {place.dtype} {tuple(place.shape)}")


def max_pool2d_backward_vjp(u, needs, place, kernel_size, stride, padding, dilation, ceil_mode):
    return max_pool2d_gather(u, place, kernel_size, stride, padding, dilation, ceil_mode), None


def max_pool2d_backward_jvp(dg, place, size, kernel_size, stride, padding, dilation, ceil_mode):
    return max_pool2d_backward(dg, place, size, kernel_size, stride, padding, dilation, ceil_mode)


def places(draw, kernel, *shape):
    return draw.rng.integers(0, kernel, shape).astype(dtypes.uint8)


max_pool2d_backward = op(
    "max_pool2d_backward", "g place", "Each g added at the maximum of its window.",
    formula="gx[n, c, window(oh, ow)[place]] += g[n, c, oh, ow]",
    attrs={"size": None, **MAX_ATTRS}, kernel="max_pool2d_backward",
    infer=max_pool2d_backward_infer, saves={"g": "place"}, vjp=max_pool2d_backward_vjp,
    jvp=max_pool2d_backward_jvp, method=False,
    flops=lambda plan, g, place, **attrs: prod(g.shape),
    samples=lambda draw: [
        Sample(draw.normal(2, 2, 2, 3), places(draw, 4, 2, 2, 2, 3), (4, 6), 2),
        Sample(draw.normal(1, 1, 3, 4), places(draw, 4, 1, 1, 3, 4), (4, 5), 2, stride=1)],
    bad=lambda draw: [
        Bad(ShapeError, "place must be the uint8", draw.normal(1, 1, 2, 2),
            draw.ints(0, 4, 1, 1, 2, 2), (4, 4), 2),
        Bad(ShapeError, "expected shape", draw.normal(1, 1, 2, 2),
            places(draw, 4, 1, 1, 2, 2), (6, 4), 2)])


def max_pool2d_gather_infer(x, place, *attrs):
    name = "max_pool2d_gather"
    need_float(name, x=x)
    need_ndim(name, 4, x=x, place=place)
    geo = window(name, *attrs)
    need_place(name, None, place, geo)
    out = (*x.shape[:2], *pooled_size(name, x.shape[2:], *geo))
    if tuple(place.shape) != out:
        raise ShapeError(f"{name}: place must have shape {out}, got {tuple(place.shape)}")
    return Plan([(out, x.dtype)], ia=integers(geo), attrs=geo)


def max_pool2d_gather_vjp(g, needs, place, x_shape, kernel_size, stride, padding, dilation,
                          ceil_mode):
    return max_pool2d_backward(g, place, x_shape[2:], kernel_size, stride, padding, dilation,
                               ceil_mode), None


def max_pool2d_gather_jvp(dx, place, kernel_size, stride, padding, dilation, ceil_mode):
    return max_pool2d_gather(dx, place, kernel_size, stride, padding, dilation, ceil_mode)


max_pool2d_gather = op(
    "max_pool2d_gather", "x place", "The element of each window that max_pool2d chose.",
    formula="out[n, c, oh, ow] = x[n, c, window(oh, ow)[place]]", attrs=MAX_ATTRS,
    kernel="max_pool2d_gather", infer=max_pool2d_gather_infer, saves={"x": "place"},
    vjp=max_pool2d_gather_vjp, jvp=max_pool2d_gather_jvp, method=False,
    flops=lambda plan, x, place, **attrs: 0,
    samples=lambda draw: [
        Sample(draw.normal(2, 2, 4, 6), places(draw, 4, 2, 2, 2, 3), 2),
        Sample(draw.normal(1, 1, 4, 5), places(draw, 4, 1, 1, 3, 4), 2, stride=1)],
    bad=lambda draw: [Bad(ShapeError, "place must have shape", draw.normal(1, 1, 4, 4),
                          places(draw, 4, 1, 1, 2, 3), 2)])


# Mean -----------------------------------------------------------------------------------------

AVG_ATTRS = {"kernel_size": None, "stride": None, "padding": 0, "ceil_mode": False,
             "count_include_pad": True}


def avg_geometry(name, kernel_size, stride, padding, ceil_mode):
    return window(name, kernel_size, stride, padding, 1, ceil_mode)


def avg_plan(shape, dtype, geo, include, *size):
    kernel, stride, padding, _, ceil_mode = geo
    return Plan([(shape, dtype)], ia=(*kernel, *stride, *padding, int(ceil_mode),
                                       int(bool(include)), *size),
                attrs=(*([size] if size else []), kernel, stride, padding, ceil_mode,
                       bool(include)))


def avg_pool2d_infer(x, kernel_size, stride, padding, ceil_mode, count_include_pad):
    need_float("avg_pool2d", x=x)
    need_ndim("avg_pool2d", 4, x=x)
    geo = avg_geometry("avg_pool2d", kernel_size, stride, padding, ceil_mode)
    out = (*x.shape[:2], *pooled_size("avg_pool2d", x.shape[2:], *geo))
    return avg_plan(out, x.dtype, geo, count_include_pad)


def avg_pool2d_vjp(g, needs, x_shape, kernel_size, stride, padding, ceil_mode, count_include_pad):
    return avg_pool2d_backward(g, x_shape[2:], kernel_size, stride, padding, ceil_mode,
                               count_include_pad)


def avg_pool2d_samples(draw):
    x = draw.normal(1, 2, 5, 6)
    return [Sample(draw.normal(2, 2, 4, 6), 2), Sample(x, (3, 2), stride=(2, 1), padding=1),
            Sample(x, 3, stride=2, padding=1, count_include_pad=False),
            Sample(x, 2, ceil_mode=True), Sample(x, 3, stride=2, padding=1, ceil_mode=True),
            Sample(draw.normal(0, 2, 4, 4), 2)]


def avg_pool2d_bad(draw):
    x = draw.normal(1, 1, 4, 4)
    return [Bad(ShapeError, "larger than the input", x, 5),
            Bad(ValueRangeError, "stride must be at least 1", x, 2, stride=0),
            Bad(ValueRangeError, "more than half", x, 3, padding=2),
            Bad(ShapeError, "4 dimensions", draw.normal(4), 2)]


avg_pool2d = op(
    "avg_pool2d", "x",
    "Mean of each window; padding counts as zeros unless count_include_pad=False.",
    formula="out[n, c, oh, ow] = sum_ij x[n, c, oh sh + i - ph, ow sw + j - pw] / count",
    attrs=AVG_ATTRS, kernel="avg_pool2d", infer=avg_pool2d_infer, linear=True,
    vjp=avg_pool2d_vjp, method=False,
    flops=lambda plan, x, **attrs: taps(plan) + prod(plan.outputs[0][0]),
    samples=avg_pool2d_samples, bad=avg_pool2d_bad,
    source="PyTorch, torch.nn.functional.avg_pool2d")


def avg_pool2d_backward_infer(g, size, kernel_size, stride, padding, ceil_mode,
                              count_include_pad):
    name = "avg_pool2d_backward"
    need_float(name, g=g)
    need_ndim(name, 4, g=g)
    geo = avg_geometry(name, kernel_size, stride, padding, ceil_mode)
    size = pair(name, "size", size, 1)
    need_pooled(name, g, size, geo)
    return avg_plan((*g.shape[:2], *size), g.dtype, geo, count_include_pad, *size)


def avg_pool2d_backward_vjp(u, needs, kernel_size, stride, padding, ceil_mode,
                            count_include_pad):
    return avg_pool2d(u, kernel_size, stride, padding, ceil_mode, count_include_pad)


avg_pool2d_backward = op(
    "avg_pool2d_backward", "g", "Each g spread evenly over its window.",
    formula="gx[n, c, window(oh, ow)] += g[n, c, oh, ow] / count",
    attrs={"size": None, **AVG_ATTRS}, kernel="avg_pool2d_backward",
    infer=avg_pool2d_backward_infer, linear=True, vjp=avg_pool2d_backward_vjp, method=False,
    flops=lambda plan, g, **attrs: prod(g.shape) * (prod(plan.attrs[1]) + 1),
    samples=lambda draw: [
        Sample(draw.normal(2, 2, 2, 3), (4, 6), 2),
        Sample(draw.normal(1, 1, 3, 3), (5, 6), 3, stride=2, padding=1, count_include_pad=False)],
    bad=lambda draw: [Bad(ShapeError, "expected shape", draw.normal(1, 1, 2, 2), (6, 4), 2)])
