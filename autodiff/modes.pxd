from cpython.ref cimport PyObject

cdef enum:
    FORWARD, BACKWARD, RECOMPUTE, UPDATE

cdef struct Modes:                  # one for each thread
    bint no_grad
    int tangents, phase
    PyObject* scope
    PyObject* tapes
    PyObject* sweeps

cdef Modes* modes() noexcept
