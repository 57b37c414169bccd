"""A small regression network on the Auto MPG table.

Invariant: targets are standardised by the training rows' mean and deviation for training, and R²
and the error are of the miles per gallon themselves, on the test rows.
"""

import functools

import numpy as np

import nn.data
import nn.functional as F

from .base import Goal, Workload
from .evaluate import outputs


@functools.cache
def autompg():
    """The shipped table, read once."""
    return nn.data.autompg()


@functools.cache
def standardised():
    """Training set with standardised targets, and their mean and standard deviation."""
    x, y = autompg().train.tensors
    mean, std = float(y.mean()), float(y.std())
    return nn.data.TensorDataset(x, ((y - mean) / std).astype(np.float32)), mean, std


class Regression(Workload):
    name = "regression"
    batch_size, epochs, seeds, lr = 32, 120, 5, 3e-3
    goal = Goal("R²", 0.85)
    widths = (7, 64, 32, 1)

    @property
    def title(self):
        return f"MLP {'-'.join(map(str, self.widths))}, tanh, on Auto MPG"

    def dataset(self):
        return standardised()[0]

    def model(self):
        a, b, c, d = self.widths
        return nn.Sequential(nn.Linear(a, b), nn.Tanh(), nn.Linear(b, c), nn.Tanh(),
                             nn.Linear(c, d))

    def optimizer(self, model):
        return nn.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=1e-2)

    def loss(self, output, y):
        return F.mse_loss(output, y)

    def evaluate(self, model):
        _, mean, std = standardised()
        found, y = outputs(model, autompg().test)
        error = found * std + mean - y
        return {"R²": float(1 - (error ** 2).sum() / ((y - y.mean()) ** 2).sum()),
                "error, mpg": float(np.sqrt((error ** 2).mean()))}
