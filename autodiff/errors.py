"""Every error the engine raises on purpose, by name.

Each says what was expected, what came, where, and what to do.  Invariant: each also derives from
the built-in that a NumPy or PyTorch user would catch, so `except ValueError` keeps working.
"""


class AutodiffError(Exception):
    """Base of all errors raised on purpose by autodiff."""


class ShapeError(AutodiffError, ValueError):
    """Shapes do not fit the operation, or there are more than 8 dimensions."""


class DtypeError(AutodiffError, TypeError):
    """A dtype that the operation does not take, or that cannot be differentiated."""


class ArgumentError(AutodiffError, TypeError):
    """A wrong keyword, a missing argument, or a value of the wrong kind."""


class ValueRangeError(AutodiffError, ValueError):
    """A static attribute outside its range (a negative stride, p > 1, ...)."""


class IndexRangeError(AutodiffError, IndexError):
    """An index or label outside the axis that it addresses."""


class GradientError(AutodiffError, RuntimeError):
    """Backward cannot run as asked: not a scalar, nothing recorded, an unused input."""


class ReleasedTapeError(GradientError):
    """A second backward through records whose saved values were released by the first."""


class SavedTensorChangedError(GradientError):
    """A tensor saved for backward was changed in place before backward used it."""


class InPlaceError(GradientError):
    """A write in place that would make a gradient silently wrong."""


class OutOfMemoryError(AutodiffError, MemoryError):
    """The pool cannot get the bytes that an operation asks for."""


class DryRunError(AutodiffError, RuntimeError):
    """Values were asked of a tensor of a dry run, or it was used outside of one."""

    @classmethod
    def no_values(cls, name, tensor):
        """The error of an operation that cannot do without the values of `tensor`."""
        return cls(f"{name}: needs the values of a {tensor.dtype} tensor of shape {tensor.shape}, "
                   "which a dry run does not compute; leave out of it what depends on values, or "
                   "run it without `ad.dry_run()`")

    @classmethod
    def outside(cls, name, tensor):
        """The error of using `tensor` where nothing is dry."""
        return cls(f"{name}: a tensor of shape {tensor.shape} was made in a dry run and has no "
                   "values; use it inside `with ad.dry_run():`, or make it again outside")


class CaptureError(AutodiffError, RuntimeError):
    """A function does what a capture cannot repeat without Python."""


class NonFiniteError(AutodiffError, ArithmeticError):
    """Anomaly mode met a NaN or an infinity."""


class SavedBytesError(AutodiffError, AssertionError):
    """More bytes are kept for backward than a test allows."""


class GradcheckError(AutodiffError, AssertionError):
    """An analytic derivative does not agree with the finite difference."""
