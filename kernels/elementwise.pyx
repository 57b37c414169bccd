# Elementwise kernels: functions of one, two and three arrays of one shape (the
# door has broadcast them: stride 0).
#
# Each function is a tag type, a branch in one generic function of scalars, and a
# line of the TABLE.  A tag holds a Launch and nothing else, so a pointer to it is
# a pointer to the Launch, and Cython compiles the generic loops once for each tag.
# Invariant: only contiguous loops (or with scalar operands) exist; other strides,
# all integers and outputs that are their own inputs pass through blocks on the stack.
from libc.math cimport (
    INFINITY, ceil, copysign, cos, fabs, floor, fmod, pow, rint, sin, sqrt)
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from kernels.blocks cimport BLOCK, gather, native, scatter, value
from kernels.launch cimport BAD_DTYPE, BOOL, FLOAT32, FLOAT64, OK, Launch, itemsize
from kernels.ndloop cimport loop_t, ndloop
from kernels.types cimport real
from kernels.vmath cimport (
    VM_SIN_END, vcos, verf, vnormal, vexp, vexpm1, vlog, vlog1p, vm_pow_f, vsigmoid, vsin, vtanh)

cdef enum:
    CHEAP = 1 << 16             # elements a thread should have: memory-bound functions ...
    COSTLY = 1 << 14            # ... and those of a nanosecond an element


cdef inline void start(Launch* L, loop_t loop, int nop, Py_ssize_t grain) noexcept nogil:
    """ndloop, with short ways for single elements and for short runs (a chunk of a group)."""
    cdef char* p[4]
    cdef Py_ssize_t s[4]
    cdef int k
    if L.b[0].n == 1:
        for k in range(nop):
            p[k] = L.b[k].data
            s[k] = itemsize(L.b[k].dtype)
        loop(L, p, s, 1)
    elif L.b[0].ndim == 1 and 0 < L.b[0].n <= grain:
        for k in range(nop):
            p[k] = L.b[k].data
            s[k] = L.b[k].strides[0]
        loop(L, p, s, L.b[0].n)
    else:
        ndloop(loop, L, L.b, nop, grain)


# ---- functions of one array

ctypedef struct Negative:
    Launch L
ctypedef struct Abs:
    Launch L
ctypedef struct Sign:
    Launch L
ctypedef struct Square:
    Launch L
ctypedef struct Floor:
    Launch L
ctypedef struct Ceil:
    Launch L
ctypedef struct Round:
    Launch L
ctypedef struct Sqrt:
    Launch L
ctypedef struct Rsqrt:
    Launch L
ctypedef struct Exp:
    Launch L
ctypedef struct Expm1:
    Launch L
ctypedef struct Log:
    Launch L
ctypedef struct Log1p:
    Launch L
ctypedef struct Sin:
    Launch L
ctypedef struct Cos:
    Launch L
ctypedef struct Erf:
    Launch L
ctypedef struct Tanh:
    Launch L
ctypedef struct Sigmoid:
    Launch L
ctypedef struct Relu:
    Launch L
ctypedef struct Silu:
    Launch L
ctypedef struct Gelu:
    Launch L
ctypedef struct GeluTanh:
    Launch L
ctypedef struct Clip:
    Launch L

ctypedef fused Unary:
    Negative
    Abs
    Sign
    Square
    Floor
    Ceil
    Round
    Sqrt
    Rsqrt
    Exp
    Expm1
    Log
    Log1p
    Sin
    Cos
    Erf
    Tanh
    Sigmoid
    Relu
    Silu
    Gelu
    GeluTanh
    Clip


