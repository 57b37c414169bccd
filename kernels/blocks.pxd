# Blocks on the stack: how loops written for contiguous arrays of three types
# take any strides and all dtypes.  Invariant: integers and bools are computed as
# int64 and wrap when they are stored; a bool is stored as `!= 0`.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t

from kernels.launch cimport BOOL, INT8, INT16, INT32, INT64, UINT8, itemsize

cdef enum:
    BLOCK = 256                 # elements: 2 KiB an operand, L1 holds them all

ctypedef fused value:           # what loops compute in; all integers as int64
    float
    double
    int64_t


cdef inline void gather(value* block, char* p, Py_ssize_t s, Py_ssize_t n,
                        int dtype) noexcept nogil:
    """block[i] = the i-th element at p, stride s."""
    cdef Py_ssize_t i
    if value is int64_t:
        if dtype <= UINT8:
            for i in range(n):
                block[i] = (<uint8_t*>(p + i * s))[0]
        elif dtype == INT8:
            for i in range(n):
                block[i] = (<int8_t*>(p + i * s))[0]
        elif dtype == INT16:
            for i in range(n):
                block[i] = (<int16_t*>(p + i * s))[0]
        elif dtype == INT32:
            for i in range(n):
                block[i] = (<int32_t*>(p + i * s))[0]
        else:
            for i in range(n):
                block[i] = (<int64_t*>(p + i * s))[0]
    else:
        for i in range(n):
            block[i] = (<value*>(p + i * s))[0]


cdef inline void scatter(char* p, Py_ssize_t s, value* block, Py_ssize_t n,
                         int dtype) noexcept nogil:
    """The i-th element at p, stride s = block[i]."""
    cdef Py_ssize_t i
    if value is int64_t:
        if dtype == BOOL:
            for i in range(n):
                (<uint8_t*>(p + i * s))[0] = block[i] != 0
        elif dtype <= INT8:
            for i in range(n):
                (<uint8_t*>(p + i * s))[0] = <uint8_t>block[i]
        elif dtype == INT16:
            for i in range(n):
                (<int16_t*>(p + i * s))[0] = <int16_t>block[i]
        elif dtype == INT32:
            for i in range(n):
                (<int32_t*>(p + i * s))[0] = <int32_t>block[i]
        else:
            for i in range(n):
                (<int64_t*>(p + i * s))[0] = block[i]
    else:
        for i in range(n):
            (<value*>(p + i * s))[0] = block[i]


cdef inline bint native(int dtype, Py_ssize_t size) noexcept nogil:
    """True where a block loop can read the array itself."""
    return dtype >= INT64 and itemsize(dtype) == size
