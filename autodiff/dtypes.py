"""The dtypes of the engine and how they combine.

float32 and float64 can be differentiated; integers and bool are data.  Invariant: promotion never
turns float32 into float64 unless a float64 *array* takes part (Python scalars are weak).
"""

import numpy as np

from .errors import ArgumentError, DtypeError

bool_ = np.dtype(np.bool_)
uint8 = np.dtype(np.uint8)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = np.dtype(np.int64)
float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)

# Position = the code used by the kernels (kernels/launch.pxd).
ALL = (bool_, uint8, int8, int16, int32, int64, float32, float64)
CODE = {dtype: code for code, dtype in enumerate(ALL)}
FLOATS = (float32, float64)

_default = float32


def get_default_dtype():
    """The dtype that Python floats become (float32 unless set)."""
    return _default


def set_default_dtype(dtype):
    """Set the dtype that Python floats become: float32 or float64."""
    global _default
    dtype = as_dtype(dtype)
    if dtype not in FLOATS:
        raise DtypeError(f"set_default_dtype: expected float32 or float64, got {dtype}")
    _default = dtype


def as_dtype(dtype):
    """A supported numpy dtype from anything that names one; DtypeError otherwise."""
    try:
        if not isinstance(dtype, (np.dtype, type, str)):    # None is float64 to NumPy, [] void
            raise TypeError
        found = np.dtype(dtype).newbyteorder("=")
    except (TypeError, ValueError, SyntaxError, AttributeError):
        raise ArgumentError(f"dtype: expected a dtype or its name, got {dtype!r}") from None
    if found not in CODE:
        names = ", ".join(d.name for d in ALL)
        raise DtypeError(f"dtype {found} is not supported; use one of {names}")
    return ALL[CODE[found]]             # the same object always


def is_float(dtype):
    """True for the dtypes that can be differentiated."""
    return dtype.kind == "f"


def promote(*dtypes):
    """The dtype that arrays of these dtypes combine to, by NumPy's rules."""
    result = dtypes[0]
    for dtype in dtypes[1:]:
        if dtype != result:
            result = np.promote_types(result, dtype)
    # int64 with float32 would become float64 in NumPy: the array API leaves the case open, and
    # a silent float64 costs twice the memory, so floats win with their own width.
    if is_float(result) and not all(is_float(d) for d in dtypes):
        return promote(*[d for d in dtypes if is_float(d)])
    return result


def of_scalar(value, partner=None):
    """The dtype a Python scalar takes beside an array of dtype `partner` (weak promotion)."""
    if isinstance(value, bool):
        return partner or bool_
    if isinstance(value, int):
        return int64 if partner is None or partner == bool_ else partner
    return partner if partner is not None and is_float(partner) else _default