cdef inline value unary(Unary* f, value x, value low, value high) noexcept nogil:
    """f(x); `low` and `high` are clip's."""
    if Unary is Negative:
        return <int64_t>(0 - <uint64_t>x) if value is int64_t else -x
    elif Unary is Abs:
        if value is int64_t:
            return <int64_t>(0 - <uint64_t>x) if x < 0 else x
        else:
            return <value>fabs(x)
    elif Unary is Sign:
        if value is int64_t:
            return (x > 0) - (x < 0)
        else:
            return <value>1 if x > 0 else (<value>-1 if x < 0 else (<value>0 if x == 0 else x))
    elif Unary is Square:
        return <int64_t>(<uint64_t>x * <uint64_t>x) if value is int64_t else x * x
    elif Unary is Relu:
        return x if (x > 0) | (x != x) else <value>0                        # NaN stays
    elif Unary is Clip:
        x = low if x < low else x
        return high if x > high else x
    elif value is int64_t:
        return x                        # floor, ceil, round; the rest never see integers
    elif Unary is Floor:
        return <value>floor(x)
    elif Unary is Ceil:
        return <value>ceil(x)
    elif Unary is Round:
        return <value>rint(x)
    elif Unary is Sqrt:
        return <value>sqrt(x)
    elif Unary is Rsqrt:
        return <value>1 / <value>sqrt(x)
    elif Unary is Exp:
        return vexp(x)
    elif Unary is Expm1:
        return vexpm1(x)
    elif Unary is Log:
        return vlog(x)
    elif Unary is Log1p:
        return vlog1p(x)
    elif Unary is Sin:
        return vsin(x)
    elif Unary is Cos:
        return vcos(x)
    elif Unary is Erf:
        return verf(x)
    elif Unary is Tanh:
        return vtanh(x)
    elif Unary is Sigmoid:
        return vsigmoid(x)
    elif Unary is Silu:
        return x * vsigmoid(x)
    elif Unary is Gelu:
        return x * vnormal(x, &low)
    else:                               # (1 + tanh u) / 2 = sigmoid(2 u)
        return x * vsigmoid(x * (<value>1.5957691216057308
                                 + <value>0.07135481627260025 * (x * x)))


