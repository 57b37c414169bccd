from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

cdef struct Meta:                   # what is known of an array without its bytes
    int dtype, ndim
    Py_ssize_t shape[8]

cdef struct Save:                   # one array kept for backward
    PyObject* tensor                # strong; the library never makes a cycle through it
    PyObject* storage               # the tensor's, which holds it
    int64_t version
    int slot                        # input k, or OUT + output k

cdef enum:
    OUT = 64
    FEW = 3

cdef class Node:
    cdef readonly int64_t serial
    cdef object pending             # one output: a Tensor; several: a list
    cdef int64_t sweep              # the sweep that the pending gradients belong to
    cdef int nout
    cdef bint owned                 # the pending gradient is a buffer of the sweep's own
    cdef Meta meta                  # of output 0
    cdef Meta* more                 # of outputs 1, 2, ...

cdef class Leaf(Node):
    cdef public object hooks        # {output index: [function, ...]}
    cdef public object grad
    cdef readonly object lock
    cdef public list after

cdef class Record(Node):
    cdef public object hooks
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
cdef int room(Record r, int nin, int nsaved) except -1
cdef int note_caller(Record r) except -1
cdef int release(Record r) except -1
cdef void drop_saves(Record r) noexcept

cdef inline Meta* meta_of(Node node, int k) noexcept:
    return &node.meta if k == 0 else &node.more[k - 1]

cdef inline object hooks_of(Node node):
    return (<Leaf>node).hooks if type(node) is Leaf else (<Record>node).hooks
