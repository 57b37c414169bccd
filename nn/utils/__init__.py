"""Helpers of training, under the names of torch.nn.utils.

Invariant: gradients are changed in place and never recorded.
"""

from .clip import clip_grad_norm_, clip_grad_value_, get_total_norm

__all__ = ["clip_grad_norm_", "clip_grad_value_", "get_total_norm"]
