"""Benchmarks: what training costs over inference, measured on real data with this engine.

`autodiff bench` is the main job; `python -m benchmarks` is the same.  `benchmarks.cost` and
`benchmarks.growth` measure a model of one's own.  Invariant: only public names of `autodiff` and
`nn` are used, and every figure printed or written comes from the run itself.
"""


def __getattr__(name):
    """`cost`, `growth` and `CostReport` of costs/, loaded when first asked for."""
    if name in ("cost", "growth", "CostReport"):
        from . import costs
        return getattr(costs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
