"""Layers and losses as functions, under the names and signatures of torch.nn.functional.

Each is one registered operation or a few lines over them.  Invariant: here PyTorch's vocabulary
(`dim`, `input`) meets the engine's (`axis`, `x`), and nowhere else.
"""

import math

import autodiff as ad

from .errors import ArgumentError, ShapeError, need_ndim, need_tensor, probability, where

__all__ = ["avg_pool2d", "batch_norm", "conv2d", "cross_entropy", "dropout", "embedding",
           "flatten", "gelu", "l1_loss", "layer_norm", "linear", "log_softmax", "max_pool2d",
           "mse_loss", "one_hot", "relu", "scaled_dot_product_attention", "sigmoid", "silu",
           "softmax", "tanh", "unflatten"]

linear = ad.linear
sigmoid, tanh, silu = ad.sigmoid, ad.tanh, ad.silu


def relu(input, inplace=False):
    """max(input, 0). `inplace` is accepted and not needed: the engine saves the output alone."""
    return ad.relu(input)


def gelu(input, approximate="none"):
    """input * Phi(input), exactly, or by tanh with approximate="tanh"."""
    return ad.gelu(input, approximate)


def softmax(input, dim):
    """exp(input) / sum(exp(input)) along `dim`."""
    return ad.softmax(input, dim)


def log_softmax(input, dim):
    """log(softmax(input, dim)), without underflow."""
    return ad.log_softmax(input, dim)


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero each element with probability p and scale the rest by 1 / (1 - p), when training."""
    return ad.functional_dropout(input, probability("dropout", p), training)


# Images ---------------------------------------------------------------------------------------

def _images(name, x, run):
    """`run` on (N, C, H, W), or on one image (C, H, W) without the batch axis."""
    need_tensor(name, x)
    if x.ndim == 4:
        return run(x)
    need_ndim(name, x, (3, 4), "(C, H, W) or (N, C, H, W)")
    y = run(x.reshape((1, *x.shape)))
    return y.reshape(y.shape[1:])


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of images (N, C, H, W) or (C, H, W) with weight (C_out, C/groups, KH, KW).

    padding: an integer, a pair, "valid", or "same" (stride 1, odd dilated kernels).
    """
    if isinstance(padding, str):
        padding = same_padding(padding, weight.shape[2:], stride, dilation)
    return _images("conv2d", input,
                   lambda x: ad.conv2d(x, weight, bias, stride, padding, dilation, groups))


def same_padding(padding, kernel_size, stride, dilation):
    """"valid" or "same" as a pair of integers."""
    if padding == "valid":
        return (0, 0)
    if padding != "same":
        raise ArgumentError(f"conv2d: padding must be an integer, a pair, 'same' or 'valid', got "
                            f"{padding!r}")
    if stride not in (1, (1, 1), [1, 1]):
        raise ArgumentError("conv2d: padding='same' needs stride 1, got " f"{stride}")
    d = dilation if isinstance(dilation, (tuple, list)) else (dilation, dilation)
    reach = [dk * (k - 1) for dk, k in zip(d, kernel_size, strict=True)]
    if any(r % 2 for r in reach):
        raise ArgumentError(f"conv2d: padding='same' would be uneven for kernel {kernel_size} with "
                            f"dilation {d}; use an odd kernel")
    return tuple(r // 2 for r in reach)


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Largest element of each window of images (N, C, H, W) or (C, H, W)."""
    return _images("max_pool2d", input, lambda x: ad.max_pool2d(
        x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        ceil_mode=ceil_mode))


def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False,
               count_include_pad=True, divisor_override=None):
    """Mean of each window of images (N, C, H, W) or (C, H, W)."""
    def run(x):
        more = {} if divisor_override is None else {"divisor_override": divisor_override}
        return ad.avg_pool2d(x, kernel_size=kernel_size, stride=stride, padding=padding,
                             ceil_mode=ceil_mode, count_include_pad=count_include_pad, **more)
    return _images("avg_pool2d", input, run)


# Normalisation and embedding ------------------------------------------------------------------

def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False,
               momentum=0.1, eps=1e-5, count=None):
    """Normalise each channel of (N, C, ...); in training by the batch, whose statistics also move
    the running ones in place (by 1 / count where the tensor `count` is given)."""
    if not training and running_mean is not None:
        return ad.batch_norm_inference(input, running_mean, running_var, weight, bias, eps)
    out, mean, var = ad.batch_norm(input, weight, bias, eps)
    if training and running_mean is not None:
        n = input.size // max(input.shape[1], 1)
        with ad.no_grad():
            ad.batch_norm_update_(running_mean, running_var, mean.detach(), var.detach(), count,
                                  n, momentum if count is None else 0.0)
    return out


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalise over the last axes, which must have the sizes `normalized_shape`."""
    shape = tuple(normalized_shape)
    if tuple(input.shape[-len(shape):]) != shape:
        raise ShapeError(f"layer_norm: expected an input whose last axes are {shape}, got shape "
                         f"{input.shape}{where()}")
    return ad.layer_norm(input, weight, bias, len(shape), eps)


def embedding(input, weight, padding_idx=None):
    """weight[input]; the gradient of row `padding_idx` stays zero."""
    return ad.embedding(weight, input, padding_idx)


def one_hot(tensor, num_classes=-1):
    """1 at each index, 0 elsewhere: int64 of shape (*tensor.shape, num_classes)."""
    values = tensor.numpy()
    if num_classes == -1:
        num_classes = int(values.max()) + 1 if values.size else 1
    if values.size and not 0 <= values.min() <= values.max() < num_classes:
        raise ad.IndexRangeError(f"one_hot: indices must be in [0, {num_classes}), got "
                                 f"{values.min()} .. {values.max()}{where()}")
    eye = ad.arange(num_classes)
    return ad.astype(ad.expand_dims(tensor, -1) == eye, ad.int64)


# Shapes ---------------------------------------------------------------------------------------

def flatten(input, start_dim=0, end_dim=-1):
    """Axes start_dim .. end_dim as one."""
    need_tensor("flatten", input)
    n = input.ndim
    if n == 0:
        return input.reshape((1,))
    if not (-n <= start_dim < n and -n <= end_dim < n):
        raise ShapeError(f"flatten: axes {start_dim} .. {end_dim} are out of range for shape "
                         f"{input.shape}{where()}")
    first, last = start_dim % n, end_dim % n
    if first > last:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} for shape "
                         f"{input.shape}{where()}")
    shape = input.shape
    return input.reshape((*shape[:first], math.prod(shape[first:last + 1]), *shape[last + 1:]))


