"""BatchNorm2d and LayerNorm.

Invariant: only a training-mode forward of BatchNorm2d changes the running statistics.
"""

import autodiff as ad

from . import functional as F
from . import init
from .errors import ArgumentError, ShapeError, need_like, need_ndim, need_size, positive_int, where
from .module import Module
from .parameter import Parameter


class BatchNorm2d(Module):
    """(input - mean) / sqrt(var + eps) * weight + bias for each channel of (N, C, H, W).

    Training uses the batch's mean and biased variance, and moves the running ones by `momentum`
    (None: the average of all batches; the running variance is unbiased). Ioffe and Szegedy (2015).
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True,
                 track_running_stats=True, dtype=None, *, bias=True):
        super().__init__()
        self.num_features = n = positive_int("BatchNorm2d", "num_features", num_features)
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
        if like is not None and getattr(input, "dtype", None) != like.dtype:
            need_like("BatchNorm2d", input, like)
        need_ndim("BatchNorm2d", input, (4,), "(N, C, H, W)")
        need_size("BatchNorm2d", input, 1, self.num_features, "num_features")
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


class LayerNorm(Module):
    """(input - mean) / sqrt(var + eps) * weight + bias over the last axes, of the sizes
    `normalized_shape`. Ba et al. (2016)."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, dtype=None):
        super().__init__()
        sizes = (normalized_shape if isinstance(normalized_shape, (tuple, list))
                 else (normalized_shape,))
        self.normalized_shape = tuple(positive_int("LayerNorm", "normalized_shape", n)
                                      for n in sizes)
        if not sizes:
            raise ArgumentError("LayerNorm: normalized_shape must name at least one axis")
        self.eps, self.elementwise_affine = eps, elementwise_affine
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
        weight, shape = self.weight, self.normalized_shape
        if weight is not None and getattr(input, "dtype", None) != weight.dtype:
            need_like("LayerNorm", input, weight)
        if input.shape[-len(shape):] != shape:
            raise ShapeError(f"LayerNorm: expected an input whose last axes are {shape}, got shape "
                             f"{input.shape}{where()}")
        return ad.layer_norm(input, weight, self.bias, len(shape), self.eps)

    def extra_repr(self):
        return (f"{self.normalized_shape}, eps={self.eps}, "
                f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}")
