"""Constructors of nn, held to the promise that a wrong argument has a named error, and PyTorch's
keywords an answer.

Invariant: nothing wrapped here runs the user's own code, so no error of the user's is renamed.
"""

import inspect

from autodiff.guard import exported

from .module import Module
from .optim import Optimizer
from .porting import ported

__all__ = ["protect"]


def protect(*namespaces):
    """Wrap the constructors of the layers and optimizers that the namespaces export."""
    for namespace in namespaces:
        for name in namespace.__all__:
            value = getattr(namespace, name)
            if (inspect.isclass(value) and issubclass(value, (Module, Optimizer))
                    and value is not Module and value is not Optimizer):
                value.__init__ = ported(exported(value.__init__, name), name)
