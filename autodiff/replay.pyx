"""What a capture runs: launches one after the other, without Python between them.

`describe` tells the planner what a heard launch reads and writes; a Program is built from the
planner's answer.  Each buffer belongs to a slot (an argument, a result, a place in the workspace, a
storage from outside), and a run binds the slots to addresses.  Invariant: a run writes to its
results, its workspace and to the storages that it says it writes, and counts their versions up.
"""

cimport cython
from libc.stdlib cimport calloc, free

from autodiff.bound cimport Bound, bound
from autodiff.door cimport fail
from autodiff.layout cimport same_layout
from autodiff.listen cimport LaunchCopy
from autodiff.modes cimport Modes, modes
from autodiff.storage cimport Storage, detours, give_bytes, new_storage, recount
from autodiff.tape cimport Leaf
from autodiff.tensor cimport Tensor, bare
from kernels.chunks cimport LOCAL, MOST_BUFS, Group, run_group
from kernels.launch cimport OK, Buf, Launch, contiguous, itemsize, num_threads
from kernels.reduce cimport sum_chunk

import threading

from .errors import OutOfMemoryError
from .planner import FLAT, SINGLE, STRIDED


def describe(LaunchCopy c, dict real):
    """Of each buffer: (storage number, offset, reach, elements, dtype, layout) or None; then the
    number of outputs and the bytes of scratch: what a planner.Step is made of.

    Lets go of the launch's storages, so that a trace keeps nothing alive; real ones, whose bytes
    are the program's constants, go to `real`.
    """
    cdef int k, d, j = 0
    cdef Buf* b
    cdef Storage s
    cdef Py_ssize_t offset, reach
    cdef bint single
    found = []
    for k in range(c.L.nout + c.L.nin):
        b = c.L.b[k]
        if b == NULL:
            found.append(None)
            continue
        s = c.held[j]
        j += 1
        offset, reach, single = b.data - s.ptr, itemsize(b.dtype) if b.n else 0, True
        for d in range(b.ndim):
            if b.shape[d] > 1 and b.strides[d] != 0:
                single = False
            if b.n and b.strides[d] > 0:
                reach += b.strides[d] * (b.shape[d] - 1)
        if not s.dry:
            real[s.number] = s
        found.append((s.number, offset, reach, b.n, b.dtype,
                      FLAT if contiguous(b) and b.n > 1 else SINGLE if single else STRIDED))
    c.held, c.dry = None, False
    return found, c.L.nout, c.L.work_bytes


def make_real(list tensors):
    """Bytes for the storages of tensors that a trace made and that outlive it."""
    cdef Tensor t
    cdef Storage s
    for t in tensors:
        s = t.storage
        if s.dry:
            give_bytes(s)
    for t in tensors:
        t.buf.data = t.storage.ptr + <Py_ssize_t>t.buf.data


def stand_in(Tensor t):
    """A tensor like an argument, without bytes: its values belong to one call."""
    cdef Tensor new = bare(t)
    new.storage = new_storage(t.storage.nbytes)
    new.storage.category, new.buf.data = t.storage.category, NULL
    recount(new.storage)
    return new


def storage_of(Tensor t):
    """The storage: what the slots of a program are made for."""
    return t.storage


cdef struct Item:
    Launch* launch
    Group* group                # NULL: the launch as it is

cdef struct Place:              # a buffer (or scratch) that follows its slot
    char** data
    Py_ssize_t offset


cdef void* room_for(Py_ssize_t n, size_t size) except NULL:
    cdef void* p = calloc(n + 1, size)
    if p == NULL:
        raise OutOfMemoryError("autodiff: out of memory for a captured program")
    return p


