"""Module: the tree of parameters, buffers and sub-modules that a model is.

A parameter lives in the instance's `__dict__` like any attribute (so reading it costs nothing);
`_members` remembers, in order, which attributes are members and of which kind.  Invariant: while a
module runs inside another, records and errors carry its path in the outermost one.
"""

import copy
import copyreg
import threading

import autodiff as ad
from autodiff.capture import stale
from autodiff.core import current_scope, pop_scope, push_scope

from .errors import ArgumentError, DtypeError, ModuleError
from .parameter import as_buffer, is_parameter, replaced
from .state import load_state, read_state

PARAMETER, BUFFER, MODULE = "parameter", "buffer", "module"

# An operation kept by a module (self.activation = ad.relu) is copied as itself, as functions are.
if type(ad.relu).__name__ != "function":
    copyreg.pickle(type(ad.relu), lambda operation: operation.__name__)

# PyTorch's methods that are left out, and what there is instead.
MISSING = {
    "cuda": "; everything is computed on the CPU: leave it out",
    "cpu": "; everything is computed on the CPU: leave it out",
    "half": "; only float32 and float64 can be trained",
    "bfloat16": "; only float32 and float64 can be trained",
    "compile": "; there is nothing to compile: leave it out",
    "register_forward_hook": "; wrap the module in one of your own, and look at what it returns",
    "register_forward_pre_hook": "; wrap the module in one of your own, and look at what it gets",
}
_structure = 0          # grows with every change of any tree: stale paths are never used


class _Running(threading.local):
    paths = None        # {id(module): path} of the outermost module that runs in this thread


_running = _Running()


