"""Helpers of training, under the names of torch.nn.utils.

Invariant: gradients are changed in place and never recorded.
"""

from ..public import public as _public
from .clip import clip_grad_norm_, clip_grad_value_, get_total_norm

__all__ = _public(globals())
