"""Convolutional networks: on the 8 x 8 digits, and (with --full) on 28 x 28 Fashion-MNIST.

Two times convolution 3 x 3, ReLU and 2 x 2 maximum, then two linear layers.  Invariant: images
come with a channel axis, (N, 1, H, W).
"""

import functools

import nn.data

from .base import Goal, Workload
from .evaluate import accuracy
from .mlp import digits


@functools.cache
def fashion():
    """Fashion-MNIST where it is installed, read once; nn.data.DataNotFoundError otherwise."""
    return nn.data.fashion_mnist()


class CNN(Workload):
    """conv-relu-pool twice, then relu between two linear layers."""

    channels, hidden, size, classes = (16, 32), 64, 8, 10
    data_name = ""

    @property
    def title(self):
        a, b = self.channels
        return (f"CNN conv{a}-pool-conv{b}-pool-fc{self.hidden}-fc{self.classes} on "
                f"{self.data_name}")

    def data(self):
        raise NotImplementedError

    def _part(self, name):
        part = getattr(self.data(), name)
        x, y = part.tensors
        return nn.data.TensorDataset(x[:, None], y)

    def dataset(self):
        return self._part("train")

    def model(self):
        a, b = self.channels
        return nn.Sequential(
            nn.Conv2d(1, a, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(b * (self.size // 4) ** 2, self.hidden), nn.ReLU(),
            nn.Linear(self.hidden, self.classes))

    def evaluate(self, model):
        return {"accuracy": accuracy(model, self._part("test"))}


class DigitsCNN(CNN):
    name = "cnn"
    batch_size, epochs, seeds, lr = 32, 12, 1, 5e-3
    goal = Goal("accuracy", 0.97)
    data_name = "digits"

    def data(self):
        return digits()


class FashionCNN(CNN):
    name, full = "fashion", True
    batch_size, epochs, seeds, lr = 64, 6, 1, 1e-3
    goal = Goal("accuracy", 0.90)
    channels, hidden, size = (32, 64), 128, 28
    data_name = "Fashion-MNIST"

    def data(self):
        return fashion()
