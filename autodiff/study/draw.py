"""The tape as a picture: values, gradients, saved bytes, grouped by module path.

`ad.study.draw(loss)` shows itself in a notebook and saves SVG or PNG; Graphviz does the layout
(layout.py).  Invariant: a gradient that nobody computed is drawn as `not computed yet`; drawing
runs no backward of the user's.
"""

import html
import os

from .. import core, text
from ..errors import ArgumentError
from .errors import TooLargeError
from .files import write_bytes
from .groups import Groups
from .layout import render
from .names import caller_variables
from .sweep import watch
from .trace import Trace, flat_saves

__all__ = ["Drawing", "draw"]

READABLE = 120      # nodes up to which nothing is collapsed by itself
MOST = 600          # nodes beyond which nothing is drawn

INK, QUIET, LINE = "#1f2430", "#5b6472", "#8a93a3"
LEAF, RECORD, FOLDED, ROOT = "#e8f1ec", "#ffffff", "#eef1f6", "#fdf3e3"
GRADIENT, SAVED = "#a3341f", "#1d5f8a"


class Drawing:
    """A drawn tape: shows itself in a notebook; `.save("tape.svg")` or `.save("tape.png")`.

    dot: the picture as Graphviz text; svg: as SVG text, laid out when first asked for.
    """

    def __init__(self, dot):
        self.dot, self._svg = dot, None

    @property
    def svg(self):
        if self._svg is None:
            found = render(self.dot, "svg").decode()
            self._svg = found[found.index("<svg"):]
        return self._svg

    def _repr_svg_(self):
        return self.svg

    def save(self, path):
        """Write it to a file, in the format that its name ends in (.svg, .png or .dot).

        Raises ArgumentError for another ending, LayoutEngineError without Graphviz.
        """
        kind = os.path.splitext(os.fspath(path))[1].lower()
        if kind == ".png":
            content = render(self.dot, "png")
        elif kind in (".svg", ".dot"):
            content = (self.svg if kind == ".svg" else self.dot).encode()
        else:
            raise ArgumentError(f"save: expected a name that ends in .svg, .png or .dot, got "
                                f"{os.fspath(path)!r}")
        write_bytes(path, content)

    def __repr__(self):
        return f"<Drawing: {self.dot.count('->')} edges; .save('tape.svg'), or show it in a " \
               "notebook>"


def draw(loss, collapse=None, gradients=None, names=None, model=None, tape=None):
    """A Drawing of the tape behind a tensor (or Record): values and gradients on one picture.

    collapse: a depth (1 draws each outermost module as one box), or a list of module paths; None
    collapses by itself what has more than 120 boxes. gradients: True computes them for the
    picture alone (`.grad` stays); False draws none; None draws them where backward has run, and
    `not computed yet` where not. names, model, tape: as for explain.

    After a backward without retain_graph only leaves (and what retain_grad() asked for) have a
    gradient. Raises ArgumentError, GradientError for a tensor off the tape, ReleasedTapeError for
    gradients=True after such a backward, TooLargeError beyond 600 boxes, LayoutEngineError (when
    shown or saved) without Graphviz.
    """
    if gradients not in (None, True, False):
        raise ArgumentError(f"draw: gradients must be True, False or None, got {gradients!r}")
    trace = Trace("draw", loss, tape, names, model, caller_variables() if names is None else {})
    groups = Groups(trace)
    folded = groups.folded(collapse, READABLE)
    count = len({groups.box(n, folded) for n in trace.nodes})
    if count > MOST:
        raise TooLargeError(f"draw: {count} boxes are more than {MOST}; collapse modules "
                            "(collapse=1, or a list of paths), give parts of the computation a "
                            "name with ad.scope, or use ad.study.page, which plays long tapes")
    return Drawing("\n".join(_Picture(trace, groups, folded, gradients).lines()))


