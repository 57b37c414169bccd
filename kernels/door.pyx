# One kernel on NumPy arrays: the door that tests use, through kernels.call.
# Invariant: arrays are described to the kernel as they are (any strides, no
# copy) and stay pinned by the buffer protocol until it returns.
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from libc.stdint cimport int64_t
from libc.string cimport memset

from kernels.launch cimport (
    BAD_DTYPE, BAD_INDEX, BOOL, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, OK, UINT8,
    Buf, Launch, num_threads, run_t)
from kernels.pool cimport pool_alloc, pool_free

cdef enum:
    MAX_BUFS = 32


cdef int dtype_of(char* format, Py_ssize_t itemsize) except -1:
    cdef char c = format[0] if format != NULL else b"B"
    if c == b"?":
        return BOOL
    if c == b"B":
        return UINT8
    if c == b"b":
        return INT8
    if c == b"h":
        return INT16
    if c == b"i" or (c == b"l" and itemsize == 4):
        return INT32
    if c == b"l" or c == b"q":
        return INT64
    if c == b"f":
        return FLOAT32
    if c == b"d":
        return FLOAT64
    raise TypeError(f"no kernel takes arrays of format {format[:1]!r}")


cdef int describe(Py_buffer* view, Buf* b) except -1:
    cdef int d
    if view.ndim > 8:
        raise ValueError(f"at most 8 dimensions, got {view.ndim}")
    b.data = <char*>view.buf
    b.dtype = dtype_of(view.format, view.itemsize)
    b.ndim = view.ndim
    b.n = 1
    for d in range(view.ndim):
        b.shape[d] = view.shape[d]
        b.strides[d] = view.strides[d]
        b.n *= view.shape[d]
    return 0


def call_kernel(size_t where, name, outs, ins, ia, fa, Py_ssize_t work_bytes, int beta):
    """Run the kernel at address `where`; see kernels.call."""
    cdef Launch L
    cdef Py_buffer views[MAX_BUFS]
    cdef Buf bufs[MAX_BUFS]
    cdef Buf* pointers[MAX_BUFS]
    cdef bint pinned[MAX_BUFS]
    cdef int k, held = 0, status
    cdef run_t run = <run_t>where
    outs, ins = tuple(outs), tuple(ins)
    if len(outs) + len(ins) > MAX_BUFS or len(ia) > 11 or len(fa) > 4:
        raise ValueError(f"{name}: too many buffers or attributes")
    memset(&L, 0, sizeof(Launch))
    L.run = run
    L.nout, L.nin, L.beta = len(outs), len(ins), beta
    L.threads = num_threads()
    L.b = pointers
    for k in range(len(ia)):
        L.ia[k] = <int64_t>int(ia[k])
    for k in range(len(fa)):
        L.fa[k] = fa[k]
    try:
        for k, array in enumerate(outs + ins):
            pointers[k] = NULL
            pinned[k] = array is not None
            if pinned[k]:
                PyObject_GetBuffer(array, &views[k], PyBUF_FORMAT | PyBUF_STRIDES
                                   | (PyBUF_WRITABLE if k < L.nout else 0))
            held = k + 1
            if pinned[k]:
                describe(&views[k], &bufs[k])
                pointers[k] = &bufs[k]
        if work_bytes:
            L.work_bytes = work_bytes
            L.work = pool_alloc(work_bytes)
            if L.work == NULL:
                raise MemoryError(f"{name}: {work_bytes} bytes of scratch")
        with nogil:
            status = run(&L)
    finally:
        if L.work != NULL:
            pool_free(<char*>L.work, work_bytes)
        for k in range(held):
            if pinned[k]:
                PyBuffer_Release(&views[k])
    if status != OK:
        if status == BAD_DTYPE:
            raise ValueError(f"{name}: no loop for these dtypes")
        if status == BAD_INDEX:
            raise ValueError(f"{name}: index {L.ia[11]} is out of range")
        raise ValueError(f"{name}: bad value (status {status})")
