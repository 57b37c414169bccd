# Matrix products: matmul over batches, and linear (x weight^T + bias).
# Invariant: the pool splits batch, rows or columns and each part runs on one thread,
# so no inner product is ever split.  Both add into out where L.beta = 1.
#
# Operands come as they lie: a matrix is taken as stored or transposed, by our own
# product from registers (panels.h), or by BLAS where it is small or both are transposed.
# Strides that neither can take (neither axis contiguous, negative, broadcast)
# are still right, through a plain loop.
from libc.string cimport memset

from kernels.blas cimport dot, gemm, gemv
from kernels.launch cimport (
    BAD_DTYPE, FLOAT32, FLOAT64, OK, Buf, Launch, itemsize, parallel_over, threads_of)
from kernels.panels cimport product
from kernels.types cimport real

cdef enum:
    PANELS_LEAST = 1 << 15      # multiply-adds from which our own product is the quicker one
    MATMUL_GRAIN = 1 << 20      # operations in a part at least: about 10 microseconds
    VECTOR_GRAIN = 1 << 17      # the same where each weight is used once: bound by memory
    UNIT = 32                   # rows or columns are split at multiples of this

cdef struct Matrix:
    char* data
    Py_ssize_t rs, cs           # strides of rows and columns, in elements
    Py_ssize_t ld               # from a stored row to the next
    bint trans                  # stored transposed
    Py_ssize_t step[8]          # strides of the batch axes, in bytes

cdef struct Product:
    int dtype, axes, beta
    Py_ssize_t m, n, k
    Matrix a, b, c
    Py_ssize_t shape[8]         # of the batch, outermost first
    Py_ssize_t pieces           # that one product is split in
    bint by_rows, plain
    char* bias                  # of n elements, or NULL
    Py_ssize_t bias_step
    char* sums                  # of m elements, set to the sums of a over k, or NULL


