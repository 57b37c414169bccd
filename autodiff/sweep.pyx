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

from autodiff.bound cimport bound
from autodiff.inplace cimport add_in_place
from autodiff.modes cimport BACKWARD, Modes, modes
from autodiff.pull cimport pull
from autodiff.storage cimport GRADIENT, recount
from autodiff.tape cimport Leaf, Meta, Node, Record, hooks_of, meta_of, release
from autodiff.tensor cimport Tensor, bare

from . import modes as _modes
from .errors import GradientError, OutOfMemoryError, ShapeError
from .op import Deferred

cdef extern from *:
    Py_ssize_t Py_REFCNT(PyObject*)     # of a pointer: an object argument would count itself

cdef int64_t _sweeps = 0


@cython.final
@cython.no_gc
cdef class _Sweep:
    """What one sweep has to do, and its pending nodes: a heap, the youngest on top."""
    cdef int64_t number
    cdef bint create_graph
    cdef dict wanted                    # (node, index) -> gradient; None: for the leaves' .grad
    cdef set needed                     # the nodes on the way there; None: all
    cdef dict apart                     # leaf <-> its stand-in, where another sweep is at the leaf
    cdef PyObject** items               # a reference to each
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
                raise OutOfMemoryError("autodiff: out of memory in the sweep")
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


def sweep(list roots, list seeds, list inputs, bint retain, bint create_graph):
    """Run from `roots` down. Into `.grad` of the leaves, or, with `inputs`, a list of gradients."""
    global _sweeps
    cdef Modes* m = modes()
    cdef _Sweep s = _Sweep.__new__(_Sweep)
    cdef Node node
    cdef Record r
    cdef int64_t needs
    cdef int count = 0, phase = m.phase
    cdef bint no_grad = m.no_grad
    cdef object pending, results, own
    _sweeps += 1
    s.number, s.create_graph = _sweeps, create_graph
    scope = before = _modes.current_scope()
    if inputs is not None:
        s.wanted = {((<Tensor>x).node, (<Tensor>x).index): None for x in inputs}
        s.needed = _paths(roots, {(<Tensor>x).node for x in inputs})
    m.no_grad, m.phase = not create_graph, BACKWARD
    try:
        for root, g in zip(roots, seeds):
            _start(s, root, g)
        root = g = None
        while s.n > 0:
            node = s.pop()
            pending, node.pending = node.pending, None
            node.sweep = 0
            if s.apart is not None:
                node = s.apart.get(node, node)
            if hooks_of(node) is not None:
                pending = _run_hooks(node, pending)
            if s.wanted is not None:
                _collect(s.wanted, node, pending)
            if type(node) is Leaf:
                if m.sweeps != NULL:
                    _observe(m, node, pending, None)
                if s.wanted is None:
                    own, pending = [pending], None          # the leaf may take the buffer
                    _accumulate(<Leaf>node, own, create_graph)
                continue
            r = <Record>node
            if r.retained is not None and s.wanted is None:
                for k in r.retained:
                    r.retained[k] = pending if r.nout == 1 else pending[k]
            needs = r.needs if s.needed is None else _needed_of(r, s.needed)
            if needs:
                own = "" if r.scope_name is None else r.scope_name
                if own is not scope:
                    scope = own
                    _modes.push_scope(scope)
                results = pull(r, pending, needs, create_graph)
                if m.sweeps == NULL:
                    pending = None                          # let it go before more is made
                if results is not None:
                    _pass_on(s, r, needs, results)
                if m.sweeps != NULL:
                    _observe(m, node, pending, results)
                results = None
            if not retain:
                release(r)
            count += 1
            if count & 1023 == 0:
                PyErr_CheckSignals()
    except BaseException:
        # Nothing pending survives: the next sweep starts clean.
        while s.n > 0:
            node = s.pop()
            node.pending, node.sweep = None, 0
        raise
    finally:
        m.no_grad, m.phase = no_grad, phase
        if scope is not before:
            _modes.push_scope(before)
    return None if inputs is None else [s.wanted[(<Tensor>x).node, (<Tensor>x).index]
                                        for x in inputs]


