"""autodiff: reverse-mode automatic differentiation on the CPU.

`import autodiff as ad`.  Functions follow the Python array API and NumPy; `ad.tensor` makes a
Tensor, `t.backward()` differentiates.  Invariant: every registered operation is an attribute of
this module, by its own name.
"""

import kernels as _kernels

if not getattr(_kernels, "__autodiff_kernels__", False):
    raise ImportError(
        f"autodiff needs its own package `kernels`, but `import kernels` found another one at "
        f"{getattr(_kernels, '__file__', None) or list(_kernels.__path__)}; rename that one, or "
        "take its folder off sys.path")

from . import core, dtypes, errors, memory, methods, ops, profile, testing    # noqa: E402
from .capture import capture                                                    # noqa: E402
from .checkpoint import checkpoint                                              # noqa: E402
from .core import Tensor, enable_grad, is_grad_enabled, no_grad, set_grad_enabled   # noqa: E402
from .dry import dry_run, in_dry_run                                            # noqa: E402
from .dtypes import (float32, float64, get_default_dtype, int8, int16, int32, int64,  # noqa: E402
                     set_default_dtype, uint8)
from .errors import *                                                           # noqa: E402,F403
from .guard import exported as _exported                                        # noqa: E402
from .function import Function, once_differentiable                             # noqa: E402
from .forward import jvp                                                        # noqa: E402
from .making import from_dlpack, from_numpy, parameter, tensor                  # noqa: E402
from .op import op, registry                                                    # noqa: E402
from .scope import scope                                                        # noqa: E402
from .tapes import Tape                                                         # noqa: E402
from .threads import get_num_threads, set_num_threads                           # noqa: E402
from .transforms import grad, gradients, hessian, hvp, jacobian, value_and_grad, vjp  # noqa: E402

__version__ = "0.1.0"

methods.install()

bool_ = dtypes.bool_
for _name, _block in registry.items():
    globals()[_name] = _block.call
for _module in list(vars(ops).values()):            # composites, by their files' __all__
    for _name in getattr(_module, "__all__", ()):
        globals()[_name] = _exported(getattr(_module, _name))
globals()["bool"] = bool_


def __getattr__(name):
    """`study`, imported when it is first used: training does without pages and drawings."""
    if name == "study":
        import importlib
        return importlib.import_module(".study", __name__)
    from .elsewhere import function_hint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{function_hint(name)}")
