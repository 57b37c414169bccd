"""Random numbers, each a pure function of a snapshot [key, counter] (Philox4x32-10).

`rng_next` takes the snapshot and advances the state, which is a tensor: a launch that can be
logged and replayed.  Invariant: no random operation hides state, so a mask is never saved; the
backward of dropout draws it again from the same snapshot.

Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

import math

import numpy as np

from .. import core, dtypes
from ..dry import outside
from ..errors import ArgumentError, DtypeError, ShapeError, ValueRangeError
from ..infer import need_float
from ..op import Plan, op
from ..samples import Bad, Sample

__all__ = ["functional_dropout", "manual_seed", "rand", "randn", "randperm", "random_base",
           "random_integers", "random_state"]

BASE = np.array([2024, 7])


def check_base(name, base):
    if base.dtype != dtypes.int64 or base.shape != (2,):
        raise ArgumentError(f"{name}: base must be int64 [key, counter], as rng_next gives it; "
                            f"got {base.dtype} of shape {base.shape}")


def check_shape(name, shape):
    shape = shape if isinstance(shape, (tuple, list)) else (shape,)
    if any(isinstance(n, bool) or not hasattr(n, "__index__") for n in shape):
        raise ArgumentError(f"{name}: shape must be integers, got {shape!r}")
    shape = tuple(n.__index__() for n in shape)
    if len(shape) > 8 or min(shape, default=0) < 0:
        raise ShapeError(f"{name}: shape must have at most 8 sizes, none negative, got {shape}")
    return shape


def rng_next_infer(state):
    check_base("rng_next", state)
    return Plan([((2,), dtypes.int64)])


def real_infer(name):
    """Shape rule of uniform and normal."""
    def infer(base, shape, dtype):
        check_base(name, base)
        shape = check_shape(name, shape)
        dtype = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
        if not dtypes.is_float(dtype):
            raise DtypeError(f"{name}: dtype must be float32 or float64, got {dtype}")
        return Plan([(shape, dtype)], ia=(dtypes.CODE[dtype], *shape), attrs=(shape, dtype))
    return infer


def randint_infer(base, low, high, shape):
    check_base("randint", base)
    shape = check_shape("randint", shape)
    for arg, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ArgumentError(f"randint: {arg} must be an integer, got {value!r}")
    if not 0 < high - low <= 2 ** 32:
        raise ValueRangeError(f"randint: expected low < high <= low + 2**32, got low={low}, "
                              f"high={high}")
    return Plan([(shape, dtypes.int64)], ia=(int(low), int(high), *shape))


def permutation_infer(base, n):
    check_base("permutation", base)
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise ArgumentError(f"permutation: n must be an integer, got {n!r}")
    if n < 0:
        raise ValueRangeError(f"permutation: n must not be negative, got {n}")
    return Plan([((int(n),), dtypes.int64)], ia=(int(n),))


def dropout_infer(x, base, p):
    need_float("dropout", x=x)
    check_base("dropout", base)
    if not 0.0 <= p <= 1.0:
        raise ValueRangeError(f"dropout: p must be between 0 and 1, got {p}")
    return Plan([(x.shape, x.dtype)], fa=(float(p),))


def dropout_vjp(g, needs, base, p):
    return dropout(g, base, p), None


def dropout_jvp(dx, base, p):
    return dropout(dx, base, p)


def _flops(per_element):
    return lambda plan, *inputs, **attrs: per_element * math.prod(plan.outputs[0][0])


def real_samples(draw):
    return [Sample(BASE, s, draw.dtype, check_grad=False) for s in [(), (7,), (2, 3), (0, 2)]]


def real_bad(draw):
    return [Bad(ArgumentError, "base must be int64", np.array([1, 2, 3]), (2,)),
            Bad(DtypeError, "float32 or float64", BASE, (2,), dtypes.int32),
            Bad(ShapeError, "none negative", BASE, (2, -1))]


def randint_samples(draw):
    return [Sample(BASE, -3, 4, (5,), check_grad=False),
            Sample(BASE, 0, 2 ** 32, (2, 3), check_grad=False),
            Sample(BASE, 0, 1, (), check_grad=False)]


def randint_bad(draw):
    return [Bad(ValueRangeError, "low < high", BASE, 3, 3, (2,))]


def dropout_samples(draw):
    return [Sample(draw.normal(*s), BASE, p) for s, p in
            [((), 0.5), ((7,), 0.25), ((2, 3), 0.5), ((4, 5), 0.0), ((3,), 1.0), ((0, 3), 0.5)]]


def dropout_bad(draw):
    return [Bad(ValueRangeError, "between 0 and 1", draw.normal(3), BASE, 1.5),
            Bad(ArgumentError, "base must be int64", draw.normal(3), draw.normal(2), 0.5)]


SOURCE = "Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011)"

rng_next = op(
    "rng_next", "state", "Snapshot [key, counter] of a random state, whose counter then goes up.",
    formula="base = state; state[1] += 1", writes="state", kernel="rng_next",
    infer=rng_next_infer, method=False, source=SOURCE,
    samples=lambda draw: [Sample(np.array([3, 9]), check_grad=False)],
    bad=lambda draw: [Bad(ArgumentError, "base must be int64", draw.normal(2))])

uniform = op(
    "uniform", "base", "Uniform numbers in [0, 1) from a snapshot of the random state.",
    attrs={"shape": (), "dtype": None}, kernel="uniform", infer=real_infer("uniform"),
    method=False, flops=_flops(10), samples=real_samples, bad=real_bad, source=SOURCE)

normal = op(
    "normal", "base", "Standard normal numbers from a snapshot of the random state (Box-Muller).",
    formula="sqrt(-2 log(u)) * cos(2 pi v)", attrs={"shape": (), "dtype": None}, kernel="normal",
    infer=real_infer("normal"), method=False, flops=_flops(30), samples=real_samples,
    bad=real_bad, source=SOURCE)

randint = op(
    "randint", "base", "Integers in [low, high) from a snapshot of the random state.",
    attrs={"low": 0, "high": 2, "shape": ()}, kernel="randint", infer=randint_infer,
    method=False, flops=_flops(10), samples=randint_samples, bad=randint_bad, source=SOURCE)

permutation = op(
    "permutation", "base", "The integers below n in random order (Fisher-Yates).",
    attrs={"n": 0}, kernel="permutation", infer=permutation_infer, method=False,
    flops=_flops(10), source=SOURCE,
    samples=lambda draw: [Sample(BASE, n, check_grad=False) for n in (0, 1, 10)],
    bad=lambda draw: [Bad(ValueRangeError, "negative", BASE, -1)])

dropout = op(
    "dropout", "x base", "Zero each element with probability p, and scale the rest to keep the "
    "mean; the mask is a function of the snapshot `base`.",
    formula="x * mask / (1 - p)", attrs={"p": 0.5}, kernel="dropout", infer=dropout_infer,
    saves={"x": "base"}, vjp=dropout_vjp, jvp=dropout_jvp, method=False, flops=_flops(10),
    samples=dropout_samples, bad=dropout_bad,
    source="Srivastava et al., Dropout (2014)")


# The default state, and what users call ------------------------------------------------------

_default = None


def random_state():
    """The default random state: an int64 tensor [seed, counter], made on first use."""
    global _default
    if _default is None:
        with outside():                 # it outlives a dry run that happens to ask first
            _default = core.make(np.array([0, 0]), dtypes.int64, "buffer")
    return _default


def manual_seed(seed):
    """Start the default random state again from `seed` (any Python integer; its low 64 bits)."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ArgumentError(f"manual_seed: expected an integer, got {seed!r}")
    key = (seed.__index__() + 2 ** 63) % 2 ** 64 - 2 ** 63
    with random_state().writable() as state:
        state[...] = (key, 0)


