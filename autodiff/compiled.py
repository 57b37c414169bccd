"""The compiled core, under the names that both cores share (see core.py).

Its files, each importing only those before it: storage, modes, tape, tensor, bridge, bound, plan,
listen, door, record, inplace, apply, pull, sweep.
"""

from .apply import bind
from .bridge import empty, from_numpy, make
from .listen import listen, unlisten
from .modes import (current_phase, current_scope, enable_grad, is_grad_enabled, listen_sweep,
                    listen_tape, no_grad, pop_scope, push_scope, set_grad_enabled, set_phase,
                    set_tangents, unlisten_sweep, unlisten_tape)
from .record import custom_record
from .storage import (Storage, dry_runs, mark, memory_stats, reset_peak, traces, trim,
                      watch)
from .sweep import sweep
from .tape import Leaf, Record, nearest_caller
from .tensor import Tensor, set_method, set_operator

__all__ = [name for name in dir() if not name.startswith("_")]
