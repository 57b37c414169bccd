"""The reverse sweep: backward and gradients.

Pops pending nodes by descending serial, calls each rule once with the finished gradient of its
outputs, and adds what comes back to the parents.  A first contribution is borrowed; later ones are
added into a buffer that the sweep owns.  Invariant: iterative, and an exception leaves no pending
gradient behind.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport PyObject, Py_INCREF, Py_DECREF
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from autodiff.storage cimport GRADIENT, Storage, recount
from autodiff.tape cimport (
    BACKWARD, OUT, Leaf, Meta, Modes, Node, Record, Save, meta_of, modes, release)
from autodiff.tensor cimport (
    FROM_ATTR, FROM_DTYPE, FROM_INPUT, FROM_OUTPUT, FROM_SHAPE, Bound, Tensor, add_in_place, apply,
    bare, bound)

from . import call, dtypes, rules, tape as _tape
from .errors import DtypeError, GradientError, ReleasedTapeError, SavedTensorChangedError, ShapeError
from .op import Deferred

cdef extern from *:
    Py_ssize_t Py_REFCNT(PyObject*)     # of a pointer: an object argument would count itself
    object PyObject_Vectorcall(object f, PyObject** args, size_t n, void* names)

cdef int64_t _sweeps = 0


@cython.final
@cython.no_gc
cdef class _Heap:
    """Pending nodes, the youngest on top; holds a reference to each."""
    cdef PyObject** items
    cdef int n, capacity

    def __dealloc__(self):
        cdef int k
        for k in range(self.n):
            Py_DECREF(<object>self.items[k])
        free(self.items)

    cdef int push(self, Node node) except -1:
        cdef int k, up
        cdef PyObject** bigger
        if self.n == self.capacity:
            bigger = <PyObject**>realloc(self.items, (2 * self.capacity + 64) * sizeof(PyObject*))
            if bigger == NULL:
                raise MemoryError("autodiff: out of memory in the sweep")
            self.items, self.capacity = bigger, 2 * self.capacity + 64
        Py_INCREF(node)
        k = self.n
        self.n += 1
        while k > 0:
            up = (k - 1) >> 1
            if (<Node>self.items[up]).serial >= node.serial:
                break
            self.items[k] = self.items[up]
            k = up
        self.items[k] = <PyObject*>node
        return 0

    cdef Node pop(self):
        cdef PyObject* top = self.items[0]
        cdef PyObject* last
        cdef int64_t serial
        cdef int k = 0, child
        self.n -= 1
        if self.n > 0:
            last = self.items[self.n]
            serial = (<Node>last).serial
            while True:
                child = 2 * k + 1
                if child >= self.n:
                    break
                if child + 1 < self.n and ((<Node>self.items[child + 1]).serial
                                           > (<Node>self.items[child]).serial):
                    child += 1
                if (<Node>self.items[child]).serial <= serial:
                    break
                self.items[k] = self.items[child]
                k = child
            self.items[k] = last
        node = <Node>top
        Py_DECREF(<object>top)
        return node


def backward(roots, seeds, retain_graph=False, create_graph=False):
    """Accumulate d roots / d leaf into `.grad` of every leaf."""
    _sweep(list(roots), list(seeds), None, retain_graph or create_graph, create_graph)


def gradients(outputs, inputs, seeds=None, retain_graph=None, create_graph=False,
              allow_unused=False):
    """Gradients of outputs with respect to inputs, as a list; `.grad` stays untouched."""
    seeds = [None] * len(outputs) if seeds is None else seeds
    for k, x in enumerate(inputs):
        if x.node is None:
            raise GradientError(f"gradients: input {k} does not require a gradient; make it with "
                                "requires_grad=True before it is used")
    seeds = [seed(o) if s is None else s for o, s in zip(outputs, seeds)]
    keep = create_graph if retain_graph is None else retain_graph
    found = _sweep(list(outputs), seeds, list(inputs), keep, create_graph)
    for k, g in enumerate(found):
        if g is None and not allow_unused:
            raise GradientError(f"gradients: input {k} is not used in computing the outputs; pass "
                                "allow_unused=True to get None for it")
    return found


def seed(out):
    """The gradient of a one-element output by itself: ones."""
    if out.size != 1:
        raise GradientError(f"backward: the output has shape {out.shape}, not one element; reduce "
                            "it to a scalar (for instance with .sum()), or pass its gradient")
    from .ops.creation import ones_like
    previous = _tape.set_phase("backward")
    try:
        with _tape.no_grad():
            return ones_like(out)
    finally:
        _tape.set_phase(previous)


cdef object _sweep(list roots, list seeds, list inputs, bint retain, bint create_graph):
    global _sweeps
    cdef Modes* m = modes()
    cdef _Heap heap = _Heap.__new__(_Heap)
    cdef Node node
    cdef Record r
    cdef Tensor root, g0
    cdef int64_t needs, sweep
    cdef int k, count = 0, phase = m.phase
    cdef bint no_grad = m.no_grad
    cdef set needed = None
    cdef dict wanted = None
    cdef object pending, results
    _sweeps += 1
    sweep = _sweeps
    scope = before = _tape.current_scope()
    if inputs is not None:
        wanted = {((<Tensor>x).node, (<Tensor>x).index): None for x in inputs}
        needed = _paths(roots, {(<Tensor>x).node for x in inputs})
    m.no_grad, m.phase = not create_graph, BACKWARD
    try:
        for root, g0 in zip(roots, seeds):
            if root.node is None:
                raise GradientError("backward: the output does not depend on a tensor that "
                                    "requires a gradient; was it computed under no_grad?")
            if g0.shape != root.shape:
                raise ShapeError(f"backward: the gradient has shape {g0.shape}, the output "
                                 f"{root.shape}")
            if needed is None or root.node in needed:
                _add(root.node, root.index, g0, heap, sweep, create_graph)
        while heap.n > 0:
            node = heap.pop()
            pending, node.pending = node.pending, None
            node.sweep = 0
            if node.hooks is not None:
                pending = _run_hooks(node, pending)
            if wanted is not None:
                _collect(wanted, node, pending)
            if isinstance(node, Leaf):
                if m.sweeps != NULL:
                    _observe(m, node, pending, None)
                if wanted is None:
                    node.pending, pending = pending, None   # the leaf may take the buffer
                    _accumulate(<Leaf>node, create_graph)
                continue
            r = <Record>node
            if r.retained is not None and wanted is None:
                for k in r.retained:
                    r.retained[k] = pending if r.nout == 1 else pending[k]
            needs = r.needs
            if needed is not None:
                for k in range(r.nin):
                    if needs >> k & 1 and <object>r.parent[k] not in needed:
                        needs &= ~(<int64_t>1 << k)
            results = None
            if needs:
                if (r.scope_name if r.scope_name is not None else "") is not scope:
                    scope = r.scope_name if r.scope_name is not None else ""
                    _tape.push_scope(scope)
                results = _pull(r, pending, needs, create_graph, m)
                pending = None if m.sweeps == NULL else pending
                if type(results) is tuple or type(results) is list:
                    if len(results) != r.nin:
                        raise GradientError(
                            f"{r.name}: its vjp returned {len(results)} gradients for {r.nin} "
                            "inputs")
                    for k in range(r.nin):
                        g = results[k]
                        if g is not None and needs >> k & 1:
                            _add(<Node>r.parent[k], r.index[k],
                                 g if type(g) is Tensor and _fits(<Tensor>g, <Node>r.parent[k],
                                                                  r.index[k])
                                 else _fit(r, k, g), heap, sweep, create_graph)
                elif results is not None:
                    g = results
                    if r.nin != 1:
                        raise GradientError(f"{r.name}: its vjp returned one gradient for "
                                            f"{r.nin} inputs")
                    _add(<Node>r.parent[0], r.index[0],
                         g if type(g) is Tensor and _fits(<Tensor>g, <Node>r.parent[0],
                                                          r.index[0])
                         else _fit(r, 0, g), heap, sweep, create_graph)
                if m.sweeps != NULL:
                    _observe(m, node, pending, results)
                results = g = None
            if not retain:
                release(r)
            count += 1
            if count & 1023 == 0:
                PyErr_CheckSignals()
    except BaseException:
        # Nothing pending survives: the next sweep starts clean.
        while heap.n > 0:
            node = heap.pop()
            node.pending, node.sweep = None, 0
        raise
    finally:
        m.no_grad, m.phase = no_grad, phase
        if scope is not before:
            _tape.push_scope(before)
    return None if inputs is None else [wanted[(<Tensor>x).node, (<Tensor>x).index]
                                        for x in inputs]


cdef int _collect(dict wanted, Node node, object pending) except -1:
    cdef int k
    for k in range(node.nout):
        if (node, k) in wanted:
            wanted[node, k] = pending if node.nout == 1 else pending[k]
    return 0


cdef object _run_hooks(Node node, object pending):
    """Run the hooks of each output on its finished gradient."""
    cdef list grads = [pending] if node.nout == 1 else list(pending)
    for k, hooks in node.hooks.items():
        for hook in list(hooks):
            if grads[k] is not None:
                new = hook(grads[k])
                if new is not None:
                    if not isinstance(new, Tensor) or new.shape != grads[k].shape:
                        raise ShapeError(f"a gradient hook must return None or a Tensor of shape "
                                         f"{grads[k].shape}")
                    grads[k] = new
    return grads[0] if node.nout == 1 else grads


cdef int _observe(Modes* m, Node node, object pending, object results) except -1:
    grads = [pending] if node.nout == 1 else list(pending)
    for listener in list(<object>m.sweeps):
        listener(node, grads, results)
    return 0


cdef set _paths(list roots, set targets):
    """The nodes that lie on a path from `roots` to `targets`."""
    cdef set reached = set(), needed = set()
    cdef list stack = [(<Tensor>t).node for t in roots if (<Tensor>t).node is not None]
    cdef Node node
    cdef int k
    while stack:
        node = stack.pop()
        if node in reached:
            continue
        reached.add(node)
        if type(node) is Record:
            for k in range((<Record>node).nin):
                if (<Record>node).parent[k] != NULL:
                    stack.append(<object>(<Record>node).parent[k])
    for node in sorted(reached):
        if node in targets:
            needed.add(node)
        elif type(node) is Record:
            for k in range((<Record>node).nin):
                if ((<Record>node).parent[k] != NULL
                        and <object>(<Record>node).parent[k] in needed):
                    needed.add(node)
                    break
    return needed


# The rule of one record -----------------------------------------------------------------------

cdef object _pull(Record r, object pending, int64_t needs, bint connect, Modes* m):
    """Gradients of the inputs of one record, as its rule returns them."""
    cdef Bound b
    if r.released:
        raise ReleasedTapeError(
            f"{r.name}: backward ran through this record already and released what it saved; pass "
            f"retain_graph=True to the first backward (recorded at {r.line}{r.where()})")
    b = <Bound>r.op.call if not isinstance(r.op, Bound) else <Bound>r.op
    if b.plain_args and not connect and r.duals is None:
        return _call_rule(b, r, pending, needs)
    return _pull_general(b, r, pending, needs, connect)


cdef Record _source(Record r):
    """The record that has the saves of `r`: itself, unless they are computed again."""
    while r.deferred is not None:
        r = r.deferred.twin(r)
    return r


cdef inline Tensor _unpack(Record r, Save* s):
    """A saved tensor, after the check that nobody wrote to it."""
    cdef Tensor t = <Tensor>s.tensor
    if t.storage.version != s.version:
        _changed(r, s)
    return t


cdef int _changed(Record r, Save* s) except -1:
    raise SavedTensorChangedError(
        f"{r.name}: its {r.slot_name(s.slot)}, of shape {(<Tensor>s.tensor).shape}, was saved for "
        f"backward at {r.line}{r.where()} and has been changed in place since; write to a copy, "
        "or run backward before the write")


cdef object _call_rule(Bound b, Record r, object pending, int64_t needs):
    """Call the vjp with its arguments in a C array."""
    cdef PyObject* args[18]
    cdef int k, i, n = 2, slot
    cdef object value
    cdef list held = []
    cdef Record source = _source(r)
    cdef object want = needs
    args[0], args[1] = <PyObject*>pending, <PyObject*>want
    for k in range(b.nargs):
        value = None
        if b.arg_kind[k] == FROM_INPUT or b.arg_kind[k] == FROM_OUTPUT:
            slot = b.arg_k[k] + (OUT if b.arg_kind[k] == FROM_OUTPUT else 0)
            args[n] = <PyObject*>None
            for i in range(source.nsaved):
                if source.save[i].slot == slot:
                    value = _unpack(r, &source.save[i])
                    args[n] = <PyObject*>value      # the record holds it
                    break
            n += 1
            continue
        if b.arg_kind[k] == FROM_ATTR:
            args[n] = <PyObject*>(<tuple>r.attr_values)[b.arg_k[k]]
            n += 1
            continue
        if b.arg_kind[k] == FROM_SHAPE or b.arg_kind[k] == FROM_DTYPE:
            known = r.input_metas[b.arg_k[k]]
            if known is not None:
                value = known[1 if b.arg_kind[k] == FROM_DTYPE else 0]
        held.append(value)
        args[n] = <PyObject*>value
        n += 1
    return PyObject_Vectorcall(b.vjp, args, n, NULL)


cdef object _pull_general(Bound b, Record r, object pending, int64_t needs, bint connect):
    """By name, with saved tensors back on the tape for create_graph or carrying tangents."""
    cdef int k, n = len(r.op.outputs) + len(r.op.residuals)
    cdef list flat = [None] * r.nin, outs = [None] * n
    cdef Save* s
    cdef Tensor t
    cdef Record source = _source(r)
    for k in range(source.nsaved):
        s = &source.save[k]
        t = bare(_unpack(r, s))
        if s.slot < OUT:
            if connect and r.parent[s.slot] != NULL:
                t.node, t.index = <Node>r.parent[s.slot], r.index[s.slot]
            flat[s.slot] = t
        else:
            if connect and s.slot - OUT < r.nout:
                t.node, t.index = r, s.slot - OUT
            outs[s.slot - OUT] = t
        if r.duals is not None:
            t.dual = r.duals.get(s.slot)
    g = tuple(pending) if r.nout > 1 or b.variadic_out else pending
    if (connect or r.duals is not None) and r.op.composite is not None:
        from . import core
        return rules.composite_vjp(r.op, flat, r.attr_values, g, needs, core)
    names = dict(zip(r.op.inputs, call.group(r.op, flat)))
    names.update(zip(r.op.outputs + r.op.residuals, outs))
    return b.vjp(g, needs, *rules.arguments(b.vjp, 2, r.op, names, r.attr_values,
                                            r.input_shapes, r.input_dtypes))


cdef inline bint _fits(Tensor g, Node node, int index) noexcept:
    """True if the gradient has its input's shape and dtype."""
    cdef Meta* meta = meta_of(node, index)
    cdef int k
    if g.buf.ndim != meta.ndim or g.buf.dtype != meta.dtype:
        return False
    for k in range(meta.ndim):
        if g.buf.shape[k] != meta.shape[k]:
            return False
    return True


