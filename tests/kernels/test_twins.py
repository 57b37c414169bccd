"""The table of kernels: every compiled kernel has its twin, and unknown names are named."""

import pytest

import kernels
from kernels import reference


def test_twins_are_gathered():
    assert reference.__all__ == sorted(set(reference.__all__))
    assert all(callable(getattr(reference, name)) for name in reference.__all__)


@pytest.mark.skipif(kernels.PLAIN, reason="needs the compiled kernels")
def test_every_kernel_has_a_twin():
    assert sorted(set(kernels.names()) - set(reference.__all__)) == []


@pytest.mark.skipif(kernels.PLAIN, reason="needs the compiled kernels")
def test_unknown_kernel_is_named():
    with pytest.raises(KeyError, match="no_such"):
        kernels.call("no_such", [], [])


@pytest.mark.skipif(not kernels.PLAIN, reason="about the plain core")
def test_plain_refuses_compiled_kernels():
    with pytest.raises(RuntimeError, match="AUTODIFF_CORE=plain"):
        kernels.names()