class Module:
    """Base class of layers and models: assign parameters and modules, define `forward`.

    Names and semantics are those of torch.nn.Module.
    """

    training = True

    def __init__(self):
        self.__dict__["_members"] = {}
        self.__dict__["_transient"] = set()     # buffers that state_dict leaves out

    def forward(self, *args, **kwargs):
        """What the module computes; to be defined by the subclass."""
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def __call__(self, *args, **kwargs):
        paths = _running.paths
        if paths is None:
            return self._outermost(args, kwargs)
        path = paths.get(id(self))
        if path is None:            # not registered in the outermost module: keep the caller's path
            return self.forward(*args, **kwargs)
        previous = push_scope(path)
        try:
            return self.forward(*args, **kwargs)
        finally:
            pop_scope(previous)

    def _outermost(self, args, kwargs):
        base = current_scope()
        cached = self.__dict__.get("_paths")
        if cached is None or cached[0] != _structure or cached[1] != base:
            start = base + "." if base else ""
            paths = {id(m): start + name for name, m in self.named_modules() if name}
            cached = self.__dict__["_paths"] = (_structure, base, paths)
        _running.paths = cached[2]
        try:
            return self.forward(*args, **kwargs)
        finally:
            _running.paths = None

    # Members

    def __setattr__(self, name, value):
        members = self.__dict__.get("_members")
        kind = MODULE if isinstance(value, Module) else PARAMETER if is_parameter(value) else None
        if kind == PARAMETER and members and members.get(name) == BUFFER:
            kind = None if not value.requires_grad else kind    # a buffer that shares its memory
        if members is None:
            if kind:
                raise ModuleError(f"{type(self).__name__}: call super().__init__() before "
                                  f"assigning {name!r}")
        elif kind or name in members:
            self._assign(members, name, value, kind)
            return
        object.__setattr__(self, name, value)

    def _assign(self, members, name, value, kind):
        old = members.get(name)
        if kind is None:
            if value is not None and not (old == BUFFER and isinstance(value, ad.Tensor)):
                expected = {PARAMETER: "an nn.Parameter", BUFFER: "a Tensor",
                            MODULE: "a Module"}[old]
                way = "; wrap it in nn.Parameter(...)" if isinstance(value, ad.Tensor) else ""
                raise ModuleError(f"{type(self).__name__}.{name} is a {old}; expected {expected} "
                                  f"or None, got {type(value).__name__}{way}")
            if value is not None:
                as_buffer(value)
        elif old != kind:
            members.pop(name, None)
            members[name] = kind
        if kind == MODULE or old == MODULE:
            _changed()
        if value is not self.__dict__.get(name):
            stale()
        self.__dict__[name] = value

    def __delattr__(self, name):
        if self.__dict__.get("_members", {}).pop(name, None) == MODULE:
            _changed()
        self._transient.discard(name)
        object.__delattr__(self, name)

    def __getattr__(self, name):
        # Only reached when the normal lookup fails.
        hint = MISSING.get(name, "")
        if "_members" not in self.__dict__:
            hint = "; was super().__init__() called?"
        raise ModuleError(f"{type(self).__name__!r} has no attribute {name!r}{hint}")

    def _register(self, name, value, kind):
        if not isinstance(name, str) or not name or "." in name:
            raise ModuleError(f"{type(self).__name__}: the name of a {kind} must be a non-empty "
                              f"string without '.', got {name!r}")
        if name not in self._members and (name in self.__dict__ or hasattr(type(self), name)):
            raise ModuleError(f"{type(self).__name__}: attribute {name!r} exists already; choose "
                              f"another name for the {kind}")
        self._members.pop(name, None)
        self._members[name] = kind
        self.__dict__[name] = value

    def register_parameter(self, name, param):
        """Add a parameter under `name`; None reserves the name (a layer without bias)."""
        if param is not None and not is_parameter(param):
            raise ModuleError(f"{type(self).__name__}: {name} must be an nn.Parameter or None, got "
                              f"{type(param).__name__}")
        self._register(name, param, PARAMETER)

    def register_buffer(self, name, tensor, persistent=True):
        """Add a tensor that is state but not trained; `persistent=False` keeps it out of
        state_dict."""
        if tensor is not None and not isinstance(tensor, ad.Tensor):
            raise ModuleError(f"{type(self).__name__}: {name} must be a Tensor or None, got "
                              f"{type(tensor).__name__}; make one with ad.tensor(...)")
        if tensor is not None:
            as_buffer(tensor)
        self._register(name, tensor, BUFFER)
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name, module):
        """Add a sub-module under `name` (also `register_module`)."""
        if module is not None and not isinstance(module, Module):
            raise ModuleError(f"{type(self).__name__}: {name} must be a Module or None, got "
                              f"{type(module).__name__}")
        self._register(name, module, MODULE)
        _changed()

    register_module = add_module

    # Walking the tree

    def named_children(self):
        """(name, module) of the direct sub-modules."""
        for name, kind in self._members.items():
            if kind == MODULE and self.__dict__[name] is not None:
                yield name, self.__dict__[name]

    def children(self):
        """The direct sub-modules."""
        return (m for _, m in self.named_children())

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """(path, module) of this module and all below it, parents first, each module once."""
        memo = set() if memo is None else memo
        if remove_duplicate:
            if id(self) in memo:
                return
            memo.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name,
                                           remove_duplicate)

    def modules(self):
        """This module and all below it, each once."""
        return (m for _, m in self.named_modules())

    def _named(self, kind, prefix, recurse, remove_duplicate):
        seen = set()
        tree = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in tree if recurse else [(prefix, self)]:
            for name, k in module._members.items():
                t = module.__dict__[name]
                if k != kind or t is None or remove_duplicate and id(t) in seen:
                    continue
                seen.add(id(t))
                yield f"{path}.{name}" if path else name, t

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """(path, parameter), each parameter once."""
        return self._named(PARAMETER, prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """All parameters, each once: what an optimizer takes."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """(path, buffer), each buffer once."""
        return self._named(BUFFER, prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """All buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target):
        """The module at path `target` ('encoder.0'); ModuleError names what is there instead."""
        if not isinstance(target, str):
            raise ArgumentError(f"get_submodule: target must be a path such as 'encoder.0', got "
                                f"{target!r}")
        module = self
        for name in target.split(".") if target else ():
            if module._members.get(name) != MODULE:
                known = ", ".join(n for n, _ in module.named_children()) or "none"
                raise ModuleError(f"{type(self).__name__}: no module {target!r}: "
                                  f"{type(module).__name__} has no {name!r} (it has: {known})")
            module = module.__dict__[name]
        return module

    def get_parameter(self, target):
        """The parameter at path `target` ('encoder.0.weight')."""
        return self._member("get_parameter", target, PARAMETER)

    def get_buffer(self, target):
        """The buffer at path `target` ('encoder.0.running_mean')."""
        return self._member("get_buffer", target, BUFFER)

    def _member(self, function, target, kind):
        if not isinstance(target, str):
            raise ArgumentError(f"{function}: target must be a path such as 'encoder.0.weight', "
                                f"got {target!r}")
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._members.get(name) != kind:
            known = ", ".join(n for n, k in module._members.items() if k == kind) or "none"
            raise ModuleError(f"{type(self).__name__}: no {kind} {target!r}: "
                              f"{type(module).__name__} has {known}")
        return module.__dict__[name]

    # State

    def state_dict(self, prefix=""):
        """{path: tensor} of parameters and persistent buffers; the tensors share memory."""
        if not isinstance(prefix, str):
            raise ArgumentError(f"state_dict: prefix must be a string, got {prefix!r}")
        return read_state(self, prefix)

    def load_state_dict(self, state_dict, strict=True):
        """Copy `state_dict` into the parameters and buffers; returns (missing, unexpected) keys.

        Raises StateDictError, before anything is written, for other shapes or kinds of dtype, and
        if `strict` for missing and unexpected keys.
        """
        return load_state(self, state_dict, strict)

    def train(self, mode=True):
        """Switch this module and all below it to training (dropout, batch statistics)."""
        if not isinstance(mode, bool):
            raise ArgumentError(f"train: mode must be True or False, got {mode!r}")
        for m in self.modules():
            if m.training is not mode:
                m.__dict__["training"] = mode
                stale()
        return self

    def eval(self):
        """Switch this module and all below it to inference."""
        return self.train(False)

    def apply(self, fn):
        """Call fn(module) for every module below and then for this one (initialisation)."""
        if not callable(fn):
            raise ArgumentError(f"apply: fn must be a function of a module, got "
                                f"{type(fn).__name__}")
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def requires_grad_(self, requires_grad=True):
        """Freeze or unfreeze all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        stale()
        return self

    def zero_grad(self, set_to_none=True):
        """Forget the gradients of all parameters (or set them to zero)."""
        for p in self.parameters():
            clear_grad(p, set_to_none)

    def to(self, dtype=None, *, device=None):
        """Convert floating parameters and buffers to `dtype`; "cpu" is taken, for ported code.

        They become new tensors, without gradients: make the optimizer afterwards.
        """
        if isinstance(dtype, str) and dtype not in ("float32", "float64"):
            dtype, device = None, dtype
        if device is not None and str(device) != "cpu":
            raise ArgumentError(f"to: expected a dtype or 'cpu', got {str(device)!r}: everything "
                                "is computed on the CPU")
        if dtype is None:
            return self
        dtype = ad.dtypes.as_dtype(dtype)
        if dtype.kind != "f":
            raise DtypeError(f"to: expected float32 or float64, got {dtype}")
        new = {}                    # tied parameters stay tied
        for m in self.modules():
            for name, kind in m._members.items():
                t = m.__dict__[name]
                if kind != MODULE and t is not None and t.dtype.kind == "f" and t.dtype != dtype:
                    if id(t) not in new:
                        new[id(t)] = (replaced(t, dtype), t)
                    m.__dict__[name] = new[id(t)][0]
        stale()
        return self

    def float(self):
        """Convert to float32; see `to`."""
        return self.to(ad.float32)

    def double(self):
        """Convert to float64; see `to`."""
        return self.to(ad.float64)

    def __deepcopy__(self, memo):
        new = object.__new__(type(self))
        memo[id(self)] = new
        for name, value in self.__dict__.items():
            if name == "_paths":
                continue
            if isinstance(value, ad.Tensor):
                if id(value) not in memo:
                    memo[id(value)] = replaced(value)
                new.__dict__[name] = memo[id(value)]
            else:
                new.__dict__[name] = copy.deepcopy(value, memo)
        return new

    # Printing

    def extra_repr(self):
        """The arguments shown by repr; to be defined by the subclass."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        lines = [f"({name}): {_indent(repr(m))}" for name, m in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({extra})"
        body = "\n  ".join(([extra] if extra else []) + lines)
        return f"{type(self).__name__}(\n  {body}\n)"

    def __dir__(self):
        return sorted(set(super().__dir__()) | set(self.__dict__))


def clear_grad(p, set_to_none=True):
    """Forget the gradient of one parameter, or overwrite it with zeros."""
    if p.requires_grad and p.grad is not None:
        p.grad = None if set_to_none else ad.zeros_like(p.grad)


def _changed():
    global _structure
    _structure += 1


def _indent(text):
    return text.replace("\n", "\n  ")
