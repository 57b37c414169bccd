"""Optimizers under the names and defaults of torch.optim.

Each is a loop over parameters above one fused, in-place operation of the engine.
"""

from .adam import Adam, AdamW
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
