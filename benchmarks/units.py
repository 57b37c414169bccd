"""Numbers for people: three digits and a unit that fits.

Invariant: pure functions of their arguments; they need nothing but Python.
"""

import math


def figure(value, digits=3):
    """A number with about `digits` significant ones, without an exponent; '-' for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))   # after rounding
    places = min(max(0, digits - 1 - power), digits + 1)
    return f"{value:,.{places}f}"


def times(value):
    """A multiple: '3.12x', and from a million on '12.3Mx', '12.3Gx'."""
    if value is None:
        return "-"
    size, letter = scale([value], [(1.0, ""), (1e6, "M"), (1e9, "G"), (1e12, "T")])
    return f"{figure(value / size)}{letter}x"


def scale(values, units):
    """(divisor, name) of the largest of `units` ([(size, name)], ascending) the largest fills."""
    largest = max(values, default=0)
    best = units[0]
    for size, name in units:
        if largest >= size:
            best = (size, name)
    return best


BYTES = [(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")]
FLOPS = [(1.0, "FLOP"), (1e3, "kFLOP"), (1e6, "MFLOP"), (1e9, "GFLOP"), (1e12, "TFLOP"),
         (1e15, "PFLOP")]
TIMES = [(1e-6, "µs"), (1e-3, "ms"), (1.0, "s")]


def quantity(value, units):
    """One value with its unit: '1.23 MB', '4 B'."""
    size, name = scale([value], units)
    if size == 1.0 and value == int(value):     # a count is not a measurement
        return f"{int(value)} {name}"
    return f"{figure(value / size)} {name}"


def cell(value):
    """A figure of at most five characters below 1000: '123', '12.3', '1.23', '0.12', '<0.01'."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:.2f}" if 0 < value < 1 else figure(value)
