/* Frames: the pool's large memory, 2 MiB at a time.  Addresses come from one reservation far
   larger than the machine's memory and cost nothing; a frame that holds memory is present.

   A present frame nobody uses can be moved to another address: mremap hands the page table entry
   over, 2.5 us for 2 MiB where first touch costs hundreds and copying seventy, and the process
   takes no page fault.  So free memory in the wrong places is never a reason to ask for more.
   Invariant: frames.count is the number of present frames, and memory is touched only there. */
#ifndef AUTODIFF_FRAMES_H
#define AUTODIFF_FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/sysinfo.h>
#endif

#define FRAME ((size_t)2 << 20)         /* a huge page of x86-64 and arm64 */
#define FRAMES_MOST ((size_t)1 << 21)   /* 4 TiB of addresses */

#define FRAMES_MOVABLE ((size_t)1 << 15)    /* a moved frame can cost the kernel two mappings
                                               of the 65530 it allows: none move past 64 GiB */
typedef struct {
    char* base;
    size_t size;                        /* frames reserved */
    size_t most;                        /* frames that may be present: the machine's memory */
    size_t count;
    size_t high;                        /* no frame from here on was ever present */
    size_t moved;                       /* moves so far, for measurements */
    int stay;                           /* mremap failed once: do without */
    unsigned char present[FRAMES_MOST];
} frames_t;

static frames_t frames;

#ifdef MAP_NORESERVE
#define FRAMES_MAP (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#else
#define FRAMES_MAP (MAP_PRIVATE | MAP_ANONYMOUS)
#endif

static void frames_advise(char* p, size_t n) {
#ifdef MADV_HUGEPAGE
    madvise(p, n, MADV_HUGEPAGE);       /* 512 times fewer faults at first touch */
#endif
}

/* `n` bytes of addresses at a multiple of FRAME, for huge pages; NULL when there are none. */
static char* frames_map(size_t n) {
    char* p = (char*)mmap(NULL, n + FRAME, PROT_READ | PROT_WRITE, FRAMES_MAP, -1, 0);
    if (p == (char*)MAP_FAILED)
        return NULL;
    size_t head = (FRAME - (size_t)p % FRAME) % FRAME;
    if (head)
        munmap(p, head);
    munmap(p + head + n, FRAME - head);
    p += head;
    frames_advise(p, n);
    return p;
}

/* Memory and swap of the machine, in bytes. */
static size_t frames_machine(void) {
#ifdef __linux__
    struct sysinfo info;
    if (sysinfo(&info) == 0)
        return (info.totalram + info.totalswap) * (size_t)info.mem_unit;
#endif
    return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Reserve the addresses: eight times the machine's memory, or what a limit on addresses allows. */
static int frames_reserve(void) {
    frames.most = frames_machine() / FRAME;
    frames.size = 8 * frames.most < FRAMES_MOST ? 8 * frames.most : FRAMES_MOST;
    while (frames.size && !(frames.base = frames_map(frames.size * FRAME)))
        frames.size /= 2;
    return frames.size != 0;
}

static inline size_t frames_floor(const void* p) {
    return (size_t)((const char*)p - frames.base) / FRAME;
}

static inline size_t frames_ceil(const void* p) {
    return ((size_t)((const char*)p - frames.base) + FRAME - 1) / FRAME;
}

static size_t frames_absent(size_t begin, size_t end) {
    size_t n = end > frames.high ? end - (begin > frames.high ? begin : frames.high) : 0;
    for (; begin < end && begin < frames.high; begin++)
        n += !frames.present[begin];
    return n;
}

/* Let go of a frame's memory; its address stays ours. */
static void frames_drop(size_t f) {
    madvise(frames.base + f * FRAME, FRAME, MADV_DONTNEED);
    frames.present[f] = 0;
    frames.count--;
}

/* Hand the memory at `p` over to address `q`; 0 where the system cannot. */
static int frames_remap(char* p, char* q) {
#if defined(__linux__) && defined(MREMAP_DONTUNMAP)
    if (frames.stay)
        return 0;
    if (mremap(p, FRAME, FRAME, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, q) == q)
        return 1;
    frames.stay = 1;                    /* it may have unmapped q before it failed */
    if (mmap(q, FRAME, PROT_READ | PROT_WRITE, FRAMES_MAP | MAP_FIXED, -1, 0) != q)
        abort();
    frames_advise(q, FRAME);
#endif
    (void)p, (void)q;
    return 0;
}

/* Make absent frame `to` present with the memory of `from`; an old kernel, or a very large pool,
   trades old memory for new, with its faults. */
static void frames_move(size_t from, size_t to) {
    if (from >= FRAMES_MOVABLE || to >= FRAMES_MOVABLE
        || !frames_remap(frames.base + from * FRAME, frames.base + to * FRAME)) {
        frames_drop(from);
        frames.count++;
    }
    frames.present[from] = 0;
    frames.present[to] = 1;
    frames.moved++;
    if (to >= frames.high)
        frames.high = to + 1;
}

/* Move present frames of [low, high), the last first, to absent ones of [*to, end); *to ends at
   the first absent frame left.  Returns how many. */
static size_t frames_move_from(size_t low, size_t high, size_t* to, size_t end) {
    size_t n = 0;
    if (high > frames.high)
        high = frames.high;
    while (high > low) {
        while (*to < end && frames.present[*to])
            ++*to;
        if (*to == end)
            break;
        if (frames.present[--high]) {
            frames_move(high, *to);
            n++;
        }
    }
    return n;
}

/* Make the absent frames of [begin, end) present with new memory; 0 where the machine has none. */
static int frames_add(size_t begin, size_t end) {
    size_t n = frames_absent(begin, end);
    if (frames.count + n > frames.most)
        return 0;
    frames.count += n;
    for (; begin < end; begin++)
        frames.present[begin] = 1;
    if (end > frames.high)
        frames.high = end;
    return 1;
}

#endif
