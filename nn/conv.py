"""Conv2d: cross-correlation of images with learned kernels.

Invariant: images are (N, C, H, W), weight is (C_out, C_in / groups, KH, KW), as in PyTorch.
"""

import autodiff as ad

from . import functional as F
from . import init
from .errors import (
    ArgumentError,
    ValueRangeError,
    need_like,
    need_ndim,
    need_size,
    pair,
    positive_int,
)
from .module import Module
from .parameter import Parameter


class Conv2d(Module):
    """out[n, k] = bias[k] + sum_c weight[k, c] * input[n, c]; (N, C, H, W) or (C, H, W).

    padding: an integer, a pair, "valid" or "same". weight and bias start uniform within
    1 / sqrt(C_in / groups * KH * KW).
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 groups=1, bias=True, padding_mode="zeros", dtype=None):
        super().__init__()
        if padding_mode != "zeros":
            raise ArgumentError(f"Conv2d: padding_mode must be 'zeros', got {padding_mode!r}")
        self.in_channels = positive_int("Conv2d", "in_channels", in_channels)
        self.out_channels = positive_int("Conv2d", "out_channels", out_channels)
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size)
        self.stride = pair("Conv2d", "stride", stride)
        self.dilation = pair("Conv2d", "dilation", dilation)
        self.padding = padding if isinstance(padding, str) else pair("Conv2d", "padding", padding,
                                                                     0)
        self.groups = positive_int("Conv2d", "groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueRangeError(f"Conv2d: groups={groups} must divide in_channels={in_channels} "
                                  f"and out_channels={out_channels}")
        self._pad = self.padding
        if isinstance(padding, str):
            self._pad = F.same_padding(padding, self.kernel_size, self.stride, self.dilation)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(ad.empty(shape, dtype=dtype))
        self.register_parameter("bias", Parameter(ad.empty((out_channels,), dtype=dtype))
                                if bias else None)
        self.reset_parameters()

    def reset_parameters(self, generator=None):
        """Draw weight and bias anew."""
        init.linear_like_(self.weight, self.bias, generator)

    def forward(self, input):
        weight = self.weight
        if getattr(input, "dtype", None) != weight.dtype:
            need_like("Conv2d", input, weight)
        need_ndim("Conv2d", input, (3, 4), "(C, H, W) or (N, C, H, W)")
        need_size("Conv2d", input, -3, self.in_channels, "in_channels")
        return F.conv2d(input, weight, self.bias, self.stride, self._pad, self.dilation,
                        self.groups)

    def extra_repr(self):
        text = (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
                f"stride={self.stride}")
        if self.padding not in ((0, 0), "valid"):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else text + ", bias=False"
