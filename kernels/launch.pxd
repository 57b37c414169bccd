# The launch: every write of the engine as plain data, so that it can be
# logged, costed and replayed.  Invariant: a kernel never allocates, never
# touches Python, and reads nothing but its Launch.
from libc.stdint cimport int64_t

cdef enum:
    MAX_DIMS = 8

# Codes of the dtypes a buffer can have; the order of autodiff.dtypes.
cdef enum:
    BOOL, UINT8, INT8, INT16, INT32, INT64, FLOAT32, FLOAT64

# What a kernel answers.  Anything but OK becomes a named error at the door.
cdef enum:
    OK, BAD_DTYPE, BAD_INDEX, BAD_VALUE

cdef struct Buf:                    # one array: bytes with dtype, shape, strides
    char* data
    Py_ssize_t n                    # elements
    int dtype, ndim
    Py_ssize_t shape[8]
    Py_ssize_t strides[8]           # in bytes; 0 along a broadcast axis

cdef struct Launch:
    int (*run)(Launch*) noexcept nogil
    int op, nin, nout, beta, phase, scope   # beta = 1: out += result
    int64_t serial
    Buf** b                         # outputs and residuals, then inputs; NULL where absent
    void* work                      # scratch bytes, as many as the op declares
    Py_ssize_t work_bytes
    int threads                     # most parts, fixed when the scratch was sized; 0: num_threads()
    int64_t ia[12]                  # static integers ...
    double fa[4]                    # ... and floats, in the order of the twin's arguments

ctypedef int (*run_t)(Launch*) noexcept nogil

# A part of a kernel's work: items [begin, end) of some range, on one thread.
ctypedef void (*part_t)(Launch* L, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil

# Split [0, n) into at most threads_of(L) parts of at least `grain` items and run
# them on the pool; one after the other where the pool is busy, or when called
# from inside a part.  The split depends on n, grain and the number of threads
# only, and `thread` is the part's number, whoever runs it.
cdef void parallel(part_t part, Launch* L, Py_ssize_t n, Py_ssize_t grain) noexcept nogil

# The same over any context, on `threads` threads (0: num_threads()).
ctypedef void (*context_part_t)(void* context, Py_ssize_t begin, Py_ssize_t end,
                                int thread) noexcept nogil
cdef void parallel_over(context_part_t part, void* context, Py_ssize_t n, Py_ssize_t grain,
                        int threads) noexcept nogil

cpdef int num_threads() noexcept nogil
cpdef void set_num_threads(int n) noexcept nogil

cdef inline int threads_of(Launch* L) noexcept nogil:
    """The most parts a launch is split in: what per-thread scratch is sized by."""
    return L.threads if L.threads > 0 else num_threads()

cdef inline bint contiguous(Buf* a) noexcept nogil:
    """True if `a` is laid out in C order without gaps."""
    cdef Py_ssize_t step = itemsize(a.dtype)
    cdef int k
    for k in range(a.ndim - 1, -1, -1):
        if a.shape[k] != 1:
            if a.strides[k] != step:
                return False
            step *= a.shape[k]
    return True

cdef inline Py_ssize_t itemsize(int dtype) noexcept nogil:
    if dtype <= INT8:
        return 1
    if dtype == INT16:
        return 2
    if dtype == INT32 or dtype == FLOAT32:
        return 4
    return 8
