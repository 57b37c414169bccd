# The pool of threads behind `parallel`, compiled into this module alone so that
# one process has one pool, whichever kernels run on it.
cdef extern from "threads.h" nogil:
    ctypedef void (*pool_part_t)(void*, Py_ssize_t, Py_ssize_t, int) noexcept nogil
    void pool_parallel(pool_part_t part, void* context, Py_ssize_t n, Py_ssize_t grain, int threads)
    int pool_num_threads()
    void pool_set_num_threads(int n)


cdef void parallel(part_t part, Launch* L, Py_ssize_t n, Py_ssize_t grain) noexcept nogil:
    pool_parallel(<pool_part_t>part, L, n, grain, L.threads)


cdef void parallel_over(context_part_t part, void* context, Py_ssize_t n, Py_ssize_t grain,
                        int threads) noexcept nogil:
    pool_parallel(<pool_part_t>part, context, n, grain, threads)


cpdef int num_threads() noexcept nogil:
    """Threads that kernels share: the caller and the workers of the pool."""
    return pool_num_threads()


cpdef void set_num_threads(int n) noexcept nogil:
    """Let kernels use `n` threads from the next launch on."""
    pool_set_num_threads(n)
