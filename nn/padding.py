"""Padding and upsampling as modules.

Invariant: padding is (left, right) or (left, right, top, bottom), or one integer for all sides.
"""

from . import functional as F
from .errors import ArgumentError, need_ndim, need_tensor
from .module import Module


class Pad(Module):
    """What the padding layers share: `axes` last axes grow, in `mode`."""

    axes, mode, value = 2, "constant", 0.0

    def __init__(self, padding):
        super().__init__()
        count = 2 * self.axes
        sides = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * count
        if len(sides) != count or any(isinstance(s, bool) or not hasattr(s, "__index__")
                                      for s in sides):
            raise ArgumentError(f"{type(self).__name__}: padding must be an integer or {count} of "
                                f"them, got {padding!r}")
        self.padding = tuple(s.__index__() for s in sides)

    def forward(self, input):
        need_tensor(type(self).__name__, input)
        need_ndim(type(self).__name__, input, (self.axes + 1, self.axes + 2),
                  "(C, L) or (N, C, L)" if self.axes == 1 else "(C, H, W) or (N, C, H, W)")
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self):
        return f"{self.padding}"


class ConstantPad(Pad):
    """ConstantPad1d and ConstantPad2d."""

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad):
    """`value` around an image."""


class ConstantPad1d(ConstantPad):
    """`value` around a sequence."""

    axes = 1


class ZeroPad2d(Pad):
    """Zeros around an image; a negative number crops."""


class ZeroPad1d(Pad):
    """Zeros around a sequence; a negative number crops."""

    axes = 1


class ReflectionPad2d(Pad):
    """The image mirrored at its border pixels."""

    mode = "reflect"


class ReflectionPad1d(Pad):
    """The sequence mirrored at its ends."""

    axes, mode = 1, "reflect"


class ReplicationPad2d(Pad):
    """The image's border pixels repeated."""

    mode = "replicate"


class ReplicationPad1d(Pad):
    """The sequence's ends repeated."""

    axes, mode = 1, "replicate"


class Upsample(Module):
    """(N, C, ...) to `size`, or larger by `scale_factor`, by repeating the nearest element."""

    def __init__(self, size=None, scale_factor=None, mode="nearest"):
        super().__init__()
        if mode != "nearest":
            raise ArgumentError(f"Upsample: mode must be 'nearest', got {mode!r}")
        self.size, self.mode = size, mode
        self.scale_factor = (tuple(map(float, scale_factor))
                             if isinstance(scale_factor, (tuple, list)) else
                             float(scale_factor) if scale_factor else None)

    def forward(self, input):
        return F.interpolate(input, self.size, self.scale_factor, self.mode)

    def extra_repr(self):
        first = (f"scale_factor={self.scale_factor!r}" if self.scale_factor is not None else
                 f"size={self.size!r}")
        return f"{first}, mode={self.mode!r}"
