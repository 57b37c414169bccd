# cython: freethreading_compatible=False
"""Storage owns bytes, and the ledger counts them by category.

Invariant: at every moment the categories' bytes add up to the total, and the total is what the
pool has handed out to Storages and scratch, plus what a dry run counts without taking it.
"""

cimport cython
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from kernels.pool cimport pool_alloc, pool_free, pool_trim

import kernels.pool as _pool

from .errors import OutOfMemoryError

CATEGORY_NAMES = ("temporary", "saved", "input", "gradient", "optimizer state", "buffer",
                  "parameter")

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef struct Ledger:
    Py_ssize_t live[7]
    Py_ssize_t at_peak[7]
    Py_ssize_t at_high[7]
    Py_ssize_t total, peak, blocks, dry
    Py_ssize_t high             # the peak since the last `mark`, where somebody watches
    Py_ssize_t level            # above it one of the two peaks rises
    int watchers

cdef Ledger ledger
ledger.high = PY_SSIZE_T_MAX

cdef extern from *:
    """
    static __thread int ad_dry_runs;        /* this thread is inside so many */
    static __thread int ad_traces;          /* ... of which so many trace for a capture */

    #ifndef AD_LEDGER
    #define AD_LEDGER 1                     /* 0: count nothing, to measure what counting costs */
    #endif
    """
    int ad_dry_runs
    int ad_traces
    const bint COUNTING "AD_LEDGER"

cdef int detours = 0


cdef void detour(int change) noexcept:
    global detours
    detours += change


cdef bint in_dry_run() noexcept:
    return ad_dry_runs > 0


def dry_runs(int change=0):
    """Enter (1) or leave (-1) a dry run of this thread; returns how many it is inside."""
    global ad_dry_runs
    ad_dry_runs += change
    detour(change)
    return ad_dry_runs


cdef inline void _count(int category, Py_ssize_t nbytes) noexcept:
    if not COUNTING:
        return
    ledger.live[category] += nbytes
    ledger.total += nbytes
    if ledger.total > ledger.level:
        _rise()


cdef inline void _uncount(int category, Py_ssize_t nbytes) noexcept:
    if COUNTING:
        ledger.live[category] -= nbytes
        ledger.total -= nbytes


cdef void _rise() noexcept:
    if ledger.total > ledger.peak:
        ledger.peak = ledger.total
        memcpy(ledger.at_peak, ledger.live, sizeof(ledger.live))
    if ledger.total > ledger.high:
        ledger.high = ledger.total
        memcpy(ledger.at_high, ledger.live, sizeof(ledger.live))
    ledger.level = min(ledger.peak, ledger.high)


cdef int64_t _made = 0


cdef bint in_trace() noexcept:
    return ad_traces > 0 and ad_dry_runs > 0


def traces(int change=0):
    """Enter (1) or leave (-1) a trace, a dry run that `capture` makes; returns how many."""
    global ad_traces
    ad_traces += change
    return ad_traces if ad_dry_runs > 0 else 0


# Numbers of the storages whose values the trace under way has read; one trace runs at a time.
values_read = set()


cdef int note_read(Storage s) except -1:
    values_read.add(s.number)
    return 0


@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class Storage:
    """Bytes from the pool (or of a foreign array), with a count of writes and of saves."""

    def __cinit__(self):
        global _made
        self.ptr = NULL
        _made += 1
        self.number = _made

    def __dealloc__(self):
        if self.ptr != NULL and self.owner is None:
            _uncount(self.counted, self.nbytes)
            ledger.blocks -= COUNTING
            pool_free(self.ptr, self.nbytes)
        elif self.dry:
            _uncount(self.counted, self.nbytes)
            ledger.dry -= self.nbytes
            ledger.blocks -= COUNTING
            detour(-1)