cdef void unary_flat(Unary* f, value* out, value* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef value low = 0, high = 0
    if Unary is Clip:
        if value is int64_t:
            low, high = f.L.ia[0], f.L.ia[1]
        else:
            low, high = <value>f.L.fa[0], <value>f.L.fa[1]
    for i in range(n):
        out[i] = unary(f, x[i], low, high)
    if Unary is Sin or Unary is Cos:    # huge angles need more digits of pi
        for i in range(n):
            if fabs(x[i]) > VM_SIN_END:
                out[i] = <value>(sin(x[i]) if Unary is Sin else cos(x[i]))


cdef inline void unary_blocks(Unary* f, char** p, Py_ssize_t* s, Py_ssize_t n,
                              value* type) noexcept nogil:
    cdef value out[BLOCK]
    cdef value x[BLOCK]
    cdef Py_ssize_t k, at, m
    cdef int dtype = f.L.b[0].dtype
    if native(dtype, sizeof(value)) and s[0] == sizeof(value) and s[1] == sizeof(value):
        if p[0] != p[1]:
            unary_flat(f, <value*>p[0], <value*>p[1], n)
            return
    for k in range((n + BLOCK - 1) // BLOCK):
        at = k * BLOCK
        m = min(<Py_ssize_t>BLOCK, n - at)
        gather(x, p[1] + at * s[1], s[1], m, dtype)
        unary_flat(f, out, x, m)
        scatter(p[0] + at * s[0], s[0], out, m, dtype)


cdef void unary_loop(Unary* f, char** p, Py_ssize_t* s, Py_ssize_t n) noexcept nogil:
    cdef int dtype = f.L.b[0].dtype
    if dtype == FLOAT32:
        unary_blocks(f, p, s, n, <float*>NULL)
    elif dtype == FLOAT64:
        unary_blocks(f, p, s, n, <double*>NULL)
    elif (Unary is Negative or Unary is Abs or Unary is Sign or Unary is Square or Unary is Relu
          or Unary is Clip or Unary is Floor or Unary is Ceil or Unary is Round):
        unary_blocks(f, p, s, n, <int64_t*>NULL)


cdef inline bint cheap(Unary* f) noexcept nogil:
    return (Unary is Negative or Unary is Abs or Unary is Sign or Unary is Square or Unary is Relu
            or Unary is Clip or Unary is Floor or Unary is Ceil or Unary is Round)


cdef int unary_run(Unary* f) noexcept nogil:
    """out = f(x).  Strided."""
    cdef bint ints = cheap(f)
    if f.L.b[0].dtype != f.L.b[1].dtype or (f.L.b[0].dtype < FLOAT32 and not ints):
        return BAD_DTYPE
    if Unary is Gelu:
        if f.L.ia[0]:
            start(&f.L, <loop_t>unary_loop[GeluTanh], 2, COSTLY)
            return OK
    start(&f.L, <loop_t>unary_loop[Unary], 2, CHEAP if ints else COSTLY)
    return OK


# ---- functions of two arrays

ctypedef struct Add:
    Launch L
ctypedef struct Subtract:
    Launch L
ctypedef struct Multiply:
    Launch L
ctypedef struct Divide:
    Launch L
ctypedef struct FloorDivide:
    Launch L
ctypedef struct Remainder:
    Launch L
ctypedef struct Pow:
    Launch L
ctypedef struct PowSlope:
    Launch L
ctypedef struct Maximum:
    Launch L
ctypedef struct Minimum:
    Launch L
ctypedef struct TanhBackward:
    Launch L
ctypedef struct SigmoidBackward:
    Launch L
ctypedef struct ReluBackward:
    Launch L
ctypedef struct SiluBackward:
    Launch L
ctypedef struct GeluBackward:
    Launch L
ctypedef struct GeluTanhBackward:
    Launch L
ctypedef struct ClipBackward:
    Launch L

ctypedef fused Binary:
    Add
    Subtract
    Multiply
    Divide
    FloorDivide
    Remainder
    Pow
    PowSlope
    Maximum
    Minimum
    TanhBackward
    SigmoidBackward
    ReluBackward
    SiluBackward
    GeluBackward
    GeluTanhBackward
    ClipBackward


cdef inline int64_t int_quotient(int64_t x, int64_t y) noexcept nogil:
    """floor(x / y); 0 for y = 0, and the most negative number over -1 wraps."""
    cdef int64_t q
    if y == 0:
        return 0
    if y == -1:
        return <int64_t>(0 - <uint64_t>x)
    q = x // y
    return q - 1 if (x % y != 0) and ((x < 0) != (y < 0)) else q


cdef inline int64_t int_power(int64_t x, int64_t y) noexcept nogil:
    """x ** y, wrapping; 1 / (x ** -y) truncated for negative y."""
    cdef uint64_t result = 1, base = <uint64_t>x
    if y < 0:
        return 1 if x == 1 else ((-1 if y & 1 else 1) if x == -1 else 0)
    while y:
        if y & 1:
            result *= base
        base *= base
        y >>= 1
    return <int64_t>result


cdef inline real power(real x, real y) noexcept nogil:
    return vm_pow_f(x, y) if real is float else pow(x, y)


cdef inline real float_remainder(real x, real y) noexcept nogil:
    """x - floor(x / y) y, exactly: fmod, moved to the sign of y."""
    cdef real r = <real>fmod(x, y)
    if r != 0:
        return r + y if (r < 0) != (y < 0) else r
    return <real>copysign(r, y)


cdef inline real float_quotient(real x, real y) noexcept nogil:
    """floor(x / y) that agrees with the remainder."""
    cdef real q, r
    if y == 0:
        return x / y
    r = <real>fmod(x, y)
    q = (x - r) / y
    if r != 0 and (r < 0) != (y < 0):
        q -= 1
    if q == 0:
        return <real>copysign(<real>0, x / y)
    r = <real>floor(q)                  # rounding may leave q just beside the integer
    return r + 1 if q - r > <real>0.5 else r


cdef inline value binary(Binary* f, value x, value y, value low, value high) noexcept nogil:
    """f(x, y); in the gradients x is g and y the input or output that they need."""
    cdef value a, b, c
    if Binary is Add:
        return <int64_t>(<uint64_t>x + <uint64_t>y) if value is int64_t else x + y
    elif Binary is Subtract:
        return <int64_t>(<uint64_t>x - <uint64_t>y) if value is int64_t else x - y
    elif Binary is Multiply:
        return <int64_t>(<uint64_t>x * <uint64_t>y) if value is int64_t else x * y
    elif Binary is Maximum:             # the second comparison lets NaN win from either side
        return x if (x > y) | (x != x) else y
    elif Binary is Minimum:
        return x if (x < y) | (x != x) else y
    elif Binary is FloorDivide:
        return int_quotient(x, y) if value is int64_t else float_quotient(x, y)
    elif Binary is Remainder:
        if value is int64_t:
            return 0 if y == 0 else <int64_t>(<uint64_t>x - <uint64_t>int_quotient(x, y)
                                              * <uint64_t>y)
        else:
            return float_remainder(x, y)
    elif Binary is Pow:
        return int_power(x, y) if value is int64_t else power(x, y)
    elif Binary is ReluBackward:
        return x if y > 0 else <value>0
    elif Binary is ClipBackward:
        return x if y >= low and y <= high else <value>0
    elif value is int64_t:
        return 0                        # never called: see binary_run
    elif Binary is Divide:
        return x / y
    elif Binary is PowSlope:
        return <value>0 if y == 0 else y * power(x, y - 1)
    elif Binary is TanhBackward:
        return x * (1 - y * y)
    elif Binary is SigmoidBackward:
        return x * (y * (1 - y))
    elif Binary is SiluBackward:
        a = vsigmoid(y)
        return x * (a * (1 + y * (1 - a)))
    elif Binary is GeluBackward:
        a = vnormal(y, &b)
        b = b * <value>0.3989422804014327
        # y = +-inf: the density is 0, and inf * 0 would spoil it
        return x * (a + (y * b if b > 0 else b))
    else:
        b = y * y
        a = vsigmoid(y * (<value>1.5957691216057308 + <value>0.07135481627260025 * b))
        c = a * (1 - a)
        b = y * (<value>1.5957691216057308 + <value>0.21406444881780076 * b)
        return x * (a + (b * c if c > 0 else c))


cdef void scaled_power(real* out, real* x, Py_ssize_t n, real e, real scale) noexcept nogil:
    """out = scale * x ** e for one exponent: the common ones without pow."""
    cdef Py_ssize_t i
    if e == 0 or scale == 0:
        for i in range(n):
            out[i] = scale
    elif e == 2:
        for i in range(n):
            out[i] = scale * (x[i] * x[i])
    elif e == 1:
        for i in range(n):
            out[i] = scale * x[i]
    elif e == 3:
        for i in range(n):
            out[i] = scale * (x[i] * x[i] * x[i])
    elif e == 4:
        for i in range(n):
            out[i] = scale * ((x[i] * x[i]) * (x[i] * x[i]))
    elif e == -1:
        for i in range(n):
            out[i] = scale / x[i]
    elif e == -2:
        for i in range(n):
            out[i] = scale / (x[i] * x[i])
    elif e == 0.5:
        for i in range(n):              # as pow: 0 for -0, inf for -inf
            out[i] = scale * (<real>INFINITY if x[i] == -INFINITY else <real>sqrt(x[i]) + 0)
    else:
        for i in range(n):
            out[i] = scale * power(x[i], e)


cdef void binary_flat(Binary* f, value* out, value* x, bint x_one, value* y, bint y_one,
                      Py_ssize_t n) noexcept nogil:
    """Contiguous operands; x_one, y_one: a single element stands for all."""
    cdef Py_ssize_t i
    cdef value x0, y0, low = 0, high = 0
    if Binary is ClipBackward:
        low, high = <value>f.L.fa[0], <value>f.L.fa[1]
    if not x_one and not y_one:
        for i in range(n):
            out[i] = binary(f, x[i], y[i], low, high)
        return
    x0, y0 = x[0], y[0]
    if not x_one:
        if Binary is Pow and value is not int64_t:
            scaled_power(out, x, n, y0, <value>1)
        elif Binary is PowSlope and value is not int64_t:
            scaled_power(out, x, n, y0 - 1, y0)
        else:
            for i in range(n):
                out[i] = binary(f, x[i], y0, low, high)
    elif not y_one:
        for i in range(n):
            out[i] = binary(f, x0, y[i], low, high)
    else:
        for i in range(n):
            out[i] = binary(f, x0, y0, low, high)


cdef inline void binary_blocks(Binary* f, char** p, Py_ssize_t* s, Py_ssize_t n,
                               value* type) noexcept nogil:
    cdef value out[BLOCK]
    cdef value x[BLOCK]
    cdef value y[BLOCK]
    cdef Py_ssize_t k, at, m, size = sizeof(value)
    cdef int dtype = f.L.b[0].dtype
    cdef bint whole = native(dtype, size)
    cdef bint x_one = s[1] == 0, y_one = s[2] == 0
    cdef bint x_in_place = whole and s[1] == size, y_in_place = whole and s[2] == size
    cdef value* u = x
    cdef value* v = y
    if whole and s[0] == size and (x_one or s[1] == size) and (y_one or s[2] == size):
        if p[0] != p[1] and p[0] != p[2]:
            binary_flat(f, <value*>p[0], <value*>p[1], x_one, <value*>p[2], y_one, n)
            return
    if x_one:
        gather(x, p[1], 0, 1, dtype)
    if y_one:
        gather(y, p[2], 0, 1, dtype)
    for k in range((n + BLOCK - 1) // BLOCK):
        at = k * BLOCK
        m = min(<Py_ssize_t>BLOCK, n - at)
        if x_in_place:
            u = <value*>p[1] + at
        elif not x_one:
            gather(x, p[1] + at * s[1], s[1], m, dtype)
        if y_in_place:
            v = <value*>p[2] + at
        elif not y_one:
            gather(y, p[2] + at * s[2], s[2], m, dtype)
        binary_flat(f, out, u, x_one, v, y_one, m)
        if whole and s[0] == size:
            memcpy(p[0] + at * size, out, m * size)
        else:
            scatter(p[0] + at * s[0], s[0], out, m, dtype)


cdef void binary_loop(Binary* f, char** p, Py_ssize_t* s, Py_ssize_t n) noexcept nogil:
    cdef int dtype = f.L.b[0].dtype
    if dtype == FLOAT32:
        binary_blocks(f, p, s, n, <float*>NULL)
    elif dtype == FLOAT64:
        binary_blocks(f, p, s, n, <double*>NULL)
    elif (Binary is Add or Binary is Subtract or Binary is Multiply or Binary is FloorDivide
          or Binary is Remainder or Binary is Pow or Binary is Maximum or Binary is Minimum):
        binary_blocks(f, p, s, n, <int64_t*>NULL)


cdef int binary_run(Binary* f) noexcept nogil:
    """out = f(x, y).  Strided."""
    cdef int dtype = f.L.b[0].dtype
    cdef bint ints = (Binary is Add or Binary is Subtract or Binary is Multiply
                      or Binary is FloorDivide or Binary is Remainder or Binary is Pow
                      or Binary is Maximum or Binary is Minimum)
    cdef Py_ssize_t grain = COSTLY if (
        Binary is FloorDivide or Binary is Remainder or Binary is Pow or Binary is PowSlope
        or Binary is SiluBackward or Binary is GeluBackward) else CHEAP
    if (f.L.b[1].dtype != dtype or f.L.b[2].dtype != dtype
            or (dtype < FLOAT32 and not ints)):
        return BAD_DTYPE
    if Binary is GeluBackward:
        if f.L.ia[0]:
            start(&f.L, <loop_t>binary_loop[GeluTanhBackward], 3, grain)
            return OK
    start(&f.L, <loop_t>binary_loop[Binary], 3, grain)
    return OK


# ---- tests of one or two arrays: bool out

ctypedef struct Equal:
    Launch L
ctypedef struct NotEqual:
    Launch L
ctypedef struct Less:
    Launch L
ctypedef struct LessEqual:
    Launch L
ctypedef struct Greater:
    Launch L
ctypedef struct GreaterEqual:
    Launch L
ctypedef struct LogicalAnd:
    Launch L
ctypedef struct LogicalOr:
    Launch L
ctypedef struct LogicalXor:
    Launch L
ctypedef struct LogicalNot:
    Launch L
ctypedef struct IsNan:
    Launch L
ctypedef struct IsInf:
    Launch L
ctypedef struct IsFinite:
    Launch L

ctypedef fused Test:
    Equal
    NotEqual
    Less
    LessEqual
    Greater
    GreaterEqual
    LogicalAnd
    LogicalOr
    LogicalXor
    LogicalNot
    IsNan
    IsInf
    IsFinite


cdef inline bint test(Test* f, value x, value y) noexcept nogil:
    if Test is Equal:
        return x == y
    elif Test is NotEqual:
        return x != y
    elif Test is Less:
        return x < y
    elif Test is LessEqual:
        return x <= y
    elif Test is Greater:
        return x > y
    elif Test is GreaterEqual:
        return x >= y
    elif Test is LogicalAnd:
        return (x != 0) & (y != 0)
    elif Test is LogicalOr:
        return (x != 0) | (y != 0)
    elif Test is LogicalXor:
        return (x != 0) ^ (y != 0)
    elif Test is LogicalNot:
        return x == 0
    elif value is int64_t:
        return Test is IsFinite
    elif Test is IsNan:
        return x != x
    elif Test is IsInf:
        return fabs(x) == INFINITY
    else:
        return fabs(x) < INFINITY


cdef void test_blocks(Test* f, char** p, Py_ssize_t* s, Py_ssize_t n, bint two,
                      value* type) noexcept nogil:
    cdef uint8_t out[BLOCK]
    cdef value x[BLOCK]
    cdef value y[BLOCK]
    cdef Py_ssize_t k, at, m, i, size = sizeof(value)
    cdef int dtype = f.L.b[1].dtype
    cdef bint whole = native(dtype, size)
    cdef bint y_one = two and s[2] == 0
    cdef bint x_in_place = whole and s[1] == size, y_in_place = two and whole and s[2] == size
    cdef value* u = x
    cdef value* v = y
    cdef value y0
    y[0] = 0
    if y_one:
        gather(y, p[2], 0, 1, dtype)
    for k in range((n + BLOCK - 1) // BLOCK):
        at = k * BLOCK
        m = min(<Py_ssize_t>BLOCK, n - at)
        if x_in_place:
            u = <value*>p[1] + at
        else:
            gather(x, p[1] + at * s[1], s[1], m, dtype)
        if y_in_place:
            v = <value*>p[2] + at
        elif two and not y_one:
            gather(y, p[2] + at * s[2], s[2], m, dtype)
        if two and not y_one:
            for i in range(m):
                out[i] = test(f, u[i], v[i])
        else:
            y0 = y[0]
            for i in range(m):
                out[i] = test(f, u[i], y0)
        if s[0] == 1:
            memcpy(p[0] + at, out, m)
        else:
            for i in range(m):
                p[0][(at + i) * s[0]] = out[i]


cdef void test_loop(Test* f, char** p, Py_ssize_t* s, Py_ssize_t n) noexcept nogil:
    cdef int dtype = f.L.b[1].dtype
    cdef bint two = not (Test is LogicalNot or Test is IsNan or Test is IsInf
                         or Test is IsFinite)
    if dtype == FLOAT32:
        test_blocks(f, p, s, n, two, <float*>NULL)
    elif dtype == FLOAT64:
        test_blocks(f, p, s, n, two, <double*>NULL)
    else:
        test_blocks(f, p, s, n, two, <int64_t*>NULL)


cdef int test_run(Test* f) noexcept nogil:
    """out = a test of x, or of x and y; out is bool.  Strided."""
    cdef int nop = 2 if (Test is LogicalNot or Test is IsNan or Test is IsInf
                         or Test is IsFinite) else 3
    if f.L.b[0].dtype != BOOL or (nop == 3 and f.L.b[1].dtype != f.L.b[2].dtype):
        return BAD_DTYPE
    start(&f.L, <loop_t>test_loop[Test], nop, CHEAP)
    return OK


# ---- functions of three arrays

ctypedef fused word:            # `where` only moves values: their size matters, not their dtype
    uint8_t
    int16_t
    int32_t
    int64_t


cdef void where_words(char** p, Py_ssize_t* s, Py_ssize_t n, word* type) noexcept nogil:
    cdef word* out = <word*>p[0]
    cdef uint8_t* cond = <uint8_t*>p[1]
    cdef word* x = <word*>p[2]
    cdef word* y = <word*>p[3]
    cdef word x0 = x[0], y0 = y[0]
    cdef Py_ssize_t i, size = sizeof(word)
    if s[0] == size and s[1] == 1 and s[2] == size and s[3] == size:
        for i in range(n):
            out[i] = x[i] if cond[i] else y[i]
    elif s[0] == size and s[1] == 1 and s[2] == size and s[3] == 0:
        for i in range(n):
            out[i] = x[i] if cond[i] else y0
    elif s[0] == size and s[1] == 1 and s[2] == 0 and s[3] == size:
        for i in range(n):
            out[i] = x0 if cond[i] else y[i]
    else:
        for i in range(n):
            (<word*>(p[0] + i * s[0]))[0] = (
                (<word*>(p[2] + i * s[2]))[0] if (p[1] + i * s[1])[0]
                else (<word*>(p[3] + i * s[3]))[0])


cdef void where_loop(Launch* L, char** p, Py_ssize_t* s, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t size = itemsize(L.b[0].dtype)
    if size == 4:
        where_words(p, s, n, <int32_t*>NULL)
    elif size == 8:
        where_words(p, s, n, <int64_t*>NULL)
    elif size == 1:
        where_words(p, s, n, <uint8_t*>NULL)
    else:
        where_words(p, s, n, <int16_t*>NULL)


cdef int where_run(Launch* L) noexcept nogil:
    """out = x where cond, else y.  Strided; cond is bool."""
    if (L.b[1].dtype != BOOL or L.b[0].dtype != L.b[2].dtype
            or L.b[0].dtype != L.b[3].dtype):
        return BAD_DTYPE
    start(L, where_loop, 4, CHEAP)
    return OK


cdef void select_reals(char** p, Py_ssize_t* s, Py_ssize_t n, real* type) noexcept nogil:
    cdef real* out = <real*>p[0]
    cdef real* g = <real*>p[1]
    cdef real* x = <real*>p[2]
    cdef real* y = <real*>p[3]
    cdef real half = <real>0.5, zero = 0, a, b, c
    cdef Py_ssize_t i, size = sizeof(real)
    if s[0] == size and s[1] == size and s[2] == size and s[3] == size:
        for i in range(n):
            c = g[i]
            out[i] = c if x[i] > y[i] else (half * c if x[i] == y[i] else zero)
    else:
        for i in range(n):
            a = (<real*>(p[2] + i * s[2]))[0]
            b = (<real*>(p[3] + i * s[3]))[0]
            c = (<real*>(p[1] + i * s[1]))[0]
            (<real*>(p[0] + i * s[0]))[0] = c if a > b else (half * c if a == b else zero)


cdef void select_loop(Launch* L, char** p, Py_ssize_t* s, Py_ssize_t n) noexcept nogil:
    if L.b[0].dtype == FLOAT32:
        select_reals(p, s, n, <float*>NULL)
    else:
        select_reals(p, s, n, <double*>NULL)


cdef int select_greater_run(Launch* L) noexcept nogil:
    """out = g where x > y, g / 2 where x = y, else 0.  Strided."""
    cdef int k
    for k in range(4):
        if L.b[k].dtype < FLOAT32 or L.b[k].dtype != L.b[0].dtype:
            return BAD_DTYPE
    start(L, select_loop, 4, CHEAP)
    return OK


TABLE = {
    "negative": <size_t>&unary_run[Negative], "abs": <size_t>&unary_run[Abs],
    "sign": <size_t>&unary_run[Sign], "square": <size_t>&unary_run[Square],
    "floor": <size_t>&unary_run[Floor], "ceil": <size_t>&unary_run[Ceil],
    "round": <size_t>&unary_run[Round], "sqrt": <size_t>&unary_run[Sqrt],
    "rsqrt": <size_t>&unary_run[Rsqrt], "exp": <size_t>&unary_run[Exp],
    "expm1": <size_t>&unary_run[Expm1], "log": <size_t>&unary_run[Log],
    "log1p": <size_t>&unary_run[Log1p], "sin": <size_t>&unary_run[Sin],
    "cos": <size_t>&unary_run[Cos], "erf": <size_t>&unary_run[Erf],
    "tanh": <size_t>&unary_run[Tanh], "sigmoid": <size_t>&unary_run[Sigmoid],
    "relu": <size_t>&unary_run[Relu], "silu": <size_t>&unary_run[Silu],
    "gelu": <size_t>&unary_run[Gelu], "clip": <size_t>&unary_run[Clip],
    "add": <size_t>&binary_run[Add], "subtract": <size_t>&binary_run[Subtract],
    "multiply": <size_t>&binary_run[Multiply], "divide": <size_t>&binary_run[Divide],
    "floor_divide": <size_t>&binary_run[FloorDivide],
    "remainder": <size_t>&binary_run[Remainder], "pow": <size_t>&binary_run[Pow],
    "pow_slope": <size_t>&binary_run[PowSlope], "maximum": <size_t>&binary_run[Maximum],
    "minimum": <size_t>&binary_run[Minimum],
    "tanh_backward": <size_t>&binary_run[TanhBackward],
    "sigmoid_backward": <size_t>&binary_run[SigmoidBackward],
    "relu_backward": <size_t>&binary_run[ReluBackward],
    "silu_backward": <size_t>&binary_run[SiluBackward],
    "gelu_backward": <size_t>&binary_run[GeluBackward],
    "clip_backward": <size_t>&binary_run[ClipBackward],
    "equal": <size_t>&test_run[Equal], "not_equal": <size_t>&test_run[NotEqual],
    "less": <size_t>&test_run[Less], "less_equal": <size_t>&test_run[LessEqual],
    "greater": <size_t>&test_run[Greater], "greater_equal": <size_t>&test_run[GreaterEqual],
    "logical_and": <size_t>&test_run[LogicalAnd], "logical_or": <size_t>&test_run[LogicalOr],
    "logical_xor": <size_t>&test_run[LogicalXor], "logical_not": <size_t>&test_run[LogicalNot],
    "isnan": <size_t>&test_run[IsNan], "isinf": <size_t>&test_run[IsInf],
    "isfinite": <size_t>&test_run[IsFinite],
    "where": <size_t>&where_run, "select_greater": <size_t>&select_greater_run,
}
