"""Derivatives checked against finite differences and against each other, in float64.

`gradcheck` holds a reverse sweep and a forward pass against central differences; `gradgradcheck`
does the same to the gradient itself. Invariant: a failure names the input, the entry, and both
values; nothing is compared without an absolute and a relative tolerance.
"""

import numpy as np

from . import call, core
from .bounds import max_saved_bytes  # noqa: F401
from .errors import ArgumentError, GradcheckError
from .forward import jvp
from .guard import need_callable, need_tensors
from .op import registry
from .samples import Draw
from .transforms import _active

FULL = 400          # a Jacobian of at most so many entries is checked whole


def gradcheck(f, *inputs, eps=1e-6, atol=1e-7, rtol=1e-5, forward=True, seed=0, names=None,
              full=FULL):
    """Check the derivatives of `f` at `inputs`; returns True or raises GradcheckError.

    f: takes Tensors, returns one or a tuple of them. inputs: float64 arrays or Tensors are
    differentiated, others (integers, bool, no arrays) are passed on as they are.
    A Jacobian of at most `full` entries is compared entry by entry, a larger one along random
    directions; `forward` also holds the jvp against both. float32 is refused: a finite difference
    of it has no digits left. Error: eps**2 of truncation and 1e-16 / eps of rounding.
    """
    problem = _Problem(f, inputs, eps, seed, names)
    if not problem.wrt:
        raise ArgumentError("gradcheck: none of the inputs is a float64 array")
    same = _comparer(atol, rtol, problem)
    entries = problem.size * sum(o.size for o in problem.values)
    if entries <= full:
        numeric = problem.numeric_jacobian()
        analytic = problem.reverse_jacobian()
        for k in problem.wrt:
            for o in range(len(problem.values)):
                same("gradient", k, o, analytic[k][o], numeric[k][o])
    else:
        cotangent = problem.cotangents()
        grads = problem.pull(cotangent)
        for k in problem.wrt:
            for direction in problem.directions(k):
                numeric = problem.slope({k: direction}, cotangent)
                same("gradient along a random direction", k, None,
                     np.sum(grads[k] * direction), numeric)
    if forward:
        for k in problem.wrt:
            direction = next(problem.directions(k))
            slopes = problem.differences({k: direction})
            for o, (pushed, slope) in enumerate(zip(problem.push({k: direction}), slopes)):
                same("jvp along a random direction", k, o, pushed, slope, by_output=True)
    return True


def gradgradcheck(f, *inputs, eps=1e-6, atol=1e-6, rtol=1e-5, forward=False, seed=0, names=None,
                  full=FULL):
    """Check second derivatives of `f`: gradcheck of (x, u) -> J(x)^T u for random cotangents u.

    `forward` adds forward-over-reverse (Hessian-vector products).
    """
    problem = _Problem(f, inputs, eps, seed, names)
    count = len(inputs)

    def pulled(*arguments):
        xs, us = list(arguments[:count]), arguments[count:]
        with core.enable_grad():
            for k in problem.wrt:
                xs[k] = _active("gradcheck", xs[k])
            outs = _floats(f(*xs))
            pairs = [(o, u) for o, u in zip(outs, us) if o.requires_grad]
            grads = core.gradients([o for o, _ in pairs], [xs[k] for k in problem.wrt],
                                   [u for _, u in pairs], create_graph=True, allow_unused=True)
        return tuple(_zeros(xs[k]) if g is None else g for k, g in zip(problem.wrt, grads))

    names = problem.names + [f"cotangent {k}" for k in range(len(problem.values))]
    return gradcheck(pulled, *problem.inputs, *problem.cotangents(), eps=eps, atol=atol,
                     rtol=rtol, forward=forward, seed=seed + 1, names=names, full=full)


class Case:
    """One sample of one operation, ready to be called on other arrays of the same shapes.

    `arrays` are its flat inputs (arrays, numbers, None); calling the case with as many Tensors
    applies the operation. What the operation writes is copied first, so a case is a function;
    where it has no other output, it returns what was written.
    """

    def __init__(self, block, sample, number=0):
        self.block, self.sample, self.number = block, sample, number
        self.arrays, self.attrs = call.parse(block, sample.args, sample.kwargs)
        written = [block.into, *block.writes]
        self.written = [k for k in range(len(self.arrays))
                        if call.input_name(block, k) in written and self.arrays[k] is not None]

    def __call__(self, *tensors):
        out, written = self.run(*tensors)
        return written if out is None else out

    def run(self, *tensors):
        """(what the operation returns, the copies that it wrote to)."""
        tensors = list(tensors)
        for k in self.written:
            tensors[k] = registry["copy"].call(tensors[k])
        out = self.block.call(*call.group(self.block, tensors), *self.attrs)
        return out, tuple(tensors[k] for k in self.written)

    def tensors(self):
        """The inputs as Tensors (numbers and None stay)."""
        return [core.make(x) if isinstance(x, np.ndarray) else x for x in self.arrays]

    def __repr__(self):
        return f"{self.block.name}-{self.number}"


def cases(block, dtype=np.float64, seed=0):
    """The samples of one operation as Cases."""
    if not hasattr(block, "samples"):
        raise ArgumentError(f"cases: expected an operation's block, such as ad.registry['exp'], "
                            f"got {type(block).__name__}")
    return [Case(block, sample, k) for k, sample in enumerate(block.samples(Draw(seed, dtype)))]


