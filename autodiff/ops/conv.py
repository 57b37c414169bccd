"""Two-dimensional convolution: conv2d and its two backward operations.

PyTorch's semantics: x is (N, C_in, H, W), weight (C_out, C_in / groups, KH, KW), no flip of the
kernel.  Invariant: the three operations are the three contractions of one trilinear form
(out, x, weight), so the derivatives of each are the other two, and any order follows.
conv2d_backward_input is also what others call transposed convolution.
"""

from math import prod

from ..errors import ArgumentError, ShapeError, ValueRangeError
from ..infer import need_float, need_ndim
from ..op import Plan, op
from ..samples import Bad, Sample

ATTRS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def pair(name, attr, value, least):
    """`value`, an int or a pair of ints, as a pair of ints >= least."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(hasattr(v, "__index__") and not isinstance(v, bool)
                                   for v in values):
        raise ArgumentError(f"{name}: {attr} must be an integer or a pair of integers, got "
                            f"{value!r}")
    values = tuple(v.__index__() for v in values)
    if min(values) < least:
        raise ValueRangeError(f"{name}: {attr} must be at least {least}, got {value!r}")
    return values


def geometry(name, stride, padding, dilation, groups):
    """The attributes in normal form: three pairs and the number of groups."""
    if isinstance(groups, bool) or not hasattr(groups, "__index__"):
        raise ArgumentError(f"{name}: groups must be an integer, got {groups!r}")
    if groups.__index__() < 1:
        raise ValueRangeError(f"{name}: groups must be at least 1, got {groups!r}")
    return (pair(name, "stride", stride, 1), pair(name, "padding", padding, 0),
            pair(name, "dilation", dilation, 1), groups.__index__())


def need_groups(name, groups, c_in, c_out):
    """ShapeError unless `groups` divides both numbers of channels."""
    for what, channels in (("input", c_in), ("output", c_out)):
        if channels % groups:
            raise ShapeError(f"{name}: groups={groups} does not divide the {channels} {what} "
                             "channels")


def out_size(name, size, kernel, stride, padding, dilation):
    """Sizes of the output; ShapeError where the kernel is larger than the padded input."""
    out = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation):
        if k < 1:
            raise ShapeError(f"{name}: kernel of size {tuple(kernel)} is empty")
        if n + 2 * p < d * (k - 1) + 1:
            raise ShapeError(f"{name}: kernel of size {tuple(kernel)} with dilation "
                             f"{tuple(dilation)} is larger than the input of size {tuple(size)} "
                             f"padded by {tuple(padding)}")
        out.append((n + 2 * p - d * (k - 1) - 1) // s + 1)
    return tuple(out)


def need_out(name, g, n, c_out, size, kernel, geo):
    """ShapeError unless g has the shape of the convolution's output."""
    expected = (n, c_out, *out_size(name, size, kernel, *geo[:3]))
    if tuple(g.shape) != expected:
        raise ShapeError(f"{name}: g must have the output's shape {expected}, got "
                         f"{tuple(g.shape)}")


def integers(geo, *more):
    """The kernel's integers, in the order of its twin."""
    stride, padding, dilation, groups = geo
    return (*stride, *padding, *dilation, groups, *more)


def products(out, weight, kernel):
    """Operations: a multiplication and an addition for each tap of each output, padding too."""
    return 2 * prod(out) * weight[1] * prod(kernel)


