# The pool of memory.  Small blocks have size classes, eight an octave, each with a list of
# free ones, carved from slabs and kept; large blocks come from one region that merges free
# neighbours and moves idle memory to where it is asked for (region.h, frames.h), so that what
# is reserved stays near the most that was ever live.
# Invariant: reserved_bytes = live_bytes + slack_bytes + held_bytes, at all times.
#
# A freed small block keeps the next free one's address in its first bytes.  Under the
# address sanitizer every block comes from malloc, so that it sees use after free.

cdef extern from *:
    """
    #include <stdlib.h>
    #include "region.h"

    #ifdef __SANITIZE_ADDRESS__
    #define POOL_PLAIN 1
    #else
    #define POOL_PLAIN 0
    #endif

    static inline int pool_log2(size_t x) { return 63 - __builtin_clzll(x); }

    static char* pool_malloc(size_t n) {
        void* p = NULL;
        return posix_memalign(&p, 64, n) ? NULL : (char*)p;
    }

    /* Debug builds mark free small blocks in their second word. */
    #ifdef NDEBUG
    #define POOL_GUARD 0
    #else
    #define POOL_GUARD 1
    #endif
    static inline void pool_mark_free(char* p) {
        if (POOL_GUARD) {
            size_t mark = ~(size_t)p ^ (size_t)0x706f6f6c00000000;
            assert(((size_t*)p)[1] != mark && "double free");
            ((size_t*)p)[1] = mark;
        }
    }
    static inline void pool_mark_live(char* p) {
        if (POOL_GUARD)
            ((size_t*)p)[1] = 0;
    }
    """
    const bint POOL_PLAIN, POOL_GUARD
    int pool_log2(size_t x) noexcept nogil
    char* pool_malloc(size_t n) noexcept nogil
    void c_free "free"(void* p) noexcept nogil
    void pool_mark_free(char* p) noexcept nogil
    void pool_mark_live(char* p) noexcept nogil

cdef extern from "region.h":
    ctypedef struct region_block:
        size_t bytes, absent
    ctypedef struct frames_t:
        char* base
        size_t count, moved
        bint stay
    frames_t frames
    size_t FRAME, REGION_LIVE
    char* frames_map(size_t n) noexcept nogil
    char* region_alloc(size_t nbytes, size_t* whole) noexcept nogil
    size_t region_free(char* p, size_t nbytes) noexcept nogil
    size_t region_trim() noexcept nogil
    region_block* region_after(region_block* b) noexcept nogil
    bint region_is(region_block* b, size_t mark) noexcept nogil

cdef enum:
    UNIT = 64                   # the alignment, and the smallest class
    SMALL = 32 << 10            # blocks up to this have classes
    CLASSES = 8 * 8             # v = (SMALL - 1) // UNIT = 511 is in class 8 * 5 + 15
    SLAB = 2 << 20
    PAGE = 4096

GUARDED = bool(POOL_GUARD)     # freeing twice, or a broken header, ends the process
SANITIZED = bool(POOL_PLAIN)   # every block comes from malloc

cdef char* free_list[CLASSES]
cdef char* slab = NULL          # the unused end of the newest slab
cdef size_t slab_left = 0
cdef size_t slabs = 0           # bytes of all slabs (under the sanitizer: of all blocks)
cdef size_t live = 0, used = 0, peak = 0, blocks = 0


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
    global slab, slab_left, slabs
    cdef char* p
    if slab_left < n:
        p = frames_map(SLAB)
        if p == NULL:
            return NULL
        shelve()
        slab, slab_left = p, SLAB
        slabs += SLAB
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
        put(slab, c)
        slab += n
        slab_left -= n


cdef inline void put(char* p, int c) noexcept nogil:
    pool_mark_free(p)
    (<char**>p)[0] = free_list[c]
    free_list[c] = p


cdef char* fresh(size_t nbytes, size_t* whole) noexcept nogil:
    """A block that no free list had, and its size."""
    global slabs
    cdef char* p
    if POOL_PLAIN:
        whole[0] = nbytes if nbytes else 1
        p = pool_malloc(whole[0])
        if p != NULL:
            slabs += whole[0]
        return p
    if nbytes > SMALL:
        return region_alloc(nbytes, whole)
    whole[0] = class_bytes(class_of(nbytes))
    return carve(whole[0])


cdef char* pool_alloc(size_t nbytes) noexcept nogil:
    global live, used, peak, blocks
    cdef int c
    cdef size_t n
    cdef char* p = NULL
    if nbytes > (<size_t>1 << 47):
        return NULL
    if nbytes <= SMALL:
        c = class_of(nbytes)
        n = class_bytes(c)
        p = free_list[c]
    if p != NULL:
        free_list[c] = (<char**>p)[0]
        pool_mark_live(p)
    else:
        p = fresh(nbytes, &n)
        if p == NULL and pool_trim():
            p = fresh(nbytes, &n)
        if p == NULL:
            return NULL
    blocks += 1
    used += n
    live += nbytes
    if live > peak:
        peak = live
    return p


cdef void pool_free(char* p, size_t nbytes) noexcept nogil:
    global live, used, blocks, slabs
    cdef int c
    blocks -= 1
    live -= nbytes
    if POOL_PLAIN:
        used -= nbytes if nbytes else 1
        slabs -= nbytes if nbytes else 1
        c_free(p)
    elif nbytes > SMALL:
        used -= region_free(p, nbytes)
    else:
        c = class_of(nbytes)
        used -= class_bytes(c)
        put(p, c)


cdef size_t pool_trim() noexcept nogil:
    return region_trim()


def stats():
    """Bytes of the pool: live (as asked), slack (block size over that), held (free), reserved."""
    cdef size_t reserved = slabs + frames.count * FRAME
    return {"live_bytes": live, "live_blocks": blocks, "slack_bytes": used - live,
            "held_bytes": reserved - used, "reserved_bytes": reserved, "peak_bytes": peak}


def reset_peak():
    """Let peak_bytes start again from what is live."""
    global peak
    peak = live


def trim():
    """Give the memory of free large blocks back to the system; the bytes given back."""
    return pool_trim()


# For tests and measurements: blocks by address.
def row():
    """The region's blocks in order of address: (address, bytes, live, absent frames) of each."""
    cdef region_block* b = <region_block*>frames.base
    found = []
    while b != NULL:
        is_live = region_is(b, REGION_LIVE)
        found.append((<size_t>b, b.bytes, is_live, b.absent))
        b = region_after(b)
    return found


def frames_moved():
    """Frames moved so far from where they were idle to where they were wanted."""
    return frames.moved


def moves_cost_faults():
    """True where the system cannot move memory: it is given back and asked for anew."""
    return bool(frames.stay)


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
