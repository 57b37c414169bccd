"""The compiled core, under the names that both cores share (see core.py)."""

from .storage import Storage, memory_stats, reset_peak, trim
from .sweep import backward, gradients, seed
from .tape import (Leaf, Record, current_phase, current_scope, enable_grad, is_grad_enabled,
                   listen_sweep, listen_tape, no_grad, pop_scope, push_scope, set_grad_enabled,
                   set_phase, set_tangents, unlisten_sweep, unlisten_tape)
from .tensor import (Tensor, bind, custom_record, empty, from_numpy, listen, make, set_method, set_operator,
                     unlisten)

__all__ = [name for name in dir() if not name.startswith("_")]
