from autodiff.bound cimport Bound
from autodiff.plan cimport Prepared
from autodiff.tensor cimport Tensor
from kernels.launch cimport Buf, Launch

cdef enum:
    GIL_GRAIN = 1 << 15             # elements from which a launch lets the GIL go

cdef int fail(Bound b, int code, Launch* L) except -1
cdef int launch(Bound b, Prepared p, list outputs, list inputs, tuple attrs) except -1
cdef int refuse_dry(Bound b, list tensors) except -1
cdef Tensor dense_copy(Tensor t)

cdef inline int fill(Launch* L, Bound b, Buf** bufs, int nout, int nin) except -1:
    if b.run == NULL:
        b.load_kernel()
    L.run = b.run
    L.op, L.nin, L.nout, L.beta, L.phase, L.scope = b.number, nin, nout, 0, 0, 0
    L.serial = 0
    L.b = bufs
    L.work, L.work_bytes, L.threads = NULL, 0, 0
    return 0

cdef inline int go(Launch* L, Py_ssize_t n) noexcept:
    """The door: every write of the engine passes here."""
    cdef int code
    if n >= GIL_GRAIN:
        with nogil:
            code = L.run(L)
    else:
        code = L.run(L)
    return code