@cython.final
cdef class Program:
    """Launches made ready to run; see the module.

    slots: for each ("outside", Storage), ("argument", position), ("result", bytes) or
    ("workspace", offset). items: (members, None), or (members, (n, chunk, region, room, scratch
    offset, sums)) for a group; members: (LaunchCopy, [(slot, kind, offset) or None for each
    buffer], offset of the scratch). written: the storages from outside that a run writes to, and
    the positions of such arguments.
    """
    cdef Launch* launches
    cdef Buf* bufs
    cdef Buf** pointers
    cdef unsigned char* kind
    cdef Item* items
    cdef Group* groups
    cdef Place* places              # sorted by slot
    cdef int* first                 # of each slot; one more at the end
    cdef char** bases
    cdef int nitems, nslots
    cdef Py_ssize_t workspace
    cdef list slots, written, written_arguments, result_slots, argument_slots, copies
    cdef readonly int threads
    cdef object lock

    def __cinit__(self, slots, items, workspace, written, written_arguments):
        cdef int nlaunch = sum([len(members) for members, _ in items])
        self.slots, self.workspace = slots, workspace
        self.written, self.written_arguments = written, written_arguments
        self.result_slots = [k for k, s in enumerate(slots) if s[0] == "result"]
        self.argument_slots = [(k, s[1]) for k, s in enumerate(slots) if s[0] == "argument"]
        self.nslots, self.nitems, self.threads = len(slots), len(items), num_threads()
        self.lock = threading.Lock()
        self.copies = []
        self.launches = <Launch*>room_for(nlaunch, sizeof(Launch))
        nbufs = sum([max(len(refs), <int>MOST_BUFS) for members, _ in items
                     for _, refs, _ in members])
        self.bufs = <Buf*>room_for(nbufs, sizeof(Buf))
        self.pointers = <Buf**>room_for(nbufs, sizeof(Buf*))
        self.kind = <unsigned char*>room_for(nbufs, 1)
        self.items = <Item*>room_for(len(items), sizeof(Item))
        self.groups = <Group*>room_for(sum([plan is not None for _, plan in items]), sizeof(Group))
        self.bases = <char**>room_for(self.nslots + 1, sizeof(char*))
        self._build(items)

    def _build(self, items):
        cdef int at = 0, b = 0, ngroup = 0, i, k
        cdef LaunchCopy c
        cdef Group* g
        cdef Launch* L
        cdef Buf* buf
        where = []                      # (slot, address of the pointer, offset)
        for i, (members, plan) in enumerate(items):
            self.items[i].launch = &self.launches[at]
            if plan is not None:
                g = self.items[i].group = &self.groups[ngroup]
                ngroup += 1
                g.launches, g.bufs, g.kind = &self.launches[at], &self.pointers[b], &self.kind[b]
                g.n, g.chunk, g.region, g.room, offset, g.sums = plan
                g.count = len(members) - g.sums
                where.append((self.nslots, <size_t>&g.scratch, offset))
            for c, refs, work in members:
                self.copies.append(c)
                L = &self.launches[at]
                at += 1
                L[0] = c.L
                L.b = &self.pointers[b]
                for k, ref in enumerate(refs):
                    if ref is None:
                        continue
                    slot, kind, offset = ref
                    buf = &self.bufs[b + k]
                    buf[0] = c.L.b[k][0]
                    self.pointers[b + k], self.kind[b + k] = buf, kind
                    if kind == LOCAL:
                        buf.data = <char*><Py_ssize_t>offset
                    elif self.slots[slot][0] == "workspace":
                        where.append((self.nslots, <size_t>&buf.data,
                                      offset + self.slots[slot][1]))
                    else:
                        where.append((slot, <size_t>&buf.data, offset))
                if L.work_bytes:
                    where.append((self.nslots, <size_t>&L.work, work))
                b += max(len(refs), <int>MOST_BUFS)
            if plan is not None:
                for k in range(g.count, len(members)):
                    mean = (<LaunchCopy>members[k][0]).name == "mean"
                    g.launches[k].fa[0] = g.n if mean else 0
        self._place(where)

    cdef int _place(self, list where) except -1:
        """Sort what follows a slot by slot; the workspace is the last."""
        cdef int slot, k
        where.sort()
        self.places = <Place*>room_for(len(where), sizeof(Place))
        self.first = <int*>room_for(self.nslots + 2, sizeof(int))
        for k, (slot, address, offset) in enumerate(where):
            self.places[k].data = <char**><size_t>address
            self.places[k].offset = offset
            self.first[slot + 1] += 1
        for slot in range(self.nslots + 1):
            self.first[slot + 1] += self.first[slot]
        for slot, (kind, what) in enumerate(self.slots):
            if kind == "outside":
                self.bind(slot, (<Storage>what).ptr)
        return 0

    cdef inline void bind(self, int slot, char* base) noexcept:
        cdef int k
        if base == self.bases[slot]:
            return
        self.bases[slot] = base
        for k in range(self.first[slot], self.first[slot + 1]):
            self.places[k].data[0] = base + self.places[k].offset

    def __dealloc__(self):
        for p in (<size_t>self.launches, <size_t>self.bufs, <size_t>self.pointers,
                  <size_t>self.kind, <size_t>self.items, <size_t>self.groups,
                  <size_t>self.places, <size_t>self.first, <size_t>self.bases):
            free(<void*><size_t>p)

    cdef list run(self, list arguments):
        """Bind the slots, run, and return the storages of the results."""
        with self.lock:
            return self._run(arguments)

    cdef list _run(self, list arguments):
        cdef Storage s, work
        cdef list results = []
        cdef int k, at = 0, slot, code = OK
        for slot, k in self.argument_slots:
            self.bind(slot, (<Tensor>arguments[k]).buf.data)
        for slot in self.result_slots:
            s = new_storage((<tuple>self.slots[slot])[1])
            results.append(s)
            self.bind(slot, s.ptr)
        if self.workspace:
            work = new_storage(self.workspace)
            self.bind(self.nslots, work.ptr)
        with nogil:
            while at < self.nitems and code == OK:
                if self.items[at].group != NULL:
                    code = run_group(self.items[at].group)
                else:
                    code = self.items[at].launch.run(self.items[at].launch)
                at += 1
        for s in self.written:
            s.version += 1
        for k in self.written_arguments:
            (<Tensor>arguments[k]).storage.version += 1
        if code != OK:
            self._fail(at - 1, code)
        return results

    cdef int _fail(self, int k, int code) except -1:
        cdef Launch* L = self.items[k].launch
        if self.items[k].group != NULL:
            L += self.items[k].group.failed
        fail(<Bound>bound((<LaunchCopy>self.copies[L - self.launches]).name), code, L)
        return 0


