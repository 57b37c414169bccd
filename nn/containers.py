"""Containers: Sequential, ModuleList, ModuleDict, ParameterList, and the two that only reshape.

Invariant: a member's name is its position or its key, so state_dict keys are PyTorch's.
"""

import operator
from collections.abc import Mapping

from . import functional as F
from .errors import ArgumentError, ModuleError
from .module import MODULE, Module
from .parameter import Parameter, is_parameter


class _Ordered(Module):
    """What Sequential and ModuleList share: members named 0, 1, 2, ..."""

    def _list(self):
        return [m for _, m in self.named_children()]

    def __len__(self):
        return len(self._list())

    def __iter__(self):
        return iter(self._list())

    def __getitem__(self, index):
        if isinstance(index, slice):
            names = [n for n, _ in self.named_children()][index]
            return self._made_of({n: self.__dict__[n] for n in names})
        return self._list()[self._position(index)]

    def __setitem__(self, index, module):
        name = [n for n, _ in self.named_children()][self._position(index)]
        setattr(self, name, module)

    def __delitem__(self, index):
        modules = self._list()
        del modules[index if isinstance(index, slice) else self._position(index)]
        self._refill(modules)

    def append(self, module):
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules):
        """Add each of `modules` at the end."""
        for m in modules:
            self.append(m)
        return self

    def insert(self, index, module):
        """Insert a module before position `index`; later ones move up."""
        modules = self._list()
        modules.insert(index, module)
        self._refill(modules)
        return self

    def _refill(self, modules):
        for name, _ in list(self.named_children()):
            delattr(self, name)
        for k, m in enumerate(modules):
            self.add_module(str(k), m)

    def _position(self, index):
        try:
            k = operator.index(index)
        except TypeError:
            raise ArgumentError(f"{type(self).__name__}: the index must be an integer or a slice, "
                                f"got {index!r}") from None
        if not -len(self) <= k < len(self):
            raise IndexError(f"{type(self).__name__}: index {k} is out of range for {len(self)} "
                             "modules")
        return k % len(self)


class Sequential(_Ordered):
    """Modules called one after the other; give them in order, or one dict name -> module."""

    def __init__(self, *modules):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, m in modules[0].items():
                self.add_module(name, m)
        else:
            for k, m in enumerate(modules):
                if not isinstance(m, Module):
                    raise ModuleError(f"Sequential: argument {k} must be a Module, got "
                                      f"{type(m).__name__}; use the layer of a function, such as "
                                      "nn.ReLU(), or write a Module that calls it")
                self.add_module(str(k), m)

    def _made_of(self, members):
        return Sequential(members)

    def forward(self, input):
        values = self.__dict__
        for name, kind in self._members.items():
            if kind == MODULE:
                input = values[name](input)
        return input


class ModuleList(_Ordered):
    """A list of modules that the model calls itself."""

    def __init__(self, modules=()):
        super().__init__()
        self.extend(modules)

    def _made_of(self, members):
        return ModuleList(members.values())


class ModuleDict(Module):
    """A dict of modules that the model calls itself."""

    def __init__(self, modules=None):
        super().__init__()
        self.update(modules or {})

    def update(self, modules):
        """Add the modules of a dict, or of (key, module) pairs."""
        for key, m in modules.items() if hasattr(modules, "items") else modules:
            self[key] = m

    def __getitem__(self, key):
        if key not in self._members:
            raise KeyError(f"ModuleDict: no key {key!r}; the keys are {list(self.keys())}")
        return self.__dict__[key]

    def __setitem__(self, key, module):
        if key in self._members:
            setattr(self, key, module)
        else:
            self.add_module(key, module)

    def __delitem__(self, key):
        self[key]
        delattr(self, key)

    def __len__(self):
        return len(self._members)

    def __iter__(self):
        return iter(self._members)

    def __contains__(self, key):
        return key in self._members

    def keys(self):
        """The keys, in order."""
        return self._members.keys()

    def values(self):
        """The modules, in order."""
        return [self.__dict__[k] for k in self._members]

    def items(self):
        """(key, module), in order."""
        return [(k, self.__dict__[k]) for k in self._members]


class ParameterList(Module):
    """A list of parameters that the model uses itself."""

    def __init__(self, values=()):
        super().__init__()
        self.extend(values)

    def append(self, value):
        """Add a parameter, or a tensor that becomes one, at the end."""
        self.register_parameter(str(len(self)), value if is_parameter(value) else Parameter(value))
        return self

    def extend(self, values):
        """Add each of `values` at the end."""
        for v in values:
            self.append(v)
        return self

    def __len__(self):
        return len(self._members)

    def __iter__(self):
        return iter([self.__dict__[name] for name in self._members])

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return list(self)[index]

    def __setitem__(self, index, value):
        setattr(self, list(self._members)[index],
                value if is_parameter(value) else Parameter(value))

    def extra_repr(self):
        return ", ".join(f"({k}): {p.dtype} {p.shape}" for k, p in enumerate(self))


class Flatten(Module):
    """Axes start_dim .. end_dim become one."""

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input):
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self):
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Axis `dim` becomes axes of the sizes `unflattened_size`; one may be -1."""

    def __init__(self, dim, unflattened_size):
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input):
        return F.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self):
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
