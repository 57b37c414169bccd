"""The line of the user's code that called an operation.

Invariant: only the code object and the instruction are kept while recording; the file and line
are looked up when somebody reads them.
"""

import os
import sys

_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_inside = tuple(os.path.join(_root, package) + os.sep for package in ("autodiff", "nn"))


_known = {}         # file name -> is it the library's own?  Asked for each frame of each launch.


def is_internal(code):
    """True for code of the library itself (autodiff/, nn/), which is skipped on the way up."""
    name = code.co_filename
    found = _known.get(name)
    if found is None:
        found = _known[name] = name.startswith((*_inside, "<frozen"))
    return found


def current():
    """(code, instruction) of the nearest frame outside the library."""
    frame = sys._getframe(1)
    outer = frame
    while frame is not None and is_internal(frame.f_code):
        frame = frame.f_back
    frame = frame or outer
    return frame.f_code, frame.f_lasti


def resolve(code, instruction):
    """`file.py:12` for a code object and an instruction offset in bytes."""
    if code is None:
        return "unknown line"
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    return f"{code.co_filename}:{line}"
