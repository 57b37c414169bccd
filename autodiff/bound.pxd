from kernels.launch cimport run_t

cdef enum:                          # shape rules that have a shortcut in C
    BY_RULE, LIKE_INPUT, BROADCAST, COMPARE

cdef enum:                          # what a parameter of a vjp is filled with
    FROM_INPUT, FROM_OUTPUT, FROM_ATTR, FROM_SHAPE, FROM_DTYPE, FROM_NOTHING

cdef struct Slots:                  # what to save for one set of wanted gradients
    int n
    int slot[3]

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
    cdef Slots few[4]               # up to two inputs, one output: by the bit set of wants
    cdef dict many
    cdef dict prepared              # shapes, dtypes and attributes -> Prepared
    cdef bint cacheable, by_strides
    cdef int nargs
    cdef int arg_kind[16]
    cdef int arg_k[16]
    cdef bint plain_args            # the vjp's arguments follow arg_kind
    cdef dict __dict__
    cdef int load_kernel(self) except -1

cdef Bound bound(name)
