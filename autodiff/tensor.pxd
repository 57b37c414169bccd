from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from autodiff.storage cimport Storage
from autodiff.tape cimport Meta, Node, Record
from kernels.launch cimport Buf, Launch, run_t

cdef class Tensor:
    cdef Storage storage
    cdef readonly Node node
    cdef readonly int index         # which output of the node
    cdef bint dense                 # C order without gaps
    cdef public object dual         # its tangent, under forward mode
    cdef Buf buf
    cdef object __weakref__

cdef enum:                          # shape rules that have a shortcut in C
    BY_RULE, LIKE_INPUT, BROADCAST, COMPARE

cdef enum:                          # what a parameter of a vjp is filled with
    FROM_INPUT, FROM_OUTPUT, FROM_ATTR, FROM_SHAPE, FROM_DTYPE, FROM_NOTHING

cdef struct Slots:                  # what to save for one set of wanted gradients
    int n
    int slot[8]

cdef class Prepared:                # a Plan, unpacked for C, for one set of shapes and attributes
    cdef object plan
    cdef tuple attrs
    cdef int nout, nia, nfa, threads
    cdef Meta* out
    cdef int64_t ia[12]
    cdef double fa[4]
    cdef Py_ssize_t work_bytes      # scratch, for `threads`
    cdef bint has_view
    cdef Meta view
    cdef Py_ssize_t view_strides[8]
    cdef Py_ssize_t view_offset

cdef class Bound:
    cdef readonly object op         # the block
    cdef run_t run
    cdef object kernel
    cdef int nin, nout, nres, rule, number
    cdef bint strided, matrix, expands, elementwise, variadic, variadic_out, alias
    cdef bint any_dtype, to_float, differentiable, keeps_metas
    cdef object vjp, default_attrs, infer, scratch
    cdef int into
    cdef tuple writes, attr_names
    cdef bytes required             # of each input: 1 unless it may be absent
    cdef Slots few[8]               # for up to three inputs: indexed by the bit set of wants
    cdef dict many
    cdef dict prepared              # shapes, dtypes and attributes -> Prepared
    cdef bint cacheable, by_strides
    cdef int nargs
    cdef int arg_kind[16]
    cdef int arg_k[16]
    cdef bint plain_args            # the vjp's arguments follow arg_kind
    cdef dict __dict__
    cdef int load_kernel(self) except -1

cdef Tensor new_tensor(int dtype, int ndim, Py_ssize_t* shape)
cdef Tensor bare(Tensor t)
cdef object apply(Bound b, list inputs, tuple attrs)
cdef object apply2(Bound b, Tensor x, Tensor y)
cdef bint add_in_place(Tensor into, Tensor g) except -1
cdef Bound bound(name)