def random_base(state=None):
    """A snapshot for one random operation, from `state` or the default random state."""
    if state is not None and not isinstance(state, core.Tensor):
        raise ArgumentError("random_base: state must be a Tensor, which the draw advances, got "
                            f"{type(state).__name__}")
    return rng_next(random_state() if state is None else state)


def rand(*shape, dtype=None):
    """Uniform numbers in [0, 1) of the given shape."""
    return uniform(random_base(), _shape(shape), _dtype(dtype))


def randn(*shape, dtype=None):
    """Standard normal numbers of the given shape."""
    return normal(random_base(), _shape(shape), _dtype(dtype))


def random_integers(low, high, shape=()):
    """Integers in [low, high) of the given shape (int64)."""
    return randint(random_base(), low, high, shape)


def randperm(n):
    """The integers below n in random order (int64)."""
    return permutation(random_base(), n)


def functional_dropout(x, p=0.5, training=True, state=None):
    """`dropout` with a fresh snapshot; x itself when not training, or where p is 0."""
    if not training or p == 0:
        return x
    return dropout(x, random_base(state), p)


def _dtype(dtype):
    """Settled here, for the default may change between two calls."""
    return dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)


def _shape(shape):
    """rand(2, 3) and rand((2, 3)) alike."""
    return shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
