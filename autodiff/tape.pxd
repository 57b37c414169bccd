from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from autodiff.storage cimport Storage

cdef struct Meta:                   # what is known of an array without its bytes
    int dtype, ndim
    Py_ssize_t shape[8]

cdef struct Save:                   # one array kept for backward
    PyObject* tensor                # strong; the library never makes a cycle through it
    int64_t version
    int slot                        # input k, or OUT + output k

cdef enum:
    OUT = 64
    FEW = 3

cdef enum:
    FORWARD, BACKWARD, RECOMPUTE, UPDATE

cdef struct Modes:                  # one for each thread
    bint no_grad
    int tangents, phase
    PyObject* scope
    PyObject* tapes
    PyObject* sweeps

cdef Modes* modes() noexcept

cdef class Node:
    cdef readonly int64_t serial
    cdef public object hooks
    cdef object pending             # one output: a Tensor; several: a list
    cdef int64_t sweep              # the sweep that the pending gradients belong to
    cdef int nout
    cdef bint owned                 # the pending gradient is a buffer of the sweep's own
    cdef Meta meta                  # of output 0
    cdef Meta* more                 # of outputs 1, 2, ...

cdef class Leaf(Node):
    cdef public object grad
    cdef readonly object lock
    cdef public list after

cdef class Record(Node):
    cdef readonly object op
    cdef object attr_values
    cdef readonly int64_t needs
    cdef int nin, nsaved
    cdef PyObject** parent
    cdef int* index
    cdef Save* save
    cdef PyObject* parent_few[3]
    cdef int index_few[3]
    cdef Save save_few[3]
    cdef object scope_name
    cdef PyObject* code
    cdef int instruction
    cdef readonly bint released
    cdef public object retained
    cdef public object input_metas  # [(shape, dtype), ...] where a rule asks for them
    cdef public object deferred     # whoever computes the saves again (checkpoint)
    cdef public object duals        # {slot: Dual} under forward mode

cdef int64_t next_serial() noexcept
cdef void room(Record r, int nin, int nsaved) except *
cdef void note_caller(Record r) except *
cdef void release(Record r) except *
cdef void drop_saves(Record r) noexcept
cdef Meta* meta_of(Node node, int k) noexcept
