"""How an operation's block states the inputs that it is tested and measured on.

`samples(draw)` returns Samples: arguments that must work.  `bad(draw)` returns Bads: arguments
that must raise the named error.  Invariant: everything random comes from `draw`, so that a
failing sample can be drawn again from its seed.
"""

import numpy as np


class Draw:
    """Random arrays of one floating dtype from one seed."""

    def __init__(self, seed=0, dtype=np.float64):
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)

    def normal(self, *shape):
        return np.asarray(self.rng.standard_normal(shape), self.dtype)

    def uniform(self, low, high, *shape):
        return np.asarray(self.rng.uniform(low, high, shape), self.dtype)

    def positive(self, *shape):
        return self.uniform(0.5, 2.0, *shape)

    def away(self, *shape, points=(0.0,), gap=0.1, scale=2.0):
        """Values at least `gap` away from the kinks at `points`."""
        x = self.rng.uniform(-scale, scale, shape)
        for p in points:
            x = np.where(np.abs(x - p) < gap, p + np.where(x < p, -gap, gap) * 2, x)
        return np.asarray(x, self.dtype)

    def distinct(self, *shape):
        """Values that differ by at least 0.1 from each other (for max, min, sort)."""
        n = int(np.prod(shape))
        return np.asarray((self.rng.permutation(n) * 0.1 - n * 0.05).reshape(shape), self.dtype)

    def ints(self, low, high, *shape):
        return np.asarray(self.rng.integers(low, high, shape), np.int64)

    def bools(self, *shape):
        return self.rng.random(shape) < 0.5


class Sample:
    """Arguments of one call that must work.

    `check_grad=False` where the derivative is not defined or zero by definition (argmax, casts to
    int); `second=False` where no second derivative exists at these inputs.
    """

    def __init__(self, *args, check_grad=True, second=True, **kwargs):
        self.args, self.kwargs = args, kwargs
        self.check_grad, self.second = check_grad, second

    def __repr__(self):
        def show(a):
            return f"{a.dtype}{list(a.shape)}" if isinstance(a, np.ndarray) else repr(a)
        parts = [show(a) for a in self.args] + [f"{k}={show(v)}" for k, v in self.kwargs.items()]
        return f"Sample({', '.join(parts)})"


class Bad:
    """Arguments of one call that must raise `error` with `match` in its text."""

    def __init__(self, error, match, *args, **kwargs):
        self.error, self.match, self.args, self.kwargs = error, match, args, kwargs


def unary(low=-2.0, high=2.0, avoid=(), second=True):
    """Samples of an elementwise function of one array on (low, high), away from `avoid`."""
    def samples(draw):
        def make(*shape):
            x = draw.uniform(low, high, *shape)
            for p in avoid:
                x = np.where(np.abs(x - p) < 0.1, p + 0.2, x).astype(draw.dtype)
            return np.asarray(x, draw.dtype)
        return [Sample(make(*s), second=second) for s in [(), (3,), (2, 3), (2, 0), (4, 1, 3)]]
    return samples


def binary(left=(-2.0, 2.0), right=(-2.0, 2.0), second=True):
    """Samples of an elementwise function of two arrays: same shape, broadcast, scalars, empty."""
    def samples(draw):
        a, b = (lambda *s: draw.uniform(*left, *s)), (lambda *s: draw.uniform(*right, *s))
        shapes = [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((4, 2, 3), (2, 1)),
                  ((), (2, 3)), ((0, 3), (1, 3))]
        return [Sample(a(*s), b(*t), second=second) for s, t in shapes]
    return samples
