"""Lines of a page that are filled in when the site is built.

    ::: nn.optim             the public names of a module
    ::: autodiff.Tensor      a class or a function
    ::: operations           every operation
    ::: torch_names          PyTorch's names, and what is written here

Invariant: a line that names nothing raises.
"""

import importlib
import re

import operations
import reference
from operations import cell, code

from autodiff import elsewhere

DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def filled(markdown):
    """The page with its lines filled in."""
    return DIRECTIVE.sub(lambda m: "\n".join(_expanded(m[1])), markdown)


def _expanded(name):
    if name in PAGES:
        return PAGES[name]()
    try:
        return reference.module(importlib.import_module(name))
    except ModuleNotFoundError:
        owner, _, attribute = name.rpartition(".")
        return reference.entry(owner, attribute, getattr(importlib.import_module(owner), attribute))


def torch_names():
    """What to write for the names of PyTorch's that are others here, as the errors say it."""
    yield from ("| PyTorch | here |", "|---|---|")
    for before, table in (("t.", elsewhere.METHODS), ("torch.", elsewhere.FUNCTIONS)):
        for name, here in sorted(table.items()):
            words = re.search("[a-z] [a-z]", here)          # "t itself: ...", or an expression
            yield f"| `{before}{name}` | {cell(here) if words else code(here)} |"
    for name, here in elsewhere.KEYWORDS.items():
        yield f"| keyword `{name}=` | `{here}=` |"


PAGES = {"operations": operations.operations, "torch_names": torch_names}
