"""Answers of a model, batch by batch, without a tape.

Invariant: each module is afterwards in the mode that it was in.
"""

from contextlib import contextmanager

import numpy as np

import autodiff as ad

from .errors import ShapeError, positive_int

__all__ = ["evaluating", "predict"]


@contextmanager
def evaluating(model):
    """Context: `model` in eval mode inside, each module in its own mode again afterwards."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for m, mode in modes:
            m.__dict__["training"] = mode


def predict(model, inputs, batch_size=256):
    """The model's outputs for an array of inputs, as one array: eval mode, no tape, in batches.

    inputs: an array or Tensor (N, ...), or a tuple of them where the model takes several. Raises
    ShapeError where they differ in N.
    """
    every = inputs if isinstance(inputs, tuple) else (inputs,)
    every = [x if isinstance(x, np.ndarray) else ad.tensor(x).numpy() for x in every]
    positive_int("predict", "batch_size", batch_size)
    if len({x.shape[:1] for x in every}) != 1 or not every[0].ndim:
        raise ShapeError("predict: inputs must have one first axis, the samples, got shapes "
                         f"{[x.shape for x in every]}")
    with evaluating(model), ad.no_grad():
        parts = [model(*(ad.tensor(x[k:k + batch_size]) for x in every)).numpy()
                 for k in range(0, max(len(every[0]), 1), batch_size)]
    return np.concatenate(parts)
