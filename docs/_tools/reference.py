"""The reference: pages made from docstrings, signatures and the registry of operations.

A page of docs/reference holds a few sentences and lines `::: nn.optim` (the public names of a
module), `::: autodiff.Tensor` (a class), `::: operations` (the registry), which are filled in here.
Docstrings are plain text, not Markdown: formulas keep their stars.  Invariant: what is public
without a docstring of one line first raises (`undocumented` lists it).
"""

import importlib
import inspect
import re
import types
from pathlib import Path

import numpy as np
import sources

import autodiff as ad

DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
SHORT = {"autodiff": "ad", "benchmarks.costs": "benchmarks"}        # as users write it

PLACE = {"node", "index", "dual"}   # a tensor's place on the tape: the engine's own fields


def filled(markdown):
    """The page with its directives replaced by what they name."""
    return DIRECTIVE.sub(lambda m: "\n".join(_expanded(m[1])), markdown)


def _expanded(name):
    if name == "operations":
        return operations()
    try:
        return module(importlib.import_module(name))
    except ModuleNotFoundError:
        owner, _, attribute = name.rpartition(".")
        return _entry(owner, attribute, getattr(importlib.import_module(owner), attribute))


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
    own = PLACE if cls is ad.Tensor else ()
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
            title, said = _title(home)
            yield from ("", f"## {title} {{ #{home} }}", "", said, "")
        for name, x in sorted(found, key=lambda pair: pair[0].lower()):
            yield from _entry(owner.__name__, name, x)


def _entry(owner, name, x):
    if inspect.isclass(x):
        return _class(owner, name, x)
    return _function(owner, name, x) if callable(x) else _value(owner, name, x)


def _home(x, owner):
    home = getattr(inspect.unwrap(x) if callable(x) else x, "__module__", None) or owner.__name__
    return home if home.partition(".")[0] == owner.__name__.partition(".")[0] else owner.__name__


def _title(home):
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


def _function(owner, name, f):
    yield from _head(owner, name, f, _signature(f))
    yield from _prose(f)


def _value(owner, name, x):
    yield from _head(owner, name, x, "")
    shown = type(x).__name__ if isinstance(x, dict) else repr(x)
    yield from (f"`{shown}`", "")


def _head(owner, name, x, signature):
    call = f"{SHORT.get(owner, owner)}.{name}{signature}"
    yield from _heading(owner, name, _source_link(x), call)


def _heading(owner, name, link, call):
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


# Operations ---------------------------------------------------------------------------------------

def operations():
    """Every operation, from its block; and the functions that are compositions of them."""
    rules = []
    for path, (blocks, functions) in _by_file().items():
        home = f"autodiff.ops.{path.stem}"
        title, said = _title(home)
        yield from ("", f"## {title} {{ #{home} }}", "", said, "")
        shown = [b for b in blocks if not _internal(b)]
        rules += [b for b in blocks if _internal(b)]
        for block in shown:
            yield from _operation(block, path)
        for name, f in functions:
            yield from _function("autodiff", name, f)
    yield from ("", "## Used by derivatives and optimizers { #internal }", "",
                "Registered and tested like the others, and seldom called by hand.", "")
    yield from ("| operation | computes | formula |", "|---|---|---|")
    for b in sorted(rules, key=lambda b: b.name):
        yield (f"| `{b.signature()}`{{ #autodiff.{b.name} }} | {_cell(b.doc)} | "
               f"{_code(b.formula)} |")


def _internal(block):
    """Operations that users meet on the tape only: derivative rules, updates."""
    return not block.method and (block.name.endswith(("_backward", "_grad", "_"))
                                 or "backward" in block.name)


def _by_file():
    """{file of autodiff/ops: ([blocks], [(name, composition)])}, in the order of the registry."""
    texts = {p: (sources.ROOT / p).read_text(encoding="utf-8")
             for p in sources.files() if p.parent == Path("autodiff/ops")}
    found = {}
    for block in ad.registry.values():
        path = next(p for p, text in texts.items() if _declared(block, text))
        found.setdefault(path, ([], []))[0].append(block)
    for name, f in vars(ad).items():
        home = getattr(f, "__module__", None) or ""
        if home.startswith("autodiff.ops.") and not name.startswith("_"):
            path = Path(*home.split(".")).with_suffix(".py")
            found.setdefault(path, ([], []))[1].append((name, f))
    return found


def _declared(block, text):
    """Where a file declares a block: `op("name"`, or `name = ...` where a helper makes the name."""
    return re.search(rf'\(\s*"{block.name}"|^{block.name} = ', text, re.MULTILINE)


def _operation(block, path):
    text = (sources.ROOT / path).read_text(encoding="utf-8")
    line = text[:_declared(block, text).start()].count("\n") + 1
    link = f"/{sources.page_of(path)}#L-{line}"
    yield from _heading("autodiff", block.name, link, f"ad.{block.signature()}")
    yield from (sources.escaped(block.doc), "")
    rows = [("formula", f"`{block.formula}`")] if block.formula else []
    rows += [("saves", _saves(block))]
    example = _example(block)
    if example:
        rows.append(("for example", example))
    notes = _notes(block)
    if notes:
        rows.append(("note", notes))
    if block.source:
        rows.append(("after", _cell(block.source)))
    yield from (*(f"- {k}: {v}" for k, v in rows), "")


def _saves(block):
    if not block.differentiable:
        return "has no derivative: its result is a constant"
    if not block.saves:
        return "nothing"
    groups = {}
    for wanted, needed in block.saves.items():
        groups.setdefault(needed, []).append(wanted)
    return "; ".join(f"{_names(needed)} for the gradient of {_names(wanted)}"
                     for needed, wanted in groups.items())


def _names(names):
    return ", ".join(f"`{n}`" for n in names)


def _example(block):
    """The largest sample of the block, run: shapes, floating-point operations, saved bytes."""
    found = ad.testing.cases(block, dtype="float32")
    if not found:
        return ""
    case = max(found, key=lambda c: sum(np.size(x) for x in c.arrays if x is not None))
    inputs = [t.requires_grad_() if isinstance(t, ad.Tensor) and t.dtype.kind == "f" else t
              for t in case.tensors()]
    with ad.profile.profile() as p, ad.Tape() as tape:
        try:
            out = case.run(*inputs)[0]
        except ad.InPlaceError:             # in place: not on a leaf
            out = None
    shapes = ", ".join(str(t.shape) if hasattr(t, "shape") else repr(t) for t in inputs)
    outs = out if isinstance(out, tuple) else (out,)
    to = ", ".join(str(t.shape) for t in outs if t is not None)
    # the operation's own launches and records, without casts of the sample
    flops = sum(e.flops for e in p.events if e.op == block.name)
    saved = sum(e.saved_nbytes for e in tape if e.op == block.name)
    counted = f"{flops:,} floating-point operations" if block.flops else ""
    kept = f"{saved:,} bytes saved" if block.differentiable else ""
    facts = ", ".join(filter(None, (counted, kept)))
    return f"`{shapes}`" + (f" → `{to}`" if to else "") + (f": {facts}" if facts else "")


def _notes(block):
    return "; ".join(filter(None, (
        "a view: the result shares the memory of its input" if block.alias else "",
        f"in place: writes into `{block.into}`" if block.into else "",
        "computed by NumPy or SciPy" if block.opaque else "",
        "the shape of the result depends on values" if block.dynamic_shape else "",
        "a fused operation: a second derivative goes through the same function in primitives"
        if block.composite else "")))


def _code(text):
    return f"`{text}`".replace("|", "\\|") if text else ""


def _cell(text):
    return sources.escaped(text).replace("|", "\\|")
