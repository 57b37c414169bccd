"""BatchNorm1d, BatchNorm2d, LayerNorm, GroupNorm and RMSNorm.

All raise ShapeError for another shape than they were made for, DtypeError for another dtype than
their weight's.  Invariant: only a training-mode forward of a batch norm changes its statistics.
"""

import autodiff as ad

from . import functional as F
from . import init
from .errors import (
    ArgumentError,
    ShapeError,
    ValueRangeError,
    need_like,
    need_ndim,
    need_size,
    positive_int,
    where,
)
from .module import Module
from .parameter import Parameter


class BatchNorm(Module):
    """What BatchNorm1d and BatchNorm2d share; they differ in the ranks they take."""

    ranks, form = (2, 3, 4), "(N, C, ...)"

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True,
                 track_running_stats=True, *, bias=True, dtype=None):
        super().__init__()
        self.num_features = n = positive_int(type(self).__name__, "num_features", num_features)
        self.eps, self.momentum = eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, Parameter(ad.empty((n,), dtype=dtype)) if wanted
                                    else None)
        track = track_running_stats
        self.register_buffer("running_mean", ad.zeros((n,), dtype=dtype) if track else None)
        self.register_buffer("running_var", ad.ones((n,), dtype=dtype) if track else None)
        self.register_buffer("num_batches_tracked", ad.tensor(0) if track else None)
        self.reset_parameters()

    def reset_running_stats(self):
        """Forget the batches seen."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self):
        """weight 1, bias 0, no batches seen."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input):
        like = self.weight if self.affine else self.running_mean
        name = type(self).__name__
        if like is not None and getattr(input, "dtype", None) != like.dtype:
            need_like(name, input, like)
        need_ndim(name, input, self.ranks, self.form)
        need_size(name, input, 1, self.num_features, "num_features")
        if input.size == self.num_features and (self.training or self.running_mean is None):
            raise ShapeError(f"{name}: the batch's statistics need more than one value a channel, "
                             f"got shape {input.shape}; call .eval(), or leave out a last batch "
                             f"of one example{where()}")
        if not (self.training and self.track_running_stats):
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias,
                                False, 0.0, self.eps)
        count = self.num_batches_tracked
        ad.increment_(count)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias,
                            True, self.momentum, self.eps,
                            count if self.momentum is None else None)

    def extra_repr(self):
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
                f"affine={self.affine}, bias={self.bias is not None}, "
                f"track_running_stats={self.track_running_stats}")


class BatchNorm2d(BatchNorm):
    """(input - mean) / sqrt(var + eps) * weight + bias for each channel of (N, C, H, W).

    Training uses the batch's mean and biased variance, and moves the running ones by `momentum`
    (None: the average of all batches; the running variance is unbiased). Ioffe and Szegedy (2015).
    """

    ranks, form = (4,), "(N, C, H, W)"


class BatchNorm1d(BatchNorm):
    """BatchNorm2d for features (N, C) or sequences (N, C, L)."""

    ranks, form = (2, 3), "(N, C) or (N, C, L)"


class LastAxes(Module):
    """What LayerNorm and RMSNorm share: they normalise the last axes, of the sizes
    `normalized_shape`."""

    def __init__(self, normalized_shape, eps, elementwise_affine):
        super().__init__()
        several = isinstance(normalized_shape, (tuple, list))
        sizes, name = normalized_shape if several else (normalized_shape,), type(self).__name__
        if not sizes:
            raise ArgumentError(f"{name}: normalized_shape must name at least one axis")
        self.normalized_shape = tuple(positive_int(name, "normalized_shape", n) for n in sizes)
        self.eps, self.elementwise_affine = eps, elementwise_affine

    def _check(self, input):
        weight, shape, name = self.weight, self.normalized_shape, type(self).__name__
        if weight is not None and getattr(input, "dtype", None) != weight.dtype:
            need_like(name, input, weight)
        if input.shape[-len(shape):] != shape:
            raise ShapeError(f"{name}: expected an input whose last axes are {shape}, got shape "
                             f"{input.shape}; make the layer with normalized_shape="
                             f"{input.shape[-len(shape):]}{where()}")

    def extra_repr(self):
        return (f"{self.normalized_shape}, eps={self.eps}, "
                f"elementwise_affine={self.elementwise_affine}")


class LayerNorm(LastAxes):
    """(input - mean) / sqrt(var + eps) * weight + bias over the last axes, of the sizes
    `normalized_shape`. Ba et al. (2016)."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, *,
                 dtype=None):
        super().__init__(normalized_shape, eps, elementwise_affine)
        shape = self.normalized_shape
        self.register_parameter("weight", Parameter(ad.ones(shape, dtype=dtype))
                                if elementwise_affine else None)
        self.register_parameter("bias", Parameter(ad.zeros(shape, dtype=dtype))
                                if elementwise_affine and bias else None)

    def reset_parameters(self):
        """weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input):
        self._check(input)
        return ad.layer_norm(input, self.weight, self.bias, len(self.normalized_shape), self.eps)

    def extra_repr(self):
        return f"{super().extra_repr()}, bias={self.bias is not None}"


class GroupNorm(Module):
    """(input - mean) / sqrt(var + eps) over each of num_groups groups of channels of (N, C, ...),
    then * weight + bias by channel. Wu and He (2018)."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, *, bias=True, dtype=None):
        super().__init__()
        self.num_groups = positive_int("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive_int("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueRangeError(f"GroupNorm: num_groups={num_groups} must divide "
                                  f"num_channels={num_channels}")
        self.eps, self.affine = eps, affine
        shape = (num_channels,)
        self.register_parameter("weight", Parameter(ad.ones(shape, dtype=dtype)) if affine
                                else None)
        self.register_parameter("bias", Parameter(ad.zeros(shape, dtype=dtype))
                                if affine and bias else None)

    reset_parameters = LayerNorm.reset_parameters

    def forward(self, input):
        if self.weight is not None:
            need_like("GroupNorm", input, self.weight)
        need_ndim("GroupNorm", input, range(2, 9), "(N, C, ...)")
        need_size("GroupNorm", input, 1, self.num_channels, "num_channels")
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
                f"bias={self.bias is not None}")


class RMSNorm(LastAxes):
    """input / sqrt(mean(input**2) + eps) * weight over the last axes, of the sizes
    `normalized_shape`; eps None: the dtype's. Zhang and Sennrich (2019)."""

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, *, dtype=None):
        super().__init__(normalized_shape, eps, elementwise_affine)
        self.register_parameter("weight", Parameter(ad.ones(self.normalized_shape, dtype=dtype))
                                if elementwise_affine else None)

    def reset_parameters(self):
        """weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input):
        self._check(input)
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)
