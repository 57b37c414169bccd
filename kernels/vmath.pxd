# vmath.h over `real`: scalar functions, each inlined into the loop that calls it
# so that the loop vectorises.
from kernels.types cimport real

cdef extern from "vmath.h" nogil:
    float vm_exp_f(float x)
    double vm_exp_d(double x)
    float vm_expm1_f(float x)
    double vm_expm1_d(double x)
    float vm_log_f(float x)
    double vm_log_d(double x)
    float vm_log1p_f(float x)
    double vm_log1p_d(double x)
    float vm_tanh_f(float x)
    double vm_tanh_d(double x)
    float vm_sigmoid_f(float x)
    double vm_sigmoid_d(double x)
    float vm_erf_f(float x)
    double vm_erf_d(double x)
    float vm_erfc_f(float x)
    double vm_erfc_d(double x)
    float vm_normal_f(float x, float* e)
    double vm_normal_d(double x, double* e)
    double VM_SIN_END
    float vm_sin_f(float x)
    double vm_sin_d(double x)
    float vm_cos_f(float x)
    double vm_cos_d(double x)
    float vm_pow_f(float x, float y)


cdef inline real vexp(real x) noexcept nogil:
    return vm_exp_f(x) if real is float else vm_exp_d(x)


cdef inline real vexpm1(real x) noexcept nogil:
    return vm_expm1_f(x) if real is float else vm_expm1_d(x)


cdef inline real vlog(real x) noexcept nogil:
    return vm_log_f(x) if real is float else vm_log_d(x)


cdef inline real vlog1p(real x) noexcept nogil:
    return vm_log1p_f(x) if real is float else vm_log1p_d(x)


cdef inline real vtanh(real x) noexcept nogil:
    return vm_tanh_f(x) if real is float else vm_tanh_d(x)


cdef inline real vsigmoid(real x) noexcept nogil:
    return vm_sigmoid_f(x) if real is float else vm_sigmoid_d(x)


cdef inline real verf(real x) noexcept nogil:
    return vm_erf_f(x) if real is float else vm_erf_d(x)


cdef inline real verfc(real x) noexcept nogil:
    return vm_erfc_f(x) if real is float else vm_erfc_d(x)


cdef inline real vnormal(real x, real* e) noexcept nogil:
    """P(X <= x) of the standard normal distribution; e = exp(-x^2 / 2)."""
    if real is float:
        return vm_normal_f(x, e)
    else:
        return vm_normal_d(x, e)


cdef inline real vsin(real x) noexcept nogil:
    """For |x| <= VM_SIN_END only, as vcos."""
    return vm_sin_f(x) if real is float else vm_sin_d(x)


cdef inline real vcos(real x) noexcept nogil:
    return vm_cos_f(x) if real is float else vm_cos_d(x)
