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


# What tests and measurements look at the pool through.
cdef struct Probe:
    Py_ssize_t begin[256]
    Py_ssize_t end[256]
    int runs[256]


cdef void probe_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Probe* probe = <Probe*>context
    probe.begin[thread] = begin
    probe.end[thread] = end
    probe.runs[thread] += 1


cdef void nested_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    parallel_over(probe_part, <Probe*>context + thread, 1000, 10, 0)


def split(Py_ssize_t n, Py_ssize_t grain, int threads=0):
    """Run a job over [0, n) and tell its parts: (begin, end, how often run) by part."""
    cdef Probe probe
    cdef int k
    for k in range(256):
        probe.runs[k] = 0
    with nogil:
        parallel_over(probe_part, &probe, n, grain, threads)
    return [(probe.begin[k], probe.end[k], probe.runs[k]) for k in range(256) if probe.runs[k]]


def nested_split(int threads):
    """The parts that a job started inside each of `threads` parts was split in."""
    cdef Probe probes[8]
    cdef int j, k
    threads = min(threads, 8)
    for j in range(threads):
        for k in range(256):
            probes[j].runs[k] = 0
    with nogil:
        parallel_over(nested_part, probes, threads, 1, threads)
    return [[(probes[j].begin[k], probes[j].end[k], probes[j].runs[k])
             for k in range(256) if probes[j].runs[k]] for j in range(threads)]


cdef void empty_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    pass


cdef void busy_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """`end - begin` steps of a chain that nothing can shorten."""
    cdef volatile double x = 1
    cdef Py_ssize_t k
    for k in range(begin, end):
        x = x * 0.5 + 1


def seconds_per_job(int threads, Py_ssize_t steps=0, double pause=0, int repeat=1000):
    """Median wall time of a job of `steps` busy steps on `threads` threads, after `pause` idle."""
    from time import perf_counter, sleep
    cdef int k
    times = []
    for k in range(repeat):
        if pause:
            sleep(pause)
        start = perf_counter()
        if steps:
            parallel_over(busy_part, NULL, steps, 1, threads)
        else:
            parallel_over(empty_part, NULL, threads, 1, threads)
        times.append(perf_counter() - start)
    return sorted(times)[repeat // 2]
