"""Models that grow along one axis, for `growth` without a model of one's own.

Invariant: each family changes one number and nothing else; the batch is random and the same for
every value.
"""

import numpy as np

import autodiff as ad
import nn
import nn.functional as F

from .errors import CostError

AXES = ("batch", "depth", "width", "length")
DEFAULTS = {"batch": (8, 16, 32, 64, 128), "depth": (2, 4, 8, 16, 32),
            "width": (32, 64, 128, 256, 512), "length": (16, 32, 64, 128, 256)}
TITLES = {"batch": "CNN on 8 x 8 images, conv 16 and 32",
          "depth": "perceptron of width 128, tanh, batch 64",
          "width": "perceptron of 4 layers, tanh, batch 64",
          "length": "GPT of 2 layers, width 64, 4 heads, batch 4"}


def build(over, n):
    """(model, batch, loss) of the family of an axis, of size n."""
    rng = np.random.default_rng(0)
    ad.manual_seed(0)
    return {"batch": _images, "depth": _deep, "width": _wide, "length": _long}[over](rng, n)


def _images(rng, n):
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    x = rng.random((n, 1, 8, 8), dtype=np.float32)
    return model, (x, rng.integers(0, 10, n)), F.cross_entropy


def _deep(rng, n):
    return _perceptron(rng, n, 128)


def _wide(rng, n):
    return _perceptron(rng, 4, n)


def _perceptron(rng, depth, width):
    layers = [nn.Linear(64, width), nn.Tanh()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    x = rng.random((64, 64), dtype=np.float32)
    return model, (x, rng.integers(0, 10, 64)), F.cross_entropy


def _long(rng, n):
    tokens = rng.integers(0, 64, (4, n + 1))

    def loss(output, y):
        return F.cross_entropy(output.reshape((-1, output.shape[-1])), y.reshape((-1,)))
    return nn.GPT(64, n, 2, 64, 4), (tokens[:, :-1], tokens[:, 1:]), loss


def with_batch(arguments, n):
    """The arguments of `cost` with a batch of n samples: those given, over and over."""
    model, batch, loss, *optimizer = arguments
    inputs, target = batch
    size = len(inputs[0] if isinstance(inputs, tuple) else inputs)

    def again(part):
        if isinstance(part, tuple):
            return tuple(map(again, part))
        if isinstance(part, ad.Tensor):
            part = part.numpy()
        if not isinstance(part, np.ndarray) or not part.ndim or len(part) != size:
            return part
        return part[np.arange(n) % size]
    return model, (again(inputs), again(target)), loss, *optimizer


def batches_around(size):
    """Batch sizes from a quarter of `size` to four times as much."""
    return sorted({max(1, int(size * f)) for f in (0.25, 0.5, 1, 2, 4)})


def need_axis(over):
    """CostError unless `over` is an axis that models grow along."""
    if over not in AXES:
        raise CostError(f"growth: over must be one of {', '.join(AXES)}, got {over!r}")
