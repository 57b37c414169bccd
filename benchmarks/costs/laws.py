"""The law behind a curve: a sum of one to three powers of n, the simplest that fits.

Invariant: the deviation of the law from the values is stated with it; a law that does not fit is
not made to look as if it did.
"""

import numpy as np

from ..units import BYTES, FLOPS, TIMES, figure, quantity

UNITS = {"B": BYTES, "FLOP": FLOPS, "s": TIMES}
SIMPLE = ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))      # powers, the simplest first
POWERS = np.round(np.arange(0.2, 4.001, 0.02), 2)
EXACT, CLOSE, TIMED = 1e-6, 0.02, 0.08  # deviations: of exact counts, of counts, of times


def fit(n, values, measured=False):
    """{"terms": [[c, p], ...], "error", "exponent"} of value ~ sum of c n^p; None for fewer than 3
    values above 0.

    The first of SIMPLE that counts obey exactly; or that counts, or times (`measured`), come close
    to; else b n^p or a + b n^p with p fitted. error: the largest relative deviation; exponent: the
    slope of log value over log n, for those who ask for one number.
    """
    n, values = np.asarray(n, float), np.asarray(values, float)
    if len(n) < 3 or not (values > 0).all():
        return None
    most = min(len(n) - 1, 2 if measured else 3)        # a law of as many terms as values says none
    simple = [_of(n, values, powers, measured) for powers in SIMPLE if len(powers) <= most]
    fitted = [min((_of(n, values, (*const, p), measured) for p in POWERS), key=_error)
              for const in ((), (0,))]
    close = [law for tolerance in ((TIMED,) if measured else (EXACT, CLOSE))
             for law in [*simple, *fitted] if law["error"] <= tolerance]
    law = close[0] if close else min(fitted, key=_error)
    slope = np.polyfit(np.log(n), np.log(values), 1)[0] if len(set(n)) > 1 else 0.0
    return {**law, "exponent": round(float(slope), 3)}


def _error(law):
    return law["error"]


def _of(n, values, powers, measured):
    """Least squares of relative deviations; a time has no part below 0."""
    columns = np.stack([n ** p for p in powers], 1) / values[:, None]
    found = np.linalg.lstsq(columns, np.ones_like(values), rcond=None)[0]
    error = np.abs(columns @ found - 1).max()
    if measured and (found < 0).any():
        error = np.inf
    return {"terms": [[float(c), float(p)] for c, p in zip(found, powers, strict=True)],
            "error": float(error)}


def at(law, n):
    """The law's value at n."""
    return sum(c * n ** p for c, p in law["terms"])


def grows(law):
    """True unless the law is a constant."""
    return law is not None and any(p != 0 for _, p in law["terms"])


def sentence(title, unit, over, law):
    """The law in words."""
    if law is None:
        return f"{title}: no law, for want of values."
    units, error = UNITS[unit], law["error"]
    within = "exactly" if error <= EXACT else f"within {figure(100 * error, 2)} %"
    if not grows(law):
        constant = quantity(round(law["terms"][0][0], 9), units)
        return f"{title} does not change with {over}: {constant} ({within})."
    if len(law["terms"]) == 1:
        p = law["terms"][0][1]
        how = f"in proportion to {over}" if p == 1 else f"as {_power(over, p)}"
        return f"{title} grows {how}: {_sum(law, units, over)} ({within})."
    return f"{title} is {_sum(law, units, over)} ({within}); over these values it grows as " \
           f"{_power(over, round(law['exponent'], 2))}."


def _sum(law, units, over):
    parts = []
    for c, p in law["terms"]:
        sign = ("- " if c < 0 else "+ ") if parts else ("-" if c < 0 else "")
        times = f" x {_power(over, p)}" if p else ""
        parts.append(f"{sign}{quantity(round(abs(c), 9), units)}{times}")
    return " ".join(parts)


def _power(over, p):
    return over if p == 1 else f"{over}^{p:g}"
