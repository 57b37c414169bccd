"""Errors of the study tools. Invariant: each derives from AutodiffError, and says what to do."""

from ..errors import AutodiffError, ValueRangeError

__all__ = ["LayoutEngineError", "TooLargeError"]


class LayoutEngineError(AutodiffError, ImportError):
    """No Graphviz to lay a drawing out with, or it failed."""


class TooLargeError(ValueRangeError):
    """A drawing with more nodes than anybody can read."""
