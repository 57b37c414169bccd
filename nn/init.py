"""Initialisation of parameters, in place, under the names of torch.nn.init.

Values are drawn from the engine's default random state, or from `generator`, a state tensor made
by `nn.init.generator(seed)`.  Invariant: nothing here is recorded.
"""

import math

import numpy as np

import autodiff as ad
from autodiff.guard import exported

from .errors import ArgumentError, ShapeError, ValueRangeError, need_tensor

__all__ = ["calculate_gain", "constant_", "generator", "kaiming_normal_", "kaiming_uniform_",
           "normal_", "ones_", "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_",
           "xavier_uniform_", "zeros_"]


def generator(seed):
    """A random state of its own, to be passed as `generator`."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ArgumentError(f"generator: seed must be an integer, got {seed!r}")
    key = (int(seed) + 2 ** 63) % 2 ** 64 - 2 ** 63
    return ad.tensor(np.array([key, 0], np.int64))


def _write(tensor, values):
    with ad.no_grad():
        tensor.copy_(values)
    return tensor


def _draw(op, tensor, state):
    need_tensor("nn.init", tensor, "tensor")
    return op(ad.random_base(state), tensor.shape, tensor.dtype)


def _unseen(tensor, state):
    """What a dry run does where NumPy would work on the numbers drawn."""
    _draw(ad.normal, tensor, state)
    return _write(tensor, np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape))


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Uniform in [a, b)."""
    with ad.no_grad():
        return _write(tensor, _draw(ad.uniform, tensor, generator) * (b - a) + a)


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Normal with the given mean and standard deviation."""
    if std < 0:
        raise ValueRangeError(f"normal_: std must not be negative, got {std}")
    with ad.no_grad():
        return _write(tensor, _draw(ad.normal, tensor, generator) * std + mean)


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Normal, drawn again where outside [a, b]."""
    if not std > 0 or not a < b or math.erf((b - mean) / std / math.sqrt(2)) - math.erf(
            (a - mean) / std / math.sqrt(2)) < 1e-4:      # draws would take for ever
        raise ValueRangeError(f"trunc_normal_: [{a}, {b}] has no mass under mean {mean}, std {std}")
    if ad.in_dry_run():
        return _unseen(tensor, generator)
    values = _draw(ad.normal, tensor, generator).numpy() * std + mean
    while (outside := (values < a) | (values > b)).any():
        fresh = _draw(ad.normal, tensor, generator).numpy() * std + mean
        values = np.where(outside, fresh, values)
    return _write(tensor, values.astype(tensor.dtype))


def constant_(tensor, val):
    """Every element `val`."""
    need_tensor("nn.init", tensor, "tensor")
    return _write(tensor, val)


def ones_(tensor):
    """Every element 1."""
    return constant_(tensor, 1)


def zeros_(tensor):
    """Every element 0."""
    return constant_(tensor, 0)


def fans(tensor):
    """(fan_in, fan_out) of a weight (out, in, ...): inputs and outputs a unit connects to."""
    need_tensor("nn.init", tensor, "tensor")
    if tensor.ndim < 2:
        raise ShapeError(f"nn.init: fan in and fan out need at least 2 dimensions, got shape "
                         f"{tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def calculate_gain(nonlinearity, param=None):
    """The factor that keeps the variance through a nonlinearity (PyTorch's table)."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    gains = {"linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2),
             "selu": 0.75}
    if nonlinearity not in gains:
        raise ArgumentError(f"calculate_gain: expected one of {[*gains, 'leaky_relu']}, got "
                            f"{nonlinearity!r}")
    return gains[nonlinearity]


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Uniform within gain * sqrt(6 / (fan_in + fan_out)). Glorot and Bengio (2010)."""
    bound = gain * math.sqrt(6 / max(sum(fans(tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Normal with std gain * sqrt(2 / (fan_in + fan_out)). Glorot and Bengio (2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / max(sum(fans(tensor)), 1)), generator)


def _kaiming_std(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"nn.init: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Uniform within gain * sqrt(3 / fan). He et al. (2015)."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Normal with std gain / sqrt(fan). He et al. (2015)."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor, gain=1.0, generator=None):
    """Orthonormal rows or columns, times gain. Saxe et al. (2014)."""
    fans(tensor)
    rows = tensor.shape[0]
    if ad.in_dry_run():
        return _unseen(tensor, generator)
    flat = _draw(ad.normal, tensor, generator).numpy().reshape(rows, -1)
    q, r = np.linalg.qr(flat.T if rows < flat.shape[1] else flat)
    q = q * np.sign(np.diag(r))         # makes the distribution uniform
    q = q.T if rows < flat.shape[1] else q
    return _write(tensor, np.ascontiguousarray(gain * q.reshape(tensor.shape), tensor.dtype))


def linear_like_(weight, bias, state=None):
    """PyTorch's default for Linear and Conv: both uniform within 1 / sqrt(fan_in)."""
    if weight.size:
        kaiming_uniform_(weight, a=math.sqrt(5), generator=state)
    if bias is not None:
        fan_in = fans(weight)[0]
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
        uniform_(bias, -bound, bound, state)


for _name in __all__:                   # a wrong argument of any of them has a named error
    globals()[_name] = exported(globals()[_name])
