"""The cost of an operation itself: a chain `h = h * w + b` on 0-d float32 tensors.

There is no arithmetic to speak of, so the time is the engine's own.  Run beside PyTorch eager, in
turns in the same process, where PyTorch is installed.  Invariant: both engines run the same code.
"""

from .measure import interleave


def loop(h, w, b, steps):
    """`steps` times h * w + b: two operations a step."""
    for _ in range(steps):
        h = h * w + b
    return h


def _parts(name, tensor, no_grad, steps):
    w = tensor(0.999, requires_grad=True)
    b = tensor(0.001, requires_grad=True)
    h = tensor(1.0)

    def train():
        loop(h, w, b, steps).backward()
        w.grad = b.grad = None

    def infer():
        with no_grad():
            loop(h, w, b, steps)

    return {f"{name} train": train, f"{name} infer": infer}


def _engines():
    import numpy as np

    import autodiff as ad

    yield ("autodiff", None, ad.no_grad,
           lambda v, **k: ad.tensor(np.float32(v), **k))
    try:
        import torch
    except ImportError:
        return
    yield ("pytorch", torch.__version__, torch.no_grad,
           lambda v, **k: torch.tensor(v, dtype=torch.float32, **k))


def measure(steps=1000, budget=2.0, least=7, most=100):
    """{"steps", "operations", engine: {"version", "train": Timing, "infer": Timing}, "ratio"}.

    `train` is forward and backward, `infer` the same under no_grad, in seconds for all steps;
    `ratio` (with PyTorch only) says how many times longer PyTorch takes.
    """
    engines = list(_engines())
    parts = {}
    for name, _, no_grad, tensor in engines:
        parts.update(_parts(name, tensor, no_grad, steps))
    timing = interleave(parts, budget, least, most)
    result = {"steps": steps, "operations": 2 * steps}
    for name, version, _, _ in engines:
        result[name] = {"version": version, **{mode: timing[f"{name} {mode}"].to_dict()
                                               for mode in ("train", "infer")}}
    if "pytorch" in result:
        result["ratio"] = {mode: result["pytorch"][mode]["median"]
                           / result["autodiff"][mode]["median"] for mode in ("train", "infer")}
    return result
