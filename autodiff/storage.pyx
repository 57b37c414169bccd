# cython: freethreading_compatible=False
"""Storage owns bytes, and the ledger counts them by category.

Invariant: at every moment the categories' bytes add up to the total, and the total is what the
pool has handed out to Storages and scratch.
"""

cimport cython
from libc.string cimport memcpy

from kernels.pool cimport pool_alloc, pool_free, pool_trim

import kernels.pool as _pool

from .errors import OutOfMemoryError

CATEGORY_NAMES = ("temporary", "saved", "input", "gradient", "optimizer state", "buffer",
                  "parameter")

cdef struct Ledger:
    Py_ssize_t live[7]
    Py_ssize_t at_peak[7]
    Py_ssize_t total, peak, blocks

cdef Ledger ledger


cdef inline void _count(int category, Py_ssize_t nbytes) noexcept:
    ledger.live[category] += nbytes
    ledger.total += nbytes
    if ledger.total > ledger.peak:
        ledger.peak = ledger.total
        memcpy(ledger.at_peak, ledger.live, sizeof(ledger.live))


@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class Storage:
    """Bytes from the pool (or of a foreign array), with a count of writes and of saves."""

    def __cinit__(self):
        self.ptr = NULL

    def __dealloc__(self):
        if self.ptr != NULL and self.owner is None:
            ledger.live[self.counted] -= self.nbytes
            ledger.total -= self.nbytes
            ledger.blocks -= 1
            pool_free(self.ptr, self.nbytes)


cdef Storage new_storage(Py_ssize_t nbytes):
    cdef Storage s = Storage.__new__(Storage)
    s.nbytes = nbytes
    s.ptr = pool_alloc(nbytes)
    if s.ptr == NULL:
        raise OutOfMemoryError(f"autodiff: out of memory: asked for {nbytes} bytes, "
                          f"{ledger.total} are in use")
    ledger.blocks += 1
    _count(TEMPORARY, nbytes)
    return s


cdef void recount(Storage s) noexcept:
    """Move the bytes to the category that counts now."""
    cdef int now = s.category
    if s.saves > 0 and now < SAVED:
        now = SAVED
    if now != s.counted:
        if s.owner is None:
            ledger.live[s.counted] -= s.nbytes
            ledger.live[now] += s.nbytes
            if ledger.total == ledger.peak:
                memcpy(ledger.at_peak, ledger.live, sizeof(ledger.live))
        s.counted = now


cdef char* scratch_alloc(Py_ssize_t nbytes) except NULL:
    cdef char* p = pool_alloc(nbytes)
    if p == NULL:
        raise OutOfMemoryError(f"autodiff: out of memory: asked for {nbytes} bytes of scratch")
    _count(TEMPORARY, nbytes)
    return p


cdef void scratch_free(char* p, Py_ssize_t nbytes) noexcept:
    ledger.live[TEMPORARY] -= nbytes
    ledger.total -= nbytes
    pool_free(p, nbytes)


def memory_stats():
    """Live and peak bytes by category, exact, and what the pool holds beside them."""
    pool = _pool.stats()
    return {"live": dict(zip(CATEGORY_NAMES, ledger.live)), "live_bytes": ledger.total,
            "live_blocks": ledger.blocks, "peak_bytes": ledger.peak,
            "peak": dict(zip(CATEGORY_NAMES, ledger.at_peak)),
            "slack_bytes": pool["slack_bytes"], "held_bytes": pool["held_bytes"],
            "reserved_bytes": pool["reserved_bytes"]}


def reset_peak():
    """Start a new peak from the bytes that are live now."""
    ledger.peak = ledger.total
    memcpy(ledger.at_peak, ledger.live, sizeof(ledger.live))


def trim():
    """Give free blocks of the pool back to the system; returns the bytes given back."""
    return pool_trim()
