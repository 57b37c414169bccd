"""Pooling: one number for each window of a sequence or an image.

Invariant: stride None means the kernel's size, as in PyTorch; sizes are checked when the layer is
made.
"""

from . import functional as F
from .errors import ints
from .module import Module


class Pool(Module):
    """What the poolings share: `axes` spatial axes, the sizes as they were given."""

    axes, _run = 2, None

    def _set(self, **sizes):
        for name, value in sizes.items():
            ints(type(self).__name__, name, value, self.axes, 0 if name == "padding" else 1)
            setattr(self, name, value)


class MaxPool(Pool):
    """MaxPool1d and MaxPool2d."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, *, ceil_mode=False):
        super().__init__()
        self._set(kernel_size=kernel_size, stride=kernel_size if stride is None else stride,
                  padding=padding, dilation=dilation)
        self.ceil_mode = ceil_mode

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

    axes = 1
    _run = staticmethod(F.max_pool1d)


class AvgPool2d(Pool):
    """Mean of each window; images (N, C, H, W) or (C, H, W)."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False,
                 count_include_pad=True, divisor_override=None):
        super().__init__()
        self._set(kernel_size=kernel_size, stride=kernel_size if stride is None else stride,
                  padding=padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                            self.count_include_pad, self.divisor_override)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(Pool):
    """Mean of each window; sequences (N, C, L) or (C, L)."""

    axes = 1

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False,
                 count_include_pad=True):
        super().__init__()
        self._set(kernel_size=kernel_size, stride=kernel_size if stride is None else stride,
                  padding=padding)
        for key in ("kernel_size", "stride", "padding"):        # shown as tuples, as in PyTorch
            setattr(self, key, ints("AvgPool1d", key, getattr(self, key), 1, 0))
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
