"""How many threads the kernels use.

Invariant: a number that is refused changes nothing.
"""

import kernels

from .errors import ArgumentError, ValueRangeError

__all__ = ["get_num_threads", "set_num_threads"]

get_num_threads = kernels.num_threads


def set_num_threads(n):
    """Let kernels use `n` threads from the next launch on, 1 <= n <= 256.

    Raises ArgumentError unless n is an integer, ValueRangeError out of that range.
    """
    if isinstance(n, bool) or not isinstance(n, int) and not hasattr(n, "__index__"):
        raise ArgumentError(f"set_num_threads: expected an integer, got {n!r}")
    try:
        kernels.set_num_threads(n)
    except TypeError:
        raise ArgumentError(f"set_num_threads: expected an integer, got {n!r}") from None
    except ValueError as error:
        raise ValueRangeError(str(error)) from None
