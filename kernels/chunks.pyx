# Launches run chunk by chunk: elementwise ones over arrays of n elements, then full sums and means of
# what they make.
#
# A thread takes regions of the arrays; of each it runs every launch on a chunk before the next chunk,
# with copies of the launches whose buffers it moves along.  Where there are sums a region is what one
# partial sum takes (kernels/reduce.pyx).  Invariant: each element goes through the same kernels, and
# sums through the same additions, as launch after launch.
from kernels.launch cimport FLOAT32, OK, Buf, Launch, itemsize, parallel_over
from kernels.reduce cimport LANES, sum_lanes, sum_of_lanes


cdef void run_regions(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Regions [begin, end) of a group, on one thread."""
    cdef Group* g = <Group*>context
    cdef Launch own[MOST]
    cdef Buf bufs[MOST][MOST_BUFS]
    cdef Buf* pointers[MOST][MOST_BUFS]
    cdef double lanes[MOST_SUMS][LANES]
    cdef Buf* from_
    cdef char* x
    cdef Py_ssize_t region, at, m, size
    cdef int i, j, k, code, kind, total = g.count + g.sums
    for i in range(total):
        own[i] = g.launches[i]
        own[i].b = pointers[i]
        for k in range(own[i].nout + own[i].nin):
            pointers[i][k] = NULL
            from_ = g.bufs[i * MOST_BUFS + k]
            if from_ == NULL:
                continue
            pointers[i][k] = &bufs[i][k]
            bufs[i][k] = from_[0]
            bufs[i][k].ndim = 1
            size = itemsize(from_.dtype)
            kind = g.kind[i * MOST_BUFS + k]
            bufs[i][k].strides[0] = 0 if kind == ONE else size
            if kind == LOCAL:
                bufs[i][k].data = g.scratch + thread * g.room + <Py_ssize_t>from_.data
    for region in range(begin, end):
        for j in range(g.sums):
            for k in range(LANES):
                lanes[j][k] = 0
        at = region * g.region
        while at < min((region + 1) * g.region, g.n):
            m = min(g.chunk, min((region + 1) * g.region, g.n) - at)
            for i in range(total):
                for k in range(own[i].nout + own[i].nin):
                    if pointers[i][k] != NULL:
                        bufs[i][k].n = bufs[i][k].shape[0] = m
                        if g.kind[i * MOST_BUFS + k] == WHOLE:
                            from_ = g.bufs[i * MOST_BUFS + k]
                            bufs[i][k].data = from_.data + at * itemsize(from_.dtype)
                if i >= g.count:
                    sum_lanes(lanes[i - g.count], bufs[i][1].data, bufs[i][1].dtype, m)
                    continue
                code = own[i].run(&own[i])
                if code != OK:
                    g.code, g.failed = code, i
                    return
            at += m
        for j in range(g.sums):
            g.partial[j][region] = sum_of_lanes(lanes[j])


cdef int run_group(Group* g) noexcept nogil:
    cdef Py_ssize_t regions = (g.n + g.region - 1) // g.region, r
    cdef int j
    cdef double total
    cdef Launch* L
    g.code = OK
    parallel_over(run_regions, g, regions, 1 if g.sums else 4, 0)
    for j in range(g.sums):
        total = g.partial[j][0]
        for r in range(1, regions):
            total += g.partial[j][r]
        L = &g.launches[g.count + j]
        if L.fa[0] != 0:                # a mean, of so many
            total /= L.fa[0]
        if L.b[0].dtype == FLOAT32:
            (<float*>L.b[0].data)[0] = <float>total
        else:
            (<double*>L.b[0].data)[0] = total
    return g.code
