"""The console command `autodiff`: hands over to `benchmarks.cli`.

A module beside the packages, for it is the one that knows both sides: no package imports it.
Invariant: `benchmarks` is this library's, even where the command is started with another package
of that name earlier on the path (`PYTHONPATH=.` in a project that has its own `benchmarks/`).
"""

import importlib.util
import os
import sys


def main():
    """Run `benchmarks.cli.main`; returns its exit status."""
    root = os.path.dirname(os.path.abspath(__file__))
    found = importlib.util.find_spec("benchmarks")
    ours = os.path.join(root, "benchmarks", "__init__.py")
    if found is None or not found.origin or os.path.abspath(found.origin) != ours:
        sys.path.insert(0, root)
    from benchmarks.cli import main as run
    return run()
