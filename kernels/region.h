/* Large blocks: one row of blocks, live or free, over the frames' addresses.  Each starts with a
   64-byte header (the boundary tag), free neighbours are merged, and the row ends in one great
   free block with no memory yet.
   Invariant: the blocks tile the region; no two neighbours are free; every header and every live
   byte lies in a present frame.

   Free blocks are kept in bins by size, sixteen an octave, with a bitmap of the bins in use (as in
   TLSF: Masmano et al., "TLSF: a new dynamic memory allocator for real-time systems", 2004).
   Those whole in memory are kept apart from those with holes (absent frames): a whole one serves
   as it is; one with holes is filled with spare frames of other free blocks, then with new ones. */
#ifndef AUTODIFF_REGION_H
#define AUTODIFF_REGION_H

#include <assert.h>
#include "frames.h"

typedef struct region_block {
    size_t bytes;                       /* with the header: a multiple of 64 */
    size_t before;                      /* bytes of the block before; 0: this is the first */
    size_t mark;                        /* live or free, mixed with the address */
    size_t absent;                      /* free: frames without memory */
    struct region_block *next, *last;   /* free: its bin's list */
    size_t unused[2];
} region_block;

#define REGION_HEAD sizeof(region_block)
#define REGION_REST ((size_t)1024)      /* a smaller rest stays with the block, as slack */
#define REGION_LIVE ((size_t)0x6c69766500000001)
#define REGION_FREE ((size_t)0x6672656500000002)
#define REGION_WORDS 10                 /* of 64 bins each: enough for 2^42 bytes */
#define REGION_TRIES 16                 /* blocks looked at in the bin of the size itself */

enum { HOLEY, WHOLE };

static struct {
    region_block* bin[2][64 * REGION_WORDS];
    uint64_t filled[2][REGION_WORDS];
} region;

static inline size_t region_end(void) { return frames.size * FRAME; }

static inline int region_is(const region_block* b, size_t mark) {
    return b->mark == (mark ^ (size_t)b);
}

static inline region_block* region_after(const region_block* b) {
    char* p = (char*)b + b->bytes;
    return p == frames.base + region_end() ? NULL : (region_block*)p;
}

static inline int region_bin(size_t bytes) {
    size_t v = bytes / 64;
    int shift = v < 16 ? 0 : 59 - __builtin_clzll(v);
    return 16 * shift + (int)(v >> shift);
}

/* Frames that lie in `b` behind its header: the only ones that can be absent. */
static inline size_t region_inner(const region_block* b, size_t* end) {
    *end = frames_floor((const char*)b + b->bytes);
    return frames_ceil((const char*)b + REGION_HEAD);
}

static inline size_t region_spare(const region_block* b) {
    size_t end, begin = region_inner(b, &end);
    return begin < end ? end - begin - b->absent : 0;
}

static void region_link(region_block* b) {
    int set = b->absent ? HOLEY : WHOLE, k = region_bin(b->bytes);
    b->mark = REGION_FREE ^ (size_t)b;
    b->last = NULL;
    b->next = region.bin[set][k];
    if (b->next)
        b->next->last = b;
    region.bin[set][k] = b;
    region.filled[set][k / 64] |= (uint64_t)1 << k % 64;
}

static void region_unlink(region_block* b) {
    int set = b->absent ? HOLEY : WHOLE, k = region_bin(b->bytes);
    assert(region_is(b, REGION_FREE));
    if (b->next)
        b->next->last = b->last;
    if (b->last)
        b->last->next = b->next;
    else if (!(region.bin[set][k] = b->next))
        region.filled[set][k / 64] &= ~((uint64_t)1 << k % 64);
}

/* A free block of at least `bytes`, about the smallest; NULL when there is none. */
static region_block* region_find(int set, size_t bytes) {
    int k = region_bin(bytes), tries = REGION_TRIES;
    for (region_block* b = region.bin[set][k]; b && tries; b = b->next, tries--)
        if (b->bytes >= bytes)
            return b;
    int word = ++k / 64;
    uint64_t bits = word < REGION_WORDS ? region.filled[set][word] & ~(uint64_t)0 << k % 64 : 0;
    while (!bits && ++word < REGION_WORDS)
        bits = region.filled[set][word];
    return bits ? region.bin[set][64 * word + __builtin_ctzll(bits)] : NULL;
}

