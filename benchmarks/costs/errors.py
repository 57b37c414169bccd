"""The named errors of the cost report: what was expected, what came, what to do.

Invariant: each is a CostError, which is a ValueError too.
"""

from autodiff.errors import AutodiffError


class CostError(AutodiffError, ValueError):
    """What was given to `cost` or `growth` cannot be measured."""


class ModelError(CostError):
    """The model is not callable, or has nothing to train."""


class BatchError(CostError):
    """The batch is not a pair (inputs, target), or holds no samples."""


class LossError(CostError):
    """The loss is not callable, not a scalar Tensor, or depends on no parameter of the model."""


class OptimizerError(CostError):
    """The optimizer has no `step` or `zero_grad`, or updates another model's parameters."""


class BuildError(CostError):
    """The module, file or function named on the command line gives no (model, batch, loss)."""


class ReportError(CostError):
    """A report file that is none, or not of the schema and version expected."""
