# The pool of memory under every Storage and every scratch buffer.
# Called with the GIL held (it takes no lock of its own), though declared nogil.

# 64-byte aligned, at least `nbytes` (0 gives a valid pointer); NULL when out of memory.
cdef char* pool_alloc(size_t nbytes) noexcept nogil

# `nbytes` is what was asked of pool_alloc.
cdef void pool_free(char* p, size_t nbytes) noexcept nogil

# Give free large blocks back to the system; the bytes given back.
cdef size_t pool_trim() noexcept nogil
