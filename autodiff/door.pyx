"""The door: buffers laid out, scratch taken, the kernel run, its answer made an error.

Invariant: every write of the engine is a launch and passes `go`; a kernel allocates nothing and
trusts that dtype, layout and size were checked here, and that its buffers have bytes.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from autodiff.bound cimport Bound, bound
from autodiff.layout cimport blas_ready, expand, same_shape
from autodiff.listen cimport listened, tell
from autodiff.plan cimport Prepared, prepare
from autodiff.storage cimport detours, in_dry_run, scratch_alloc, scratch_free
from autodiff.tensor cimport Tensor, bare, new_tensor
from kernels.launch cimport BAD_DTYPE, BAD_INDEX, OK, Buf, Launch, num_threads

import time

from . import call, dtypes, modes
from .errors import DryRunError, DtypeError, IndexRangeError, ValueRangeError


cdef int fail(Bound b, int code, Launch* L) except -1:
    """The named error of what a kernel answered."""
    where = modes.current_scope()
    where = f"; in {where}" if where else ""
    name = b.op.name
    if code == BAD_DTYPE:
        given = [str(dtypes.ALL[L.b[k].dtype]) for k in range(L.nout, L.nout + L.nin)
                 if L.b[k] != NULL]
        raise DtypeError(f"{name}: not defined for {', '.join(given)}; convert with ad.astype"
                         f"{where}")
    if code == BAD_INDEX:
        raise IndexRangeError(f"{name}: index {L.ia[11]} is out of range{where}")
    raise ValueRangeError(f"{name}: a value is out of range{where}")


cdef int refuse_dry(Bound b, list tensors) except -1:
    """DryRunError for a dry tensor outside of a dry run."""
    if not in_dry_run():
        for t in tensors:
            if t is not None and (<Tensor>t).storage.dry:
                raise DryRunError.outside(b.op.name, t)
    return 0


cdef int launch(Bound b, Prepared p, list outputs, list inputs, tuple attrs) except -1:
    """Lay the buffers out for the kernel, take scratch, run, tell the listeners.

    In a dry run everything but the run.
    """
    cdef int k, j, code, nout = len(outputs), nin = len(inputs), total = nout + nin
    cdef Buf* few[16]
    cdef Buf wide[8]
    cdef Buf** bufs = few
    cdef Buf* like
    cdef Launch L
    cdef Tensor t
    cdef Py_ssize_t n = 1
    cdef list given = inputs
    cdef bytearray room_for = None
    cdef bint dry = False
    if detours:
        refuse_dry(b, outputs + inputs)
        dry = in_dry_run()
    if total > 16:
        room_for = bytearray(total * sizeof(Buf*))
        bufs = <Buf**><char*>room_for
    if not b.strided:
        for k in range(nin):
            t = inputs[k]
            if t is not None and not t.dense and not (b.matrix and blas_ready(&t.buf)):
                if given is inputs:
                    given = list(inputs)
                # A visible launch; not on the tape: the record keeps the original.
                given[k] = dense_copy(t)
    for k in range(nout):
        t = outputs[k]
        bufs[k] = NULL if t is None else &t.buf
        if t is not None and t.buf.n > n:
            n = t.buf.n
    like = bufs[0] if nout else NULL
    j = 0
    for k in range(nin):
        t = given[k]
        bufs[nout + k] = NULL if t is None else &t.buf
        if t is None:
            continue
        if t.buf.n > n:
            n = t.buf.n
        if b.expands and like != NULL and j < 8 and not same_shape(&t.buf, like):
            if expand(&t.buf, like, &wide[j]):
                bufs[nout + k] = &wide[j]
                j += 1
    fill(&L, b, bufs, nout, nin)
    memcpy(L.ia, p.ia, p.nia * sizeof(int64_t))
    memcpy(L.fa, p.fa, p.nfa * sizeof(double))
    if b.scratch is not None:
        L.threads = num_threads()
        if p.threads != L.threads:
            p.work_bytes = b.scratch(p.plan, *call.group(b.op, inputs), threads=L.threads,
                                     **dict(zip(b.op.attrs, attrs)))
            p.threads = L.threads
        L.work_bytes = p.work_bytes
        if L.work_bytes:
            L.work = scratch_alloc(L.work_bytes)
    start = time.perf_counter() if listened else 0.0
    code = OK if dry else go(&L, n)
    seconds = time.perf_counter() - start if listened and not dry else 0.0
    if L.work_bytes:
        scratch_free(<char*>L.work, L.work_bytes)
    if code != OK:
        fail(b, code, &L)
    if listened:
        tell(b, p.plan, inputs, given, outputs, attrs, seconds, &L)
    return 0


cdef Tensor dense_copy(Tensor t):
    """A C-ordered copy, off the tape; a launch like any other."""
    cdef Bound copy = bound("copy")
    cdef list source = [bare(t)]            # listeners see no node either
    cdef Tensor out = new_tensor(t.buf.dtype, t.buf.ndim, t.buf.shape)
    launch(copy, prepare(copy, source, ()), [out], source, ())
    return out
