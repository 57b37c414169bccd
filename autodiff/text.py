"""Tables, byte counts and array previews as plain text, for everything that prints itself.

Invariant: pure functions of their arguments; they never look at a tape or a tensor.
"""

import numpy as np


class Text(str):
    """A string that shows itself unquoted at the prompt."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


def columns(head, rows, left=1, indent=""):
    """`rows` under `head` in aligned columns; the first `left` columns to the left."""
    cells = [list(map(str, r)) for r in [head, *rows]]
    widths = [max(len(r[k]) for r in cells) for k in range(len(head))]
    lines = []
    for r in cells:
        parts = [c.ljust(w) if k < left else c.rjust(w)
                 for k, (c, w) in enumerate(zip(r, widths, strict=True))]
        lines.append((indent + "  ".join(parts)).rstrip())
    lines.insert(1, indent + "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def nbytes(n):
    """A count of bytes for people: 1536 -> '1.50 KiB'."""
    sign, n = ("-", -n) if n < 0 else ("", n)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{sign}{n} B" if unit == "B" else f"{sign}{n:.2f} {unit}"
        n /= 1024


def count(n):
    """A large number for people: 2_500_000 -> '2.50 M'."""
    for unit in ("", " K", " M", " G"):
        if abs(n) < 1000:
            return f"{n:.2f}{unit}" if unit else f"{n:g}"
        n /= 1000
    return f"{n:.2f} T"


def shape(sizes, dtype=None):
    """`float32[2, 3]`; `float32` alone for a 0-d array."""
    listed = f"[{', '.join(map(str, sizes))}]" if sizes else ""
    return f"{dtype}{listed}" if dtype is not None else (listed or "[]")


def preview(array, most=6):
    """A small array in full, a larger one by its first elements and its range."""
    array = np.asarray(array)
    if array.size == 0:
        return "[]"
    if array.size <= most:
        return _digits(array)
    first = ", ".join(_number(v) for v in array.reshape(-1)[:2])
    if array.dtype.kind not in "fiu":
        return f"[{first}, ...]"
    low, high = array.min(), array.max()
    return f"[{first}, ...] in {_number(low)} .. {_number(high)}"


def _digits(array):
    if array.ndim == 0:
        return _number(array.item())
    return f"[{', '.join(_digits(a) for a in array)}]"


def _number(v):
    return f"{v:.5g}" if isinstance(v, (float, np.floating)) else str(v)
