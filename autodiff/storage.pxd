from libc.stdint cimport int64_t

# What bytes are for, from the least to the most telling: a Storage counts once, in the highest.
cdef enum:
    TEMPORARY, SAVED, INPUT, GRADIENT, OPTIMIZER_STATE, BUFFER, PARAMETER
    CATEGORIES

cdef class Storage:
    cdef char* ptr
    cdef Py_ssize_t nbytes
    cdef int64_t number             # the first made is 1, the next 2, ...
    cdef int64_t version            # counts writes: backward compares
    cdef int category, counted      # asked for; counted in at the moment
    cdef int saves                  # records that keep it for backward ...
    cdef int handles                # ... of these, by a handle of their own (saved outputs)
    cdef bint readonly
    cdef bint dry                   # made in a dry run: counted, but without bytes
    cdef object owner               # of memory that is not the pool's

# Reasons against the shortcuts of `apply`, of all threads: launches are listened to, a dry run is
# under way, dry storages are alive.  Zero costs the shortcuts one branch.
cdef int detours
cdef void detour(int change) noexcept
cdef bint in_dry_run() noexcept     # this thread is in one; ask where detours != 0

cdef bint in_trace() noexcept       # ... and what it launches is being captured

cdef int note_read(Storage s) except -1

cdef Storage new_storage(Py_ssize_t nbytes)
cdef int give_bytes(Storage s) except -1
cdef void recount(Storage s) noexcept
cdef char* scratch_alloc(Py_ssize_t nbytes) except? NULL
cdef void scratch_free(char* p, Py_ssize_t nbytes) noexcept

cdef inline void wrote(Storage s) noexcept:
    """Count a write; a dry run writes to nothing but what it made."""
    if detours == 0 or s.dry or not in_dry_run():
        s.version += 1

cdef inline void add_save(Storage s, bint own_handle) noexcept:
    s.saves += 1
    s.handles += own_handle
    if s.saves == 1:
        recount(s)

cdef inline void drop_save(Storage s, bint own_handle) noexcept:
    s.saves -= 1
    s.handles -= own_handle
    if s.saves == 0:
        recount(s)