/* Memory for all frames of [begin, end), the start of `b` (not in a bin); 0 when there is none. */
static int region_fill(region_block* b, size_t begin, size_t end) {
    size_t own_end, own = region_inner(b, &own_end), to = begin;
    if (own < end)
        own = end;
    frames_move_from(own, own_end, &to, end);   /* within b: b->absent stays */
    for (int set = HOLEY; set <= WHOLE; set++)
        for (int k = 64 * REGION_WORDS - 1; k >= region_bin(FRAME) && to < end; k--)
            for (region_block *d = region.bin[set][k], *next; d && to < end; d = next) {
                next = d->next;
                if (!region_spare(d))
                    continue;
                size_t high, low = region_inner(d, &high);
                region_unlink(d);
                size_t moved = frames_move_from(low, high, &to, end);
                d->absent += moved;
                b->absent -= moved;
                region_link(d);
            }
    size_t wanted = frames_absent(to, end);
    if (!frames_add(to, end))
        return 0;
    b->absent -= wanted;
    return 1;
}

/* User address of a new block of at least `nbytes`, and its whole size; NULL: out of memory. */
static char* region_alloc(size_t nbytes, size_t* whole) {
    size_t bytes = (nbytes + 63) / 64 * 64 + REGION_HEAD;
    if (!frames.base) {
        if (!frames_reserve() || !frames_add(0, 1))
            return NULL;
        region_block* all = (region_block*)frames.base;
        all->bytes = region_end();
        all->before = 0;
        all->absent = frames.size - 1;
        region_link(all);
    }
    if (bytes > region_end())
        return NULL;
    region_block* b = region_find(WHOLE, bytes);
    if (!b && !(b = region_find(HOLEY, bytes)))
        return NULL;
    region_unlink(b);
    int split = b->bytes - bytes >= REGION_REST;
    if (b->absent) {
        size_t to = frames_ceil((char*)b + (split ? bytes + REGION_HEAD : b->bytes));
        if (!region_fill(b, frames_floor(b), to)) {
            region_link(b);
            return NULL;
        }
    }
    if (split) {
        region_block* rest = (region_block*)((char*)b + bytes);
        rest->bytes = b->bytes - bytes;
        rest->before = bytes;
        rest->absent = b->absent;       /* none is left in b's part */
        region_block* after = region_after(b);
        if (after)
            after->before = rest->bytes;
        b->bytes = bytes;
        region_link(rest);
    }
    b->mark = REGION_LIVE ^ (size_t)b;
    b->absent = 0;
    *whole = b->bytes;
    return (char*)b + REGION_HEAD;
}

/* Free what region_alloc(nbytes) gave; its whole size. */
static size_t region_free(char* p, size_t nbytes) {
    region_block* b = (region_block*)(p - REGION_HEAD);
    size_t whole = b->bytes;
    assert(region_is(b, REGION_LIVE) && "double free, or a header written over");
    assert(whole - REGION_HEAD >= nbytes && whole - REGION_HEAD - nbytes < 64 + REGION_REST);
    (void)nbytes;
    region_block* after = region_after(b);
    if (after && region_is(after, REGION_FREE)) {
        region_unlink(after);
        b->bytes += after->bytes;
        b->absent += after->absent;
    }
    region_block* before = (region_block*)((char*)b - b->before);
    if (b->before && region_is(before, REGION_FREE)) {
        assert(before->bytes == b->before);
        region_unlink(before);
        before->bytes += b->bytes;
        before->absent += b->absent;
        b->mark = 0;
        b = before;
    }
    after = region_after(b);
    if (after)
        after->before = b->bytes;
    region_link(b);
    return whole;
}

/* Give the memory of spare frames back to the system; bytes given. */
static size_t region_trim(void) {
    size_t given = 0;
    for (int set = HOLEY; set <= WHOLE; set++)
        for (int k = 64 * REGION_WORDS - 1; k >= region_bin(FRAME); k--)
            for (region_block *b = region.bin[set][k], *next; b; b = next) {
                next = b->next;
                size_t end, f = region_inner(b, &end), spare = region_spare(b);
                if (!spare)
                    continue;
                region_unlink(b);
                for (; f < end && f < frames.high; f++)
                    if (frames.present[f])
                        frames_drop(f);
                b->absent += spare;
                region_link(b);
                given += spare;
            }
    return given * FRAME;
}

#endif
