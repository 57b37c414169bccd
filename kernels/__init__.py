"""Kernels: compiled loops over buffers, each with a NumPy twin in `kernels.reference`.

Importing this package loads the BLAS library by path, and nothing else: compiled modules come
when a kernel is first asked for.  With AUTODIFF_CORE=plain in the environment no compiled module
is ever imported.  Invariant: `names()` is the union of the modules' own `TABLE`s; there is no
other list of kernels.
"""

import importlib
import importlib.machinery
import importlib.util
import os
import threading

__autodiff_kernels__ = True             # tells this package from a stranger's of the same name

PLAIN = os.environ.get("AUTODIFF_CORE", "") == "plain"

_table = None                           # kernel name -> address of its run function
_gathering = threading.Lock()
_blas = None                            # keeps the library loaded


def _load_blas():
    """Load scipy-openblas32's library where it is installed.

    The compiled modules name it by soname, so once it is in the process wheels, editable installs
    and in-place builds find it alike.  Loaded privately (RTLD_LOCAL): SciPy and NumPy carry their
    own OpenBLAS, with the same symbols, and must not see this one.
    """
    import ctypes

    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None:
        raise ImportError("autodiff needs the package scipy-openblas32 (BLAS): "
                          "pip install scipy-openblas32")
    folder = os.path.join(spec.submodule_search_locations[0], "lib")
    name = next(f for f in sorted(os.listdir(folder)) if f.startswith("libscipy_openblas"))
    # It starts its own threads while loading unless told not to; kernels call it from theirs.
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        return ctypes.CDLL(os.path.join(folder, name), ctypes.RTLD_LOCAL)
    finally:
        if before is None:
            del os.environ["OPENBLAS_NUM_THREADS"]
        else:
            os.environ["OPENBLAS_NUM_THREADS"] = before


def _modules():
    """Names of the compiled modules in this folder."""
    found = set()
    for file in os.listdir(os.path.dirname(__file__)):
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            if file.endswith(suffix):
                found.add(file[:-len(suffix)].partition(".")[0])
    return sorted(found)


def _tables():
    """All kernels; gathered once, whole, whichever thread comes first."""
    global _table
    if _table is None:
        if PLAIN:
            raise RuntimeError("compiled kernels are off: AUTODIFF_CORE=plain is set")
        with _gathering:
            if _table is None:
                _table = _gather()
    return _table


def _gather():
    table = {}
    for module in _modules():
        for name, where in getattr(importlib.import_module(f"kernels.{module}"),
                                   "TABLE", {}).items():
            if name in table:
                raise RuntimeError(f"two kernels are named {name!r}")
            table[name] = where
    if not table:
        raise ImportError("the compiled kernels are not built: reinstall the package, or set "
                          "AUTODIFF_CORE=plain for the core in Python")
    return table


def address(name):
    """Address of the kernel's `int run(Launch*)`, as an int; KeyError names an unknown kernel."""
    try:
        return _tables()[name]
    except KeyError:
        raise KeyError(f"no kernel is named {name!r}") from None


def names():
    """The compiled kernels' names, sorted."""
    return sorted(_tables())


def call(name, outs, ins, ia=(), fa=(), work_bytes=0, beta=0):
    """Run one compiled kernel on NumPy arrays: outputs then residuals, inputs (None if absent).

    No check but of the dtypes' existence: this is the kernel alone.  ValueError where the kernel
    answers with a status other than OK.
    """
    from kernels.door import call_kernel

    return call_kernel(address(name), name, outs, ins, ia, fa, work_bytes, beta)


def num_threads():
    """Threads that kernels share."""
    if PLAIN:
        return 1
    from kernels.launch import num_threads

    return num_threads()


def set_num_threads(n):
    """Let kernels use `n` threads from the next launch on; ValueError unless 1 <= n <= 256."""
    n = int(n)
    if not 1 <= n <= 256:
        raise ValueError(f"set_num_threads: n must be between 1 and 256, got {n}")
    if not PLAIN:
        from kernels.launch import set_num_threads

        set_num_threads(n)


def blas_kernel():
    """Name of the processor core that the BLAS library runs its loops for, e.g. 'SkylakeX'."""
    from kernels.blas import blas_kernel

    return blas_kernel()


if not PLAIN:
    _blas = _load_blas()
