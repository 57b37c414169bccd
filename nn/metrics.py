"""Metrics: numbers for people about a model's outputs, summed up batch by batch.

A metric of one's own defines `name`, `update` and `value`.  Invariant: all that a metric knows
is in `self.sums`, an array, so that it can be saved and taken up in the middle of an epoch.
"""

import numpy as np

from .errors import ArgumentError, ShapeError, positive_int

__all__ = ["Accuracy", "ConfusionMatrix", "Metric", "Perplexity", "R2", "TopK"]


class Metric:
    """Base class: `update` adds a batch to `self.sums` (float64, `size` long), `value` reads it."""

    name, size = "metric", 2

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget all batches."""
        self.sums = np.zeros(self.size)

    def update(self, output, target, loss):
        """Add a batch: output and target as arrays, loss as the batch's mean, a float."""
        raise NotImplementedError(f"{type(self).__name__} must define update")

    def value(self):
        """The metric over all batches since `reset`: the mean, unless a subclass says otherwise."""
        return float(self.sums[0] / self.sums[1]) if self.sums[1] else float("nan")

    def __call__(self, output, target):
        """The metric of one batch alone, given as tensors or arrays."""
        self.reset()
        self.update(*(x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)
                      for x in (output, target)), float("nan"))
        return self.value()


class Accuracy(Metric):
    """Share of targets at the largest output; output (N, C) or (N, ..., C), target (N, ...).

    `axis` says where the classes are; `ignore_index` leaves targets out.
    """

    name = "accuracy"

    def __init__(self, axis=-1, ignore_index=None):
        super().__init__()
        self.axis, self.ignore_index = axis, ignore_index

    def update(self, output, target, loss):
        right, counted = self._right(output, target), self._counted(target)
        self.sums += (np.count_nonzero(right & counted), np.count_nonzero(counted))

    def _right(self, output, target):
        found = output.argmax(axis=self.axis)
        if found.shape != target.shape:
            raise ShapeError(f"{self.name}: output {output.shape} with classes at axis {self.axis} "
                             f"does not fit target {target.shape}")
        return found == target

    def _counted(self, target):
        if self.ignore_index is None:
            return np.ones(target.shape, bool)
        return target != self.ignore_index


class TopK(Accuracy):
    """Share of targets among the k largest outputs (ties count for the target)."""

    def __init__(self, k=5, axis=-1, ignore_index=None):
        self.k = positive_int("TopK", "k", k)
        self.name = f"top-{self.k}"
        super().__init__(axis, ignore_index)

    def _right(self, output, target):
        output = np.moveaxis(output, self.axis, -1)
        if output.shape[:-1] != target.shape:
            raise ShapeError(f"{self.name}: output {output.shape} does not fit target "
                             f"{target.shape}")
        safe = np.where(self._counted(target), target, 0)
        score = np.take_along_axis(output, safe[..., None], -1)
        return (output > score).sum(axis=-1) < self.k


class ConfusionMatrix(Metric):
    """Counts (classes, classes): row = true class, column = the class with the largest output."""

    name = "confusion"

    def __init__(self, classes):
        self.classes = positive_int("ConfusionMatrix", "classes", classes)
        self.size = (self.classes, self.classes)
        super().__init__()

    def update(self, output, target, loss):
        found = output.argmax(axis=-1).reshape(-1)
        if output.shape[-1] > self.classes:
            raise ArgumentError(f"ConfusionMatrix: made for {self.classes} classes, the output has "
                                f"{output.shape[-1]}")
        np.add.at(self.sums, (target.reshape(-1), found), 1)

    def value(self):
        return self.sums.astype(int).tolist()


class R2(Metric):
    """1 - sum (y - output)^2 / sum (y - mean y)^2, over all targets."""

    name, size = "R²", 4

    def update(self, output, target, loss):
        if output.shape != target.shape:
            raise ShapeError(f"R2: output has shape {output.shape}, target {target.shape}")
        y, error = target.astype(np.float64), output.astype(np.float64) - target
        # Welford's way of joining batches: squares about the running mean, without cancellation.
        n, mean, squares, errors = self.sums
        total = n + y.size
        if total:
            shift = y.mean() - mean
            self.sums[:] = (total, mean + shift * y.size / total,
                            squares + ((y - y.mean()) ** 2).sum() + shift ** 2 * n * y.size / total,
                            errors + (error ** 2).sum())

    def value(self):
        _, _, squares, errors = self.sums
        return float(1 - errors / squares) if squares else float("nan")


class Perplexity(Metric):
    """exp of the mean loss, where that is a cross-entropy in nats; batches weigh by targets."""

    name = "perplexity"

    def update(self, output, target, loss):
        self.sums += (loss * target.size, target.size)

    def value(self):
        return float(np.exp(super().value()))
