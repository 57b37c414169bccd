"""What each operation of the registry is in PyTorch: one expression for each name.

The expressions take the operation's own arguments as torch tensors, attributes last and as called.
Invariant: an operation is either in ORACLE or, with a reason, in EXCEPTIONS; None instead of a
result says that PyTorch has none for these arguments.
"""

import numpy as np
import torch
import torch.nn.functional as F

aten = torch.ops.aten
REASON_RANDOM = "random bits are the engine's own; their distribution is tested with the kernels"
REASON_BACKWARD = "takes the engine's own residuals; covered as the gradient of its operation"
REASON_OPTIMIZER = "covered by the optimizers, over 20 steps"

EXCEPTIONS = {
    "rng_next": REASON_RANDOM, "uniform": REASON_RANDOM, "normal": REASON_RANDOM,
    "randint": REASON_RANDOM, "permutation": REASON_RANDOM, "dropout": REASON_RANDOM,
    "attention_backward": REASON_BACKWARD, "self_attention_backward": REASON_BACKWARD,
    "cross_entropy_backward": REASON_BACKWARD,
    "layer_norm_backward": REASON_BACKWARD, "rms_norm_backward": REASON_BACKWARD,
    "batch_norm_backward": REASON_BACKWARD,
    "lstm_backward": REASON_BACKWARD, "gru_backward": REASON_BACKWARD,
    "sgd_": REASON_OPTIMIZER, "adam_": REASON_OPTIMIZER, "rmsprop_": REASON_OPTIMIZER,
    "adagrad_": REASON_OPTIMIZER, "increment_": REASON_OPTIMIZER,
}

# Inputs for which PyTorch's operation has no derivative; ours are held to finite differences.
NO_GRADIENT = {"cross_entropy": {"weight"}, "batch_norm_inference": {"mean", "var"}}


def dtype_of(dtype):
    return getattr(torch, np.dtype(dtype).name)


# ---- axes

def axes_of(x, axis):
    axis = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(sorted(a % x.ndim for a in axis))


def over(f):
    """A reduction with NumPy's meaning of `axis`: () reduces nothing, None everything."""
    def reduced(x, axis=None, *rest):
        *rest, keepdims = rest
        axes = axes_of(x, axis)
        if not axes:
            return f(x.unsqueeze(-1), (x.ndim,), *rest, False)
        return f(x, axes, *rest, keepdims)
    return reduced


def var(x, axes, correction, keepdims):
    return torch.var(x, axes, correction=correction, keepdim=keepdims)


def expand_dims(x, axis):
    return x.reshape(np.expand_dims(np.empty(tuple(x.shape), bool), axis).shape)


def squeeze(x, axis):
    return x.squeeze() if axis is None else x.squeeze(tuple(axis) if not isinstance(axis, int)
                                                      else axis)


def concat(xs, axis):
    return torch.cat([x.flatten() for x in xs] if axis is None else xs, axis or 0)


# ---- indices

def place(shape, index):
    """Flat positions that a basic index shows (PyTorch has no negative steps)."""
    return torch.tensor(np.arange(int(np.prod(shape))).reshape(shape)[index].copy())


def setitem(x, v, index):
    at = place(tuple(x.shape), index)
    return x.flatten().index_put((at,), v.broadcast_to(at.shape)).reshape(x.shape)


def unindex(g, shape, index):
    return torch.zeros(int(np.prod(shape)), dtype=g.dtype).index_put(
        (place(shape, index),), g).reshape(shape)


def ravel_index(xs, shape):
    flat = 0
    for x, n in zip(xs, shape, strict=True):
        flat = flat * n + x % n
    return flat


def flat(x, index, axis, axes):
    """x with the indexed axes as one, the index as a line, and the axes that this leaves."""
    axis %= x.ndim
    y = x.flatten(axis, axis + axes - 1)
    return y, (index % y.shape[axis]).flatten(), axis, tuple(x.shape[axis + axes:])


def gather(x, index, axis, axes):
    y, i, axis, rest = flat(x, index, axis, axes)
    return y.index_select(axis, i).reshape((*x.shape[:axis], *index.shape, *rest))


def lined(x, v, index, axis, axes):
    y, i, axis, rest = flat(x, index, axis, axes)
    v = v.broadcast_to((*x.shape[:axis], *index.shape, *rest))
    return y, axis, i, v.reshape((*x.shape[:axis], i.numel(), *rest))


