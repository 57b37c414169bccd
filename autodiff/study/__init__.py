"""Tools to see how differentiation works: on the tape, in numbers, in source.

`ad.study.explain(loss)` tells one computation forward and backward, `ad.study.draw(loss)` draws
it, `ad.study.page(loss, path)` plays it. The tape itself is `ad.Tape`; `html_page` is the template
that the pages share.  Invariant: looking changes nothing: no `.grad`, no saves, no versions.
"""

from .draw import draw
from .explain import explain
from .page import page
from .template import html_page, write_page

__all__ = ["draw", "explain", "html_page", "page", "write_page"]