class _Problem:
    """A function at a point: its differences, its pull-back and its push-forward, in NumPy."""

    def __init__(self, f, inputs, eps, seed, names):
        need_callable("gradcheck", f)
        if isinstance(eps, bool) or not isinstance(eps, (int, float, np.floating)) or not eps > 0:
            raise ArgumentError(f"gradcheck: eps must be a number above 0, got {eps!r}")
        self.f, self.eps, self.rng = f, eps, np.random.default_rng(seed)
        self.inputs = [np.array(x.numpy()) if isinstance(x, core.Tensor) else x for x in inputs]
        self.names = list(names or [f"input {k}" for k in range(len(inputs))])
        self.wrt = []
        for k, x in enumerate(self.inputs):
            if isinstance(x, np.ndarray) and x.dtype == np.float32:
                raise ArgumentError(f"gradcheck: input {k} is float32; finite differences need "
                                    "float64")
            if isinstance(x, np.ndarray) and x.dtype == np.float64:
                self.wrt.append(k)
        self.size = sum(self.inputs[k].size for k in self.wrt)
        self.values = self.evaluate({})

    def arguments(self, moved, grad=False):
        args = []
        for k, x in enumerate(self.inputs):
            if isinstance(x, np.ndarray):
                x = core.make(moved.get(k, x))
                x.requires_grad = grad and k in self.wrt
            args.append(x)
        return args

    def evaluate(self, moved):
        with core.no_grad():
            return [np.array(o.numpy()) for o in _floats(self.f(*self.arguments(moved)))]

    def differences(self, directions):
        """Central differences of all outputs when inputs move along `directions`."""
        up, down = ({k: self.inputs[k] + sign * self.eps * v for k, v in directions.items()}
                    for sign in (1, -1))
        return [(a - b) / (2 * self.eps)
                for a, b in zip(self.evaluate(up), self.evaluate(down))]

    def slope(self, directions, cotangents):
        return sum(np.sum(d * u) for d, u in zip(self.differences(directions), cotangents))

    def cotangents(self):
        return [np.asarray(self.rng.standard_normal(o.shape)) for o in self.values]

    def directions(self, k, count=2):
        for _ in range(count):
            yield np.asarray(self.rng.standard_normal(self.inputs[k].shape))

    def numeric_jacobian(self):
        table = {}
        for k in self.wrt:
            x = self.inputs[k]
            table[k] = [np.zeros(o.shape + x.shape) for o in self.values]
            for entry in np.ndindex(x.shape):
                unit = np.zeros(x.shape)
                unit[entry] = 1.0
                for rows, d in zip(table[k], self.differences({k: unit})):
                    rows[(..., *entry)] = d
        return table

    def reverse_jacobian(self):
        table = {k: [np.zeros(o.shape + self.inputs[k].shape) for o in self.values]
                 for k in self.wrt}
        outs, xs = self.forward_pass()
        for o, value in enumerate(self.values):
            for entry in np.ndindex(value.shape):
                unit = np.zeros(value.shape)
                unit[entry] = 1.0
                for k, g in self.gradients(outs[o:o + 1], xs, [unit]).items():
                    table[k][o][entry] = g
        return table

    def forward_pass(self):
        with core.enable_grad():
            xs = self.arguments({}, grad=True)
            # An alias, so that `f` may return an input or write in place to one.
            return _floats(self.f(*[_active("cases", x) if k in self.wrt else x
                                    for k, x in enumerate(xs)])), xs

    def pull(self, cotangents):
        """J^T u, as {input: array}."""
        outs, xs = self.forward_pass()
        return self.gradients(outs, xs, cotangents)

    def gradients(self, outs, xs, cotangents):
        pairs = [(o, core.make(u)) for o, u in zip(outs, cotangents) if o.requires_grad]
        found = {k: np.zeros(self.inputs[k].shape) for k in self.wrt}
        if pairs:
            grads = core.gradients([o for o, _ in pairs], [xs[k] for k in self.wrt],
                                   [u for _, u in pairs], retain_graph=True, allow_unused=True)
            for k, g in zip(self.wrt, grads):
                if g is not None:
                    self.must_fit(k, g)
                    found[k] = np.array(g.numpy())
        return found

    def must_fit(self, k, g):
        x = self.inputs[k]
        if g.shape != x.shape or g.dtype != x.dtype:
            raise GradcheckError(f"gradcheck: {self.names[k]} is {x.dtype} {x.shape}, but its "
                                 f"gradient {g.dtype} {g.shape}")

    def push(self, directions):
        """J v, by forward mode."""
        moved = list(directions)

        def only(*xs):
            args = self.arguments({})
            for k, x in zip(moved, xs):
                args[k] = x
            return tuple(_floats(self.f(*args)))

        with core.no_grad():
            tangents = jvp(only, [core.make(self.inputs[k]) for k in moved],
                           [core.make(directions[k]) for k in moved])[1]
        return [np.array(t.numpy()) for t in tangents]


def _comparer(atol, rtol, problem):
    def same(what, k, o, analytic, numeric, by_output=False):
        analytic, numeric = np.asarray(analytic), np.asarray(numeric)
        scale = np.max(np.abs(numeric), initial=0.0)
        wrong = ~(np.abs(analytic - numeric) <= atol + rtol * scale)
        if not wrong.any():
            return
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        inputs = 0 if by_output else problem.inputs[k].ndim if o is not None else 0
        cut = len(at) - inputs
        where = f", entry {at[cut:]}" if inputs or (o is not None and not by_output) else ""
        if o is not None and (len(problem.values) > 1 or cut):
            where += f", of output {o}, entry {at[:cut]}"
        raise GradcheckError(f"gradcheck: {what}, {problem.names[k]}{where}: analytic "
                             f"{analytic[at]:.9g}, numeric {numeric[at]:.9g}")
    return same


def _floats(out):
    """The outputs that have derivatives."""
    outs = need_tensors("gradcheck", "what the function returns", out)
    return [o for o in outs if o.dtype.kind == "f"]


def _zeros(x):
    from .ops.creation import zeros_like
    return zeros_like(x)
