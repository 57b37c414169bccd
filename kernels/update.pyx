# The optimizers' updates: one pass over a parameter, its gradient and its state.
# Invariant: elementwise and in place, so any split over threads gives the same
# bits; learning rate and step are read from their buffers at each launch.
from libc.math cimport pow, sqrt, sqrtf
from libc.stdint cimport int64_t

from kernels.launch cimport BAD_DTYPE, FLOAT32, FLOAT64, INT64, OK, Buf, Launch, parallel_over, \
    threads_of
from kernels.rows cimport number_at
from kernels.types cimport real

cdef enum:
    GRAIN = 1 << 14             # elements


cdef int increment_run(Launch* L) noexcept nogil:
    """step += 1."""
    if L.b[0].dtype == INT64:
        (<int64_t*>L.b[0].data)[0] += 1
    elif L.b[0].dtype == FLOAT32:
        (<float*>L.b[0].data)[0] += 1
    elif L.b[0].dtype == FLOAT64:
        (<double*>L.b[0].data)[0] += 1
    else:
        return BAD_DTYPE
    return OK


cdef inline real* data(Buf* b, real* type) noexcept nogil:
    return NULL if b == NULL else <real*>b.data


cdef void sgd_work(Launch* L, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef real* p = data(L.b[0], type)
    cdef real* grad = data(L.b[1], type)
    cdef real* buffer = data(L.b[2], type)
    cdef real lr = <real>number_at(L.b[3]), sign = -1 if L.ia[1] else 1
    cdef real momentum = <real>L.fa[0], share = <real>(1 - L.fa[1]), decay = <real>L.fa[2]
    cdef bint first = L.b[4] != NULL and number_at(L.b[4]) <= 1, nesterov = L.ia[0] != 0
    cdef Py_ssize_t i
    cdef real g
    if buffer == NULL:
        for i in range(begin, end):
            p[i] -= lr * (sign * grad[i] + decay * p[i])
        return
    if first:                               # the first step takes the gradient undampened
        for i in range(begin, end):
            buffer[i] = sign * grad[i] + decay * p[i]
    else:
        for i in range(begin, end):
            buffer[i] = momentum * buffer[i] + share * (sign * grad[i] + decay * p[i])
    if nesterov:
        for i in range(begin, end):
            g = sign * grad[i] + decay * p[i]
            p[i] -= lr * (g + momentum * buffer[i])
    else:
        for i in range(begin, end):
            p[i] -= lr * buffer[i]


cdef void sgd_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    cdef Py_ssize_t at
    for at in range(begin, end, 4096):      # three short loops over what is in the cache
        if L.b[0].dtype == FLOAT32:
            sgd_work(L, at, min(at + 4096, end), <float*>NULL)
        else:
            sgd_work(L, at, min(at + 4096, end), <double*>NULL)


cdef int sgd_run(Launch* L) noexcept nogil:
    """p, g, momentum_buffer, lr, step.  ia: nesterov, maximize; fa: momentum, dampening, decay."""
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    parallel_over(sgd_part, L, L.b[0].n, GRAIN, threads_of(L))
    return OK


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef void adam_work(Launch* L, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef real* p = data(L.b[0], type)
    cdef real* grad = data(L.b[1], type)
    cdef real* m = data(L.b[2], type)
    cdef real* v = data(L.b[3], type)
    cdef real* top = data(L.b[4], type)
    cdef double lr = number_at(L.b[5]), step = number_at(L.b[6])
    cdef double beta1 = L.fa[0], beta2 = L.fa[1], decay = L.fa[3]
    cdef real sign = -1 if L.ia[1] else 1, keep = 1, eps = <real>L.fa[2]
    cdef real b2 = <real>beta2, share1 = <real>(1 - beta1), share2 = <real>(1 - beta2)
    cdef real size = <real>(lr / (1 - pow(beta1, step)))
    cdef real correction = <real>sqrt(1 - pow(beta2, step)), w
    cdef real g, pi, mi, vi
    cdef Py_ssize_t i
    if L.ia[0]:
        keep = <real>(1 - lr * decay)
        decay = 0
    w = <real>decay
    if top == NULL:
        for i in range(begin, end):
            pi = p[i] * keep
            g = sign * grad[i] + w * pi
            mi = m[i] + share1 * (g - m[i])
            vi = b2 * v[i] + share2 * (g * g)
            m[i] = mi
            v[i] = vi
            p[i] = pi - size * (mi / (root(vi) / correction + eps))
    else:
        for i in range(begin, end):
            pi = p[i] * keep
            g = sign * grad[i] + w * pi
            mi = m[i] + share1 * (g - m[i])
            vi = b2 * v[i] + share2 * (g * g)
            m[i] = mi
            v[i] = vi
            vi = vi if vi > top[i] else top[i]
            top[i] = vi
            p[i] = pi - size * (mi / (root(vi) / correction + eps))


cdef void adam_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Launch* L = <Launch*>context
    if L.b[0].dtype == FLOAT32:
        adam_work(L, begin, end, <float*>NULL)
    else:
        adam_work(L, begin, end, <double*>NULL)


cdef int adam_run(Launch* L) noexcept nogil:
    """p, g, m, v, vmax, lr, step.  ia: decoupled, maximize; fa: beta1, beta2, eps, decay."""
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    parallel_over(adam_part, L, L.b[0].n, GRAIN, threads_of(L))
    return OK


TABLE = {
    "increment_": <size_t>&increment_run,
    "sgd_": <size_t>&sgd_run,
    "adam_": <size_t>&adam_run,
}
