# Rows of a table by index, and sums of rows by index.
# Invariant: rows are added in the order of the indices, whatever the number of
# threads (each owns a range of columns, or of table rows); indices are checked
# before anything is written.
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from kernels.launch cimport (
    BAD_DTYPE, BAD_INDEX, FLOAT32, FLOAT64, OK, Buf, Launch, itemsize, parallel_over, threads_of)
from kernels.rows cimport index_at
from kernels.types cimport real

cdef enum:
    GRAIN = 1 << 14             # elements
    COLUMNS = 32                # neighbours that one thread owns: two lines of floats

cdef struct Rows:
    Buf* table
    Buf* indices
    Buf* g
    Py_ssize_t rows, width
    int64_t padding
    bint by_column


cdef int check(Launch* L, Buf* indices, Py_ssize_t rows) noexcept nogil:
    cdef Py_ssize_t i
    cdef int64_t k
    for i in range(indices.n):
        k = index_at(indices, i)
        if k < 0 or k >= rows:
            L.ia[11] = k
            return BAD_INDEX
    return OK


cdef inline Py_ssize_t row_width(Buf* table) noexcept nogil:
    cdef Py_ssize_t width = 1
    cdef int d
    for d in range(1, table.ndim):
        width *= table.shape[d]
    return width


cdef void gather_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    cdef Py_ssize_t i, size = row_width(L.b[1]) * itemsize(L.b[1].dtype)
    for i in range(begin, end):
        memcpy(L.b[0].data + i * size, L.b[1].data + index_at(L.b[2], i) * size, size)


cdef int embedding_run(Launch* L) noexcept nogil:
    """out; weight, indices.  Contiguous, any dtype."""
    cdef int status = check(L, L.b[2], L.b[1].shape[0])
    if status == OK and L.b[0].n:
        parallel_over(gather_part, L, L.b[2].n, 4 * GRAIN // row_width(L.b[1]) + 1, threads_of(L))
    return status


cdef void add_rows(Rows* r, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Py_ssize_t i, j, first = 0, last = r.width
    cdef int64_t k
    cdef real* out
    cdef real* g
    if r.by_column:
        first, last = begin * COLUMNS, min(end * COLUMNS, r.width)
    for i in range(r.indices.n):
        k = index_at(r.indices, i)
        if k == r.padding or (not r.by_column and not begin <= k < end):
            continue
        out = <real*>r.table.data + k * r.width
        g = <real*>r.g.data + i * r.width
        for j in range(first, last):
            out[j] += g[j]


cdef void add_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Rows* r = <Rows*>context
    if r.table.dtype == FLOAT32:
        add_rows(r, begin, end, <float*>NULL)
    else:
        add_rows(r, begin, end, <double*>NULL)


cdef int scatter(Launch* L, Buf* table, Buf* indices, Buf* g, int64_t padding) noexcept nogil:
    cdef Rows r
    cdef Py_ssize_t parts, share
    if table.dtype != FLOAT32 and table.dtype != FLOAT64:
        return BAD_DTYPE
    r.table, r.indices, r.g, r.padding = table, indices, g, padding
    r.rows, r.width = table.shape[0], row_width(table)
    r.by_column = r.width >= COLUMNS * threads_of(L)
    if g.n == 0:
        return OK
    parts = (r.width + COLUMNS - 1) // COLUMNS if r.by_column else r.rows
    share = g.n // parts + 1                # elements that one item of the split adds
    parallel_over(add_part, &r, parts, GRAIN // share + 1, threads_of(L))
    return OK


cdef int embedding_backward_run(Launch* L) noexcept nogil:
    """table; g, indices.  Contiguous; ia: rows, padding (-1: none)."""
    cdef int status = check(L, L.b[2], L.b[0].shape[0])
    if status != OK:
        return status
    memset(L.b[0].data, 0, L.b[0].n * itemsize(L.b[0].dtype))
    return scatter(L, L.b[0], L.b[2], L.b[1], L.ia[1])


cdef int index_add_rows_run(Launch* L) noexcept nogil:
    """x, indices, g: x[indices] += g.  Contiguous; ia: padding (-1: none)."""
    cdef int status = check(L, L.b[1], L.b[0].shape[0])
    if status != OK:
        return status
    return scatter(L, L.b[0], L.b[1], L.b[2], L.ia[0])


TABLE = {
    "embedding": <size_t>&embedding_run,
    "embedding_backward": <size_t>&embedding_backward_run,
    "index_add_rows_": <size_t>&index_add_rows_run,
}
