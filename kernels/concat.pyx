# concat and setitem: copies into a part of the output.
# Invariant: the part is a Buf of its own over the output's memory, and the copy
# kernel does the rest (strides, casts, threads).
from libc.string cimport memcpy

from kernels.copy cimport copy_run
from kernels.launch cimport OK, Buf, Launch, itemsize


cdef inline int copy_into(Launch* L, Buf* out, Buf* x) noexcept nogil:
    """out = x for two Bufs of one shape."""
    cdef Launch part
    cdef Buf* b[2]
    memcpy(&part, L, sizeof(Launch))
    b[0], b[1] = out, x
    part.b, part.nout, part.nin = b, 1, 1
    return copy_run(&part)


cdef int concat_run(Launch* L) noexcept nogil:
    """out = inputs joined along ia[0]; -1 joins them flattened.  Strided."""
    cdef Buf part
    cdef Buf* x
    cdef int k, d, axis = <int>L.ia[0], status
    cdef Py_ssize_t step, done = 0
    cdef char* base = L.b[0].data
    for k in range(L.nout, L.nout + L.nin):
        x = L.b[k]
        memcpy(&part, x, sizeof(Buf))
        part.dtype = L.b[0].dtype
        part.data = base + done
        if axis < 0:
            step = itemsize(part.dtype)
            for d in range(x.ndim - 1, -1, -1):
                part.strides[d] = step
                step *= x.shape[d]
            done += x.n * itemsize(part.dtype)
        else:
            for d in range(x.ndim):
                part.strides[d] = L.b[0].strides[d]
            done += x.shape[axis] * part.strides[axis]
        status = copy_into(L, &part, x)
        if status != OK:
            return status
    return OK


cdef int setitem_run(Launch* L) noexcept nogil:
    """out = v, broadcast and cast: out is the region of x that is written.  Strided.

    Buffers: out, x (not read), v.
    """
    cdef Buf wide
    cdef Buf* out = L.b[0]
    cdef Buf* v = L.b[2]
    cdef int d, k
    memcpy(&wide, out, sizeof(Buf))
    wide.data, wide.dtype = v.data, v.dtype
    for d in range(out.ndim):
        k = d - out.ndim + v.ndim
        wide.strides[d] = v.strides[k] if k >= 0 and v.shape[k] != 1 else 0
    return copy_into(L, out, &wide)


TABLE = {"concat": <size_t>&concat_run, "setitem": <size_t>&setitem_run}
