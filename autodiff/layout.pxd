# Shapes and strides of buffers, in plain C: same shape, broadcast, readable by BLAS.
# Invariant: these look at metadata alone; no bytes are touched, nothing is allocated.
from kernels.launch cimport Buf, itemsize

cdef inline bint same_shape(Buf* a, Buf* b) noexcept nogil:
    cdef int k
    if a.ndim != b.ndim:
        return False
    for k in range(a.ndim):
        if a.shape[k] != b.shape[k]:
            return False
    return True

cdef inline bint same_layout(Buf* a, Buf* b) noexcept nogil:
    cdef int k
    if not same_shape(a, b):
        return False
    for k in range(a.ndim):
        if a.strides[k] != b.strides[k]:
            return False
    return True

cdef inline int broadcast(Buf* x, Buf* y, Py_ssize_t* shape) noexcept nogil:
    """The broadcast shape and its number of axes; -1 where the shapes do not fit."""
    cdef int k, kx, ky, ndim = max(x.ndim, y.ndim)
    cdef Py_ssize_t nx, ny
    for k in range(ndim):
        kx, ky = k - ndim + x.ndim, k - ndim + y.ndim
        nx = x.shape[kx] if kx >= 0 else 1
        ny = y.shape[ky] if ky >= 0 else 1
        if nx != ny and nx != 1 and ny != 1:
            return -1
        shape[k] = ny if nx == 1 else nx
    return ndim

cdef inline bint expand(Buf* a, Buf* like, Buf* out) noexcept nogil:
    """`a` seen in the shape of `like`, stride 0 along broadcast axes; False if it cannot be."""
    cdef int k, ka
    out.data, out.dtype, out.ndim, out.n = a.data, a.dtype, like.ndim, like.n
    if a.ndim > like.ndim:
        return False
    for k in range(like.ndim):
        ka = k - like.ndim + a.ndim
        out.shape[k] = like.shape[k]
        if ka < 0 or a.shape[ka] == 1:
            out.strides[k] = 0
        elif a.shape[ka] == like.shape[k]:
            out.strides[k] = a.strides[ka]
        else:
            return False
        if like.shape[k] == 1 and ka >= 0:
            out.strides[k] = a.strides[ka]
    return True

cdef inline bint blas_ready(Buf* a) noexcept nogil:
    """True if the last two axes are a matrix that BLAS can read, in either order."""
    cdef int n = a.ndim
    cdef Py_ssize_t size = itemsize(a.dtype), rows, cols, r, c
    if n < 2:
        return n == 0 or a.strides[0] == size or a.shape[0] <= 1
    rows, cols = a.shape[n - 2], a.shape[n - 1]
    r, c = a.strides[n - 2], a.strides[n - 1]
    return (((c == size or cols <= 1) and (r >= cols * size or rows <= 1) and r % size == 0)
            or ((r == size or rows <= 1) and (c >= rows * size or cols <= 1) and c % size == 0))
