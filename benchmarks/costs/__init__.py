"""The cost of training over inference, for any model: bytes, seconds, operations.

`cost` measures a model and predicts it from shapes; `growth` follows one axis.  The package is not
called `cost` because `benchmarks.cost` is the function.  Invariant: every figure is a function of
the report's data (schema.py), and what is predicted never enters what is measured.
"""

from .errors import (BatchError, BuildError, CostError, LossError, ModelError, OptimizerError,
                     ReportError)
from .growth import growth
from .report import CostReport, cost

__all__ = ["BatchError", "BuildError", "CostError", "CostReport", "LossError", "ModelError",
           "OptimizerError", "ReportError", "cost", "growth"]