cdef Storage new_storage(Py_ssize_t nbytes):
    cdef Storage s = Storage.__new__(Storage)
    s.nbytes = nbytes
    if detours and in_dry_run():
        s.dry = True
        ledger.dry += nbytes
        detour(1)
    else:
        s.ptr = pool_alloc(nbytes)
        if s.ptr == NULL:
            raise OutOfMemoryError(f"autodiff: out of memory: asked for {nbytes} bytes, "
                                   f"{ledger.total - ledger.dry} are in use")
    ledger.blocks += COUNTING
    _count(TEMPORARY, nbytes)
    return s


cdef int give_bytes(Storage s) except -1:
    """Bytes for a storage that was made in a dry run."""
    s.ptr = pool_alloc(s.nbytes)
    if s.ptr == NULL:
        raise OutOfMemoryError(f"autodiff: out of memory: asked for {s.nbytes} bytes")
    s.dry = False
    ledger.dry -= s.nbytes
    detour(-1)
    return 0


cdef void recount(Storage s) noexcept:
    """Move the bytes to the category that counts now."""
    cdef int now = s.category
    if s.saves > 0 and now < SAVED:
        now = SAVED
    if now != s.counted:
        if COUNTING and s.owner is None:
            ledger.live[s.counted] -= s.nbytes
            ledger.live[now] += s.nbytes
            if ledger.total == ledger.peak:
                memcpy(ledger.at_peak, ledger.live, sizeof(ledger.live))
            if ledger.total == ledger.high:
                memcpy(ledger.at_high, ledger.live, sizeof(ledger.live))
        s.counted = now


cdef char* scratch_alloc(Py_ssize_t nbytes) except? NULL:
    """Scratch for a launch; in a dry run NULL, but counted."""
    cdef char* p = NULL
    if not (detours and in_dry_run()):
        p = pool_alloc(nbytes)
        if p == NULL:
            raise OutOfMemoryError(f"autodiff: out of memory: asked for {nbytes} bytes of scratch")
    _count(TEMPORARY, nbytes)
    return p


cdef void scratch_free(char* p, Py_ssize_t nbytes) noexcept:
    _uncount(TEMPORARY, nbytes)
    if p != NULL:
        pool_free(p, nbytes)


def memory_stats():
    """Live and peak bytes by category, exact, and what the pool holds beside them."""
    pool = _pool.stats()
    return {"live": dict(zip(CATEGORY_NAMES, ledger.live)), "live_bytes": ledger.total,
            "live_blocks": ledger.blocks, "dry_bytes": ledger.dry, "peak_bytes": ledger.peak,
            "peak": dict(zip(CATEGORY_NAMES, ledger.at_peak)),
            "slack_bytes": pool["slack_bytes"], "held_bytes": pool["held_bytes"],
            "reserved_bytes": pool["reserved_bytes"]}


def reset_peak():
    """Start a new peak from the bytes that are live now."""
    ledger.peak = ledger.total
    memcpy(ledger.at_peak, ledger.live, sizeof(ledger.live))
    ledger.level = min(ledger.peak, ledger.high)


def watch(int change):
    """Start (1) or stop (-1) keeping the highest bytes between two calls of `mark`."""
    ledger.watchers += change
    mark()


def mark():
    """Live bytes by category and their total; the same at the highest since the last mark.

    As the bytes of 16 integers, for a timeline asks at each launch and reads them later.
    """
    cdef int64_t now[2 * (CATEGORIES + 1)]
    cdef int k
    for k in range(CATEGORIES):
        now[k] = ledger.live[k]
        now[CATEGORIES + 1 + k] = ledger.at_high[k]
    now[CATEGORIES] = ledger.total
    now[2 * CATEGORIES + 1] = ledger.high
    found = (<char*>now)[:sizeof(now)]
    ledger.high = ledger.total if ledger.watchers else PY_SSIZE_T_MAX
    memcpy(ledger.at_high, ledger.live, sizeof(ledger.live))
    ledger.level = min(ledger.peak, ledger.high)
    return found


def trim():
    """Give free blocks of the pool back to the system; returns the bytes given back."""
    return pool_trim()
