"""Transforms of images: crop, flip, normalise, and the data set that applies them.

They work on whole batches, (N, ..., H, W).  Invariant: what becomes of a sample is a function of
seed, epoch and index alone, not of the batch, the order or the thread; so a resumed run sees the
same images as an uninterrupted one.
"""

import numpy as np

from .dataset import Dataset, gather_of, tell_epoch
from .errors import DataError
from .sampler import positive_int

__all__ = ["CenterCrop", "Compose", "Draws", "Normalize", "RandomApply", "RandomCrop",
           "RandomHorizontalFlip", "TransformError", "Transformed"]

_GOLDEN = 0x9E3779B97F4A7C15


class TransformError(DataError):
    """A transform that does not fit the images."""


class Draws:
    """Random numbers for a batch: each `uniform()` gives one for each sample, from its own stream.

    SplitMix64 over (seed, epoch, index, number of the draw). Steele et al. (2014).
    """

    def __init__(self, indices, seed=0, epoch=0):
        key = _mix(np.uint64((seed + _GOLDEN) % 2**64)) ^ _mix(np.uint64(epoch + 1))
        with np.errstate(over="ignore"):
            self._state = _mix(_mix(key) + _mix(np.asarray(indices).astype(np.uint64)))

    def __len__(self):
        return len(self._state)

    def uniform(self):
        """(N,) numbers in [0, 1)."""
        with np.errstate(over="ignore"):
            self._state = self._state + np.uint64(_GOLDEN)
        return (_mix(self._state) >> np.uint64(11)) * 2.0 ** -53

    def integers(self, n):
        """(N,) integers in [0, n)."""
        return (self.uniform() * n).astype(np.int64)


class Transformed(Dataset):
    """`dataset` with `transform(images, draws)` applied to the first field of its samples.

    A DataLoader says which epoch begins; without one call `set_epoch`, or every epoch is the same.
    """

    def __init__(self, dataset, transform, seed=0):
        self.dataset, self.transform, self.seed, self.epoch = dataset, transform, seed, 0

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        index = range(len(self))[index]         # negative ones too; IndexError beyond
        images, *rest = _fields(self.dataset[index])
        images = self._apply(np.asarray(images)[None], np.array([index]))[0]
        return (images, *rest) if rest else images

    @property
    def gather(self):
        """The function that fetches several samples at once, where the data set has one."""
        inner = gather_of(self.dataset)
        if inner is None:
            raise AttributeError("gather: the underlying data set has none")

        def run(indices):
            images, *rest = _fields(inner(indices))
            images = self._apply(images, indices)
            return (images, *rest) if rest else images
        return run

    def set_epoch(self, epoch):
        """Random transforms draw anew for each epoch."""
        self.epoch = epoch
        tell_epoch(self.dataset, epoch)

    def _apply(self, images, indices):
        return self.transform(images, Draws(indices, self.seed, self.epoch))


class Compose:
    """Transforms one after the other."""

    def __init__(self, transforms):
        self.transforms = list(transforms)

    def __call__(self, images, draws=None):
        for transform in self.transforms:
            images = transform(images, draws)
        return images


class RandomApply:
    """A transform that keeps the size of the images, applied to each with probability p."""

    def __init__(self, transform, p=0.5):
        self.transform, self.p = transform, p

    def __call__(self, images, draws):
        chosen = draws.uniform() < self.p
        return np.where(chosen.reshape(-1, *[1] * (images.ndim - 1)),
                        self.transform(images, draws), images)


class Normalize:
    """(images - mean) / std, each a number or one for each channel of (N, C, H, W)."""

    def __init__(self, mean, std):
        self.mean, self.std = np.asarray(mean), np.asarray(std)
        if not (self.std > 0).all() or self.mean.ndim > 1 or self.std.ndim > 1:
            raise TransformError(f"Normalize: expected a number or one a channel, std > 0, got "
                                 f"mean={mean}, std={std}")

    def __call__(self, images, draws=None):
        dtype = images.dtype if images.dtype.kind == "f" else np.float32
        images = images.astype(dtype, copy=False)
        return (images - self._wide(self.mean, images)) / self._wide(self.std, images)

    def _wide(self, v, images):
        v = v.astype(images.dtype)
        if v.ndim == 0:
            return v
        if images.ndim < 3 or images.shape[-3] != len(v):
            raise TransformError(f"Normalize: {len(v)} channels do not fit images of shape "
                                 f"{images.shape}")
        return v[:, None, None]


class RandomHorizontalFlip:
    """Each image mirrored left to right with probability p."""

    def __init__(self, p=0.5):
        self.p = p

    def __call__(self, images, draws):
        flip = draws.uniform() < self.p
        images = images.copy()
        images[flip] = images[flip][..., ::-1]
        return images


class RandomCrop:
    """A window of `size` (an integer or (H, W)) of each image, which `padding` zeros surround."""

    def __init__(self, size, padding=0):
        self.size = _pair("RandomCrop: size", size)
        self.padding = positive_int("RandomCrop: padding", padding) if padding else 0

    def __call__(self, images, draws):
        p = self.padding
        if p:
            images = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(p, p), (p, p)])
        windows = _windows("RandomCrop", images, self.size)
        rows, columns = (draws.integers(n) for n in windows.shape[-4:-2])
        last = np.moveaxis(windows, (-4, -3), (1, 2))           # (N, rows, columns, ..., h, w)
        return np.ascontiguousarray(last[np.arange(len(images)), rows, columns])


class CenterCrop:
    """The window of `size` (an integer or (H, W)) in the middle of each image."""

    def __init__(self, size):
        self.size = _pair("CenterCrop: size", size)

    def __call__(self, images, draws=None):
        windows = _windows("CenterCrop", images, self.size)
        rows, columns = windows.shape[-4:-2]
        return np.ascontiguousarray(windows[..., (rows - 1) // 2, (columns - 1) // 2, :, :])


def _windows(name, images, size):
    """All windows of the last two axes: (..., rows, columns, h, w), a view."""
    if images.ndim < 3 or images.shape[-2] < size[0] or images.shape[-1] < size[1]:
        raise TransformError(f"{name}: a window of {size} does not fit a batch of images of shape "
                             f"{images.shape}; pad them, or take a smaller window")
    return np.lib.stride_tricks.sliding_window_view(images, size, axis=(-2, -1))


def _pair(name, value):
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise TransformError(f"{name}: expected an integer or a pair, got {value!r}")
    return tuple(positive_int(name, v) for v in values)


def _fields(sample):
    return tuple(sample) if isinstance(sample, (tuple, list)) else (sample,)


def _mix(z):
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
