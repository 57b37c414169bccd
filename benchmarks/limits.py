"""What this machine can do at most: its rate of matrix products and of streaming memory.

Invariant: measured through this engine's own operations, the best of several sizes and takes, at
the number of threads asked for.
"""

import time

import numpy as np

import autodiff as ad

SIZES = (768, 1024, 1536)
STREAM = 32 * 1024 * 1024           # elements of float32: far beyond the caches


def measure(threads=None, takes=5):
    """{"gemm": FLOP/s of square float32 products, "stream": bytes/s read and written}."""
    if threads:
        ad.set_num_threads(threads)
    rng = np.random.default_rng(0)
    with ad.no_grad():
        gemm = 0.0
        for n in SIZES:
            a = ad.tensor(rng.standard_normal((n, n), dtype=np.float32))
            gemm = max(gemm, 2 * n ** 3 / _best(lambda a=a: a @ a, takes))
        x = ad.zeros((STREAM,), dtype=ad.float32)
        y = ad.zeros((STREAM,), dtype=ad.float32)
        stream = 2 * x.nbytes / _best(lambda: y.copy_(x), takes)
    return {"gemm": gemm, "stream": stream}


def _best(function, takes):
    function()
    found = []
    for _ in range(takes):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)
