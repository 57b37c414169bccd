"""Pooling: one number for each window of a sequence or an image.

Invariant: stride None means the kernel's size, as in PyTorch.
"""

from . import functional as F
from .module import Module


class MaxPool(Module):
    """MaxPool1d and MaxPool2d."""

    _run = None

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, *, ceil_mode=False):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, input):
        return self._run(input, self.kernel_size, self.stride, self.padding, self.dilation,
                         self.ceil_mode)

    def extra_repr(self):
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")


class MaxPool2d(MaxPool):
    """Largest element of each window; images (N, C, H, W) or (C, H, W)."""

    _run = staticmethod(F.max_pool2d)


class MaxPool1d(MaxPool):
    """Largest element of each window; sequences (N, C, L) or (C, L)."""

    _run = staticmethod(F.max_pool1d)


class AvgPool2d(Module):
    """Mean of each window; images (N, C, H, W) or (C, H, W)."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False,
                 count_include_pad=True, divisor_override=None):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input):
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                            self.count_include_pad, self.divisor_override)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(Module):
    """Mean of each window; sequences (N, C, L) or (C, L)."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False,
                 count_include_pad=True):
        super().__init__()
        one = [v[0] if isinstance(v, (tuple, list)) else v
               for v in (kernel_size, kernel_size if stride is None else stride, padding)]
        self.kernel_size, self.stride, self.padding = ((v,) for v in one)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input):
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                            self.count_include_pad)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptivePool(Module):
    """The four adaptive poolings."""

    _run = None

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, input):
        return self._run(input, self.output_size)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(AdaptivePool):
    """Mean of each of output_size (H, W) windows that cover the image; None keeps an axis."""

    _run = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool1d(AdaptivePool):
    """Mean of each of output_size windows that cover the sequence."""

    _run = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveMaxPool2d(AdaptivePool):
    """Largest element of each of output_size (H, W) windows that cover the image."""

    _run = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool1d(AdaptivePool):
    """Largest element of each of output_size windows that cover the sequence."""

    _run = staticmethod(F.adaptive_max_pool1d)
