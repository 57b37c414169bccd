# Convolution of a batch by minimal filtering (winograd.h), for float32, 3 x 3, steps of one.
from kernels.direct cimport direct
from kernels.launch cimport Launch

cdef extern from "winograd.h" nogil:
    int WINOGRAD_PLAIN, WINOGRAD_RELU, WINOGRAD_POOL

cdef struct Winograd:
    direct shape                # of one image
    int kind                    # WINOGRAD_PLAIN, WINOGRAD_RELU, WINOGRAD_POOL
    float* x
    float* out
    float* weight               # of output o, input c, tap t at o * so + c * sc + t
    float* bias                 # or NULL
    Py_ssize_t N, so, sc
    bint flip                   # the taps backwards
    # What winograd_fits fills in:
    Py_ssize_t rows, bands      # of tiles in an item; items of an image
    float* packed
    char* rooms
    Py_ssize_t room             # bytes of each thread's scratch
    Py_ssize_t sums             # partial gradients of the weight

# True where the shapes suit, the scratch has room, and no value is infinite, NaN or near it.
cdef bint winograd_fits(Winograd* s, Launch* L) noexcept nogil

cdef void winograd_run(Winograd* s, Launch* L) noexcept nogil

# The gradient of the weight: x, and in `out` the gradient of the output; in `weight` what is asked
# for, which is added into where L.beta = 1.
cdef bint winograd_weight_fits(Winograd* s, Launch* L) noexcept nogil

cdef void winograd_weight_run(Winograd* s, Launch* L) noexcept nogil
