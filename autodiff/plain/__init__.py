"""The plain core: tensor, tape and apply in a few hundred lines of Python over numpy.

It runs the same operation blocks and derivative rules as the compiled core, on the kernels' numpy
twins: to step through in a debugger, to run where nothing can be compiled, and as the compiled
core's oracle.  Read in this order: tape.py, tensor.py, apply.py, sweep.py
(modes.py and ledger.py are what a thread has switched on, and the counting of bytes).
"""

from ..caller import current as nearest_caller
from .apply import bind, custom_record
from .ledger import mark, memory_stats, reset_peak, trim, watch
from .modes import (current_phase, current_scope, dry_runs, enable_grad, is_grad_enabled,
                    listen, listen_sweep, listen_tape, no_grad, pop_scope, push_scope,
                    set_grad_enabled, set_phase, set_tangents, traces, unlisten, unlisten_sweep,
                    unlisten_tape)
from .sweep import sweep
from .tape import Leaf, Record
from .tensor import Storage, Tensor, empty, from_numpy, make, set_method, set_operator

__all__ = [name for name, value in list(vars().items())
           if not name.startswith("_") and not hasattr(value, "__path__")
           and type(value).__name__ != "module"]
