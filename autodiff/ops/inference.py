"""Operations fused for inference: a layer, relu and pooling in one pass, while rows lie in cache.

Made for frozen models (`nn.freeze`); in training their parts do as well.  Invariant: each equals
its parts one after the other, and so do its derivatives, of any order.
"""

from math import prod

from .. import core
from ..errors import ShapeError, ValueRangeError
from ..op import Plan, op
from ..rules import composite_vjp
from ..samples import Bad, Sample
from .activation import relu, relu_backward
from .conv import PANEL, conv2d, conv2d_flops, conv2d_infer, out_size, winograd_bytes
from .linalg import linear_flops, linear_infer, linear_vjp
from .pooling import max_pool2d

BAND = 1 << 17          # bytes of a thread's padded rows and result, where that holds one


# linear_relu ----------------------------------------------------------------------------------

def linear_relu_vjp(g, needs, x, weight, out):
    """That of linear, where out is positive: it holds in any order, so no composite is declared."""
    return linear_vjp(relu_backward(g, out), needs, x, weight)


def linear_relu_samples(draw):
    def away(x, weight, bias=None):
        """Positive rows and weights of one sign a row: no sum is near the kink at 0."""
        signs = draw.bools(weight[0])[:, None] * 2.0 - 1
        args = [draw.positive(*x), (draw.positive(*weight) * signs).astype(draw.dtype)]
        return Sample(*args, *([] if bias is None else [0.01 * draw.normal(bias)]))
    return [away((2, 3), (4, 3), 4), away((5, 3), (7, 3)), away((3,), (2, 3), 2),
            away((2, 2, 40), (2, 40), 2), away((0, 3), (2, 3), 2)]


linear_relu = op(
    "linear_relu", "x weight bias?", "linear, then relu; weight is (out, in).",
    formula="out = max(0, x weight^T + bias)", kernel="linear_relu", infer=linear_infer,
    promote="same", saves={"x": "weight out", "weight": "x out", "bias": "out"},
    vjp=linear_relu_vjp, method=False,
    flops=lambda plan, *inputs: linear_flops(plan, *inputs) + prod(plan.outputs[0][0]),
    samples=linear_relu_samples,
    bad=lambda draw: [Bad(ShapeError, "does not end in the 4 features", draw.normal(2, 3),
                          draw.normal(5, 4)),
                      Bad(ShapeError, r"bias must have shape \(4,\)", draw.normal(2, 3),
                          draw.normal(4, 3), draw.normal(3))])


# conv2d_relu ----------------------------------------------------------------------------------

def conv2d_relu_infer(x, weight, bias, stride, padding, dilation, pool):
    plan = conv2d_infer(x, weight, bias, stride, padding, dilation, 1, "conv2d_relu")
    (n, k, *size), dtype = plan.outputs[0]
    geo = (*plan.attrs[:3], bool(pool))
    if pool and min(size) < 2:
        raise ShapeError(f"conv2d_relu: the result of size {tuple(size)} is smaller than the 2 x 2 "
                         "that pool=True takes the largest of")
    out = (n, k, *(m // 2 for m in size)) if pool else (n, k, *size)
    return Plan([(out, dtype)], ia=(*plan.ia[:6], int(geo[3])), attrs=geo)


def conv2d_relu_composite(x, weight, bias=None, stride=1, padding=0, dilation=1, pool=False):
    out = relu(conv2d(x, weight, bias, stride, padding, dilation))
    return max_pool2d(out, 2) if pool else out


def conv2d_relu_vjp(g, needs, x, weight, bias, stride, padding, dilation, pool):
    """By its parts, computed once more: where the maxima lay is not kept."""
    return composite_vjp(conv2d_relu.op, (x, weight, bias), (stride, padding, dilation, pool), g,
                         needs, core)


def conv2d_relu_flops(plan, x, weight, bias=None, **attrs):
    inner = conv2d_infer(x, weight, bias, *plan.attrs[:3], 1)
    return conv2d_flops(inner, x, weight, bias) + (1 + bool(plan.attrs[3])) * prod(
        inner.outputs[0][0])


def conv2d_relu_scratch(plan, x, weight, bias=None, threads=1, **attrs):
    """The packed weights, and for each thread the padded rows that some rows of the result read,
    beside those rows themselves where they are pooled."""
    stride, padding, dilation, pool = plan.attrs
    (outs, channels, *kernel), step = weight.shape, 1 + pool
    size = out_size("conv2d_relu", x.shape[2:], kernel, stride, padding, dilation)
    packed = -(-outs // PANEL) * PANEL * channels * prod(kernel) * x.dtype.itemsize
    high, wide = ((n - 1) * s + (k - 1) * d + 1
                  for n, s, k, d in zip((step, size[1]), stride, kernel, dilation))
    piece = (channels * high * wide + pool * step * outs * size[1]) * x.dtype.itemsize
    general = -(-packed // 64) * 64 + threads * -(-max(piece, BAND) // 64) * 64
    return max(general, winograd_bytes(channels, outs, size, kernel, stride, dilation, 1, x.dtype,
                                       threads, pool))


def conv2d_relu_samples(draw):
    def away(x, weight, bias=False, **attrs):
        """Positive images and weights of one sign a channel: no sum is near the kink at 0."""
        signs = draw.bools(weight[0])[:, None, None, None] * 2.0 - 1
        return Sample(draw.positive(*x), (draw.positive(*weight) * signs).astype(draw.dtype),
                      0.01 * draw.normal(weight[0]) if bias else None, **attrs)
    return [away((2, 2, 4, 5), (3, 2, 3, 2), True),
            away((2, 2, 4, 4), (3, 2, 3, 3), True, padding=1, pool=True),
            away((1, 2, 5, 6), (2, 2, 3, 3), stride=(2, 1), padding=(0, 1), pool=True),
            away((1, 1, 5, 4), (2, 1, 2, 2), True, dilation=2),
            away((0, 2, 3, 3), (2, 2, 2, 2), True)]


def conv2d_relu_bad(draw):
    x, w = draw.normal(2, 3, 4, 4), draw.normal(6, 3, 3, 3)
    return [Bad(ShapeError, "x has 3 channels", x, draw.normal(6, 2, 3, 3)),
            Bad(ShapeError, "smaller than the 2 x 2", x, draw.normal(6, 3, 4, 3), pool=True),
            Bad(ValueRangeError, "stride must be at least 1", x, w, stride=0)]


conv2d_relu = op(
    "conv2d_relu", "x weight bias?", "conv2d of one group, then relu; pool: then the largest of "
    "each 2 x 2, a rest of one row or column left out.",
    formula="out[n, k] = max(0, bias[k] + sum_c weight[k, c] * x[n, c])",
    attrs={"stride": 1, "padding": 0, "dilation": 1, "pool": False}, kernel="conv2d_relu",
    infer=conv2d_relu_infer, promote="same", saves={"x weight bias": "x weight bias"},
    vjp=conv2d_relu_vjp, composite=conv2d_relu_composite, method=False, flops=conv2d_relu_flops,
    scratch=conv2d_relu_scratch, samples=conv2d_relu_samples, bad=conv2d_relu_bad)