cdef Tensor _outline(Tensor t):
    """Shape, dtype and strides of `t`, which keep nothing alive."""
    cdef Tensor new = bare(t)
    new.storage = Storage.__new__(Storage)
    return new


@cython.final
cdef class Replay:
    """A program with what a call of it needs besides.

    arguments: the tensors of the traced call; results: [(kind, number, tensor of the trace)], kind
    as of a slot: the storage is the program's result, an argument's, or one from outside;
    leaves: [(leaf, gradient before, gradient after)], the gradient before ... where any will do;
    before: called at the start of each call; rebuild: makes what the function returned from a
    list of tensors (None: its one tensor).
    """
    cdef readonly Program program
    cdef readonly list leaves, before
    cdef list arguments, results
    cdef object rebuild
    cdef bint no_grad
    cdef long epoch

    def __init__(self, program, arguments, results, leaves, before, rebuild):
        self.program, self.leaves, self.before = program, leaves, before
        self.rebuild = rebuild
        self.arguments = [t if (<Tensor>t).node is not None else _outline(t) for t in arguments]
        self.results = [(kind, k, t if kind == "outside" else _outline(t)) for kind, k, t in results]
        self.no_grad, self.epoch = modes().no_grad, epoch

    cdef bint fits(self, list tensors):
        """True if the program holds for these arguments and the state that it finds."""
        cdef Tensor t, known
        cdef int k
        if (len(tensors) != len(self.arguments) or self.epoch != epoch
                or self.no_grad != modes().no_grad or self.program.threads != num_threads()):
            return False
        for k in range(len(tensors)):
            known = self.arguments[k]
            if type(tensors[k]) is not Tensor:
                return False
            t = tensors[k]
            if t is known:
                continue
            if (t.node is not None or known.node is not None or t.buf.dtype != known.buf.dtype
                    or not same_layout(&t.buf, &known.buf)):
                return False
            for s in self.program.written:          # the plan takes it for other memory
                if <Storage>s is t.storage:
                    return False
        if self.program.written_arguments and len({
                (<Tensor>x).storage.number for x in tensors}) < len(tensors):
            return False
        for leaf, was, _ in self.leaves:
            t = leaf
            if t.node is None or was is not ... and (<Leaf>t.node).grad is not was:
                return False
        return True

    def holds(self, list tensors):
        """`fits`, for Python."""
        return self.fits(tensors)

    cpdef object run(self, list tensors):
        """Run on arguments that fit."""
        cdef list storages, found = []
        cdef Tensor t, out, source
        cdef Storage s
        for prepare in self.before:
            prepare()
        storages = self.program.run(tensors)
        for kind, number, known in self.results:
            t = known
            out = bare(t)
            if kind == "result":
                s = storages[number]
                out.storage = s
                out.buf.data = s.ptr + <Py_ssize_t>t.buf.data
            elif kind == "argument":
                source = tensors[number]
                out.storage = source.storage
                out.buf.data = source.buf.data + (t.buf.data - (<Tensor>self.arguments[number])
                                                  .buf.data)
            found.append(out)
        for leaf, _, gradient in self.leaves:
            t = leaf
            (<Leaf>t.node).grad = gradient
        return found[0] if self.rebuild is None else self.rebuild(iter(found))


def sum_region(n):
    """Elements that one partial sum of a full sum of n takes."""
    return sum_chunk(n)


cdef inline bint _watched() noexcept:
    cdef Modes* m = modes()
    return detours > 0 or m.tapes != NULL or m.sweeps != NULL or m.tangents > 0


def watched():
    """True where a call must be the function's own: somebody listens to launches, records or
    sweeps, a dry run is under way, or tangents are computed."""
    return _watched()


cdef long epoch = 0                 # of settings that modules hold in Python


def stale():
    """What Python decides may have changed (a module's mode, its parameters): trace again."""
    global epoch
    epoch += 1


def current_epoch():
    """The number of calls of `stale` so far."""
    return epoch


cdef class Captured:
    """The callable that `capture` returns: the shortest way to the last program that ran."""
    cdef readonly object function
    cdef public Replay last

    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **kwargs):
        cdef list tensors
        if self.last is not None and not kwargs and not _watched():
            tensors = list(args)
            if self.last.fits(tensors):
                return self.last.run(tensors)
        return self._long_way(args, kwargs)
