# RMSprop and Adagrad: updates scaled by past gradients, one pass over all state.
# Invariant: as in update.pyx, elementwise and in place, learning rate and step
# read from their buffers at each launch.
from libc.math cimport sqrt, sqrtf

from kernels.launch cimport BAD_DTYPE, FLOAT32, FLOAT64, OK, Buf, Launch, parallel_over, threads_of
from kernels.rows cimport number_at
from kernels.types cimport real

cdef enum:
    GRAIN = 1 << 14             # elements


cdef inline real* data(Buf* b, real* type) noexcept nogil:
    return NULL if b == NULL else <real*>b.data


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef void rmsprop_work(Launch* L, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef real* p = data(L.b[0], type)
    cdef real* grad = data(L.b[1], type)
    cdef real* square = data(L.b[2], type)
    cdef real* mean = data(L.b[3], type)
    cdef real* buffer = data(L.b[4], type)
    cdef real lr = <real>number_at(L.b[5]), sign = -1 if L.ia[0] else 1
    cdef real alpha = <real>L.fa[0], share = <real>(1 - L.fa[0]), eps = <real>L.fa[1]
    cdef real decay = <real>L.fa[2], momentum = <real>L.fa[3], g, s, m, step
    cdef Py_ssize_t i
    if mean == NULL and buffer == NULL:     # the common case alone, so that it vectorises
        for i in range(begin, end):
            g = sign * grad[i] + decay * p[i]
            s = alpha * square[i] + share * (g * g)
            square[i] = s
            p[i] -= lr * (g / (root(s) + eps))
        return
    for i in range(begin, end):
        g = sign * grad[i] + decay * p[i]
        s = alpha * square[i] + share * (g * g)
        square[i] = s
        if mean != NULL:
            m = mean[i] + share * (g - mean[i])
            mean[i] = m
            s -= m * m
        step = g / (root(s) + eps)
        if buffer != NULL:
            step += momentum * buffer[i]
            buffer[i] = step
        p[i] -= lr * step


cdef void rmsprop_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    if L.b[0].dtype == FLOAT32:
        rmsprop_work(L, begin, end, <float*>NULL)
    else:
        rmsprop_work(L, begin, end, <double*>NULL)


cdef int rmsprop_run(Launch* L) noexcept nogil:
    """p, g, square_avg, grad_avg, momentum_buffer, lr.  ia: maximize; fa: alpha, eps, decay,
    momentum."""
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    parallel_over(rmsprop_part, L, L.b[0].n, GRAIN, threads_of(L))
    return OK


cdef void adagrad_work(Launch* L, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef real* p = data(L.b[0], type)
    cdef real* grad = data(L.b[1], type)
    cdef real* total = data(L.b[2], type)
    cdef real lr = <real>(number_at(L.b[3]) / (1 + (number_at(L.b[4]) - 1) * L.fa[0]))
    cdef real eps = <real>L.fa[1], decay = <real>L.fa[2], sign = -1 if L.ia[0] else 1, g, s
    cdef Py_ssize_t i
    for i in range(begin, end):
        g = sign * grad[i] + decay * p[i]
        s = total[i] + g * g
        total[i] = s
        p[i] -= lr * (g / (root(s) + eps))


cdef void adagrad_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    if L.b[0].dtype == FLOAT32:
        adagrad_work(L, begin, end, <float*>NULL)
    else:
        adagrad_work(L, begin, end, <double*>NULL)


cdef int adagrad_run(Launch* L) noexcept nogil:
    """p, g, sum, lr, step.  ia: maximize; fa: lr_decay, eps, decay."""
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    parallel_over(adagrad_part, L, L.b[0].n, GRAIN, threads_of(L))
    return OK


TABLE = {"rmsprop_": <size_t>&rmsprop_run, "adagrad_": <size_t>&adagrad_run}
