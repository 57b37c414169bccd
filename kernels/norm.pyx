# layer_norm and batch_norm, forward and backward.
# Invariant: variances come from deviations (two passes over what is in the
# cache); sums over rows are split in a number of chunks that depends on the
# shape alone, so the number of threads does not change the result.
from libc.math cimport sqrt
from libc.string cimport memset

from kernels.launch cimport BAD_DTYPE, FLOAT32, FLOAT64, OK, Buf, Launch, parallel_over, threads_of
from kernels.rows cimport number_at, row_centred_dot, row_deviation, row_sum
from kernels.types cimport real

cdef enum:
    GRAIN = 1 << 14             # elements
    COLUMNS = 32                # neighbouring channels of (N, C) that go together

cdef struct Norm:
    Launch* L
    Py_ssize_t rows, width, chunks          # layer norm
    Py_ssize_t batch, channels, inner       # batch norm


cdef inline real* data(Buf* b, real* type) noexcept nogil:
    return NULL if b == NULL else <real*>b.data


# Layer norm.

cdef void layer_shape(Norm* s, Launch* L, Buf* x) noexcept nogil:
    cdef int d
    s.L, s.rows, s.width = L, 1, 1
    for d in range(x.ndim):
        if d < x.ndim - L.ia[0]:
            s.rows *= x.shape[d]
        else:
            s.width *= x.shape[d]


