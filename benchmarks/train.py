"""Training for real: the loop, its learning rate, its clock and its curve.

Invariant: the clock covers the steps with their data loading and nothing else; the same workload
and seed give the same model.
"""

import time

import autodiff as ad

CURVE_POINTS = 120


def fit(workload, seed, tick=None):
    """Train a new model: (model in eval mode, seconds, curve as a list of (step, mean loss)).

    `tick(step)` is called after each step, its time not counted.
    """
    ad.manual_seed(seed)
    model = workload.model()
    optimizer = workload.optimizer(model)
    model.train()
    total = workload.total_steps
    every = max(1, total // CURVE_POINTS)
    curve, window, ticking = [], [], 0.0
    start = time.perf_counter()
    for step, (x, y) in enumerate(workload.batches(seed)):
        set_lr(optimizer, workload.lr_at(step))
        loss = workload.loss(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        window.append(loss.item())
        if len(window) == every or step + 1 == total:
            curve.append((step + 1, sum(window) / len(window)))
            window = []
        if tick is not None:
            before = time.perf_counter()
            tick(step + 1)
            ticking += time.perf_counter() - before
    seconds = time.perf_counter() - start - ticking
    model.eval()
    return model, seconds, curve


def set_lr(optimizer, lr):
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
