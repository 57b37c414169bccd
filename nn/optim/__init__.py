"""Optimizers under the names and defaults of torch.optim.

Each is a loop over parameters above one fused, in-place operation of the engine.
"""

from ..public import public as _public
from . import lr_scheduler, swa_utils
from .adam import Adam, AdamW
from .adaptive import Adagrad, RMSprop
from .optimizer import Optimizer
from .sgd import SGD

__all__ = _public(globals(), "lr_scheduler", "swa_utils")