cdef object _fit(Record r, int k, object g):
    """Sum over broadcast axes, cast to the input's dtype."""
    cdef Node node = <Node>r.parent[k]
    if isinstance(g, Deferred):
        return g
    if not isinstance(g, Tensor):
        raise GradientError(f"{r.name}: its vjp must return Tensors, got {type(g).__name__}")
    shape, dtype = node.shapes[r.index[k]], node.dtypes[r.index[k]]
    if g.shape != shape:
        if len(g.shape) < len(shape):
            raise ShapeError(f"{r.name}: its vjp gave a gradient of shape {g.shape} for input {k} "
                             f"of shape {shape}")
        g = bound("sum_to")(g, shape)
    return g if g.dtype == dtype else bound("astype")(g, dtype)


# Adding up ------------------------------------------------------------------------------------

cdef inline bint _sole(Tensor t) noexcept:
    """True if nobody else can see the bytes of `t`: the caller's reference is the only one."""
    return Py_REFCNT(<PyObject*>t) == 1 and Py_REFCNT(<PyObject*>t.storage) == 1 and t.dense and t.storage.owner is None


cdef int _mark(Tensor t) noexcept:
    if t.storage.category < GRADIENT:
        t.storage.category = GRADIENT
        recount(t.storage)
    return 0