cdef bint blas_takes(Matrix* x, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    """Set `trans` and `ld`; False if BLAS cannot take the strides."""
    x.trans = False
    if rows <= 1 and cols <= 1:
        x.ld = 1
    elif rows <= 1:
        x.trans = x.cs != 1
        x.ld = x.cs if x.trans else cols
    elif cols <= 1:
        x.ld = x.rs
    elif x.cs == 1 and x.rs >= cols:
        x.ld = x.rs
    elif x.rs == 1 and x.cs >= rows:
        x.trans = True
        x.ld = x.cs
    else:
        return False
    return x.ld >= 1 and x.ld <= 0x7fffffff


cdef inline Py_ssize_t step_of(Matrix* x, bint trans, Py_ssize_t along_rows,
                               Py_ssize_t along_cols) noexcept nogil:
    """Offset in elements to (along_rows, along_cols) of a matrix that BLAS takes."""
    return along_cols * x.ld + along_rows if trans else along_rows * x.ld + along_cols


cdef void add_bias(Product* p, real* c, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t n) noexcept nogil:
    """Start c (m, n) as the bias, or add it where out is added into."""
    cdef Py_ssize_t i, j
    cdef real* row
    cdef char* bias = p.bias + j0 * p.bias_step
    for i in range(m):
        row = c + i * p.c.ld
        if p.beta:
            for j in range(n):
                row[j] += (<real*>(bias + j * p.bias_step))[0]
        elif p.bias_step == sizeof(real):
            for j in range(n):
                row[j] = (<real*>bias)[j]
        else:
            for j in range(n):
                row[j] = (<real*>(bias + j * p.bias_step))[0]


cdef void plain_product(Product* p, real* a, real* b, real* c, Py_ssize_t i0, Py_ssize_t i1,
                        Py_ssize_t j0, Py_ssize_t j1) noexcept nogil:
    """Rows [i0, i1), columns [j0, j1) of one product over any strides."""
    cdef Py_ssize_t i, j, l
    cdef real total
    for i in range(i0, i1):
        for j in range(j0, j1):
            total = 0
            for l in range(p.k):
                total += a[i * p.a.rs + l * p.a.cs] * b[l * p.b.rs + j * p.b.cs]
            if p.bias != NULL:
                total += (<real*>(p.bias + j * p.bias_step))[0]
            if p.beta:
                total += c[i * p.c.rs + j * p.c.cs]
            c[i * p.c.rs + j * p.c.cs] = total


cdef void outer_product(real* c, Py_ssize_t ldc, real* a, Py_ssize_t inca, real* b,
                        Py_ssize_t incb, Py_ssize_t m, Py_ssize_t n, bint add) noexcept nogil:
    """c (m, n) = a b^T, or added: a product over one term, which BLAS would pack and copy."""
    cdef Py_ssize_t i, j
    cdef real value
    cdef real* row
    for i in range(m):
        value, row = a[i * inca], c + i * ldc
        if incb != 1:
            for j in range(n):
                row[j] = (row[j] if add else <real>0) + value * b[j * incb]
        elif add:
            for j in range(n):
                row[j] += value * b[j]
        else:
            for j in range(n):
                row[j] = value * b[j]


cdef void add_up(real* sums, real* a, Py_ssize_t rs, Py_ssize_t cs, Py_ssize_t m,
                 Py_ssize_t k) noexcept nogil:
    """sums = the sums of m rows of a."""
    cdef Py_ssize_t i, l
    for i in range(m):
        sums[i] = 0
    for l in range(k):
        for i in range(m):
            sums[i] += a[i * rs + l * cs]


cdef void from_registers(Product* p, real* a, real* b, real* c, Py_ssize_t m, Py_ssize_t j0,
                         Py_ssize_t n, real* sums) noexcept nogil:
    """c (m, n) by our own product: the bias and the sums ride along."""
    cdef real* start = NULL
    cdef Py_ssize_t lds = 0
    if p.bias != NULL and (p.beta or p.bias_step != sizeof(real)):
        add_bias(p, c, m, j0, n)
        start, lds = c, p.c.ld
    elif p.bias != NULL:
        start = <real*>p.bias + j0
    elif p.beta:
        start, lds = c, p.c.ld
    if sums != NULL:
        memset(sums, 0, m * sizeof(real))
    product(c, p.c.ld, start, lds, a, 1 if p.a.trans else p.a.ld, p.a.ld if p.a.trans else 1,
            b, 1 if p.b.trans else p.b.ld, p.b.ld if p.b.trans else 1, m, n, p.k, <real>1, sums)


cdef void one_product(Product* p, real* a, real* b, real* c, Py_ssize_t i0, Py_ssize_t i1,
                      Py_ssize_t j0, Py_ssize_t j1) noexcept nogil:
    """Rows [i0, i1), columns [j0, j1) of one product of the batch."""
    cdef Py_ssize_t m = i1 - i0, n = j1 - j0, k = p.k
    cdef real beta = 1 if p.beta or p.bias != NULL else 0
    cdef Py_ssize_t inca, incb
    cdef real value
    cdef real* sums = NULL
    # BLAS is the quicker one where few columns leave our vectors empty, unless it would turn b.
    cdef bint own = (m >= 4 and (n >= 16 or p.b.trans) and m * n * k >= PANELS_LEAST
                     and not p.plain and not (p.a.trans and p.b.trans))
    if p.sums != NULL and j0 == 0:
        sums = <real*>p.sums + i0
        if not own or not p.a.trans:
            add_up(sums, a + i0 * p.a.rs, p.a.rs, p.a.cs, m, k)
            sums = NULL
    if p.plain:
        plain_product(p, a, b, c, i0, i1, j0, j1)
        return
    a += step_of(&p.a, p.a.trans, i0, 0)
    b += step_of(&p.b, p.b.trans, 0, j0)
    c += i0 * p.c.ld + j0
    if own:
        from_registers(p, a, b, c, m, j0, n, sums)
        return
    if p.bias != NULL:
        add_bias(p, c, m, j0, n)
    inca = p.a.ld if p.a.trans else 1           # along k
    incb = 1 if p.b.trans else p.b.ld
    if k == 1 and m > 1 and n > 1:
        outer_product(c, p.c.ld, a, p.a.ld, b, p.b.ld if p.b.trans else 1, m, n, beta != 0)
    elif k == 0 or (m > 1 and n > 1):
        gemm(p.a.trans, p.b.trans, m, n, k, <real>1, a, p.a.ld, b, p.b.ld, beta, c, p.c.ld)
    elif m == 1 and n == 1:
        value = dot(k, a, inca, b, incb)
        c[0] = value + c[0] if beta != 0 else value
    elif n == 1:
        if p.a.trans:
            gemv(True, k, m, <real>1, a, p.a.ld, b, incb, beta, c, p.c.ld)
        else:
            gemv(False, m, k, <real>1, a, p.a.ld, b, incb, beta, c, p.c.ld)
    elif p.b.trans:
        gemv(False, n, k, <real>1, b, p.b.ld, a, inca, beta, c, 1)
    else:
        gemv(True, k, n, <real>1, b, p.b.ld, a, inca, beta, c, 1)


cdef void product_part(void* context, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    """Pieces [begin, end) of all products: neighbouring pieces of one product run together."""
    cdef Product* p = <Product*>context
    cdef Py_ssize_t entry, rest, i, first, last
    cdef Py_ssize_t i0, i1, j0, j1
    cdef char* a
    cdef char* b
    cdef char* c
    cdef int d
    while begin < end:
        entry = begin // p.pieces
        first = begin - entry * p.pieces
        last = min(p.pieces, first + end - begin)
        begin += last - first
        a, b, c = p.a.data, p.b.data, p.c.data
        rest = entry
        for d in range(p.axes - 1, -1, -1):
            i = rest % p.shape[d]
            rest = rest // p.shape[d]
            a += i * p.a.step[d]
            b += i * p.b.step[d]
            c += i * p.c.step[d]
        i0, i1, j0, j1 = 0, p.m, 0, p.n
        if p.pieces > 1 and p.by_rows:
            i0, i1 = first * UNIT, min(last * UNIT, p.m)
        elif p.pieces > 1:
            j0, j1 = first * UNIT, min(last * UNIT, p.n)
        if p.dtype == FLOAT32:
            one_product[float](p, <float*>a, <float*>b, <float*>c, i0, i1, j0, j1)
        else:
            one_product[double](p, <double*>a, <double*>b, <double*>c, i0, i1, j0, j1)


cdef void batch_steps(Matrix* x, Buf* buf, int own, Buf* out, int axes) noexcept nogil:
    """Strides of x along out's batch axes, 0 where x is broadcast; its last `own` axes are left."""
    cdef int d, at
    for d in range(axes):
        at = d - axes + buf.ndim - own
        x.step[d] = buf.strides[at] if at >= 0 and buf.shape[at] != 1 else 0


cdef void merge_axes(Product* p, Py_ssize_t size) noexcept nogil:
    """Drop batch axes of size 1; where b is the same for all, take batch entries as rows."""
    cdef int d, axes = 0
    for d in range(p.axes):
        if p.shape[d] != 1:
            p.shape[axes] = p.shape[d]
            p.a.step[axes] = p.a.step[d]
            p.b.step[axes] = p.b.step[d]
            p.c.step[axes] = p.c.step[d]
            axes += 1
    while axes > 0:
        d = axes - 1
        if p.m == 1:                            # a single row may step as it likes
            p.a.rs = p.a.step[d] // size
            p.c.rs = p.c.step[d] // size
        if (p.b.step[d] != 0 or p.a.step[d] <= 0 or p.a.step[d] != p.m * p.a.rs * size
                or p.c.step[d] != p.m * p.c.rs * size):
            break
        p.m *= p.shape[d]
        axes -= 1
    p.axes = axes


cdef int product_run(Launch* L, Buf* out, Buf* x, Buf* y, bint y_trans, Buf* bias,
                     Buf* sums) noexcept nogil:
    """out (+)= x @ y (+ bias), y as its transpose where y_trans; sums = those of x's rows."""
    cdef Product p
    cdef Py_ssize_t size = itemsize(out.dtype), entries = 1, flops, units, grain, threads
    cdef int d, row = x.ndim > 1, col = y.ndim > 1
    if (out.dtype != FLOAT32 and out.dtype != FLOAT64) or x.dtype != out.dtype \
            or y.dtype != out.dtype:
        return BAD_DTYPE
    if out.n == 0:
        return OK
    p.dtype, p.beta = out.dtype, L.beta
    p.axes = out.ndim - row - col
    p.k = x.shape[x.ndim - 1]
    p.m = x.shape[x.ndim - 2] if row else 1
    p.a.data, p.b.data, p.c.data = x.data, y.data, out.data
    p.a.cs = x.strides[x.ndim - 1] // size
    p.a.rs = x.strides[x.ndim - 2] // size if row else p.k
    if y_trans:
        p.n = y.shape[0]
        p.b.rs, p.b.cs = y.strides[1] // size, y.strides[0] // size
    else:
        p.n = y.shape[y.ndim - 1] if col else 1
        p.b.rs = y.strides[y.ndim - 2 if col else 0] // size
        p.b.cs = y.strides[y.ndim - 1] // size if col else 1
    p.c.cs = out.strides[out.ndim - 1] // size if col else 1
    p.c.rs = out.strides[out.ndim - 1 - col] // size if row else p.n
    for d in range(p.axes):
        p.shape[d] = out.shape[d]
        p.c.step[d] = out.strides[d]
    batch_steps(&p.a, x, 1 + row, out, p.axes)
    batch_steps(&p.b, y, 1 + col, out, p.axes)
    p.bias = NULL
    if bias != NULL:
        p.bias, p.bias_step = bias.data, bias.strides[0]
    p.sums = sums.data if sums != NULL else NULL
    merge_axes(&p, size)
    for d in range(p.axes):
        entries *= p.shape[d]
    # An empty inner axis leaves zeros (or the bias), whatever the strides.
    p.plain = (not blas_takes(&p.a, p.m, p.k) or not blas_takes(&p.b, p.k, p.n)
               or not blas_takes(&p.c, p.m, p.n) or (p.c.trans and p.n > 1)) and p.k > 0
    if p.k == 0:
        p.a.ld = p.b.ld = 1
        p.plain = not blas_takes(&p.c, p.m, p.n) or (p.c.trans and p.n > 1)
    if p.plain:
        p.c.ld = p.c.rs
    # Whole products where there are many, else pieces of the longer axis.
    threads = threads_of(L)
    p.by_rows = p.m > p.n
    units = ((p.m if p.by_rows else p.n) + UNIT - 1) // UNIT
    p.pieces = units if entries < 2 * threads else 1
    flops = 2 * p.m * p.n * (p.k + 1) // p.pieces + 1
    grain = VECTOR_GRAIN if p.m < 4 or p.n < 4 else MATMUL_GRAIN
    parallel_over(product_part, &p, entries * p.pieces, (grain + flops - 1) // flops, <int>threads)
    return OK


cdef int matmul_run(Launch* L) noexcept nogil:
    """out = x @ y.  out, x, y: matrices in either order, any batch strides; 1-d as in NumPy."""
    return product_run(L, L.b[0], L.b[1], L.b[2], False, NULL, NULL)


cdef int linear_run(Launch* L) noexcept nogil:
    """out (..., n) = x (..., k) @ weight (n, k)^T + bias (n), which may be NULL."""
    return product_run(L, L.b[0], L.b[1], L.b[2], True, L.b[3], NULL)


cdef int linear_backward_weight_run(Launch* L) noexcept nogil:
    """dweight (n, k), dbias (n) where it has elements; g (rows, n), x (rows, k)."""
    cdef Buf turned = L.b[2][0]
    cdef Buf* sums = L.b[1] if L.b[1].n else NULL
    cdef Py_ssize_t size = itemsize(turned.dtype)
    turned.shape[0], turned.shape[1] = turned.shape[1], turned.shape[0]
    turned.strides[0], turned.strides[1] = turned.strides[1], turned.strides[0]
    if L.b[0].n == 0 and sums != NULL:      # x has no column
        if turned.dtype == FLOAT32:
            add_up(<float*>sums.data, <float*>turned.data, turned.strides[0] // size,
                   turned.strides[1] // size, turned.shape[0], turned.shape[1])
        elif turned.dtype == FLOAT64:
            add_up(<double*>sums.data, <double*>turned.data, turned.strides[0] // size,
                   turned.strides[1] // size, turned.shape[0], turned.shape[1])
    return product_run(L, L.b[0], &turned, L.b[3], False, NULL, sums)


TABLE = {"matmul": <size_t>&matmul_run, "linear": <size_t>&linear_run,
         "linear_backward_weight": <size_t>&linear_backward_weight_run}
