"""Derivative rules as text, for the study tools: the expression for each input, read from source.

Only the shapes of code that rules use are understood: `... if needs & k else None`, a name that is
assigned once, a tuple that is returned.  Invariant: what is not understood is not guessed at: the
rule's own one-line docstring, or its name and place, stands in.
"""

import ast
import functools
import inspect
import os
import re
import textwrap

from ..op import registry


@functools.lru_cache(1024)
def expressions(block, needs, count):
    """The gradient of each of `count` inputs as source text; None where it is not understood."""
    try:
        found = _parse(block.vjp, needs)
    except (OSError, SyntaxError, TypeError, ValueError):
        found = None
    if found is None or len(found) != count:
        return [None] * count
    return [None if e is None else _with_formula(e) for e in found]


def described(block):
    """A rule in words: the first line of its docstring, else its name and place."""
    rule = block.vjp
    doc = inspect.getdoc(rule)
    if doc and not block.opaque:
        return doc.split("\n")[0]
    code = getattr(rule, "__code__", None)
    if block.opaque or code is None:
        return f"{block.name}.backward"
    return f"{rule.__name__} in {os.path.basename(code.co_filename)}:{code.co_firstlineno}"


def _parse(rule, needs):
    """The returned expressions, one for each input; None for one that is not understood."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(rule)))
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef):
        return None
    body = [s for s in function.body if not _is_docstring(s)]
    known, steps = {}, _straighten(body, needs)
    if steps is None or not steps or not isinstance(steps[-1], ast.Return):
        return None
    for step in steps[:-1]:
        targets = step.targets if isinstance(step, ast.Assign) else []
        if len(targets) != 1 or not isinstance(targets[0], ast.Name):
            return None
        name = targets[0].id
        # A name of the rule's own that changes on the way means more than one expression.
        known[name] = None if name in known or name in _names(function) else step.value
    value = steps[-1].value
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return [_text(p, known, needs) for p in parts]


def _names(function):
    return {a.arg for a in function.args.args}


def _is_docstring(statement):
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _straighten(body, needs):
    """Statements with every `if needs & k` decided; None where another branch remains."""
    out = []
    for s in body:
        if isinstance(s, ast.If):
            decided = _decide(s.test, needs)
            if decided is None:
                return None
            inner = _straighten(s.body if decided else s.orelse, needs)
            if inner is None:
                return None
            out += inner
        elif isinstance(s, (ast.Assign, ast.Return)):
            out.append(s)
        else:
            return None
        if out and isinstance(out[-1], ast.Return):
            break
    return out


def _decide(test, needs):
    """True or False for `needs & k` and `not needs & k`; None for anything else."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _decide(test.operand, needs)
        return None if inner is None else not inner
    if (isinstance(test, ast.BinOp) and isinstance(test.op, ast.BitAnd)
            and isinstance(test.left, ast.Name) and test.left.id == "needs"
            and isinstance(test.right, ast.Constant)):
        return bool(needs & test.right.value)
    return None


class _Resolve(ast.NodeTransformer):
    def __init__(self, known, needs):
        self.known, self.needs, self.lost = known, needs, False

    def visit_IfExp(self, node):
        decided = _decide(node.test, self.needs)
        if decided is None:
            return self.generic_visit(node)
        return self.visit(node.body if decided else node.orelse)

    def visit_Name(self, node):
        if node.id not in self.known:
            return node
        if self.known[node.id] is None:
            self.lost = True
            return node
        return self.visit(self.known[node.id])


def _text(node, known, needs):
    resolve = _Resolve(known, needs)
    node = resolve.visit(node)
    found = ast.unparse(node)
    return None if resolve.lost or len(found) > 100 else found


def with_numbers(expression, values):
    """The last form of `expression` with single numbers in place of names; "" where some is not.

    values: name -> text of a number, or None where it is no single number. Names of functions
    (before a bracket) and the constant e stay.
    """
    last = expression.split(" = ")[-1]
    for name in set(re.findall(r"(?<![\w.])[A-Za-z_]\w*(?!\w*\()", last)) - {"e", "pi"}:
        value = values.get(name)
        if value is None:
            return ""
        value = f"({value})" if value.startswith("-") and last != name else value
        last = re.sub(rf"(?<![\w.]){name}\b(?!\()", value, last)
    return last


def _with_formula(expression):
    """`tanh_backward(g, out)` says more with its own formula behind it."""
    name = expression.partition("(")[0]
    block = registry.get(name)
    if block is None or not block.formula or not name.endswith("_backward"):
        return expression
    return f"{expression} = {block.formula}"


def reason(block):
    """The first paragraph of the rule's docstring: its derivation, where it has one."""
    doc = "" if block.opaque or block.vjp is None else inspect.getdoc(block.vjp) or ""
    return " ".join(doc.split("\n\n")[0].split())
