"""Convolutions as functions, over sequences and images.

One dimension is two with a height of one; transposed convolution is the gradient of convolution
for its input.  Invariant: weights are PyTorch's shapes.
"""

import autodiff as ad

from ..errors import ArgumentError, ValueRangeError, ints, need_ndim, need_tensor


def spatial(name, x, axes, run):
    """`run` on images (N, C, H, W) of x; x has `axes` (1 or 2) spatial axes, a batch axis or
    none."""
    need_tensor(name, x)
    form = "(C, H, W) or (N, C, H, W)" if axes == 2 else "(C, L) or (N, C, L)"
    need_ndim(name, x, (axes + 1, axes + 2), form)
    batched = x.ndim == axes + 2
    if axes == 2 and batched:
        return run(x)
    size = x.shape if batched else (1, *x.shape)
    y = run(x.reshape(size if axes == 2 else (*size[:2], 1, size[2])))
    size = y.shape if axes == 2 else (*y.shape[:2], y.shape[3])
    return y.reshape(size if batched else size[1:])


def flat(name, attr, value, least, other=1):
    """One integer of a 1-d layer as the pair of its 2-d form."""
    return other, ints(name, attr, value, 1, least)[0]


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of sequences (N, C, L) or (C, L) with weight (C_out, C/groups, K).

    padding: an integer, "valid", or "same" (stride 1, odd dilated kernels).
    """
    need_tensor("conv1d", weight, "weight")
    need_ndim("conv1d", weight, (3,), "(C_out, C/groups, K)", "weight")
    if isinstance(padding, str):
        padding = same_padding(padding, weight.shape[2:], stride, dilation)
    geometry = (flat("conv1d", "stride", stride, 1), flat("conv1d", "padding", padding, 0, 0),
                flat("conv1d", "dilation", dilation, 1), groups)
    wide = ad.expand_dims(weight, 2)
    return spatial("conv1d", input, 1, lambda x: ad.conv2d(x, wide, bias, *geometry))


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of images (N, C, H, W) or (C, H, W) with weight (C_out, C/groups, KH, KW).

    padding: an integer, a pair, "valid", or "same" (stride 1, odd dilated kernels).
    """
    if isinstance(padding, str):
        padding = same_padding(padding, weight.shape[2:], stride, dilation)
    return spatial("conv2d", input, 2,
                   lambda x: ad.conv2d(x, weight, bias, stride, padding, dilation, groups))


def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    """conv_transpose2d over sequences: weight (C, C_out/groups, K)."""
    name = "conv_transpose1d"
    need_tensor(name, weight, "weight")
    need_ndim(name, weight, (3,), "(C, C_out/groups, K)", "weight")
    return spatial(name, input, 1, lambda x: _transposed(
        name, x, ad.expand_dims(weight, 2), bias, flat(name, "stride", stride, 1),
        flat(name, "padding", padding, 0, 0), flat(name, "output_padding", output_padding, 0, 0),
        groups, flat(name, "dilation", dilation, 1)))


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    """The gradient of conv2d for its input, applied to (N, C, H, W) or (C, H, W): each pixel
    stamps weight (C, C_out/groups, KH, KW) on a grid of `stride`.

    The size is (n - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1, with
    output_padding smaller than stride.
    """
    name = "conv_transpose2d"
    return spatial(name, input, 2, lambda x: _transposed(
        name, x, weight, bias, ints(name, "stride", stride, 2),
        ints(name, "padding", padding, 2, 0), ints(name, "output_padding", output_padding, 2, 0),
        groups,
        ints(name, "dilation", dilation, 2)))


def _transposed(name, x, weight, bias, stride, padding, output_padding, groups, dilation):
    size = []
    for n, k, s, p, o, d in zip(x.shape[2:], weight.shape[2:], stride, padding, output_padding,
                                dilation, strict=True):
        if o >= s:
            raise ValueRangeError(f"{name}: output_padding {output_padding} must be smaller than "
                                  f"the stride {stride}")
        size.append((n - 1) * s - 2 * p + d * (k - 1) + o + 1)
    out = ad.conv2d_backward_input(x, weight, tuple(size), stride, padding, dilation, groups)
    return out if bias is None else out + bias.reshape((bias.shape[0], 1, 1))


def same_padding(padding, kernel_size, stride, dilation):
    """"valid" or "same" as integers, one for each spatial axis."""
    count = len(kernel_size)
    if padding == "valid":
        return (0,) * count
    if padding != "same":
        raise ArgumentError(f"conv2d: padding must be an integer, a pair, 'same' or 'valid', got "
                            f"{padding!r}")
    if stride != 1 and any(s != 1 for s in stride):
        raise ArgumentError(f"conv2d: padding='same' needs stride 1, got {stride}")
    d = dilation if isinstance(dilation, (tuple, list)) else (dilation,) * count
    reach = [dk * (k - 1) for dk, k in zip(d, kernel_size, strict=True)]
    if any(r % 2 for r in reach):
        raise ArgumentError(f"conv2d: padding='same' would be uneven for kernel {kernel_size} with "
                            f"dilation {d}; use an odd kernel")
    return tuple(r // 2 for r in reach)
