"""Twins of copy and fill.

The output's dtype and shape are not arguments of these two kernels: the caller casts and
broadcasts what the twin returns.
"""

import numpy as np


def copy(x):
    """x, in memory of its own."""
    return np.array(x)


def fill(value_int, value_float):
    """The value as a 0-d array: the float where it is not zero, else the integer."""
    return np.asarray(value_float if value_float else value_int)
