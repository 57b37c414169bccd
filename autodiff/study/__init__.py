"""Tools to see how differentiation works: on the tape, in numbers, in source.

`ad.study.explain(loss)` tells one computation forward and backward, `ad.study.draw(loss)` draws
it. The tape itself is `ad.Tape`.  Invariant: looking changes nothing: no `.grad`, no saves, no
versions.
"""

from .draw import draw
from .explain import explain

__all__ = ["draw", "explain"]
