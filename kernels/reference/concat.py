"""Twin of concat."""

import numpy as np


def concat(*args):
    """Arrays, then the axis to join along (-1: flattened)."""
    *xs, axis = args
    return np.concatenate([np.asarray(x) for x in xs], None if axis < 0 else axis)
