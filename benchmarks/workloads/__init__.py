"""The workloads: each a model, its data and its training, in one class and one file a kind.

Invariant: WORKLOADS is the only list of them; `full=True` marks those that run with --full only.
"""

from .base import Goal, Workload
from .cnn import DigitsCNN, FashionCNN
from .gpt import GPTLong, GPTSmall
from .lstm import CharLSTM
from .mlp import DigitsMLP
from .regression import Regression

WORKLOADS = {w.name: w for w in (DigitsMLP, DigitsCNN, Regression, CharLSTM, GPTSmall,
                                 FashionCNN, GPTLong)}

__all__ = ["WORKLOADS", "Goal", "Workload"]
