"""Layers and losses as functions, under the names and signatures of torch.nn.functional.

Each is one registered operation or a few lines over them.  Invariant: here PyTorch's vocabulary
(`dim`, `input`) meets the engine's (`axis`, `x`), and nowhere else.
"""

from autodiff.guard import exported as _exported

from ..porting import ported as _ported
from ..public import public as _public
from .activation import (
    elu,
    gelu,
    glu,
    hardswish,
    leaky_relu,
    log_softmax,
    prelu,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from .attention import attention_weights, causal_mask, scaled_dot_product_attention
from .classification import cross_entropy, multi_margin_loss, nll_loss
from .conv import conv1d, conv2d, conv_transpose1d, conv_transpose2d, same_padding
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    check_reduction,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from .normalisation import batch_norm, dropout, group_norm, layer_norm, normalize, rms_norm
from .pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
from .resample import interpolate, pad
from .shape import embedding, flatten, linear, one_hot, unflatten

__all__ = _public(globals())

for _name in __all__:                   # a wrong argument of any of them has a named error
    globals()[_name] = _ported(_exported(globals()[_name]))
