"""The machine measures itself once, and every launch is set beside what bounds it.

A launch of f operations on b bytes takes at least  overhead + max(f / product rate, b / stream
rate(b)).  Invariant: the rates are measured in this process, at its number of threads, with the
engine's own kernels; the bytes of a launch are each array once, so that the bound is a bound.

Source: Williams, Waterman and Patterson, Roofline (2009).
"""

import functools
import mmap
import time

import numpy as np

import autodiff as ad

KINDS = ("compute", "bandwidth", "overhead")
SIDES = (256, 512, 1024)                        # of the square matrices; the best counts
STREAM = [1 << k for k in range(14, 27, 2)]     # bytes read and written by one copy
CHAIN, REPEATS, PAGE = 400, 5, 4096


def rates():
    """The machine's rates at the present number of threads, as plain data; measured once.

    {"threads", "product": {dtype: operations / s}, "stream": [[bytes, bytes / s], ...] from cache
    to memory, "overhead": {phase: seconds a launch}, "fault": bytes / s of memory never touched}.
    """
    return _rates(ad.get_num_threads())


@functools.lru_cache(maxsize=8)
def _rates(threads):
    with ad.no_grad():
        product = {name: max(_product(name, side) for side in SIDES)
                   for name in ("float32", "float64")}
        stream = [[size, _stream(size)] for size in STREAM]
    with ad.enable_grad():
        overhead = _overhead()
    return {"threads": threads, "product": product, "stream": stream, "overhead": overhead,
            "fault": _fault()}


def _least(function, least=0.02):
    """Least kernel seconds of one launch: repeated for `least` seconds, REPEATS times at least."""
    found, start = [], time.perf_counter()
    while len(found) < REPEATS or time.perf_counter() - start < least:
        with ad.profile.profile() as p:
            function()
        found.append(p.events[-1].seconds)
    return min(found)


def _product(name, side):
    a = ad.ones((side, side), dtype=getattr(ad, name))
    return 2 * side ** 3 / _least(lambda: ad.matmul(a, a), 0.06)


def _stream(size):
    a = ad.ones((size // 8,), dtype=ad.float32)
    b = ad.ones((size // 8,), dtype=ad.float32)
    return size / _least(lambda: a.copy_(b))


def _overhead():
    """Seconds of a launch on one number, by phase: a chain of tanh, without and with recording."""
    x = ad.tensor(0.5, requires_grad=True)
    seconds = {"inference": [], "forward": [], "backward": []}
    clock = time.perf_counter

    def chain():
        h = x
        for _ in range(CHAIN):
            h = ad.tanh(h)
        return h

    for _ in range(REPEATS):
        start = clock()
        with ad.no_grad():
            chain()
        seconds["inference"].append(clock() - start)
        start = clock()
        h = chain()
        seconds["forward"].append(clock() - start)
        start = clock()
        h.backward()
        seconds["backward"].append(clock() - start)
    least = {phase: min(found) / CHAIN for phase, found in seconds.items()}
    return {**least, "update": least["inference"]}


def _fault(size=32 << 20):
    """Bytes a second of pages that the process touches for the first time."""
    found = []
    for _ in range(3):
        with mmap.mmap(-1, size) as pages:
            if hasattr(mmap, "MADV_NOHUGEPAGE"):
                pages.madvise(mmap.MADV_NOHUGEPAGE)
            array = np.frombuffer(pages, np.uint8)
            start = time.perf_counter()
            array[::PAGE] = 1
            found.append(time.perf_counter() - start)
            del array
    return size / min(found)


def stream_rate(measured, nbytes):
    """Bytes a second for a launch that moves `nbytes`: between the sizes measured, by logarithm."""
    sizes, speeds = zip(*measured["stream"], strict=True)
    return float(np.interp(np.log(max(1, nbytes)), np.log(sizes), speeds))


def bound(measured, phase, dtype, flops, nbytes):
    """(kind, least seconds) of one launch; `kind` is the largest of its three terms."""
    product = measured["product"].get(dtype) or measured["product"]["float32"]
    terms = (flops / product, nbytes / stream_rate(measured, nbytes), measured["overhead"][phase])
    kind = KINDS[max(range(3), key=lambda k: terms[k])]
    return kind, terms[2] + max(terms[:2])
