"""Training against inference under pytest-benchmark: a group for each workload.

    pytest benchmarks/test_phases.py --benchmark-only

prints, workload by workload, inference beside a training step's forward, backward and update;
peak bytes by category and floating-point operations are in `extra_info` (--benchmark-json).
Invariant: the workloads and the phases are those of `bench`; here they are new nets, untrained.
"""

import pytest

import autodiff as ad

from . import measure
from .workloads import WORKLOADS

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.skipif(ad.core.name != "compiled", reason="speed is the compiled core's")

PHASES = ("inference", "forward", "backward", "update")


@pytest.fixture(scope="module", params=[n for n, w in WORKLOADS.items() if not w.full])
def subject(request):
    """(name, a Step after its first run, bytes alive before there was a model)."""
    ad.manual_seed(0)
    before = measure.live_bytes()
    workload = WORKLOADS[request.param]()
    model = workload.model()
    x, y = (t.numpy() for t in next(iter(workload.loader(seed=0))))
    step = measure.Step(workload, model, workload.optimizer(model), x, y)
    step.run()                                      # the optimizer has its state
    return request.param, step, before


@pytest.mark.parametrize("phase", PHASES)
def test_phase(benchmark, subject, phase):
    name, step, before = subject
    benchmark.group = name
    if phase == "inference":
        prepare, run = step.infer_mode, step.predict
    else:
        prepare, run = {"forward": (step.train_mode, step.forward),
                        "backward": (_all(step.train_mode, step.forward), step.backward),
                        "update": (_all(step.train_mode, step.forward, step.backward),
                                   step.update)}[phase]
    prepare()
    benchmark.extra_info["flops"] = sum(measure.flops(run).values())
    prepare()
    benchmark.extra_info["peak_bytes"] = measure.peak_bytes(run, before)
    benchmark.pedantic(run, setup=prepare, rounds=20, warmup_rounds=2)


def _all(*functions):
    def run():
        for function in functions:
            function()
    return run