def scatter_add_into(x, v, index, axis, axes):
    y, axis, i, v = lined(x, v, index, axis, axes)
    return y.index_add(axis, i, v).reshape(x.shape)


def scatter_add(v, index, shape, axis, axes):
    return scatter_add_into(torch.zeros(shape, dtype=v.dtype), v, index, axis, axes)


def scatter(x, v, index, axis, axes):
    """The last of several values stays: index_copy alone does not promise it."""
    y, axis, i, v = lined(x, v, index, axis, axes)
    last = torch.tensor(sorted({int(n): k for k, n in enumerate(i)}.values()), dtype=torch.int64)
    return y.index_copy(axis, i[last], v.index_select(axis, last)).reshape(x.shape)


def embedding_backward(g, indices, rows, padding_idx):
    if padding_idx is not None:
        keep = (indices != padding_idx).reshape(*indices.shape, *(1,) * (g.ndim - indices.ndim))
        g = g * keep
    return scatter_add(g, indices, (rows, *g.shape[indices.ndim:]), 0, 1)


def index_add_rows(x, indices, g, padding_idx):
    return (x + embedding_backward(g, indices, x.shape[0], padding_idx),)


# ---- windows

def pair(n):
    return n if isinstance(n, (tuple, list)) else (n, n)


def window_place(place, size, kernel, stride, padding, dilation, ceil_mode):
    """Flat position in the image of the place in each window that max_pool2d keeps."""
    kw, (sh, sw) = pair(kernel)[1], pair(kernel if stride is None else stride)
    (ph, pw), (dh, dw) = pair(padding), pair(dilation)
    place = place.long()
    row = torch.arange(place.shape[2])[:, None] * sh - ph + place // kw * dh
    column = torch.arange(place.shape[3]) * sw - pw + place % kw * dw
    return (row * pair(size)[1] + column).flatten(2)


def max_pool_backward(g, place, size, *geometry):
    n, c = g.shape[:2]
    h, w = pair(size)
    return torch.zeros(n, c, h * w, dtype=g.dtype).scatter_add(
        2, window_place(place, size, *geometry), g.flatten(2)).reshape(n, c, h, w)


def max_pool_gather(x, place, *geometry):
    return x.flatten(2).gather(2, window_place(place, x.shape[2:], *geometry)).reshape(place.shape)


def avg_pool_backward(g, size, kernel, stride, padding, ceil_mode, include):
    with torch.enable_grad():
        x = torch.zeros(*g.shape[:2], *pair(size), dtype=g.dtype, requires_grad=True)
        y = F.avg_pool2d(x, kernel, stride, padding, ceil_mode, include)
        return torch.autograd.grad(y, x, g, create_graph=True)[0]


def conv(x, weight, bias, *geometry):
    """Without input channels PyTorch loses the output's channels too."""
    return F.conv2d(x, weight, bias, *geometry) if x.shape[1] else None


def conv_input(g, weight, size, *geometry):
    groups = geometry[3]
    shape = (g.shape[0], weight.shape[1] * groups, *pair(size))
    return torch.nn.grad.conv2d_input(shape, weight, g, *geometry)


