"""Graphviz: DOT text in, SVG or PNG out.

The `dot` program where it is on the PATH, else the Graphviz that the wheels of pygraphviz carry.
Invariant: a missing or failing engine raises LayoutEngineError, never a half-written picture.
"""

import shutil

from .errors import LayoutEngineError

__all__ = ["engines", "render"]

SECONDS = 120


def engines():
    """Names of the layout engines at hand, the first one used: "dot", "pygraphviz"."""
    found = ["dot"] if shutil.which("dot") else []
    try:
        import pygraphviz  # noqa: F401
    except ImportError:
        return found
    return [*found, "pygraphviz"]


def render(dot, kind, engine=None):
    """`dot` (text) as bytes of the kind "svg" or "png". Raises LayoutEngineError."""
    engine = engine or next(iter(engines()), None)
    if engine is None:
        raise LayoutEngineError("draw: Graphviz lays the drawing out and was not found; install "
                                "it with `pip install 'autodiff[study]'` (pygraphviz, whose wheels "
                                "carry Graphviz), or put its program `dot` on the PATH")
    return _by_program(dot, kind) if engine == "dot" else _by_library(dot, kind)


def _by_program(dot, kind):
    import subprocess  # not needed to import the library
    try:
        done = subprocess.run(["dot", f"-T{kind}"], input=dot.encode(), capture_output=True,
                              timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise LayoutEngineError(f"draw: Graphviz took more than {SECONDS} s; collapse modules "
                                "(collapse=1), or use ad.study.page") from None
    if done.returncode or not done.stdout:
        raise LayoutEngineError(f"draw: dot failed: {done.stderr.decode(errors='replace')[:400]}")
    return done.stdout


def _by_library(dot, kind):
    import pygraphviz
    try:
        return pygraphviz.AGraph(string=dot).draw(format=kind, prog="dot")
    except (OSError, ValueError, RuntimeError) as error:
        raise LayoutEngineError(f"draw: pygraphviz failed: {error}") from error
