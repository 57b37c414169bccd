"""The same workloads and kernels under pytest-benchmark, to compare one commit with another.

    pytest benchmarks --benchmark-autosave      then, after a change,
    pytest benchmarks --benchmark-compare

Invariant: no list of its own: workloads are those of `peers`, kernels those of `kernels`, at the
size of the second-level cache.  Never part of `make test`.
"""

import pytest

import autodiff as ad

from . import kernel_bench
from .peers.engines import ENGINES
from .peers.rows import MODES, ROWS

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.skipif(ad.core.name != "compiled", reason="speed is the compiled core's")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ROWS)
def test_workload(benchmark, name, mode):
    benchmark(ENGINES["autodiff"].load(ad.get_num_threads()).program(ROWS[name], mode))


@pytest.mark.parametrize("name", [n for n, block in ad.registry.items() if block.kernel])
def test_kernels_of(benchmark, name):
    """All launches of one operation and its backward."""
    launches = kernel_bench.heard(ad.registry[name], kernel_bench.levels()["L2"])
    if not launches:
        pytest.skip("measured as part of another operation")

    def replay():
        for event, _, _ in launches:
            event.launch.replay()
    benchmark(replay)
