"""Arguments of about a given number of bytes for any operation of the registry.

An operation's own samples say what values it takes; here they are grown: one axis repeated, or,
where shapes must fit each other (matrix products, convolutions, recurrent layers), drawn by a small
function of the number of elements.  Invariant: what has neither rule is reported, not skipped.
"""

import math

import numpy as np


def arguments(block, draw, nbytes):
    """(args, kwargs) of a call of `block` that touches about `nbytes`; None if nobody knows how."""
    n = max(16, nbytes // 4)
    if block.name in SIZES:
        return _split(SIZES[block.name](draw, n))
    if block.inputs == ("x",) and "axis" in block.attrs:
        return [draw.normal(max(1, n // 256), 256)], {"axis": -1}
    return _grown(block, draw, n)


def _split(args):
    """Positional arguments and, where the last one is a dict, keyword arguments."""
    return (list(args[:-1]), args[-1]) if isinstance(args[-1], dict) else (list(args), {})


def _grown(block, draw, n):
    """A sample whose arrays of the largest shape are repeated along the first axis."""
    for sample in block.samples(draw) if block.samples else ():
        arrays = [a for a in sample.args if isinstance(a, np.ndarray) and a.ndim
                  and a.dtype.kind in "fb"]
        if not arrays or min(a.size for a in arrays) == 0:
            continue
        shape = max((a.shape for a in arrays), key=math.prod)
        same = [a for a in arrays if a.shape == shape]
        if block.elementwise and len(same) < len(arrays):
            continue                                    # broadcast: another measurement
        rows = max(1, n // (len(same) + 1) // math.prod(shape[1:]))
        return [np.resize(a, (rows, *shape[1:])) if isinstance(a, np.ndarray) and a.shape == shape
                else a for a in sample.args], dict(sample.kwargs)
    return None


def _matmul(draw, n):
    side = max(4, math.isqrt(n // 3))
    return draw.normal(side, side), draw.normal(side, side)


def _linear(draw, n):
    return *_matmul(draw, n), draw.normal(max(4, math.isqrt(n // 3)))


def _conv2d(draw, n):
    channels, edge = (8, 8) if n < 1 << 14 else (32, 16)
    batch = max(1, n // (2 * channels * edge * edge))
    return (draw.normal(batch, channels, edge, edge), draw.normal(channels, channels, 3, 3),
            draw.normal(channels), {"padding": 1})


def _attention(draw, n):
    length, width = (16, 16) if n < 1 << 14 else (128, 32)
    heads = max(1, n // (4 * length * width))
    return *(draw.normal(heads, length, width) for _ in range(3)), {"is_causal": True}


def _self_attention(draw, n):
    length, width = (16, 16) if n < 1 << 14 else (128, 32)
    batch = max(1, n // (16 * length * width))
    return draw.normal(batch, length, 12 * width), {"heads": 4, "is_causal": True}


def _recurrent(gates, states):
    def sizes(draw, n):
        length, batch = 16, 16
        hidden = max(4, math.isqrt(n // (2 * gates + 2 * length)))
        return (draw.normal(length, batch, hidden),
                *(draw.normal(batch, hidden) for _ in range(states)),
                *(0.1 * draw.normal(gates * hidden, hidden) for _ in range(2)),
                *(draw.normal(gates * hidden) for _ in range(2)))
    return sizes


def _norm(draw, n):
    return draw.normal(max(1, n // 512), 256), draw.normal(256), draw.normal(256)


def _rms_norm(draw, n):
    return draw.normal(max(1, n // 512), 256), draw.normal(256)


def _images(draw, n):
    return draw.normal(max(1, n // (2 * 16 * 16 * 8)), 8, 16, 16)


def _batch_norm(draw, n):
    return _images(draw, n), draw.normal(8), draw.normal(8)


def _batch_norm_inference(draw, n):
    return (_images(draw, n), draw.normal(8), draw.positive(8), draw.normal(8), draw.normal(8))


def _pool(draw, n):
    return _images(draw, n), 2


def _pool_gather(draw, n):
    x = draw.normal(max(1, n // (16 * 16 * 10)), 8, 16, 16)
    return x, np.zeros((*x.shape[:2], 8, 8), np.uint8), 2


def _cross_entropy(draw, n):
    rows = max(1, n // 64)
    return draw.normal(rows, 64), draw.ints(0, 64, rows)


def _embedding(draw, n):
    rows = max(1, n // 128)
    return draw.normal(rows, 64), draw.ints(0, rows, rows)


def _gather(draw, n):
    rows = max(1, n // 128)
    return draw.normal(rows, 64), draw.ints(0, rows, rows), 0


def _scatter_add(draw, n):
    rows = max(1, n // 128)
    return draw.normal(rows, 64), draw.ints(0, rows, rows), (rows, 64), 0


def _scatter(draw, n):
    rows = max(1, n // 192)
    return draw.normal(rows, 64), draw.normal(rows, 64), draw.ints(0, rows, rows), 0


EVEN = (Ellipsis, slice(0, None, 2))            # an index: every other column


def _setitem(draw, n):
    rows = max(1, n // 192)
    return draw.normal(rows, 128), draw.normal(rows, 64), EVEN


def _unindex(draw, n):
    rows = max(1, n // 192)
    return draw.normal(rows, 64), (rows, 128), EVEN


def _concat(draw, n):
    return [draw.normal(max(1, n // 256), 64) for _ in range(2)],


def _sum_to(draw, n):
    return draw.normal(max(1, n // 256), 256), (256,)


def _drawn(draw, n):
    return draw.ints(0, 9, 2), (n,)


SIZES = {
    "matmul": _matmul, "linear": _linear, "linear_relu": _linear, "conv2d": _conv2d,
    "conv2d_relu": _conv2d, "attention": _attention, "self_attention": _self_attention,
    "lstm": _recurrent(4, 2), "gru": _recurrent(3, 1), "layer_norm": _norm, "rms_norm": _rms_norm,
    "batch_norm": _batch_norm, "batch_norm_inference": _batch_norm_inference,
    "max_pool2d": _pool, "avg_pool2d": _pool, "max_pool2d_gather": _pool_gather,
    "cross_entropy": _cross_entropy,
    "embedding": _embedding, "gather": _gather, "scatter_add": _scatter_add,
    "scatter_": _scatter, "scatter_add_": _scatter, "setitem": _setitem, "unindex": _unindex,
    "concat": _concat, "sum_to": _sum_to,
    "uniform": _drawn, "normal": _drawn,
    "full": lambda draw, n: ((n,), 1.5),
    "permutation": lambda draw, n: (draw.ints(0, 9, 2), n),
    "randint": lambda draw, n: (draw.ints(0, 9, 2), 0, 9, (n,)),
}
