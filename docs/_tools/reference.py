"""Reference of modules, classes and functions, from their docstrings and signatures, as Markdown.

Docstrings are plain text, not Markdown: formulas keep their stars.  Invariant: what a module offers
is found, never listed; what says nothing of itself is in `undocumented`.
"""

import importlib
import inspect
import re
import types
from pathlib import Path

import sources

import autodiff as ad
from autodiff import elsewhere

SHORT = {"autodiff": "ad", "benchmarks.costs": "benchmarks"}        # as users write it
PLACE = {"node", "index", "dual"}   # a tensor's place on the tape: the engine's own fields


# What is public -----------------------------------------------------------------------------------

def public(owner):
    """{name: object} of what a module offers, operations and modules within it left out.

    Without `__all__`, what it or a file inside it defines: not what it imports to work with.
    """
    listed = getattr(owner, "__all__", None)
    found = {n: getattr(owner, n) for n in listed or vars(owner) if not n.startswith("_")}
    return {n: x for n, x in found.items() if not isinstance(x, types.ModuleType)
            and not _is_operation(x) and not _in_ops(owner, x)
            and (listed or getattr(x, "__module__", owner.__name__).startswith(owner.__name__))}


def _is_operation(x):
    return any(x is block.call for block in ad.registry.values())


def _in_ops(owner, x):
    """Compositions of operations stand with the operations."""
    return owner is ad and (getattr(x, "__module__", None) or "").startswith("autodiff.ops")


def members(cls):
    """{name: function or property} that a class itself defines for its users."""
    own = PLACE | elsewhere.METHODS.keys() if cls is ad.Tensor else ()
    kinds = (classmethod, staticmethod)
    return {n: x for n, x in vars(cls).items() if not n.startswith("_") and n not in own
            and (inspect.isroutine(x) or _is_attribute(x) or isinstance(x, kinds))}


def doc(x):
    """The docstring, without the signature that Cython puts on its first line."""
    return re.sub(r"^[\w.]+(\(.*\)|: \w+)(\n+|$)", "", inspect.getdoc(x) or "").strip()


def undocumented(owner):
    """Public names of a module, and methods of its classes, that say nothing of themselves."""
    missing = []
    for name, x in public(owner).items():
        if not (inspect.isclass(x) or inspect.isroutine(x)):
            continue
        if not doc(x):
            missing.append(f"{owner.__name__}.{name}")
        if inspect.isclass(x):
            missing += [f"{owner.__name__}.{name}.{m}" for m, f in members(x).items()
                        if m != "forward" and not doc(f)]
    return missing


# Modules, classes, functions ----------------------------------------------------------------------

def module(owner):
    """The public names of a module, under the files that define them."""
    groups = {}
    for name, x in public(owner).items():
        groups.setdefault(_home(x, owner), []).append((name, x))
    for home, found in sorted(groups.items()):
        if len(groups) > 1:
            title, said = described(home)
            yield from ("", f"## {title} {{ #{home} }}", "", said, "")
        for name, x in sorted(found, key=lambda pair: pair[0].lower()):
            yield from entry(owner.__name__, name, x)


def entry(owner, name, x):
    if inspect.isclass(x):
        return _class(owner, name, x)
    return function(owner, name, x) if callable(x) else _value(owner, name, x)


def _home(x, owner):
    home = getattr(inspect.unwrap(x) if callable(x) else x, "__module__", None) or owner.__name__
    return home if home.partition(".")[0] == owner.__name__.partition(".")[0] else owner.__name__


def described(home):
    """A heading and a sentence from the docstring of the file."""
    said = (inspect.getdoc(importlib.import_module(home)) or home).split("\n\n")[0]
    first = " ".join(said.split())
    path = _file_of(home)
    link = f" ([`{path}`](/{sources.page_of(path)}))" if path else ""
    return f"`{home}`", sources.escaped(first) + link


def _file_of(home):
    base = Path(*home.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py", base.with_suffix(".pyx")):
        if (sources.ROOT / path).is_file():
            return path
    return None


def _class(owner, name, cls):
    yield from _head(owner, name, cls, _signature(cls))
    yield from _prose(cls)
    known = set(ad.registry) if cls is ad.Tensor else set()
    shown = [(m, x) for m, x in members(cls).items() if m not in known and x.__doc__ and doc(x)]
    for member, x in sorted(shown, key=lambda pair: (not _is_attribute(pair[1]), pair[0])):
        signature = "" if _is_attribute(x) else _signature(getattr(cls, member), bound=True)
        yield f"`.{member}{signature}`{{ #{owner}.{name}.{member} }}"
        said = [" ".join(p.split()) for p in doc(x).split("\n\n")]
        yield f":   {sources.escaped(said[0])}"
        yield from (f"\n    {sources.escaped(p)}" for p in said[1:])
        yield ""


def _is_attribute(x):
    return isinstance(x, property) or inspect.isgetsetdescriptor(x)


def function(owner, name, f):
    yield from _head(owner, name, f, _signature(f))
    yield from _prose(f)


def _value(owner, name, x):
    yield from _head(owner, name, x, "")
    shown = type(x).__name__ if isinstance(x, dict) else repr(x)
    yield from (f"`{shown}`", "")


def _head(owner, name, x, signature):
    call = f"{SHORT.get(owner, owner)}.{name}{signature}"
    yield from heading(owner, name, _source_link(x), call)


def heading(owner, name, link, call):
    """The name, with a link to the source on its line, and how it is called."""
    yield from ("", f'### {name} {{ #{owner}.{name} data-toc-label="{name}" }}', "")
    if link:
        yield from (f"[source]({link}){{ .source }}", "")
    yield from ("```python", call, "```", "")


def _signature(f, bound=False):
    try:
        found = inspect.signature(f)
    except (TypeError, ValueError):
        return "(...)"
    parameters = list(found.parameters.values())
    if bound and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    text = str(found.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    return re.sub(r"<(?:function|class) '?([\w.]+).*?>", r"\1", text)


def _source_link(x):
    if x is ad.Tensor:
        return "/" + sources.page_of("autodiff/tensor.pyx")
    try:
        x = inspect.unwrap(x)
        path = Path(inspect.getsourcefile(x)).resolve().relative_to(sources.ROOT)
        line = inspect.getsourcelines(x)[1]
    except (TypeError, ValueError, OSError):
        return None
    return f"/{sources.page_of(path)}#L-{line}"


def _prose(x):
    """A docstring's paragraphs; those laid out in columns stay as they are."""
    for paragraph in doc(x).split("\n\n"):
        if re.search(r"^ |\S   +\S", paragraph, re.MULTILINE):
            yield from ("```text", paragraph, "```", "")
        elif paragraph:
            yield from (sources.escaped(" ".join(paragraph.split())), "")
