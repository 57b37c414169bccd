"""Does the engine's own count of bytes account for what the process really takes?

In a fresh process: the resident size before a large model is built, the highest it reaches while it
trains, and the tracked peak beside that growth.  Invariant: libraries are loaded and a tiny net has
run before the first reading, and the pool has given back what that left free, so that the growth is
the model's and all of the model's.
"""

import numpy as np

import autodiff as ad
from autodiff import memory

from . import process

RESIDUAL = 0.10             # share of the growth that may go uncounted


def measure(batch=512, steps=3):
    """Train the 28 x 28 CNN on random images for `steps` steps; bytes:

    {"title", "batch", "steps", "tracked_peak", "resident_growth", "residual", "residual_share",
    "goal", "slack", "held"}: residual = growth - tracked peak and its share of the growth; slack is
    what the pool's size classes round up, held its free blocks, both at the end, not at the peak.
    """
    from .workloads.cnn import FashionCNN

    workload = FashionCNN()
    _train(workload, 4, 2)
    memory.trim()
    before, exact = process.resident(), process.reset_high_water()
    if before is None:
        before = process.high_water()
    memory.reset_peak()
    base = sum(memory.stats()["live"].values())
    kept = _train(workload, batch, steps)
    stats = memory.stats()
    growth = process.high_water() - before
    tracked = int(stats["peak_bytes"]) - base
    del kept
    return {"title": workload.title, "batch": batch, "steps": steps, "tracked_peak": tracked,
            "resident_growth": growth, "residual": growth - tracked,
            "residual_share": (growth - tracked) / growth if growth else 0.0,
            "goal": RESIDUAL, "slack": int(stats["slack_bytes"]), "held": int(stats["held_bytes"]),
            "high_water_reset": exact}


def _train(workload, batch, steps):
    rng = np.random.default_rng(0)
    x = ad.tensor(rng.random((batch, 1, 28, 28), dtype=np.float32))
    y = ad.tensor(rng.integers(0, 10, batch))
    ad.manual_seed(0)
    model = workload.model()
    optimizer = workload.optimizer(model)
    for _ in range(steps):
        workload.loss(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer
