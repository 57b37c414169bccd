"""Conv1d, Conv2d and their transposes: cross-correlation with learned kernels.

Invariant: sequences are (N, C, L) and images (N, C, H, W); weight is (C_out, C_in / groups, ...),
transposed (C_in, C_out / groups, ...), as in PyTorch.
"""

import autodiff as ad

from . import functional as F
from . import init
from .errors import (
    ArgumentError,
    ValueRangeError,
    ints,
    need_like,
    need_ndim,
    need_size,
    positive_int,
)
from .module import Module
from .parameter import Parameter


class Convolution(Module):
    """What the four share: `axes` spatial axes, weight and bias uniform within
    1 / sqrt(fan_in)."""

    axes, form = 2, "(C, H, W) or (N, C, H, W)"
    modes = ("zeros",)          # what may stand around the input

    def _set(self, in_channels, out_channels, groups, padding_mode, **sizes):
        name = type(self).__name__
        if padding_mode not in self.modes:
            raise ArgumentError(f"{name}: padding_mode must be "
                                f"{' or '.join(map(repr, self.modes))}, got {padding_mode!r}")
        self.padding_mode = padding_mode
        self.in_channels = positive_int(name, "in_channels", in_channels)
        self.out_channels = positive_int(name, "out_channels", out_channels)
        for key, value in sizes.items():
            least = 0 if "padding" in key else 1
            setattr(self, key, value if isinstance(value, str) else
                    ints(name, key, value, self.axes, least))
        self.groups = positive_int(name, "groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueRangeError(f"{name}: groups={groups} must divide in_channels={in_channels} "
                                  f"and out_channels={out_channels}")

    def _make(self, rows, columns, bias, dtype):
        shape = (rows, columns // self.groups, *self.kernel_size)
        self.weight = Parameter(ad.empty(shape, dtype=dtype))
        self.register_parameter("bias", Parameter(ad.empty((self.out_channels,), dtype=dtype))
                                if bias else None)
        self.reset_parameters()

    def reset_parameters(self, generator=None):
        """Draw weight and bias anew."""
        init.linear_like_(self.weight, self.bias, generator)

    def _check(self, input):
        name, weight = type(self).__name__, self.weight
        if getattr(input, "dtype", None) != weight.dtype:
            need_like(name, input, weight)
        need_ndim(name, input, (self.axes + 1, self.axes + 2), self.form)
        remedy = None
        if input.ndim == self.axes + 1:
            remedy = f"it was read without a batch axis; add the missing axis of {self.form}"
        need_size(name, input, -1 - self.axes, self.in_channels, "in_channels", remedy=remedy)

    def extra_repr(self):
        text = (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
                f"stride={self.stride}")
        for key, default in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, key, (default,) * self.axes)
            if value != (default,) * self.axes:
                text += f", {key}={value}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Direct(Convolution):
    """Conv1d and Conv2d."""

    modes = ("zeros", "reflect", "replicate", "circular")

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 groups=1, bias=True, padding_mode="zeros", *, dtype=None):
        super().__init__()
        self._set(in_channels, out_channels, groups, padding_mode, kernel_size=kernel_size,
                  stride=stride, padding=padding, dilation=dilation)
        self._pad = self.padding
        if isinstance(padding, str):
            self._pad = F.same_padding(padding, self.kernel_size, self.stride, self.dilation)
        if padding_mode != "zeros":
            self._sides = [p for p in reversed(self._pad) for _ in range(2)]
            self._pad = (0,) * self.axes
        self._make(out_channels, in_channels, bias, dtype)

    def forward(self, input):
        self._check(input)
        if self.padding_mode != "zeros":
            input = F.pad(input, self._sides, self.padding_mode)
        run = F.conv2d if self.axes == 2 else F.conv1d
        return run(input, self.weight, self.bias, self.stride, self._pad, self.dilation,
                   self.groups)


class Conv2d(Direct):
    """out[n, k] = bias[k] + sum_c weight[k, c] * input[n, c]; (N, C, H, W) or (C, H, W).

    padding: an integer, a pair, "valid" or "same", filled as padding_mode says: "zeros",
    "reflect", "replicate" or "circular". groups=in_channels is a depthwise convolution.
    weight and bias start uniform within 1 / sqrt(C_in / groups * KH * KW).
    """


class Conv1d(Direct):
    """Conv2d over sequences: (N, C, L) or (C, L), weight (C_out, C_in / groups, K)."""

    axes, form = 1, "(C, L) or (N, C, L)"


class Transposed(Convolution):
    """ConvTranspose1d and ConvTranspose2d."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0,
                 output_padding=0, groups=1, bias=True, dilation=1, padding_mode="zeros", *,
                 dtype=None):
        super().__init__()
        self._set(in_channels, out_channels, groups, padding_mode, kernel_size=kernel_size,
                  stride=stride, padding=padding, dilation=dilation,
                  output_padding=output_padding)
        self._make(in_channels, out_channels, bias, dtype)

    def forward(self, input, output_size=None):
        self._check(input)
        run = F.conv_transpose2d if self.axes == 2 else F.conv_transpose1d
        return run(input, self.weight, self.bias, self.stride, self.padding,
                   self._output_padding(input, output_size), self.groups, self.dilation)

    def _output_padding(self, input, output_size):
        if output_size is None:
            return self.output_padding
        name, inner = type(self).__name__, input.shape[-self.axes:]
        wanted = ints(name, "output_size", tuple(output_size)[-self.axes:], self.axes)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in
                 zip(inner, self.kernel_size, self.stride, self.padding, self.dilation,
                     strict=True)]
        if any(not 0 <= w - m < s for w, m, s in zip(wanted, least, self.stride, strict=True)):
            most = [m + s - 1 for m, s in zip(least, self.stride, strict=True)]
            raise ValueRangeError(f"{name}: output_size must be between {least} and {most}, got "
                                  f"{list(wanted)}")
        return tuple(w - m for w, m in zip(wanted, least, strict=True))


class ConvTranspose2d(Transposed):
    """Each pixel of (N, C, H, W) or (C, H, W) stamps its kernel on a grid of `stride`: the
    gradient of a Conv2d for its input.

    The size becomes (n - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1;
    output_padding is smaller than stride, or follows from forward(input, output_size).
    """


class ConvTranspose1d(Transposed):
    """ConvTranspose2d over sequences: (N, C, L) or (C, L), weight (C_in, C_out / groups, K)."""

    axes, form = 1, "(C, L) or (N, C, L)"
