"""Random programs of views, writes in place, constants, hooks and deletions have right gradients.

Each program runs on the engine, and again in NumPy with the inputs moved along a direction, which
gives the slope to compare with.  Invariant: a program is refused by name, or its gradient is right;
never silently wrong.
"""

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import autodiff as ad  # noqa: E402

SHAPE = (3, 3)
KEYS = [0, -1, slice(None), (slice(None), 1), (1, slice(0, 2)), (Ellipsis, slice(None, None, -1)),
        [0, 2], (slice(None), [1, 1]), ([0, 1], [2, 0])]
EPS = 1e-5
BINARY = {"add": lambda x, y: x + y, "mul": lambda x, y: x * y, "sub": lambda x, y: x - y,
          "matmul": lambda x, y: x @ y * 0.3}


def step():
    place = st.integers(0, 7)
    key = st.sampled_from(range(len(KEYS)))
    return st.one_of(
        st.tuples(st.just("unary"), st.sampled_from(["tanh", "sin", "square", "exp_tanh"]), place),
        st.tuples(st.just("binary"), st.sampled_from(["add", "mul", "matmul", "sub"]), place,
                  place),
        st.tuples(st.just("scale"), place), st.tuples(st.just("transpose"), place),
        st.tuples(st.just("reshape"), place), st.tuples(st.just("row"), place, key),
        st.tuples(st.just("write"), place, place, key),
        st.tuples(st.just("fill"), place, key),
        st.tuples(st.just("iadd"), place, place), st.tuples(st.just("imul"), place, place),
        st.tuples(st.just("constant"), place),
        st.tuples(st.just("hook"), place), st.tuples(st.just("delete"), place),
        st.tuples(st.just("copy"), place))


class Engine:
    """The program on Tensors."""

    tanh, sin, square = staticmethod(ad.tanh), staticmethod(ad.sin), staticmethod(ad.square)
    exp = staticmethod(ad.exp)

    def constant(self, x):
        with ad.no_grad():
            return x * 1.0

    def copy(self, x):
        return ad.copy(x)

    def hook(self, x):
        if x.requires_grad:
            y = x * 1.0
            y.register_hook(lambda g: g * 2.0)
            return y
        return x

    def broadcast(self, part):
        return part.reshape(-1).sum() + ad.zeros(SHAPE, dtype="float64")


class Reference:
    """The same in NumPy; constants are those of the first run, for the slope leaves them alone."""

    tanh, sin, square, exp = np.tanh, np.sin, np.square, np.exp

    def __init__(self, constants=None):
        self.constants, self.kept, self.next = constants, [], 0

    def constant(self, x):
        self.kept.append(np.array(x))
        self.next += 1
        return np.array(x) if self.constants is None else self.constants[self.next - 1].copy()

    def copy(self, x):
        return x.copy()

    def hook(self, x):
        return 2.0 * x - self.constant(x)       # the same value, twice the slope

    def broadcast(self, part):
        return part.reshape(-1).sum() + np.zeros(SHAPE)


def run(world, program, inputs, hooked):
    """The scalar that the program computes."""
    values = list(inputs)
    for kind, *args in program:
        names = [a % len(values) for a in args if not isinstance(a, str)]
        x = values[names[0]] if names else None
        if kind == "unary":
            x = values[args[1] % len(values)]
            values.append({"tanh": world.tanh, "sin": world.sin, "square": world.square,
                           "exp_tanh": lambda v: world.exp(world.tanh(v))}[args[0]](x))
        elif kind == "binary":
            x, y = values[args[1] % len(values)], values[args[2] % len(values)]
            values.append(BINARY[args[0]](x, y))
        elif kind == "scale":
            values.append(x * 0.7)
        elif kind == "transpose":
            values.append(x.T)
        elif kind == "reshape":
            values.append(x.reshape(9).reshape(SHAPE))
        elif kind == "row":
            values.append(world.broadcast(x[KEYS[args[1]]]))
        elif kind == "write":
            key = KEYS[args[2]]
            x[key] = values[names[1]][key]
        elif kind == "fill":
            x[KEYS[args[1]]] = 0.25
        elif kind == "iadd":
            x += values[names[1]]
        elif kind == "imul":
            x *= values[names[1]]
        elif kind == "constant":
            values.append(world.constant(x))
        elif kind == "hook":
            if hooked[len(values) % len(hooked)]:
                values.append(world.hook(x))
        elif kind == "delete":
            if len(values) > 3:
                del values[args[0] % len(values)]
        elif kind == "copy":
            values.append(world.copy(x))
        x = y = None
    total = values[0].sum() * 0.0
    for v in values:
        total = total + world.tanh(v * 0.3).sum()
    return total


def numeric(program, arrays, direction):
    base = Reference()
    value = run(base, program, [a.copy() for a in arrays], [False])
    ends = [run(Reference(base.kept), program,
                [a + sign * EPS * d for a, d in zip(arrays, direction, strict=True)], [False])
            for sign in (1, -1)]
    return value, (ends[0] - ends[1]) / (2 * EPS)


@settings(max_examples=250)
@given(st.lists(step(), min_size=2, max_size=14), st.booleans(), st.integers(0, 2 ** 16))
def test_right_or_refused(program, twice, seed):
    program = [s for s in program if s[0] != "hook"]
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(-1, 1, SHAPE) for _ in range(2)]
    direction = [rng.standard_normal(SHAPE) for _ in arrays]
    leaves = [ad.tensor(a, requires_grad=True) for a in arrays]
    try:
        # Non-leaf copies: writes in place to a leaf are refused, these are not.
        loss = run(Engine(), program, [x * 1.0 for x in leaves], [False])
        loss.backward(retain_graph=twice)
        if twice:
            loss.backward()
    except ad.GradientError:
        return
    copies = [a.copy() for a in arrays]
    value, slope = numeric(program, copies, direction)
    np.testing.assert_allclose(loss.item(), value, rtol=1e-9, atol=1e-9)
    got = sum((x.grad.numpy() * d).sum() for x, d in zip(leaves, direction, strict=True)
              if x.grad is not None)
    np.testing.assert_allclose(got / (2 if twice else 1), slope, rtol=2e-5, atol=2e-7)


@given(st.lists(step(), min_size=1, max_size=8), st.integers(0, 2 ** 16))
def test_hooks_change_what_they_should(program, seed):
    """A hook that doubles a gradient: the reference doubles the slope there."""
    program = [s for s in program if s[0] in ("unary", "binary", "scale", "hook", "row",
                                              "transpose")]
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(-1, 1, SHAPE) for _ in range(2)]
    direction = [rng.standard_normal(SHAPE) for _ in arrays]
    leaves = [ad.tensor(a, requires_grad=True) for a in arrays]
    loss = run(Engine(), program, leaves, [True])
    loss.backward()
    base = Reference()
    run(base, program, [a.copy() for a in arrays], [True])
    ends = [run(Reference(base.kept), program,
                [a + sign * EPS * d for a, d in zip(arrays, direction, strict=True)], [True])
            for sign in (1, -1)]
    got = sum((x.grad.numpy() * d).sum() for x, d in zip(leaves, direction, strict=True)
              if x.grad is not None)
    np.testing.assert_allclose(got, (ends[0] - ends[1]) / (2 * EPS), rtol=5e-5, atol=1e-6)