cdef int _add(Node node, int index, object g, _Heap heap, int64_t sweep,
              bint create_graph) except -1:
    """Add a contribution to the pending gradient of one output of `node`."""
    cdef list several
    if node.sweep != sweep:
        if node.sweep != 0:
            raise GradientError("backward: another backward is running through the same records "
                                "(in another thread, or from a hook); let it finish first")
        heap.push(node)
        node.sweep, node.owned = sweep, False
        node.pending = None if node.nout == 1 else [None] * node.nout
    if node.nout == 1:
        if node.pending is None:
            if type(g) is Tensor:
                node.pending = g
            else:
                node.pending, node.owned = g.dense(), True
            if not create_graph:
                _mark(<Tensor>node.pending)
        else:
            _sum(node, g, create_graph)
        return 0
    several = node.pending
    dense = g if type(g) is Tensor else g.dense()
    several[index] = dense if several[index] is None else several[index] + dense
    return 0


cdef int _sum(Node node, object g, bint create_graph) except -1:
    """A second or later contribution to a node with one output."""
    cdef Tensor old = <Tensor>node.pending
    cdef bint ours
    node.pending = None
    ours = not create_graph and old.dual is None and (node.owned or _sole(old))
    if type(g) is not Tensor:
        if ours:
            node.pending, node.owned = old, True
            g.add_into(old)
            return 0
        g = g.dense()
    if ours and (<Tensor>g).dual is None:
        add_in_place(old, <Tensor>g)
        node.pending, node.owned = old, True
    else:
        node.pending = old + g
        node.owned = not create_graph
    if not create_graph:
        _mark(<Tensor>node.pending)
    return 0


cdef int _accumulate(Leaf leaf, bint create_graph) except -1:
    """Add the finished gradient, which waits in `leaf.pending`, to `.grad`."""
    cdef Tensor g = <Tensor>leaf.pending
    cdef Tensor old
    leaf.pending = None
    with leaf.lock:
        if leaf.grad is None:
            if not create_graph and not _sole(g):
                g = <Tensor>bound("copy")(bare(g))
            leaf.grad = g
        else:
            old = <Tensor>leaf.grad
            if create_graph or not old.dense or old.node is not None or old.storage.readonly:
                leaf.grad = old + g
            else:
                add_in_place(old, g)
        _mark(<Tensor>leaf.grad)
    for hook in list(leaf.after):
        hook(leaf.grad)
    return 0