def conv_weight(g, x, size, *geometry):
    shape = (g.shape[1], x.shape[1] // geometry[3], *pair(size))
    return torch.nn.grad.conv2d_weight(x, shape, g, *geometry)


# ---- layers

def conv_relu(x, weight, bias, stride, padding, dilation, pool):
    if not x.shape[1]:
        return None
    out = F.relu(F.conv2d(x, weight, bias, stride, padding, dilation))
    return F.max_pool2d(out, 2) if pool else out


def self_attention(x, heads, is_causal, scale):
    *batch, length, width = x.shape
    if not length:
        return None
    q, k, v = x.reshape(*batch, length, 3, heads, width // (3 * heads)).movedim(-3, 0).transpose(
        -2, -3)
    out = F.scaled_dot_product_attention(q, k, v, None, 0.0, is_causal, scale=scale)
    return out.transpose(-2, -3).reshape(*batch, length, width // 3)


def attention(q, k, v, mask, is_causal, scale):
    if mask is not None and is_causal:
        return None
    batch = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    q, k, v = (x.expand(*batch, *x.shape[-2:]) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, mask, 0.0, is_causal, scale=scale)


def cross_entropy(logits, target, weight, ignore_index, reduction, label_smoothing):
    return F.cross_entropy(logits, target.long(), weight, ignore_index=ignore_index,
                           reduction=reduction, label_smoothing=label_smoothing)


def ones_if(bias, weight, shape):
    """A bias without a weight has no second derivative in PyTorch: a weight of ones."""
    return torch.ones(shape, dtype=bias.dtype) if bias is not None and weight is None else weight


def rms_norm(x, weight, normalized_ndim, eps):
    return F.rms_norm(x, x.shape[x.ndim - normalized_ndim:], weight, eps)


def layer_norm(x, weight, bias, ndim, eps):
    weight = ones_if(bias, weight, x.shape[-ndim:])
    return F.layer_norm(x, x.shape[-ndim:], weight, bias, eps)


def batch_norm(x, weight, bias, eps):
    axes, weight = (0, *range(2, x.ndim)), ones_if(bias, weight, x.shape[1])
    return (F.batch_norm(x, None, None, weight, bias, True, 0.0, eps), x.mean(axes),
            x.var(axes, correction=0))


def batch_norm_inference(x, mean, var, weight, bias, eps):
    return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)


def batch_norm_update(running_mean, running_var, mean, var, count, n, momentum):
    """A batch of two values with the given statistics, then n instead of two."""
    if count is not None:
        momentum = 1.0 / float(count)
    spread = torch.sqrt(var * (n - 1) / n) * (n / (n - 1)) / 2 ** 0.5
    F.batch_norm(torch.stack([mean - spread, mean + spread]), running_mean, running_var, None,
                 None, True, momentum)
    return running_mean, running_var


def lstm(x, h0, c0, w_ih, w_hh, b_ih, b_hh):
    if not x.numel():
        return None
    b_ih, b_hh = (torch.zeros_like(w_ih[:, 0]) if b is None else b for b in (b_ih, b_hh))
    out, _, cn = torch._VF.lstm(x, (h0[None], c0[None]), [w_ih, w_hh, b_ih, b_hh], True, 1, 0.0,
                                True, False, False)
    return out, cn[0]


def gru(x, h0, w_ih, w_hh, b_ih, b_hh):
    if not x.numel():
        return None
    b_ih, b_hh = (torch.zeros_like(w_ih[:, 0]) if b is None else b for b in (b_ih, b_hh))
    return torch._VF.gru(x, h0[None], [w_ih, w_hh, b_ih, b_hh], True, 1, 0.0, True, False,
                         False)[0]


def pow_slope(x, y):
    return torch.where(y == 0, 0.0, y * x ** (y - 1))


def selected(g, x, y):
    return torch.where(x > y, g, torch.where(x == y, g / 2, 0.0))


def clip(x, low, high):
    return x.clone() if low is None and high is None else torch.clamp(x, low, high)


def clip_backward(g, x, low, high):
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    return torch.where((x >= low) & (x <= high), g, 0.0)


ORACLE = {
    "add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div,
    "floor_divide": torch.floor_divide, "remainder": torch.remainder, "pow": torch.pow,
    "pow_slope": pow_slope,
    "add_": lambda x, y: x.clone().add_(y), "subtract_": lambda x, y: x.clone().sub_(y),
    "multiply_": lambda x, y: x.clone().mul_(y), "divide_": lambda x, y: x.clone().div_(y),
    "maximum": torch.maximum, "minimum": torch.minimum, "select_greater": selected,
    "where": torch.where, "clip": clip, "clip_backward": clip_backward,
    "negative": torch.neg, "abs": torch.abs, "sign": torch.sign, "floor": torch.floor,
    "ceil": torch.ceil, "round": torch.round, "square": torch.square, "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt, "exp": torch.exp, "expm1": torch.expm1, "log": torch.log,
    "log1p": torch.log1p, "sin": torch.sin, "cos": torch.cos, "erf": torch.erf,
    "astype": lambda x, dtype: x.to(dtype_of(dtype)),
    "equal": torch.eq, "not_equal": torch.ne, "less": torch.lt, "less_equal": torch.le,
    "greater": torch.gt, "greater_equal": torch.ge, "logical_and": torch.logical_and,
    "logical_or": torch.logical_or, "logical_xor": torch.logical_xor,
    "logical_not": torch.logical_not, "isnan": torch.isnan, "isinf": torch.isinf,
    "isfinite": torch.isfinite,

    "tanh": torch.tanh, "tanh_backward": aten.tanh_backward, "sigmoid": torch.sigmoid,
    "sigmoid_backward": aten.sigmoid_backward, "relu": torch.relu,
    "relu_backward": lambda g, out: aten.threshold_backward(g, out, 0), "silu": F.silu,
    "silu_backward": lambda g, x: g * torch.sigmoid(x) * (1 + x * (1 - torch.sigmoid(x))),
    "gelu": lambda x, approximate: F.gelu(x, approximate=approximate),
    "gelu_backward": lambda g, x, approximate: aten.gelu_backward(g, x, approximate=approximate),

    "alias": torch.clone, "copy": torch.clone, "expand_dims": expand_dims, "squeeze": squeeze,
    "permute_dims": lambda x, axes: x.permute(axes or tuple(reversed(range(x.ndim)))),
    "broadcast_to": torch.broadcast_to, "reshape": lambda x, shape: torch.reshape(
        x, shape if isinstance(shape, tuple) else (shape,)),
    "flip": lambda x, axis: torch.flip(x, axes_of(x, axis)), "concat": concat,
    "full": lambda shape, value, dtype: torch.full(
        shape if isinstance(shape, tuple) else (shape,), value,
        dtype=None if dtype is None else dtype_of(dtype)),
    "tril": torch.tril, "triu": torch.triu,

    "getitem": lambda x, index: x.flatten()[place(tuple(x.shape), index)], "setitem": setitem,
    "unindex": unindex, "accumulate": torch.add, "ravel_index": ravel_index, "gather": gather,
    "scatter_add": scatter_add, "scatter_": scatter, "scatter_add_": scatter_add_into,
    "embedding": lambda weight, i, padding: F.embedding(i, weight, padding)
    if weight.ndim == 2 and i.numel() else weight[i],
    "embedding_backward": embedding_backward, "index_add_rows_": index_add_rows,

    "matmul": torch.matmul, "linear": F.linear, "conv2d": conv, "conv2d_relu": conv_relu,
    "linear_relu": lambda x, weight, bias: F.relu(F.linear(x, weight, bias)),
    "self_attention": self_attention,
    "linear_backward_weight": lambda g, x, with_bias: (
        g.mT @ x, g.sum(0) if with_bias else g.new_empty(0)),
    "conv2d_backward_input": conv_input, "conv2d_backward_weight": conv_weight,
    "max_pool2d": F.max_pool2d, "max_pool2d_backward": max_pool_backward,
    "max_pool2d_gather": max_pool_gather, "avg_pool2d": F.avg_pool2d,
    "avg_pool2d_backward": avg_pool_backward, "attention": attention, "lstm": lstm, "gru": gru,
    "layer_norm": layer_norm, "rms_norm": rms_norm, "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference, "batch_norm_update_": batch_norm_update,

    "softmax": torch.softmax, "log_softmax": torch.log_softmax,
    "softmax_backward": lambda g, y, axis: aten._softmax_backward_data(g, y, axis, g.dtype),
    "log_softmax_backward": lambda g, y, axis: aten._log_softmax_backward_data(g, y, axis,
                                                                               g.dtype),
    "cross_entropy": cross_entropy,
    "mse": lambda x, y, reduction: F.mse_loss(x, y, reduction=reduction),
    "bce_with_logits": lambda x, y, reduction: F.binary_cross_entropy_with_logits(
        x, y, reduction=reduction),
    "bce_with_logits_backward": lambda g, x, y, reduction: (torch.sigmoid(x) - y) * g / (
        x.numel() if reduction == "mean" else 1),
    "mse_backward": lambda g, x, y, reduction: aten.mse_loss_backward(
        g, x, y, ["none", "mean", "sum"].index(reduction)),

    "sum": over(torch.sum), "mean": over(torch.mean), "var": over(var), "max": over(torch.amax),
    "min": over(torch.amin), "logsumexp": over(torch.logsumexp), "any": over(torch.any),
    "all": over(torch.all), "sum_to": lambda x, shape: x.sum_to_size(shape),
    "argmax": lambda x, axis, keepdims: torch.argmax(x, axis, keepdims),
    "argmin": lambda x, axis, keepdims: torch.argmin(x, axis, keepdims),
    "cumulative_sum": torch.cumsum,
}
