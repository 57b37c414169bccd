"""Bound: what C needs to know of an operation, read from its block once.

Invariant: tables follow from the block alone and never change after; only the cache of plans
grows (see plan.pyx).
"""

from autodiff.tape cimport OUT
from kernels.launch cimport run_t

import kernels

from . import call
from .errors import AutodiffError
from .op import registry, rule_parameters

cdef int _count_of_ops = 0


cdef class Bound:
    """An operation made ready: its block, its kernel's address, and tables."""

    def __init__(self, op):
        global _count_of_ops
        self.op, self.kernel = op, op.kernel
        self.__name__ = self.__qualname__ = op.name
        self.__doc__ = op.doc
        self.number, _count_of_ops = _count_of_ops, _count_of_ops + 1
        self.variadic, self.variadic_out, self.alias = op.variadic, op.variadic_out, op.alias
        self.nin, self.nout, self.nres = len(op.inputs), len(op.outputs), len(op.residuals)
        self.strided, self.matrix = op.layout == "strided", op.layout == "matrix"
        self.elementwise = op.elementwise
        self.rule = {"same": LIKE_INPUT, "compare": COMPARE, None: BY_RULE,
                     "broadcast": LIKE_INPUT if self.nin == 1 else BROADCAST}[
                         getattr(op.infer, "shortcut", None)]
        self.expands = self.strided and (op.elementwise or op.into is not None
                                         or self.rule in (BROADCAST, COMPARE))
        self.any_dtype = op.promote is None
        self.to_float = (op.promote or "").startswith("float")
        self.vjp, self.infer, self.scratch = op.vjp, op.infer, op.scratch
        self.differentiable = op.vjp is not None
        self.default_attrs, self.attr_names = tuple(op.attrs.values()), tuple(op.attrs)
        self.required = bytes([name not in op.optional for name in op.inputs])
        self.prepared, self.cacheable = {}, not op.dynamic_shape and not op.variadic
        self.by_strides = op.alias or op.into is not None
        self.into = -1 if op.into is None else op.inputs.index(op.into)
        self.writes = tuple(op.inputs.index(n) for n in op.writes)
        self.many = {}
        self._prepare_saves()
        self._prepare_vjp()

    def _prepare_saves(self):
        cdef int needs, k
        if self.variadic or self.nin > 2 or self.nout != 1 or self.nres:
            return
        for needs in range(1 << self.nin):
            names = self.op.save_names(needs)
            slots = self.slots_of(names, self.nin)
            self.few[needs].n = len(slots)
            for k in range(len(slots)):
                self.few[needs].slot[k] = slots[k]

    def slots_of(self, names, nin):
        """Slots of the inputs and outputs in `names`, of a call with `nin` inputs."""
        outs = self.op.outputs + self.op.residuals
        slots = [k for k in range(nin) if call.input_name(self.op, k) in names]
        return slots + [OUT + k for k, name in enumerate(outs) if name in names]

    def _prepare_vjp(self):
        """Where each parameter of the vjp comes from, so that the sweep looks nothing up."""
        self.plain_args = False
        self.keeps_metas = self.variadic
        if self.vjp is None:
            return
        names = rule_parameters(self.vjp)[2:]
        outs, attrs = self.op.outputs + self.op.residuals, list(self.op.attrs)
        self.keeps_metas |= any(n.endswith(("_shape", "_dtype")) for n in names)
        if self.variadic or len(names) > 16:
            return
        self.plain_args = True
        self.nargs = len(names)
        for k, name in enumerate(names):
            if name in self.op.inputs:
                kind, where = FROM_INPUT, self.op.inputs.index(name)
            elif name in outs:
                kind, where = FROM_OUTPUT, outs.index(name)
            elif name in attrs:
                kind, where = FROM_ATTR, attrs.index(name)
            elif name.endswith("_shape") and name[:len(name) - 6] in self.op.inputs:
                kind, where = FROM_SHAPE, self.op.inputs.index(name[:len(name) - 6])
            elif name.endswith("_dtype") and name[:len(name) - 6] in self.op.inputs:
                kind, where = FROM_DTYPE, self.op.inputs.index(name[:len(name) - 6])
            else:
                kind, where = FROM_NOTHING, 0
            self.arg_kind[k], self.arg_k[k] = kind, where

    cdef int load_kernel(self) except -1:
        """Look the kernel up: at the first launch, so that importing loads none."""
        try:
            self.run = <run_t><size_t>kernels.address(self.kernel)
        except KeyError:
            raise AutodiffError(f"{self.op.name}: its kernel {self.kernel!r} is not built; build "
                                "the package again") from None
        return 0

    def __repr__(self):
        return f"<operation {self.op.signature()}>"


cdef Bound bound(name):
    """The operation of that name."""
    return <Bound>registry[name].call
