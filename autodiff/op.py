"""What an operation says of itself, and the registry of all operations.

One call of `op(...)` declares one operation: how its arguments are named, which kernel runs, the
shape and dtype rule, what it saves, its derivative rules, its cost, its samples.  Invariant: the
registry is the only list of operations; methods, docs, tests and benchmarks are driven by it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import ArgumentError

registry = {}       # name -> Op, in the order of declaration


class Plan(NamedTuple):
    """What a shape rule answers: the outputs, and the static arguments of the launch.

    outputs  [(shape, dtype), ...], residuals last
    ia, fa   integers and floats that the kernel reads, in the order of its numpy twin
    attrs    the attributes in normal form (axis=-1 -> axis=1), as the derivative rules see them;
             None keeps those of the call
    view     for an alias or a write into a part of x: (shape, strides in bytes, offset in bytes)
    """
    outputs: list
    ia: tuple = ()
    fa: tuple = ()
    attrs: Any = None
    view: Any = None


class Deferred:
    """A gradient that a rule returns by index, not yet spread over the shape of its input.

    `dense()` gives the whole gradient as a Tensor (recorded ops); `add_into(buffer)` adds it in
    place.  It makes a loop over n slices cost O(n) instead of O(n^2).
    """

    def dense(self):
        raise NotImplementedError

    def add_into(self, buffer):
        raise NotImplementedError


@dataclass(eq=False)
class Op:
    """The declaration of one operation; see `op` for the meaning of each field."""
    name: str
    inputs: tuple
    doc: str
    formula: str = ""
    attrs: dict = field(default_factory=dict)
    outputs: tuple = ("out",)
    residuals: tuple = ()
    optional: frozenset = frozenset()
    variadic: bool = False
    variadic_out: bool = False
    kernel: str | None = None
    layout: str = "contiguous"
    infer: Callable = None
    promote: str | None = None
    saves: dict = field(default_factory=dict)
    vjp: Callable = None
    jvp: Callable = None
    composite: Callable = None
    elementwise: bool = False
    linear: bool = False
    alias: bool = False
    into: str | None = None
    writes: tuple = ()
    dynamic_shape: bool = False
    opaque: bool = False
    method: bool = True
    flops: Callable = None
    scratch: Callable = None
    samples: Callable = None
    bad: Callable = None
    source: str = ""
    call: Callable = None           # the bound, callable operation: set by `op`

    @property
    def differentiable(self):
        return self.vjp is not None

    def save_names(self, needs):
        """Names of what must be saved when the inputs in the bit set `needs` want a gradient."""
        wanted = []
        for k, name in enumerate(self.inputs):
            if needs >> k & 1:
                wanted += [n for n in self.saves.get(name, ()) if n not in wanted]
        return wanted

    def signature(self):
        """The signature as a user reads it: `sum(x, axis=None, keepdims=False)`."""
        if self.variadic:
            first = [self.inputs[0]]
        else:
            first = [n + ("=None" if n in self.optional else "") for n in self.inputs]
        rest = [f"{k}={v!r}" for k, v in self.attrs.items()]
        return f"{self.name}({', '.join(first + rest)})"


def op(name, inputs, doc, *, outputs="out", residuals="", saves=None, writes="", attrs=None,
       **fields):
    """Declare an operation, register it, and return it as a callable.

    name       what users call
    inputs     names of the array arguments, "x y"; "bias?" may be absent (None), "*xs" is a list
    doc        one line; `formula` beside it
    attrs      static keyword arguments with their defaults (positional after the inputs too)
    outputs    "out", or several; "*outs" for a tuple whose length the shape rule decides
    residuals  extra outputs, made only when recording, for the derivative rules alone
    kernel     the launch: kernels' name; buffers are outputs, residuals, inputs
    layout     what the kernel takes: "strided", "contiguous" or "matrix" (see kernels/launch.pxd)
    infer      infer(*inputs, *attrs) -> Plan; raises the named error for bad shapes and dtypes
    promote    "same": bring all floating/integer inputs to one dtype; "float": to one floating
               dtype; None: leave them alone.  A list of names in `promote_only` narrows it.
    saves      {"x": "y", "q k v": "q k v out lse"}: gradient wanted -> what it needs
    vjp        vjp(g, needs, ...): the gradient of each input (a tuple; one value for one input);
               `needs` is a bit set in input order; the other parameters are found by name:
               inputs, outputs, residuals (None unless saved), attributes, `x_shape`, `x_dtype`.
               Several outputs: g is a tuple, None where no gradient came.
               The engine sums over broadcast axes.
    jvp        jvp(dx, dy, ..., by name as above) -> tangent of the output(s); tangents are never
               None.  Without one: `elementwise` takes the vjp, `linear` the op itself,
               `composite` its primitives, and the rest the transposed vjp.
    composite  the same function in primitives (a fused op): its oracle, and what the sweep
               differentiates under create_graph
    elementwise  out[i] depends on x[i] only
    linear     linear in its inputs jointly
    alias      the output shares the storage of the first input; no kernel
    into       name of the input that receives the result in place (and is returned)
    writes     names of further inputs that the kernel modifies
    flops      flops(plan, *inputs, **attrs) -> floating-point operations
    scratch    scratch(plan, *inputs, threads, **attrs) -> bytes
    samples    samples(draw) -> [Sample, ...]; bad(draw) -> [Bad, ...]  (autodiff/samples.py)
    """
    if name in registry:
        raise ArgumentError(f"op: {name!r} is registered already; choose another name")
    names = inputs.split()
    optional = frozenset(n.strip("?*") for n in names if n.endswith("?"))
    variadic = any(n.startswith("*") for n in names)
    outs = outputs.split()
    table = {}
    for wanted, needed in (saves or {}).items():
        for n in wanted.split():
            table[n.strip("*")] = tuple(needed.split())
    block = Op(name, tuple(n.strip("?*") for n in names), doc, attrs=dict(attrs or {}),
               outputs=tuple(n.strip("*") for n in outs), residuals=tuple(residuals.split()),
               optional=optional, variadic=variadic,
               variadic_out=any(n.startswith("*") for n in outs), saves=table,
               writes=tuple(writes.split()), **fields)
    _check(block)
    if block.infer is not None:
        from .guard import guarded
        block.infer = guarded(block)
    from .core import bind
    block.call = bind(block)
    registry[name] = block
    return block.call


def rule_parameters(rule):
    """Names of the parameters of a derivative rule, which the engine fills in by name."""
    return tuple(inspect.signature(rule).parameters)


def _check(block):
    """A block that contradicts itself fails where it is written, not where it is used."""
    known = set(block.inputs) | set(block.outputs) | set(block.residuals)
    for wanted, needed in block.saves.items():
        unknown = {wanted} - set(block.inputs) | set(needed) - known
        if unknown:
            raise ArgumentError(f"op {block.name}: saves names {sorted(unknown)}, known {known}")
    if block.into is not None and any("out" in needed for needed in block.saves.values()):
        raise ArgumentError(f"op {block.name}: it writes in place, so it cannot save its output")
    if block.vjp is not None:
        saved = {n for needed in block.saves.values() for n in needed}
        for p in rule_parameters(block.vjp)[2:]:
            if p in known and p not in saved:
                raise ArgumentError(f"op {block.name}: the vjp uses {p}, which `saves` leaves out")
