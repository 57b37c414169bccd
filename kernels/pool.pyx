# The pool of memory: size classes, eight an octave, each with a list of free
# blocks.  Small blocks are carved from slabs and kept; each large one is its own
# mapping and can be given back (trim).
# Invariant: reserved_bytes = live_bytes + slack_bytes + held_bytes, at all times.
#
# A freed block keeps the next free one's address in its first bytes.  Under the
# address sanitizer every block comes from malloc, so that it sees use after free.
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdlib.h>
    #include <sys/mman.h>

    #define POOL_HUGE ((size_t)2 << 20)     /* a huge page */

    #ifdef __SANITIZE_ADDRESS__
    #define POOL_PLAIN 1
    #else
    #define POOL_PLAIN 0
    #endif

    static char* pool_map(size_t n) {
        if (POOL_PLAIN) {
            void* plain = NULL;
            return posix_memalign(&plain, 64, n) ? NULL : (char*)plain;
        }
        /* First touch is what big temporaries cost: huge pages make 512 times fewer faults,
           and need the mapping to start at a multiple of their size. */
        size_t extra = n >= POOL_HUGE ? POOL_HUGE : 0;
        char* p = (char*)mmap(NULL, n + extra, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == (char*)MAP_FAILED)
            return NULL;
        if (extra) {
            size_t head = (POOL_HUGE - (size_t)p % POOL_HUGE) % POOL_HUGE;
            if (head)
                munmap(p, head);
            if (extra - head)
                munmap(p + head + n, extra - head);
            p += head;
    #ifdef MADV_HUGEPAGE
            madvise(p, n, MADV_HUGEPAGE);
    #endif
        }
        return p;
    }

    static void pool_unmap(char* p, size_t n) {
        if (POOL_PLAIN)
            free(p);
        else
            munmap(p, n);
    }

    static inline int pool_log2(size_t x) { return 63 - __builtin_clzll(x); }
    """
    const bint POOL_PLAIN
    char* pool_map(size_t n) noexcept nogil
    void pool_unmap(char* p, size_t n) noexcept nogil
    int pool_log2(size_t x) noexcept nogil

cdef enum:
    UNIT = 64                   # the alignment, and the smallest class
    CLASSES = 8 * 42            # up to 2^48 bytes
    SMALL = 64 << 10            # blocks up to this come from slabs
    SLAB = 2 << 20
    PAGE = 4096

cdef char* free_list[CLASSES]
cdef char* slab = NULL          # the unused end of the newest slab
cdef size_t slab_left = 0
cdef size_t live = 0, used = 0, reserved = 0, peak = 0, blocks = 0, held_large = 0


cdef inline int class_of(size_t nbytes) noexcept nogil:
    """Index of the smallest class that holds `nbytes`."""
    cdef size_t v = (nbytes - 1) // UNIT if nbytes else 0
    cdef int shift
    if v < 8:
        return <int>v
    shift = pool_log2(v) - 3
    return 8 * shift + <int>(v >> shift)


cdef inline size_t class_bytes(int c) noexcept nogil:
    cdef int shift = c // 8 - 1 if c >= 8 else 0
    cdef size_t v = c - 8 * shift
    return ((v + 1) << shift) * UNIT


cdef char* carve(size_t n) noexcept nogil:
    """A small block from the current slab, or from a new one."""
    global slab, slab_left, reserved
    cdef char* p
    if slab_left < n:
        shelve()
        p = pool_map(SLAB)
        if p == NULL:
            return NULL
        slab, slab_left = p, SLAB
        reserved += SLAB
    p = slab
    slab += n
    slab_left -= n
    return p


cdef void shelve() noexcept nogil:
    """Put what is left of the current slab on the free lists."""
    global slab, slab_left
    cdef int c
    cdef size_t n
    while slab_left >= UNIT:
        c = class_of(slab_left)
        if class_bytes(c) > slab_left:
            c -= 1
        n = class_bytes(c)
        (<char**>slab)[0] = free_list[c]
        free_list[c] = slab
        slab += n
        slab_left -= n


cdef char* fresh(size_t n) noexcept nogil:
    """A block that no free list had."""
    global reserved
    cdef char* p
    if n <= SMALL and not POOL_PLAIN:
        p = carve(n)
        if p == NULL and pool_trim():
            p = carve(n)
        return p
    # Shapes that come once would pile up in classes of their own: never hold
    # more than was ever live.
    if held_large > peak + 32 * SLAB:
        pool_trim()
    p = pool_map(n)
    if p == NULL and pool_trim():
        p = pool_map(n)
    if p != NULL:
        reserved += n
    return p


cdef char* pool_alloc(size_t nbytes) noexcept nogil:
    global live, used, peak, blocks, held_large
    cdef int c
    cdef size_t n
    cdef char* p
    if nbytes > (<size_t>1 << 47):
        return NULL
    c = class_of(nbytes)
    n = class_bytes(c)
    p = free_list[c]
    if p != NULL:
        free_list[c] = (<char**>p)[0]
        if n > SMALL:
            held_large -= n
    else:
        p = fresh(n)
        if p == NULL:
            return NULL
    blocks += 1
    used += n
    live += nbytes
    if live > peak:
        peak = live
    return p


cdef void pool_free(char* p, size_t nbytes) noexcept nogil:
    global live, used, blocks, held_large, reserved
    cdef int c = class_of(nbytes)
    cdef size_t n = class_bytes(c)
    blocks -= 1
    used -= n
    live -= nbytes
    if POOL_PLAIN:
        reserved -= n
        pool_unmap(p, n)
        return
    (<char**>p)[0] = free_list[c]
    free_list[c] = p
    if n > SMALL:
        held_large += n


cdef size_t pool_trim() noexcept nogil:
    global reserved, held_large
    cdef size_t n, given = 0
    cdef char* p
    cdef int c
    for c in range(CLASSES):
        n = class_bytes(c)
        if n <= SMALL:
            continue
        p = free_list[c]
        while p != NULL:
            free_list[c] = (<char**>p)[0]
            pool_unmap(p, n)
            given += n
            p = free_list[c]
    reserved -= given
    held_large = 0
    return given


def stats():
    """Bytes of the pool: live (as asked), slack (class size over that), held (free), reserved."""
    return {"live_bytes": live, "live_blocks": blocks, "slack_bytes": used - live,
            "held_bytes": reserved - used, "reserved_bytes": reserved, "peak_bytes": peak}


def reset_peak():
    """Let peak_bytes start again from what is live."""
    global peak
    peak = live


def trim():
    """Give free large blocks back to the system; the bytes given back."""
    return pool_trim()


# For tests and measurements: blocks by address.
def alloc(size_t nbytes):
    """Address of a new block; MemoryError when there is none."""
    cdef char* p = pool_alloc(nbytes)
    if p == NULL:
        raise MemoryError(f"{nbytes} bytes")
    return <size_t>p


def free(size_t address, size_t nbytes):
    """Free a block that `alloc(nbytes)` gave."""
    pool_free(<char*>address, nbytes)


def touch(size_t address, size_t nbytes):
    """Write one byte of every page."""
    cdef size_t k
    for k in range(0, nbytes, PAGE):
        (<volatile char*>address)[k] = 1


def seconds_per_pair(size_t nbytes, int repeat=1000000):
    """Mean time of one pool_alloc and pool_free of `nbytes`, in seconds."""
    from time import perf_counter
    cdef int k
    start = perf_counter()
    for k in range(repeat):
        pool_free(pool_alloc(nbytes), nbytes)
    return (perf_counter() - start) / repeat