class _Picture:
    """Words a Trace in DOT."""

    def __init__(self, trace, groups, folded, gradients):
        self.trace, self.groups, self.folded = trace, groups, folded
        self.gradients, self.sums = self._known(gradients)

    def _known(self, wanted):
        """{(serial, output): gradient as text}, {(serial, output): contributions}."""
        trace, found, sums = self.trace, {}, {}
        if wanted is False:
            return None, sums
        ran = trace.released or any(leaf.grad is not None for leaf in trace.leaves)
        if wanted or (ran and not trace.released):
            for step in watch(trace):
                for k, g in enumerate(step.gradients):
                    found[step.node.serial, k] = "none came" if g is None else g.text
                for c in step.results:
                    where = c.parent.serial, c.index
                    sums[where] = sums.get(where, 0) + 1
        elif ran:
            for record in trace.records:
                for k, g in (record.retained or {}).items():
                    if g is not None:
                        found[record.serial, k] = text.preview(g.numpy())
                found.update({(record.serial, k): "let go of by backward"
                              for k in range(len(record.shapes))
                              if (record.serial, k) not in found})
            for leaf in trace.leaves:
                if leaf.grad is not None:
                    found[leaf.serial, 0] = text.preview(leaf.grad.numpy())
        return found, sums

    def lines(self):
        yield 'digraph tape {'
        yield ('  graph [rankdir=TB, fontname="Helvetica,Arial,sans-serif", fontsize=11, '
               f'fontcolor="{QUIET}", labeljust=l, bgcolor="white", ranksep=0.35, nodesep=0.3, '
               'pad=0.2]')
        yield ('  node [shape=plain, fontname="Helvetica,Arial,sans-serif", fontsize=10, '
               f'fontcolor="{INK}"]')
        yield (f'  edge [color="{LINE}", fontname="Helvetica,Arial,sans-serif", fontsize=8, '
               f'fontcolor="{QUIET}", arrowsize=0.6]')
        yield from self._cluster("", 1)
        yield from self._edges()
        yield "}"

    def _cluster(self, path, depth):
        pad = "  " * depth
        for node in self.groups.members(path):
            yield f"{pad}n{node.serial} [label=<{self._box(node)}>]"
        for child in self.groups.children(path):
            if child in self.folded:
                yield f"{pad}{_quoted('g ' + child)} [label=<{self._folded(child)}>]"
            else:
                yield f"{pad}subgraph {_quoted('cluster ' + child)} {{"
                yield f'{pad}  label={_quoted(child)}; color="{LINE}"; style="rounded"; margin=8'
                yield from self._cluster(child, depth + 1)
                yield f"{pad}}}"

    def _edges(self):
        seen = {}
        for record in self.trace.records:
            for parent, index in zip(record.parents, record.indices, strict=True):
                if parent is None:
                    continue
                a, b = (self.groups.box(n, self.folded) for n in (parent, record))
                if a != b:
                    key = (_id(a), _id(b))
                    seen.setdefault(key, []).append(text.shape(parent.shapes[index]))
        for (a, b), shapes in seen.items():
            label = shapes[0] if len(set(shapes)) == 1 else ""
            times = f" x {len(shapes)}" if len(shapes) > 1 else ""
            shown = "" if label == "[]" else label
            yield f"  {a} -> {b} [label={_quoted((shown + times).strip())}]"

    # Boxes --------------------------------------------------------------------------------

    def _box(self, node):
        trace = self.trace
        if node.is_leaf:
            rows = [_row(f"<b>{_e(trace.name(node))}</b>"),
                    _row(_e(text.shape(node.shapes[0], node.dtypes[0])), QUIET),
                    _row(_e(_short(trace.shown(node))))]
            return _table([*rows, *self._gradient_rows(node)], LEAF)
        name = trace.name(node)
        head = node.name if name == trace.number(node) else f"{node.name} = {name}"
        rows = [_row(f'<b>{_e(head)}</b>  <font color="{QUIET}">#{node.serial}</font>')]
        if node.op.formula:
            rows.append(_row(_e(_short(node.op.formula)), QUIET))
        for k, (sizes, dtype) in enumerate(zip(node.shapes, node.dtypes, strict=True)):
            shown = _short(trace.shown(node, k))
            rows.append(_row(_e(f"{text.shape(sizes, dtype)}  {shown}")))
        rows += self._gradient_rows(node)
        rows += [_row(_e(line), SAVED) for line in _saved(node)]
        return _table(rows, ROOT if node is trace.root[0] else RECORD)

    def _gradient_rows(self, node):
        if self.gradients is None:
            return
        for k in range(len(node.shapes)):
            g = self.gradients.get((node.serial, k))
            count = self.sums.get((node.serial, k), 0)
            of = f", the sum of {count}" if count > 1 else ""
            label = "gradient" if len(node.shapes) == 1 else f"gradient of output {k}"
            yield _row(_e(f"{label}: {'not computed yet' if g is None else _short(g)}{of}"),
                       GRADIENT)

    def _folded(self, path):
        inside = self.groups.inside(path)
        records = [n for n in inside if not n.is_leaf]
        parameters = sum(_size(n) for n in inside if n.is_leaf)
        held = {t.storage_id: t.storage_nbytes for r in records for _, t in flat_saves(r)
                if t.category == "temporary"}
        rows = [_row(f"<b>{_e(path)}</b>"), _row(_count(len(records), "record"), QUIET)]
        if parameters:
            rows.append(_row(_count(parameters, "parameter"), QUIET))
        if held:
            rows.append(_row(f"saves {text.nbytes(sum(held.values()))} in "
                             f"{_count(len(held), 'array')}", SAVED))
        return _table(rows, FOLDED)


def _saved(record):
    """A line for each saved array, with its bytes; a parameter or input says so."""
    if record.released:
        return
    for name, t in flat_saves(record):
        what = "" if t.category == "temporary" else f", {t.category}"
        yield f"saves {name}: {text.nbytes(t.nbytes)}{what}"


def _count(n, what):
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _size(leaf):
    count = 1
    for n in leaf.shapes[0]:
        count *= n
    return count


def _id(box):
    return f"n{box.serial}" if isinstance(box, (core.Leaf, core.Record)) else _quoted("g " + box)


def _e(s):
    return html.escape(s, quote=True)


def _quoted(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _short(s, most=52):
    return s if len(s) <= most else s[:most - 1] + "…"


def _row(content, color=None):
    if color:
        content = f'<font color="{color}">{content}</font>'
    return f'<tr><td align="left">{content}</td></tr>'


def _table(rows, fill):
    inner = ('<table border="0" cellborder="0" cellspacing="0" cellpadding="1">'
             f'{"".join(rows)}</table>')
    return (f'<table border="1" color="{LINE}" style="rounded" bgcolor="{fill}" cellborder="0" '
            f'cellspacing="0" cellpadding="5"><tr><td>{inner}</td></tr></table>')
