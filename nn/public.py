"""What a package of nn offers: the names that its `__init__` imports.

Invariant: there is no list of names beside the imports.
"""

from types import ModuleType

__all__ = ["public"]


def public(namespace, *modules):
    """The names in a package's `globals()`: classes and functions, and the modules named."""
    return sorted(name for name, value in namespace.items() if not name.startswith("_")
                  and (name in modules or not isinstance(value, ModuleType)))
