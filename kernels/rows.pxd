# rows.h for both float types: loops along one contiguous row.
from libc.stdint cimport int32_t, int64_t

from kernels.launch cimport INT8, INT16, INT32, INT64, UINT8, BOOL, FLOAT32, Buf
from kernels.types cimport real

cdef extern from "rows.h" nogil:
    float row_max_f(float* x, Py_ssize_t n)
    double row_max_d(double* x, Py_ssize_t n)
    double row_sum_f(float* x, Py_ssize_t n)
    double row_sum_d(double* x, Py_ssize_t n)
    double row_dot_f(float* x, float* y, Py_ssize_t n)
    double row_dot_d(double* x, double* y, Py_ssize_t n)
    double row_dot3_f(float* x, float* y, float* z, Py_ssize_t n)
    double row_dot3_d(double* x, double* y, double* z, Py_ssize_t n)
    double row_deviation_f(float* x, float mean, Py_ssize_t n)
    double row_deviation_d(double* x, double mean, Py_ssize_t n)
    double row_centred_dot_f(float* y, float* x, float mean, Py_ssize_t n)
    double row_centred_dot_d(double* y, double* x, double mean, Py_ssize_t n)
    double row_distance_f(float* x, float* y, Py_ssize_t n)
    double row_distance_d(double* x, double* y, Py_ssize_t n)
    double row_exp_f(float* out, float* x, float shift, Py_ssize_t n)
    double row_exp_d(double* out, double* x, double shift, Py_ssize_t n)
    void row_map_exp_f(float* out, float* x, Py_ssize_t n)
    void row_map_exp_d(double* out, double* x, Py_ssize_t n)
    void row_sigmoid_f(float* out, float* x, Py_ssize_t n)
    void row_sigmoid_d(double* out, double* x, Py_ssize_t n)
    void row_tanh_f(float* out, float* x, Py_ssize_t n)
    void row_tanh_d(double* out, double* x, Py_ssize_t n)
    void row_lstm_f(float* out, float* c, float* a, float* old, Py_ssize_t h, bint keep)
    void row_lstm_d(double* out, double* c, double* a, double* old, Py_ssize_t h, bint keep)
    void row_lstm_backward_f(float* da, float* dc, float* dh, float* g, float* a, float* c,
                             float* old, Py_ssize_t h)
    void row_lstm_backward_d(double* da, double* dc, double* dh, double* g, double* a, double* c,
                             double* old, Py_ssize_t h)
    void row_box_muller_f(float* first, float* second, float* u, float* v)
    void row_box_muller_d(double* first, double* second, double* u, double* v)


cdef inline real row_max(real* x, Py_ssize_t n) noexcept nogil:
    if real is float:
        return row_max_f(x, n)
    else:
        return row_max_d(x, n)


cdef inline double row_sum(real* x, Py_ssize_t n) noexcept nogil:
    if real is float:
        return row_sum_f(x, n)
    else:
        return row_sum_d(x, n)


cdef inline double row_dot(real* x, real* y, Py_ssize_t n) noexcept nogil:
    if real is float:
        return row_dot_f(x, y, n)
    else:
        return row_dot_d(x, y, n)


cdef inline double row_dot3(real* x, real* y, real* z, Py_ssize_t n) noexcept nogil:
    if real is float:
        return row_dot3_f(x, y, z, n)
    else:
        return row_dot3_d(x, y, z, n)


cdef inline double row_deviation(real* x, real mean, Py_ssize_t n) noexcept nogil:
    """sum (x - mean)^2"""
    if real is float:
        return row_deviation_f(x, mean, n)
    else:
        return row_deviation_d(x, mean, n)


cdef inline double row_centred_dot(real* y, real* x, real mean, Py_ssize_t n) noexcept nogil:
    """sum y (x - mean)"""
    if real is float:
        return row_centred_dot_f(y, x, mean, n)
    else:
        return row_centred_dot_d(y, x, mean, n)


cdef inline double row_distance(real* x, real* y, Py_ssize_t n) noexcept nogil:
    """sum (x - y)^2"""
    if real is float:
        return row_distance_f(x, y, n)
    else:
        return row_distance_d(x, y, n)


cdef inline double row_exp(real* out, real* x, real shift, Py_ssize_t n) noexcept nogil:
    """out = exp(x - shift) (out may be NULL); returns the sum."""
    if real is float:
        return row_exp_f(out, x, shift, n)
    else:
        return row_exp_d(out, x, shift, n)


cdef inline void row_map_exp(real* out, real* x, Py_ssize_t n) noexcept nogil:
    if real is float:
        row_map_exp_f(out, x, n)
    else:
        row_map_exp_d(out, x, n)


cdef inline void row_sigmoid(real* out, real* x, Py_ssize_t n) noexcept nogil:
    if real is float:
        row_sigmoid_f(out, x, n)
    else:
        row_sigmoid_d(out, x, n)


cdef inline void row_tanh(real* out, real* x, Py_ssize_t n) noexcept nogil:
    if real is float:
        row_tanh_f(out, x, n)
    else:
        row_tanh_d(out, x, n)


cdef inline void row_lstm(real* out, real* c, real* a, real* old, Py_ssize_t h,
                          bint keep) noexcept nogil:
    """One row of h cells: c and out from the gates' arguments a, which become the gates if kept."""
    if real is float:
        row_lstm_f(out, c, a, old, h, keep)
    else:
        row_lstm_d(out, c, a, old, h, keep)


cdef inline void row_lstm_backward(real* da, real* dc, real* dh, real* g, real* a, real* c,
                                   real* old, Py_ssize_t h) noexcept nogil:
    """da, and dc of the step before, from dh + g (g may be NULL) and dc."""
    if real is float:
        row_lstm_backward_f(da, dc, dh, g, a, c, old, h)
    else:
        row_lstm_backward_d(da, dc, dh, g, a, c, old, h)


cdef inline int64_t index_at(Buf* a, Py_ssize_t i) noexcept nogil:
    """Element i of a contiguous integer array, whatever its width."""
    if a.dtype == INT64:
        return (<int64_t*>a.data)[i]
    if a.dtype == INT32:
        return (<int32_t*>a.data)[i]
    if a.dtype == INT16:
        return (<short*>a.data)[i]
    if a.dtype == INT8:
        return (<signed char*>a.data)[i]
    return (<unsigned char*>a.data)[i]


cdef inline double number_at(Buf* a) noexcept nogil:
    """The one element of a 0-d array of any dtype."""
    if a.dtype == FLOAT32:
        return (<float*>a.data)[0]
    if a.dtype > FLOAT32:
        return (<double*>a.data)[0]
    return <double>index_at(a, 0)
