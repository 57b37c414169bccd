"""The nodes of a tape by module path: `encoder.0` inside `encoder`, leaves where they belong.

Invariant: every node is in exactly one group, the deepest; "" is the group of all others.
"""

from ..errors import ArgumentError

__all__ = ["Groups"]


class Groups:
    """Module paths of a Trace as a tree.

    A record is in its scope; a leaf in the module that its name says it is a parameter of, else
    in the innermost module that all its users are in.
    """

    def __init__(self, trace):
        self.trace = trace
        users = {}
        for record in trace.records:
            for parent in record.parents:
                if parent is not None:
                    users.setdefault(parent.serial, []).append(record.scope)
        scopes = {p for r in trace.records for p in _prefixes(r.scope)}
        self.path = {}                          # serial -> module path
        for node in trace.nodes:
            self.path[node.serial] = (_of_leaf(trace.name(node), scopes, users.get(node.serial))
                                      if node.is_leaf else node.scope)
        self._members, self._children, order = {}, {}, {}
        for node in trace.nodes:
            path = self.path[node.serial]
            self._members.setdefault(path, []).append(node)
            for prefix in _prefixes(path):
                order.setdefault(prefix, len(order))
        for path in order:
            self._children.setdefault(_outer(path), []).append(path)
        self.all = tuple(order)

    def members(self, path):
        """The nodes whose group is exactly `path`, oldest first."""
        return self._members.get(path, [])

    def children(self, path):
        """The groups directly inside `path`, in order of first use."""
        return self._children.get(path, [])

    def inside(self, path):
        """The nodes of `path` and of all groups inside it."""
        found = list(self.members(path))
        for child in self.children(path):
            found += self.inside(child)
        return found

    def folded(self, collapse, readable):
        """The set of paths to draw as one box; see draw for what `collapse` may be."""
        if collapse is None:
            if len(self.trace.nodes) <= readable:
                return set()
            deepest = max((p.count(".") + 1 for p in self.all), default=0)
            for depth in range(deepest, 0, -1):
                chosen = self._at(depth)
                if len({self.box(n, chosen) for n in self.trace.nodes}) <= readable:
                    return chosen
            return self._at(1)
        if isinstance(collapse, int) and not isinstance(collapse, bool):
            if collapse < 1:
                raise ArgumentError(f"draw: collapse must be at least 1, got {collapse}")
            return self._at(collapse)
        if isinstance(collapse, str) or not isinstance(collapse, (list, tuple, set, frozenset)):
            raise ArgumentError("draw: collapse must be a depth or a list of module paths, got "
                                f"{collapse!r}")
        for path in collapse:
            if path not in self.all:
                raise ArgumentError(f"draw: no module path {path!r} on this tape; there are "
                                    f"{', '.join(self.all) or 'none'}")
        return set(collapse)

    def _at(self, depth):
        return {p for p in self.all if p.count(".") + 1 == depth}

    def box(self, node, folded):
        """What stands for a node in a drawing: itself, or the outermost folded path around it."""
        for prefix in _prefixes(self.path[node.serial]):
            if prefix in folded:
                return prefix
        return node


def _of_leaf(name, scopes, users):
    owner = name.rpartition(".")[0]
    if owner in scopes:
        return owner
    common = list(_prefixes(users[0])) if users else []
    for scope in users or ():
        around = set(_prefixes(scope))
        common = [p for p in common if p in around]
    return common[-1] if common else ""


def _prefixes(path):
    """`a.b.c` -> a, a.b, a.b.c."""
    parts = path.split(".") if path else []
    for k in range(len(parts)):
        yield ".".join(parts[:k + 1])


def _outer(path):
    return path.rpartition(".")[0]