cdef void layer_rows(Norm* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Launch* L = s.L
    cdef Py_ssize_t i, j, n = s.width
    cdef real* out
    cdef real* x
    cdef real* w = data(L.b[4], type)
    cdef real* b = data(L.b[5], type)
    cdef real mean, rstd
    for i in range(begin, end):
        out = <real*>L.b[0].data + i * n
        x = <real*>L.b[3].data + i * n
        mean = <real>(row_sum(x, n) / n)
        rstd = <real>(1 / sqrt(row_deviation(x, mean, n) / n + L.fa[0]))
        if L.b[1] != NULL:
            (<real*>L.b[1].data)[i] = mean
        if L.b[2] != NULL:
            (<real*>L.b[2].data)[i] = rstd
        if w != NULL and b != NULL:
            for j in range(n):
                out[j] = (x[j] - mean) * rstd * w[j] + b[j]
        elif w != NULL:
            for j in range(n):
                out[j] = (x[j] - mean) * rstd * w[j]
        elif b != NULL:
            for j in range(n):
                out[j] = (x[j] - mean) * rstd + b[j]
        else:
            for j in range(n):
                out[j] = (x[j] - mean) * rstd


cdef void layer_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Norm* s = <Norm*>context
    if s.L.b[0].dtype == FLOAT32:
        layer_rows(s, begin, end, <float*>NULL)
    else:
        layer_rows(s, begin, end, <double*>NULL)


cdef int layer_norm_run(Launch* L) noexcept nogil:
    """out, mean, rstd; x, weight, bias.  Contiguous; ia: normalised axes; fa: eps."""
    cdef Norm s
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    layer_shape(&s, L, L.b[3])
    parallel_over(layer_part, &s, s.rows, GRAIN // (s.width + 1) + 1, threads_of(L))
    return OK


cdef void layer_chunks(Norm* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    """dx of some chunks of rows, and their share of dweight and dbias in scratch."""
    cdef Launch* L = s.L
    cdef Py_ssize_t i, j, k, n = s.width
    cdef real* dx
    cdef real* g
    cdef real* x
    cdef real* w = data(L.b[5], type)
    cdef real* dw
    cdef real* db
    cdef real mean, rstd, mean_g, slope
    for k in range(begin, end):
        dw = <real*>L.work + 2 * k * n
        db = dw + n
        if L.ia[1] & 6:
            memset(dw, 0, 2 * n * sizeof(real))
        for i in range(k * s.rows // s.chunks, (k + 1) * s.rows // s.chunks):
            g = <real*>L.b[3].data + i * n
            x = <real*>L.b[4].data + i * n
            mean = (<real*>L.b[6].data)[i]
            rstd = (<real*>L.b[7].data)[i]
            if L.ia[1] & 2:
                for j in range(n):
                    dw[j] += g[j] * ((x[j] - mean) * rstd)
            if L.ia[1] & 4:
                for j in range(n):
                    db[j] += g[j]
            if not L.ia[1] & 1:
                continue
            dx = <real*>L.b[0].data + i * n
            if w != NULL:
                for j in range(n):
                    dx[j] = g[j] * w[j]
                g = dx
            mean_g = <real>(row_sum(g, n) / n)
            slope = <real>(row_centred_dot(g, x, mean, n) / n) * rstd * rstd
            for j in range(n):
                dx[j] = rstd * (g[j] - mean_g - (x[j] - mean) * slope)


cdef void layer_backward_part(void* context, Py_ssize_t begin, Py_ssize_t end,
                              int thread) noexcept nogil:
    cdef Norm* s = <Norm*>context
    if s.L.b[4].dtype == FLOAT32:
        layer_chunks(s, begin, end, <float*>NULL)
    else:
        layer_chunks(s, begin, end, <double*>NULL)


cdef void add_chunks(Norm* s, Buf* out, Py_ssize_t first, real* type) noexcept nogil:
    """The chunks' shares added up in their order."""
    cdef Py_ssize_t j, k
    cdef real* total = <real*>out.data
    cdef real* share
    memset(total, 0, out.n * sizeof(real))
    for k in range(s.chunks):
        share = <real*>s.L.work + (2 * k + first) * s.width
        for j in range(s.width):
            total[j] += share[j]


cdef int layer_norm_backward_run(Launch* L) noexcept nogil:
    """dx, dweight, dbias; g, x, weight, mean, rstd.  ia: normalised axes, needs.

    Scratch, where dweight or dbias is wanted: two rows for each chunk of rows.
    """
    cdef Norm s
    cdef Py_ssize_t k
    if L.b[4].dtype != FLOAT32 and L.b[4].dtype != FLOAT64:
        return BAD_DTYPE
    layer_shape(&s, L, L.b[4])
    s.chunks = max(<Py_ssize_t>1, min(<Py_ssize_t>32, s.rows // 16))
    parallel_over(layer_backward_part, &s, s.chunks,
                  GRAIN * s.chunks // (L.b[4].n + 1) + 1, threads_of(L))
    for k in range(1, 3):
        if L.ia[1] >> k & 1:
            if L.b[4].dtype == FLOAT32:
                add_chunks(&s, L.b[k], k - 1, <float*>NULL)
            else:
                add_chunks(&s, L.b[k], k - 1, <double*>NULL)
    return OK


# Batch norm: a block of channels at a time, one channel where it has an inner extent.

cdef void channel_shape(Norm* s, Launch* L, Buf* x) noexcept nogil:
    cdef int d
    s.L, s.batch, s.channels, s.inner = L, x.shape[0], x.shape[1], 1
    for d in range(2, x.ndim):
        s.inner *= x.shape[d]


cdef void over_channels(Norm* s, void (*part)(void*, Py_ssize_t, Py_ssize_t, int) noexcept nogil
                        ) noexcept nogil:
    cdef Py_ssize_t width = COLUMNS if s.inner == 1 else 1
    cdef Py_ssize_t work = s.batch * s.inner * width
    parallel_over(part, s, (s.channels + width - 1) // width, GRAIN // (work + 1) + 1,
                  threads_of(s.L))


cdef void statistics(Norm* s, real* x, Py_ssize_t c, Py_ssize_t width, real* mean,
                     real* var) noexcept nogil:
    """Mean and biased variance of channels c to c + width."""
    cdef Py_ssize_t i, j, n = s.batch * s.inner
    cdef double total[COLUMNS]
    cdef real d
    for j in range(width):
        total[j] = 0
    for i in range(s.batch):
        if s.inner != 1:
            total[0] += row_sum(x + (i * s.channels + c) * s.inner, s.inner)
        else:
            for j in range(width):
                total[j] += x[i * s.channels + c + j]
    for j in range(width):
        mean[j] = <real>(total[j] / n)
        total[j] = 0
    for i in range(s.batch):
        if s.inner != 1:
            total[0] += row_deviation(x + (i * s.channels + c) * s.inner, mean[0], s.inner)
        else:
            for j in range(width):
                d = x[i * s.channels + c + j] - mean[j]
                total[j] += d * d
    for j in range(width):
        var[j] = <real>(total[j] / n)


cdef void affine(Norm* s, real* out, real* x, Py_ssize_t c, Py_ssize_t width, real* mean,
                 real* scale, real* shift) noexcept nogil:
    """out = (x - mean) scale + shift for channels c to c + width."""
    cdef Py_ssize_t i, j, at
    cdef real m = mean[0], a = scale[0], b = shift[0]
    for i in range(s.batch):
        at = (i * s.channels + c) * s.inner
        if s.inner != 1:
            for j in range(s.inner):
                out[at + j] = (x[at + j] - m) * a + b
        else:
            for j in range(width):
                out[at + j] = (x[at + j] - mean[j]) * scale[j] + shift[j]


cdef void normalise(Norm* s, Py_ssize_t begin, Py_ssize_t end, bint training,
                    real* type) noexcept nogil:
    """Blocks of channels: statistics where training, then the affine map."""
    cdef Launch* L = s.L
    cdef Py_ssize_t k, c, j, width
    cdef int at = 3 if training else 1
    cdef real* x = <real*>L.b[at].data
    cdef real* mean = <real*>L.b[1 if training else 2].data
    cdef real* var = <real*>L.b[2 if training else 3].data
    cdef real* w = data(L.b[4], type)
    cdef real* b = data(L.b[5], type)
    cdef real scale[COLUMNS]
    cdef real shift[COLUMNS]
    for k in range(begin, end):
        c = k * COLUMNS if s.inner == 1 else k
        width = min(<Py_ssize_t>COLUMNS, s.channels - c) if s.inner == 1 else 1
        if training:
            statistics(s, x, c, width, mean + c, var + c)
        for j in range(width):
            scale[j] = <real>(1 / sqrt(var[c + j] + L.fa[0]))
            if w != NULL:
                scale[j] *= w[c + j]
            shift[j] = b[c + j] if b != NULL else 0
        affine(s, <real*>L.b[0].data, x, c, width, mean + c, scale, shift)


cdef void batch_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Norm* s = <Norm*>context
    if s.L.b[0].dtype == FLOAT32:
        normalise(s, begin, end, True, <float*>NULL)
    else:
        normalise(s, begin, end, True, <double*>NULL)


cdef int batch_norm_run(Launch* L) noexcept nogil:
    """out, mean, var; x, weight, bias.  Contiguous; fa: eps."""
    cdef Norm s
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    channel_shape(&s, L, L.b[3])
    over_channels(&s, batch_part)
    return OK


cdef void inference_part(void* context, Py_ssize_t begin, Py_ssize_t end,
                         int thread) noexcept nogil:
    cdef Norm* s = <Norm*>context
    if s.L.b[0].dtype == FLOAT32:
        normalise(s, begin, end, False, <float*>NULL)
    else:
        normalise(s, begin, end, False, <double*>NULL)


cdef int batch_norm_inference_run(Launch* L) noexcept nogil:
    """out; x, mean, var, weight, bias.  Contiguous; fa: eps."""
    cdef Norm s
    if L.b[0].dtype != FLOAT32 and L.b[0].dtype != FLOAT64:
        return BAD_DTYPE
    channel_shape(&s, L, L.b[1])
    over_channels(&s, inference_part)
    return OK


cdef void batch_backward(Norm* s, Py_ssize_t begin, Py_ssize_t end, real* type) noexcept nogil:
    cdef Launch* L = s.L
    cdef Py_ssize_t k, c, i, j, at, width, n = s.batch * s.inner
    cdef real* dx = <real*>L.b[0].data
    cdef real* g = <real*>L.b[3].data
    cdef real* x = <real*>L.b[4].data
    cdef real* w = data(L.b[5], type)
    cdef real* mean
    cdef double sum_g[COLUMNS]
    cdef double slope[COLUMNS]
    cdef double rstd
    cdef real scale[COLUMNS]
    cdef real mean_g[COLUMNS]
    cdef real tilt[COLUMNS]
    cdef real m, a, b, t
    for k in range(begin, end):
        c = k * COLUMNS if s.inner == 1 else k
        width = min(<Py_ssize_t>COLUMNS, s.channels - c) if s.inner == 1 else 1
        mean = <real*>L.b[6].data + c
        for j in range(width):
            sum_g[j] = slope[j] = 0
        for i in range(s.batch):
            at = (i * s.channels + c) * s.inner
            if s.inner != 1:
                sum_g[0] += row_sum(g + at, s.inner)
                slope[0] += row_centred_dot(g + at, x + at, mean[0], s.inner)
            else:
                for j in range(width):
                    sum_g[j] += g[at + j]
                    slope[j] += <double>g[at + j] * (x[at + j] - mean[j])
        for j in range(width):
            rstd = 1 / sqrt((<real*>L.b[7].data)[c + j] + L.fa[0])
            if L.ia[0] & 2:
                (<real*>L.b[1].data)[c + j] = <real>(slope[j] * rstd)
            if L.ia[0] & 4:
                (<real*>L.b[2].data)[c + j] = <real>sum_g[j]
            scale[j] = <real>(rstd * w[c + j] if w != NULL else rstd)
            mean_g[j] = <real>(sum_g[j] / n)
            tilt[j] = <real>(slope[j] / n * rstd * rstd)
        if not L.ia[0] & 1:
            continue
        m, a, b, t = mean[0], scale[0], mean_g[0], tilt[0]
        for i in range(s.batch):
            at = (i * s.channels + c) * s.inner
            if s.inner != 1:
                for j in range(s.inner):
                    dx[at + j] = a * (g[at + j] - b - (x[at + j] - m) * t)
            else:
                for j in range(width):
                    dx[at + j] = scale[j] * (g[at + j] - mean_g[j]
                                             - (x[at + j] - mean[j]) * tilt[j])


cdef void batch_backward_part(void* context, Py_ssize_t begin, Py_ssize_t end,
                              int thread) noexcept nogil:
    cdef Norm* s = <Norm*>context
    if s.L.b[4].dtype == FLOAT32:
        batch_backward(s, begin, end, <float*>NULL)
    else:
        batch_backward(s, begin, end, <double*>NULL)


cdef int batch_norm_backward_run(Launch* L) noexcept nogil:
    """dx, dweight, dbias; g, x, weight, mean, var.  Contiguous; ia: needs; fa: eps."""
    cdef Norm s
    if L.b[4].dtype != FLOAT32 and L.b[4].dtype != FLOAT64:
        return BAD_DTYPE
    channel_shape(&s, L, L.b[4])
    over_channels(&s, batch_backward_part)
    return OK


cdef void move(Launch* L, double momentum, real* type) noexcept nogil:
    cdef Py_ssize_t c
    cdef real* running_mean = <real*>L.b[0].data
    cdef real* running_var = <real*>L.b[1].data
    cdef real* mean = <real*>L.b[2].data
    cdef real* var = <real*>L.b[3].data
    cdef real keep = <real>(1 - momentum), step = <real>momentum
    cdef real unbiased = <real>(<double>L.ia[0] / max(L.ia[0] - 1, 1))
    for c in range(L.b[0].n):
        running_mean[c] = keep * running_mean[c] + step * mean[c]
        running_var[c] = keep * running_var[c] + step * (var[c] * unbiased)


cdef int batch_norm_update_run(Launch* L) noexcept nogil:
    """running_mean, running_var, mean, var, count.  ia: n; fa: momentum."""
    cdef double momentum = 1 / number_at(L.b[4]) if L.b[4] != NULL else L.fa[0]
    if L.b[0].dtype == FLOAT32:
        move(L, momentum, <float*>NULL)
    elif L.b[0].dtype == FLOAT64:
        move(L, momentum, <double*>NULL)
    else:
        return BAD_DTYPE
    return OK


TABLE = {
    "layer_norm": <size_t>&layer_norm_run,
    "layer_norm_backward": <size_t>&layer_norm_backward_run,
    "batch_norm": <size_t>&batch_norm_run,
    "batch_norm_backward": <size_t>&batch_norm_backward_run,
    "batch_norm_inference": <size_t>&batch_norm_inference_run,
    "batch_norm_update_": <size_t>&batch_norm_update_run,
}
