"""The named errors of a training run.

Each says where in the run it happened and what to do.  Invariant: each also derives from the error
that the engine or the data would raise, so a general `except` keeps working.
"""

import numpy as np

import autodiff as ad

from .data.errors import EmptyDatasetError

__all__ = ["EmptyLoaderError", "LabelError", "NonFiniteLossError"]


class NonFiniteLossError(ad.NonFiniteError):
    """The loss became NaN or infinite."""


class EmptyLoaderError(EmptyDatasetError):
    """A loader gave no batch at all."""


class LabelError(ad.IndexRangeError):
    """A class label outside the classes that the model tells apart."""


def non_finite_loss(value, where, inputs, lr):
    """The error for a loss of `value`; looks at the inputs of the batch for the cause."""
    if any(isinstance(x, ad.Tensor) and x.dtype.kind == "f" and not np.isfinite(x.numpy()).all()
           for x in inputs):
        advice = "the inputs of this batch hold NaN or infinity: clean the data, or leave it out"
    else:
        advice = (f"the inputs are finite: lower the learning rate (now {lr:g}), clip the "
                  "gradients (clip_norm=1.0), or look for log, sqrt or division at 0; the "
                  "weights are still those before this batch")
    return NonFiniteLossError(f"the loss is {value} in {where}; {advice}")


def bad_label(error, where, output, target):
    """The LabelError for an index error of the loss, or None if the labels are not to blame."""
    if not isinstance(target, ad.Tensor) or target.dtype.kind not in "iu" or output.ndim < 1:
        return None
    labels = target.numpy()
    classes = output.shape[0] if output.ndim == 1 else output.shape[1]
    bad = (labels < 0) | (labels >= classes)
    if not bad.any():
        return None
    at = np.unravel_index(int(bad.argmax()), labels.shape)
    place = f"sample {at[0]}" if len(at) == 1 else f"position {tuple(map(int, at))}"
    return LabelError(
        f"label {labels[at]} of {place} in {where} is out of range: the output has shape "
        f"{output.shape}, so labels must be in [0, {classes}); correct the labels, or give the "
        "last layer more outputs")
