"""A multi-layer perceptron on the 8 x 8 digits.

Invariant: trained on the fixed training part, judged on the fixed stratified test part.
"""

import functools

import nn.data

from .base import Goal, Workload
from .evaluate import accuracy


@functools.cache
def digits():
    """The shipped digits, read once."""
    return nn.data.digits()


class DigitsMLP(Workload):
    name = "mlp"
    batch_size, epochs, seeds, lr = 32, 40, 5, 5e-3
    goal = Goal("accuracy", 0.97)
    widths = (64, 256, 128, 10)

    @property
    def title(self):
        return f"MLP {'-'.join(map(str, self.widths))} on digits"

    def dataset(self):
        return digits().train

    def model(self):
        layers = [nn.Flatten()]
        for a, b in zip(self.widths, self.widths[1:], strict=False):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def evaluate(self, model):
        return {"accuracy": accuracy(model, digits().test)}
