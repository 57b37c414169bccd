"""The door to BLAS: the library is there, runs one thread, and other OpenBLASes are left alone."""

import os
import subprocess
import sys

import pytest

import kernels

if kernels.PLAIN:
    pytest.skip("needs the compiled kernels", allow_module_level=True)


def test_core_name():
    assert kernels.blas_kernel()


def test_import_is_light():
    """Importing kernels loads neither NumPy nor a compiled module, and starts no thread."""
    script = (
        "import sys, threading, os, kernels;"
        "assert 'numpy' not in sys.modules;"
        "assert not [m for m in sys.modules if m.startswith('kernels.')];"
        "from kernels import blas;"
        "assert not os.path.isdir('/proc/self/task') or len(os.listdir('/proc/self/task')) == 1;"
        "assert os.environ.get('OPENBLAS_NUM_THREADS') is None"
    )
    environ = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    environ["PYTHONPATH"] = kernels.__path__[0].rpartition("/")[0]
    subprocess.run([sys.executable, "-c", script], check=True, env=environ)
