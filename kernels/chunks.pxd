# Launches run chunk by chunk: all of a group on one piece of their arrays, which stays in the cache,
# before the next piece (autodiff/planner.py says which may).
from kernels.launch cimport Buf, Launch

cdef enum:                      # how a buffer moves from chunk to chunk
    WHOLE, ONE, LOCAL           # along the array; not at all; in the thread's own scratch:
    MOST = 44                   # launches in a group: their copies lie on a thread's stack
    MOST_SUMS = 4
    MOST_BUFS = 4
    MOST_REGIONS = 16

cdef struct Group:              # launches run chunk by chunk, all of them on one before the next
    Launch* launches
    Buf** bufs                  # MOST_BUFS for each launch
    unsigned char* kind         # WHOLE, ONE, LOCAL, likewise
    int count, sums             # the sums come last
    Py_ssize_t n, chunk, region, room
    char* scratch               # `room` bytes for each thread
    int code, failed
    double partial[MOST_SUMS][MOST_REGIONS]

cdef int run_group(Group* g) noexcept nogil