def unflatten(input, dim, sizes):
    """Axis `dim` as axes of the given sizes, of which one may be -1."""
    need_tensor("unflatten", input)
    if not -input.ndim <= dim < input.ndim:
        raise ShapeError(f"unflatten: axis {dim} is out of range for shape {input.shape}{where()}")
    k, sizes = dim % input.ndim, list(sizes)
    size, known = input.shape[k], math.prod(s for s in sizes if s != -1)
    if sizes.count(-1) == 1 and known and size % known == 0:
        sizes[sizes.index(-1)] = size // known
    if math.prod(sizes) != size or min(sizes, default=0) < 0:
        raise ShapeError(f"unflatten: axis {dim} of size {size} does not split into "
                         f"{tuple(sizes)}{where()}")
    return input.reshape((*input.shape[:k], *sizes, *input.shape[k + 1:]))


# Attention ------------------------------------------------------------------------------------

def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0,
                                 is_causal=False, scale=None):
    """softmax(query key^T * scale + mask) value.

    query (..., L, E), key (..., S, E), value (..., S, Ev). attn_mask broadcasts to (..., L, S):
    bool (True takes part), or added to the scores. Without dropout no L x S array is made; a row
    in which nothing takes part gives zeros.
    """
    if not dropout_p:
        return ad.attention(query, key, value, attn_mask, is_causal, scale)
    weights = attention_weights(query, key, attn_mask, is_causal, scale)
    return dropout(weights, dropout_p) @ value


def attention_weights(query, key, attn_mask=None, is_causal=False, scale=None):
    """The probabilities (..., L, S) of scaled_dot_product_attention."""
    length, s = query.shape[-2], key.shape[-2]
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query @ key.mT) * scale
    if attn_mask is not None:
        if attn_mask.dtype == ad.bool_:
            scores = ad.where(attn_mask, scores, -math.inf)
        else:
            scores = scores + attn_mask
    if is_causal:
        scores = ad.where(causal_mask(length, s), scores, -math.inf)
    if attn_mask is None or s == 0:
        return ad.softmax(scores, -1)
    # A row in which nothing takes part: zeros, and no NaN in the gradient either.
    with ad.no_grad():
        dead = scores.detach().max(axis=-1, keepdims=True) == -math.inf
    return ad.where(dead, 0.0, ad.softmax(ad.where(dead, 0.0, scores), -1))


def causal_mask(length, s):
    """Bool (length, s): True where the key is not after the query."""
    return ad.expand_dims(ad.arange(length), 1) >= ad.arange(s)


# Losses ---------------------------------------------------------------------------------------

def cross_entropy(input, target, weight=None, ignore_index=-100, reduction="mean",
                  label_smoothing=0.0):
    """-log softmax(input)[target]: logits (N, C), (N, C, ...) or (C,), integer labels."""
    return ad.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


def mse_loss(input, target, reduction="mean"):
    """(input - target)**2, averaged; shapes must be equal."""
    _same_shape("mse_loss", input, target)
    return ad.mse(input, target, reduction)


def l1_loss(input, target, reduction="mean"):
    """|input - target|, averaged; shapes must be equal."""
    _same_shape("l1_loss", input, target)
    loss = ad.abs(input - target)
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ArgumentError(f"l1_loss: reduction must be 'none', 'mean' or 'sum', got "
                            f"{reduction!r}")
    return loss.mean() if reduction == "mean" else loss.sum()


def _same_shape(name, x, y):
    need_tensor(name, x)
    need_tensor(name, y, "target")
    if x.shape != y.shape:
        raise ShapeError(f"{name}: input has shape {x.shape}, target {y.shape}; a loss does not "
                         f"broadcast: reshape one of them, for instance target.reshape({x.shape})"
                         f"{where()}" if x.size == y.size else
                         f"{name}: input has shape {x.shape}, target {y.shape}; a loss does not "
                         f"broadcast{where()}")


def check_reduction(name, reduction):
    """ArgumentError unless reduction is 'none', 'mean' or 'sum'."""
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f"{name}: reduction must be 'none', 'mean' or 'sum', got "
                            f"{reduction!r}")
    return reduction


