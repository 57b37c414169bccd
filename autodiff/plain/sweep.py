"""The reverse sweep of the plain core: backward and gradients.

Pops pending records by descending serial, calls each rule once with the finished gradient of its
outputs, and adds what comes back to the parents.  Invariant: iterative, and an exception leaves no
pending gradient behind: they belong to the sweep, not to the nodes.
"""

import heapq

from .. import rules
from ..errors import GradientError, ReleasedTapeError, ShapeError
from ..op import Deferred, registry
from . import modes as state
from .modes import modes


def sweep(roots, seeds, inputs, retain, create_graph):
    """Run from `roots` down: into `.grad` of the leaves, or (inputs given) a list of gradients."""
    heap, pending = [], {}
    wanted = None if inputs is None else {(x.node, x.index): None for x in inputs}
    needed = None if inputs is None else _paths(roots, {x.node for x in inputs})
    previous = state.set_grad_enabled(create_graph), state.set_phase("backward"), modes.scope
    try:
        for root, seed in zip(roots, seeds):
            if root.node is None:
                raise GradientError("backward: the output does not depend on a tensor that "
                                    "requires a gradient; was it computed under no_grad?")
            if seed.shape != root.shape:
                raise ShapeError(f"backward: the gradient has shape {seed.shape}, the output "
                                 f"{root.shape}")
            if needed is None or root.node in needed:
                _add(root.node, root.index, seed, heap, pending, create_graph)
        while heap:
            node = heapq.heappop(heap)[1]
            modes.scope = "" if node.is_leaf else node.scope
            grads = [_finish(node, k, g) for k, g in enumerate(pending.pop(node).grads)]
            if wanted is not None:
                for k, g in enumerate(grads):
                    if (node, k) in wanted:
                        wanted[node, k] = g
            if node.is_leaf:
                if wanted is None:
                    _accumulate(node, grads[0], create_graph)
                for listener in modes.sweeps:
                    listener(node, grads, None)
                continue
            if node.retained is not None and wanted is None:
                node.retained.update((k, grads[k]) for k in node.retained)
            needs = node.needs
            if needed is not None:
                needs = sum(1 << k for k, p in enumerate(node.parents)
                            if needs >> k & 1 and p in needed)
            if needs:
                results = _pull(node, grads, needs, create_graph)
                for k, g in enumerate(results):
                    if g is not None and needs >> k & 1:
                        _add(node.parents[k], node.indices[k], _fit(node, k, g), heap, pending,
                             create_graph)
                for listener in modes.sweeps:
                    listener(node, grads, results)
            if not retain:
                node.release()
    finally:
        state.set_grad_enabled(previous[0])
        state.set_phase(previous[1])
        modes.scope = previous[2]
    return None if inputs is None else [wanted[x.node, x.index] for x in inputs]


def _paths(roots, targets):
    """The nodes that lie on a path from `roots` to `targets`."""
    reached, stack = set(), [r.node for r in roots if r.node is not None]
    while stack:
        node = stack.pop()
        if node not in reached:
            reached.add(node)
            stack.extend(p for p in node.parents if p is not None)
    needed = set()
    for node in sorted(reached, key=lambda n: n.serial):
        if node in targets or any(p in needed for p in node.parents):
            needed.add(node)
    return needed


def _pull(record, grads, needs, create_graph):
    """Gradients of the inputs of one record, as its rule returns them."""
    block = record.op
    if record.released:
        raise ReleasedTapeError(
            f"{block.name}: backward ran through this record already and released what it saved; "
            f"pass retain_graph=True to the first backward (recorded at {record.line})")
    flat, outs = record.unpack(connect=create_graph)
    g = grads[0] if len(record.shapes) == 1 and not block.variadic_out else tuple(grads)
    if (create_graph or record.duals) and block.composite is not None:
        from .. import core
        result = rules.composite_vjp(block, flat, record.attrs, g, needs, core)
    else:
        names = dict(zip(block.inputs, rules.call.group(block, flat)))
        names.update(zip(block.outputs + block.residuals, outs))
        result = block.vjp(g, needs, *rules.arguments(block.vjp, 2, block, names, record.attrs,
                                                      record.input_shapes, record.input_dtypes))
    result = result if isinstance(result, (tuple, list)) else (result,)
    if len(result) != len(record.parents):
        raise GradientError(f"{block.name}: its vjp returned {len(result)} gradients for "
                            f"{len(record.parents)} inputs")
    return result


def _fit(record, k, g):
    """Sum over broadcast axes, cast to the input's dtype."""
    shape, dtype = record.input_shapes[k], record.input_dtypes[k]
    if isinstance(g, Deferred):
        return g
    if g.shape != shape:
        if len(g.shape) < len(shape):
            raise ShapeError(f"{record.name}: its vjp gave a gradient of shape {g.shape} for input "
                             f"{k} of shape {shape}")
        g = registry["sum_to"].call(g, shape)
    return g if g.dtype == dtype else registry["astype"].call(g, dtype)


class _Pending:
    """What one sweep has gathered for a node: a gradient for each output, and which of them are
    sums of the sweep's own."""

    def __init__(self, outputs):
        self.grads, self.owned = [None] * outputs, set()


def _add(node, index, g, heap, pending, create_graph):
    """Add a contribution; the first is borrowed, later ones make a sum of their own."""
    if node not in pending:
        pending[node] = _Pending(len(node.shapes))
        heapq.heappush(heap, (-node.serial, node))
    at, deferred = pending[node], isinstance(g, Deferred)
    old = at.grads[index]
    if deferred and not create_graph and index in at.owned:
        g.add_into(old)
        return
    dense = g.dense() if deferred else g
    if old is None:
        at.grads[index] = dense
    else:
        at.grads[index] = old + dense
        at.grads[index].storage.category = "gradient"
    if old is not None or deferred:
        at.owned.add(index)


def _finish(node, index, g):
    """Run the hooks of one output on its finished gradient."""
    for hook in list((node.hooks or {}).get(index, ())):
        if g is not None:
            new = hook(g)
            g = g if new is None else new
    return g


def _accumulate(leaf, g, create_graph):
    with leaf.lock:
        if leaf.grad is not None:
            g = leaf.grad + g
        elif not create_graph:
            g = registry["copy"].call(g.detach())
        g.storage.category = "gradient"
        leaf.grad = g
    for hook in list(leaf.after):
        hook(g)


