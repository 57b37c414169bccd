"""Learning-rate schedules under the names and defaults of torch.optim.lr_scheduler.

Invariant: a schedule writes `group["lr"]` (one cycle: momentum too) and nothing else.
"""

from ...public import public as _public
from .base import LRScheduler
from .compose import ChainedScheduler, SequentialLR
from .cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR
from .decay import ExponentialLR, LambdaLR, LinearLR, MultiStepLR, StepLR
from .plateau import ReduceLROnPlateau

__all__ = _public(globals())
