from libc.stdint cimport int64_t

from autodiff.bound cimport Bound
from autodiff.modes cimport Modes
from autodiff.tape cimport Record
from autodiff.tensor cimport Tensor

cdef int record_few(Bound b, Modes* m, Tensor out, Tensor x, Tensor y, int needs) except -1
cdef Record record(Bound b, list inputs, list outputs, tuple attrs, int64_t needs)
cdef Record on_tape(Bound b, list inputs, list outputs, tuple attrs, int64_t needs)
cdef int hear(Modes* m, Record r, tuple outputs) except -1