def scratch_bytes(x, weight, out, dtype, threads):
    """Bytes of scratch of one of the three kernels; x, weight, out are shapes.

    For what does not go without columns. Each thread unfolds a block of columns, (C_in / groups)
    KH KW for each place of the output, and gathers the output's channels of the block beside it.
    The kernels size their blocks by what they are given: about a megabyte, which stays in the
    second-level cache.
    """
    taps, channels = prod(weight[1:]), weight[0] // max(1, x[1] // max(1, weight[1]))
    width = max(64, min(1024, (1 << 18) // max(1, taps)), out[3])
    return threads * -(-(taps + channels) * width * dtype.itemsize // 64) * 64


PANEL = 32              # channels of packed weights that lie together, at most (kernels/panels.h)
FEW, FEW_TAPS, NARROW, COPY = 16, 16, 4, 1 << 18        # as in kernels/conv.pyx


def direct_bytes(channels, outs, columns, kernel, stride, dilation, groups, dtype, threads):
    """Scratch of a convolution without columns; 0 where the shapes do not suit it.

    channels, outs: of one group; columns: of the output. The packed weights, and for each thread
    a padded copy of the rows that some rows of the output read.
    """
    unit = tuple(kernel) == (1, 1) and tuple(stride) == (1, 1)
    if channels * prod(kernel) < FEW_TAPS or outs < FEW or columns < NARROW or unit:
        return 0
    packed = groups * -(-outs // PANEL) * PANEL * channels * prod(kernel) * dtype.itemsize
    wide = (columns - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    row = channels * wide * ((kernel[0] - 1) * dilation[0] + 1) * dtype.itemsize
    return -(-packed // 64) * 64 + threads * -(-max(row, COPY) // 64) * 64


LEAST, MOST, TILES, LANES = 16, 1 << 14, 16, 16     # as in kernels/winograd.pyx and winograd.h
FEW_TILES, MOST_SUM = 12, 1 << 12


def _suits_winograd(channels, outs, kernel, stride, dilation, groups, dtype):
    return (tuple(kernel) == (3, 3) and tuple(stride) == tuple(dilation) == (1, 1) and groups == 1
            and dtype.name == "float32" and min(channels, outs) >= LEAST
            and channels * outs <= MOST)


def winograd_bytes(channels, outs, size, kernel, stride, dilation, groups, dtype, threads,
                   pool=False):
    """Scratch of a convolution by minimal filtering; 0 where the shapes do not suit it.

    size: of the output. The transformed weights, and for each thread the transforms of some tiles
    beside a padded copy and the result of some rows of tiles, channels last.
    """
    if not _suits_winograd(channels, outs, kernel, stride, dilation, groups, dtype):
        return 0
    high, wide = (n // 2 if pool else -(-n // 2) for n in size)
    c, k = -(-channels // LANES) * LANES, -(-outs // PANEL) * PANEL
    line = 2 * (2 * wide + 2) * c + (1 if pool else 4) * wide * k
    piece = 16 * TILES * (c + PANEL) + 2 * (2 * wide + 2) * c + max(
        line, min(high * line, COPY // 4))
    return 16 * k * channels * 4 + threads * -(-piece * 4 // 64) * 64


# conv2d ---------------------------------------------------------------------------------------

def conv2d_infer(x, weight, bias, stride, padding, dilation, groups, name="conv2d"):
    need_float(name, x=x, weight=weight, bias=bias)
    need_ndim(name, 4, x=x, weight=weight)
    geo = geometry(name, stride, padding, dilation, groups)
    (n, c, *size), (k, cg, *kernel) = x.shape, weight.shape
    need_groups(name, geo[3], c, k)
    if c != cg * geo[3]:
        raise ShapeError(f"{name}: x has {c} channels, weight of shape {tuple(weight.shape)} "
                         f"with groups={geo[3]} takes {cg * geo[3]}")
    if bias is not None and tuple(bias.shape) != (k,):
        raise ShapeError(f"{name}: bias must have shape {(k,)}, got {tuple(bias.shape)}")
    out = out_size(name, size, kernel, *geo[:3])
    return Plan([((n, k, *out), x.dtype)], ia=integers(geo), attrs=geo)


def conv2d_vjp(g, needs, x, weight, x_shape, weight_shape, stride, padding, dilation, groups):
    geo = stride, padding, dilation, groups
    return (conv2d_backward_input(g, weight, x_shape[2:], *geo) if needs & 1 else None,
            conv2d_backward_weight(g, x, weight_shape[2:], *geo) if needs & 2 else None,
            g.sum((0, 2, 3)) if needs & 4 else None)


def conv2d_jvp(dx, dweight, dbias, x, weight, stride, padding, dilation, groups):
    geo = stride, padding, dilation, groups
    return conv2d(dx, weight, dbias, *geo) + conv2d(x, dweight, None, *geo)


def conv2d_flops(plan, x, weight, bias, **attrs):
    out = plan.outputs[0][0]
    return products(out, weight.shape, weight.shape[2:]) + (0 if bias is None else prod(out))


def conv2d_samples(draw):
    def make(x, weight, bias=False, **attrs):
        return Sample(draw.normal(*x), draw.normal(*weight),
                      draw.normal(weight[0]) if bias else None, **attrs)
    return [make((2, 2, 4, 5), (3, 2, 3, 2), True), make((1, 1, 3, 3), (1, 1, 1, 1)),
            make((2, 3, 3, 4), (2, 3, 1, 1), True), make((2, 2, 4, 4), (2, 2, 3, 3), padding=1),
            make((1, 2, 5, 6), (2, 2, 3, 3), True, stride=2, padding=(1, 0)),
            make((1, 4, 5, 4), (4, 2, 2, 2), stride=(2, 1), dilation=(2, 1), groups=2),
            make((2, 3, 4, 4), (6, 1, 3, 3), True, padding=1, groups=3),
            make((0, 2, 3, 3), (2, 2, 2, 2), True), make((1, 0, 3, 3), (2, 0, 2, 2), True)]


def conv2d_bad(draw):
    x, w = draw.normal(2, 3, 4, 4), draw.normal(6, 3, 3, 3)
    return [Bad(ShapeError, "x has 3 channels", x, draw.normal(6, 2, 3, 3)),
            Bad(ShapeError, "groups=2 does not divide the 3 input", x, w, groups=2),
            Bad(ShapeError, "groups=3 does not divide the 4 output", x, draw.normal(4, 1, 3, 3),
                groups=3),
            Bad(ShapeError, "larger than the input", x, draw.normal(6, 3, 5, 3)),
            Bad(ShapeError, "larger than the input", x, w, dilation=2),
            Bad(ShapeError, "4 dimensions", draw.normal(3, 4, 4), w),
            Bad(ShapeError, "bias must have shape", x, w, draw.normal(3)),
            Bad(ValueRangeError, "stride must be at least 1", x, w, stride=-1),
            Bad(ValueRangeError, "padding must be at least 0", x, w, padding=(0, -1)),
            Bad(ArgumentError, "stride must be an integer or a pair", x, w, stride=(1, 2, 3)),
            Bad(ArgumentError, "groups must be an integer", x, w, groups=1.0)]


def conv2d_scratch(plan, x, weight, bias=None, threads=1, **attrs):
    out, ia = plan.outputs[0][0], plan.ia
    shape = weight.shape[2:], ia[:2], ia[4:6], ia[6], x.dtype, threads
    direct = direct_bytes(weight.shape[1], weight.shape[0] // ia[6], out[3], *shape)
    return max(direct, winograd_bytes(*weight.shape[1::-1], out[2:], *shape)) \
        or scratch_bytes(x.shape, weight.shape, out, x.dtype, threads)


conv2d = op(
    "conv2d", "x weight bias?", "2-d cross-correlation of images (N, C, H, W), as in PyTorch.",
    formula="out[n, k] = bias[k] + sum_c weight[k, c] * x[n, c]", attrs=ATTRS, kernel="conv2d",
    infer=conv2d_infer, promote="same", saves={"x": "weight", "weight": "x"}, vjp=conv2d_vjp,
    jvp=conv2d_jvp, flops=conv2d_flops, scratch=conv2d_scratch,
    samples=conv2d_samples, bad=conv2d_bad, method=False,
    source="PyTorch, torch.nn.functional.conv2d")


# conv2d_backward_input ------------------------------------------------------------------------

def backward_input_infer(g, weight, size, stride, padding, dilation, groups):
    name = "conv2d_backward_input"
    need_float(name, g=g, weight=weight)
    need_ndim(name, 4, g=g, weight=weight)
    size = pair(name, "size", size, 0)
    geo = geometry(name, stride, padding, dilation, groups)
    k, cg, *kernel = weight.shape
    need_groups(name, geo[3], cg * geo[3], k)
    need_out(name, g, g.shape[0], k, size, kernel, geo)
    return Plan([((g.shape[0], cg * geo[3], *size), g.dtype)], ia=integers(geo, *size),
                attrs=(size, *geo))


def backward_input_vjp(u, needs, g, weight, weight_shape, stride, padding, dilation, groups):
    geo = stride, padding, dilation, groups
    return (conv2d(u, weight, None, *geo) if needs & 1 else None,
            conv2d_backward_weight(g, u, weight_shape[2:], *geo) if needs & 2 else None)


def backward_input_jvp(dg, dweight, g, weight, size, stride, padding, dilation, groups):
    geo = size, stride, padding, dilation, groups
    return conv2d_backward_input(dg, weight, *geo) + conv2d_backward_input(g, dweight, *geo)


def backward_input_samples(draw):
    return [Sample(draw.normal(2, 3, 3, 4), draw.normal(3, 2, 2, 2), (4, 5)),
            Sample(draw.normal(1, 4, 2, 3), draw.normal(4, 1, 3, 2), (4, 5), stride=2,
                   padding=(1, 1), groups=2),
            Sample(draw.normal(2, 4, 2, 2), draw.normal(4, 1, 2, 2), (4, 4), dilation=2, groups=4),
            Sample(draw.normal(0, 2, 3, 3), draw.normal(2, 2, 1, 1), (3, 3))]


def backward_input_bad(draw):
    return [Bad(ShapeError, "g must have the output's shape", draw.normal(2, 3, 3, 3),
                draw.normal(3, 2, 2, 2), (4, 5)),
            Bad(ShapeError, "larger than the input", draw.normal(2, 3, 1, 1),
                draw.normal(3, 2, 3, 3), (2, 2))]


def backward_input_scratch(plan, g, weight, threads=1, **attrs):
    """Without columns it is a convolution of g, stride 1, with channels changed over."""
    gx, ia, kernel = plan.outputs[0][0], plan.ia, weight.shape[2:]
    inside = all(p <= d * (k - 1) for p, d, k in zip(ia[2:4], ia[4:6], kernel))
    shape = kernel, (1, 1), ia[4:6], ia[6], g.dtype, threads
    direct = direct_bytes(weight.shape[0] // ia[6], weight.shape[1], gx[3], *shape)
    if direct and inside and tuple(ia[:2]) == (1, 1):
        return max(direct, winograd_bytes(*weight.shape[:2], gx[2:], *shape))
    return scratch_bytes(gx, weight.shape, g.shape, g.dtype, threads)


conv2d_backward_input = op(
    "conv2d_backward_input", "g weight",
    "Gradient of conv2d for its input (transposed convolution).",
    formula="gx[n, c, i, j] = sum of g[n, k, oh, ow] weight[k, c, kh, kw] over the places that "
            "read x[n, c, i, j]",
    attrs={"size": None, **ATTRS}, kernel="conv2d_backward_input", infer=backward_input_infer,
    promote="same", saves={"g": "weight", "weight": "g"}, vjp=backward_input_vjp,
    jvp=backward_input_jvp, method=False,
    flops=lambda plan, g, weight, **attrs: products(g.shape, weight.shape, weight.shape[2:]),
    scratch=backward_input_scratch,
    samples=backward_input_samples, bad=backward_input_bad)


# conv2d_backward_weight -----------------------------------------------------------------------

def backward_weight_infer(g, x, size, stride, padding, dilation, groups):
    name = "conv2d_backward_weight"
    need_float(name, g=g, x=x)
    need_ndim(name, 4, g=g, x=x)
    kernel = pair(name, "size", size, 1)
    geo = geometry(name, stride, padding, dilation, groups)
    need_groups(name, geo[3], x.shape[1], g.shape[1])
    need_out(name, g, x.shape[0], g.shape[1], x.shape[2:], kernel, geo)
    return Plan([((g.shape[1], x.shape[1] // geo[3], *kernel), g.dtype)],
                ia=integers(geo, *kernel), attrs=(kernel, *geo))


def backward_weight_vjp(u, needs, g, x, x_shape, stride, padding, dilation, groups):
    geo = stride, padding, dilation, groups
    return (conv2d(x, u, None, *geo) if needs & 1 else None,
            conv2d_backward_input(g, u, x_shape[2:], *geo) if needs & 2 else None)


def backward_weight_jvp(dg, dx, g, x, size, stride, padding, dilation, groups):
    geo = size, stride, padding, dilation, groups
    return conv2d_backward_weight(dg, x, *geo) + conv2d_backward_weight(g, dx, *geo)


def partials(n, weight):
    """Parts of the batch whose weight gradients are summed apart, then in order: up to 8, as far
    as they take 2**20 elements together.  The same rule as in kernels/conv.pyx."""
    return max(1, min(n, 8, (1 << 20) // max(1, prod(weight))))


def backward_weight_scratch(plan, g, x, threads=1, **attrs):
    weight, ia = plan.outputs[0][0], plan.ia
    columns = (partials(x.shape[0], weight) * -(-prod(weight) * x.dtype.itemsize // 64) * 64
               + scratch_bytes(x.shape, weight, g.shape, x.dtype, threads))
    high, wide = (-(-n // 2) for n in g.shape[2:])
    if (not _suits_winograd(weight[1], weight[0], weight[2:], ia[:2], ia[4:6], ia[6], x.dtype)
            or weight[0] * weight[1] > MOST_SUM or high * wide < FEW_TILES):
        return columns
    # Sums of 16 matrices instead of 9 weights; images channels-last, and the tiles of some rows.
    c, k = -(-weight[1] // LANES) * LANES, -(-weight[0] // PANEL) * PANEL
    line = 4 * (wide + 1) * c + wide * (16 * c + 20 * k)
    piece = 4 * (wide + 1) * c + max(line, min(high * line, COPY // 4))
    return max(columns, partials(x.shape[0], (16, c, k)) * 16 * c * k * 4
               + threads * -(-piece * 4 // 64) * 64)


def backward_weight_samples(draw):
    return [Sample(draw.normal(2, 3, 3, 4), draw.normal(2, 2, 4, 5), (2, 2)),
            Sample(draw.normal(1, 4, 2, 3), draw.normal(1, 2, 4, 5), (3, 2), stride=2,
                   padding=(1, 1), groups=2),
            Sample(draw.normal(2, 4, 2, 2), draw.normal(2, 4, 4, 4), 2, dilation=2, groups=4),
            Sample(draw.normal(0, 2, 3, 3), draw.normal(0, 2, 3, 3), (1, 1))]


def backward_weight_bad(draw):
    return [Bad(ShapeError, "g must have the output's shape", draw.normal(2, 3, 3, 3),
                draw.normal(2, 2, 4, 5), (2, 2)),
            Bad(ValueRangeError, "size must be at least 1", draw.normal(2, 3, 3, 3),
                draw.normal(2, 2, 4, 5), 0)]


conv2d_backward_weight = op(
    "conv2d_backward_weight", "g x", "Gradient of conv2d for its weight.",
    formula="gweight[k, c] = sum_n g[n, k] * x[n, c]", attrs={"size": None, **ATTRS},
    kernel="conv2d_backward_weight", infer=backward_weight_infer, promote="same",
    saves={"g": "x", "x": "g"}, vjp=backward_weight_vjp, jvp=backward_weight_jvp, method=False,
    flops=lambda plan, g, x, **attrs: products(g.shape, plan.outputs[0][0],
                                               plan.outputs[0][0][2:]),
    scratch=backward_weight_scratch, samples=backward_weight_samples, bad=backward_weight_bad)