cdef int _start(_Sweep s, Tensor root, Tensor g) except -1:
    """Seed the sweep with the gradient of one output."""
    if root.node is None:
        raise GradientError("backward: the output does not depend on a tensor that requires a "
                            "gradient; was it computed under no_grad?")
    if g.shape != root.shape:
        raise ShapeError(f"backward: the gradient has shape {g.shape}, the output {root.shape}")
    if s.needed is None or root.node in s.needed:
        _add(s, root.node, root.index, g)
    return 0


cdef int64_t _needed_of(Record r, set needed) except -1:
    """The inputs of `r` that want a gradient and lie on a path."""
    cdef int64_t needs = r.needs
    cdef int k
    for k in range(r.nin):
        if needs >> k & 1 and <object>r.parent[k] not in needed:
            needs &= ~(<int64_t>1 << k)
    return needs


cdef int _pass_on(_Sweep s, Record r, int64_t needs, object results) except -1:
    """Add what the rule of `r` returned to the gradients of its parents."""
    cdef int k
    if type(results) is not tuple and type(results) is not list:
        if r.nin != 1:
            raise GradientError(f"{r.name}: its vjp returned one gradient for {r.nin} inputs")
        return _give(s, r, 0, results)
    if len(results) != r.nin:
        raise GradientError(f"{r.name}: its vjp returned {len(results)} gradients for {r.nin} "
                            "inputs")
    for k in range(r.nin):
        if needs >> k & 1 and results[k] is not None:
            _give(s, r, k, results[k])
    return 0


cdef inline int _give(_Sweep s, Record r, int k, object g) except -1:
    cdef Node parent = <Node>r.parent[k]
    if type(g) is not Tensor or not _fits(<Tensor>g, parent, r.index[k]):
        g = _fit(r, k, g)
    return _add(s, parent, r.index[k], g)


cdef int _collect(dict wanted, Node node, object pending) except -1:
    cdef int k
    for k in range(node.nout):
        if (node, k) in wanted:
            wanted[node, k] = pending if node.nout == 1 else pending[k]
    return 0


cdef object _run_hooks(Node node, object pending):
    """Run the hooks of each output on its finished gradient."""
    cdef list grads = [pending] if node.nout == 1 else list(pending)
    for k, hooks in hooks_of(node).items():
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
    return (Py_REFCNT(<PyObject*>t) == 1 and Py_REFCNT(<PyObject*>t.storage) == 1 and t.dense
            and t.storage.owner is None)


cdef int _mark(Tensor t) noexcept:
    if t.storage.category < GRADIENT:
        t.storage.category = GRADIENT
        recount(t.storage)
    return 0


cdef int _add(_Sweep s, Node node, int index, object g) except -1:
    """Add a contribution to the pending gradient of one output of `node`."""
    cdef list several
    if s.apart is not None and type(node) is Leaf:
        node = s.apart.get(node, node)
    if node.sweep != s.number:
        if node.sweep != 0:
            node = _stand_in(s, node)
        s.push(node)
        node.sweep, node.owned = s.number, False
        node.pending = None if node.nout == 1 else [None] * node.nout
    if node.nout == 1:
        if node.pending is None:
            if type(g) is Tensor:
                node.pending = g
            else:
                node.pending, node.owned = g.dense(), True
            if not s.create_graph:
                _mark(<Tensor>node.pending)
        else:
            _sum(node, g, s.create_graph)
        return 0
    several = node.pending
    dense = g if type(g) is Tensor else g.dense()
    several[index] = dense if several[index] is None else several[index] + dense
    return 0


cdef Leaf _stand_in(_Sweep s, Node node):
    """A leaf for this sweep alone, in the place of one that another thread's sweep is adding to."""
    cdef Leaf leaf
    if type(node) is not Leaf:
        raise GradientError("backward: another backward is running through the same records (in "
                            "another thread, or from a hook); let it finish first")
    leaf = Leaf.__new__(Leaf)
    leaf.serial, leaf.meta = node.serial, node.meta
    if s.apart is None:
        s.apart = {}
    s.apart[node], s.apart[leaf] = leaf, node
    return leaf


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


cdef int _accumulate(Leaf leaf, list finished, bint create_graph) except -1:
    """Add the finished gradient, the one item of `finished`, to `.grad`."""
    cdef Tensor g = <Tensor>finished.pop()
    cdef Tensor old
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
