# Elementwise loops over any strides: the axes of up to 4 buffers of one shape
# are merged where they can be, and an inner loop runs along one axis at a time,
# on the pool.  Invariant: the inner loop sees every element exactly once, in runs
# whose bounds depend on shape, strides, grain and the number of threads only.
from kernels.launch cimport Buf, Launch, parallel_over, threads_of

# n elements; operand k's i-th is at p[k] + i * strides[k] (bytes; 0 along a
# broadcast axis).  The loop may move the pointers: they are its own.
ctypedef void (*loop_t)(Launch* L, char** p, Py_ssize_t* strides, Py_ssize_t n) noexcept nogil

cdef enum:
    ND_MAX = 4                  # operands
    ND_BLOCK = 64               # threads split at multiples of so many elements

cdef struct NdLoop:
    loop_t loop
    Launch* L
    int nop, ndim
    Py_ssize_t n
    char* data[4]
    Py_ssize_t shape[8]
    Py_ssize_t strides[8][4]    # [axis][operand]; the last axis is the inner one

cdef inline void nd_plan(NdLoop* it, Buf** b, int nop) noexcept nogil:
    """Merge the axes of buffers of one shape: fewest axes, innermost last."""
    cdef int k, d, e, axes = 0
    cdef int order[8]
    cdef Py_ssize_t s
    cdef bint merge
    it.nop = nop
    it.n = 1
    for k in range(nop):
        it.data[k] = b[k].data
    for d in range(b[0].ndim):
        it.n *= b[0].shape[d]
        if b[0].shape[d] != 1:
            order[axes] = d
            axes += 1
    # Walk memory in the order of the first operand's (the output's) strides.
    for d in range(1, axes):
        for e in range(d, 0, -1):
            s = b[0].strides[order[e]]
            if (s if s >= 0 else -s) <= (b[0].strides[order[e - 1]] if
                    b[0].strides[order[e - 1]] >= 0 else -b[0].strides[order[e - 1]]):
                break
            order[e], order[e - 1] = order[e - 1], order[e]
    it.ndim = 0
    for d in range(axes):
        e = it.ndim - 1
        merge = e >= 0
        if merge:
            for k in range(nop):
                if it.strides[e][k] != b[k].strides[order[d]] * b[k].shape[order[d]]:
                    merge = False
                    break
        if not merge:
            e = it.ndim
            it.ndim += 1
            it.shape[e] = 1
        it.shape[e] *= b[0].shape[order[d]]
        for k in range(nop):
            it.strides[e][k] = b[k].strides[order[d]]
    if it.ndim == 0:
        it.ndim = 1
        it.shape[0] = 1
        for k in range(nop):
            it.strides[0][k] = 0

cdef inline void nd_range(NdLoop* it, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Run the inner loop over elements [begin, end), counted in the merged order."""
    cdef Py_ssize_t at[8]
    cdef Py_ssize_t run, rest = begin
    cdef char* p[4]
    cdef char* q[4]
    cdef int d, k, last = it.ndim - 1
    for k in range(it.nop):
        p[k] = it.data[k]
    for d in range(last, -1, -1):
        at[d] = rest % it.shape[d]
        rest = rest // it.shape[d]
        for k in range(it.nop):
            p[k] += at[d] * it.strides[d][k]
    while begin < end:
        run = it.shape[last] - at[last]
        if run > end - begin:
            run = end - begin
        for k in range(it.nop):
            q[k] = p[k]
        it.loop(it.L, q, it.strides[last], run)
        begin += run
        if begin >= end:
            return
        for k in range(it.nop):             # the run ended an axis: carry
            p[k] -= at[last] * it.strides[last][k]
        at[last] = 0
        d = last - 1
        while True:
            at[d] += 1
            for k in range(it.nop):
                p[k] += it.strides[d][k]
            if at[d] < it.shape[d]:
                break
            for k in range(it.nop):
                p[k] -= at[d] * it.strides[d][k]
            at[d] = 0
            d -= 1

cdef inline void nd_part(void* context, Py_ssize_t begin, Py_ssize_t end,
                         int thread) noexcept nogil:
    cdef NdLoop* it = <NdLoop*>context
    end *= ND_BLOCK
    nd_range(it, begin * ND_BLOCK, end if end < it.n else it.n)

cdef inline void ndloop(loop_t loop, Launch* L, Buf** b, int nop,
                        Py_ssize_t grain) noexcept nogil:
    """Run `loop` over b[0..nop-1], all of b[0]'s shape, in parts of `grain` elements or more.

    Operands of other shapes must have been broadcast (stride 0) by the door.
    """
    cdef NdLoop it
    nd_plan(&it, b, nop)
    if it.n == 0:
        return
    it.loop = loop
    it.L = L
    if it.n <= grain:
        nd_range(&it, 0, it.n)
        return
    parallel_over(nd_part, &it, (it.n + ND_BLOCK - 1) // ND_BLOCK,
                  (grain + ND_BLOCK - 1) // ND_BLOCK, threads_of(L))
