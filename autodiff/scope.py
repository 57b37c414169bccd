"""Names for stretches of a computation: `with ad.scope("encoder"): ...`.

Records, launches and errors carry the path that is in force where they are made; the reverse sweep
restores it.  Invariant: the previous path comes back, also after an exception.
"""

import contextlib

from . import core
from .errors import ArgumentError


class scope(contextlib.ContextDecorator):
    """Context (and decorator): what runs inside carries `path`, after the paths around it.

    Inside `scope("encoder")`, `scope("0")` makes "encoder.0". ArgumentError unless path is text.
    """

    def __init__(self, path):
        if not isinstance(path, str):
            raise ArgumentError(f"scope: path must be a string, got {type(path).__name__}")
        self.path, self.stack = path, []

    def _recreate_cm(self):
        return type(self)(self.path)

    def __enter__(self):
        around = core.current_scope()
        path = f"{around}.{self.path}" if around and self.path else around or self.path
        self.stack.append(core.push_scope(path))
        return path

    def __exit__(self, *exc):
        core.pop_scope(self.stack.pop())
