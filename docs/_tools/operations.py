"""Reference of the operations, from the registry: how each is called, what it saves, what it costs.

Invariant: every operation of `ad.registry` has one anchor, `autodiff.NAME`; figures come from a run
of the block's own sample.
"""

import re
from pathlib import Path

import numpy as np
import reference
import sources

import autodiff as ad


def operations():
    """Every operation, from its block; and the functions that are compositions of them."""
    rules = []
    for path, (blocks, functions) in _by_file().items():
        shown = [b for b in blocks if not _internal(b)]
        rules += [b for b in blocks if _internal(b)]
        if shown or functions:
            home = f"autodiff.ops.{path.stem}"
            title, said = reference.described(home)
            yield from ("", f"## {title} {{ #{home} }}", "", said, "")
        for block in shown:
            yield from _operation(block, path)
        for name, f in functions:
            yield from reference.function("autodiff", name, f)
    yield from ("", "## Used by derivatives and optimizers { #internal }", "",
                "Registered and tested like the others, and seldom called by hand.", "")
    yield from ("| operation | computes | formula |", "|---|---|---|")
    for b in sorted(rules, key=lambda b: b.name):
        yield (f"| `{b.signature()}`{{ #autodiff.{b.name} }} | {cell(b.doc)} | "
               f"{code(b.formula)} |")


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
    yield from reference.heading("autodiff", block.name, link, f"ad.{block.signature()}")
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
        rows.append(("after", cell(block.source)))
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


def code(text):
    """Code in a cell of a table."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def cell(text):
    """Plain text in a cell of a table."""
    return sources.escaped(text).replace("|", "\\|")
