"""The workloads: sizes, weights, data and the arithmetic that none can do without.

Invariant: weights and data are NumPy arrays from one seed, so every engine starts from the same
numbers; names of weights are those of `state_dict`.  Nothing but NumPy is imported.
"""

import functools
from dataclasses import dataclass, field, replace

import numpy as np

INFER, TRAIN = MODES = "infer", "train"


@dataclass(frozen=True)
class Row:
    """One workload: `kind` chooses the model in each engine, `sizes` its shape.

    optimizer: (name, learning rate) or None; small: sizes for warming libraries and for tests;
    bound: what limits it at best, "gemm", "stream", or None where it is the calls themselves.
    """

    name: str
    title: str
    kind: str
    sizes: dict = field(hash=False)
    small: dict = field(hash=False)
    optimizer: tuple | None = None
    bound: str | None = None

    def miniature(self):
        """The same workload at its small sizes."""
        return replace(self, sizes={**self.sizes, **self.small})

    def weights(self):
        """{name: float32 array}, the same arrays each time; empty where there is no model."""
        return _weights(self)

    def batch(self):
        """(x, y): the one batch of every step, y None where there is no target."""
        return _batch(self)

    def work(self, mode):
        """(FLOPs in matrix products, bytes to be streamed) that no implementation can avoid.

        In training each product takes two more, but the first layer's needs no input gradient;
        the optimizer reads and writes its state once.
        """
        flops, first = _FLOPS[self.kind](**self.sizes)
        x = self.batch()[0]
        held = 0 if x is None else x.nbytes
        if mode == INFER:
            return flops, held
        state = {"adam": 7, "adamw": 7, "sgd": 3, None: 0}[(self.optimizer or (None,))[0]]
        parameters = sum(w.nbytes for w in self.weights().values())
        gradient = held if self.kind == "elementwise" else 0
        return 3 * flops - first, held + gradient + state * parameters


@functools.lru_cache(4)
def _weights(row):
    rng = np.random.default_rng(1)
    return {name: _weight(rng, name, shape)
            for name, shape in _SHAPES[row.kind](**row.sizes).items()}


@functools.lru_cache(4)
def _batch(row):
    return _BATCH[row.kind](np.random.default_rng(2), **row.sizes)


def _weight(rng, name, shape):
    if shape == ():
        return np.float32({"w": 0.999, "b": 0.001}[name])       # the chain's
    if "norm" in name and name.endswith("weight"):
        return np.ones(shape, np.float32)
    if len(shape) < 2:
        return np.asarray(0.01 * rng.standard_normal(shape), np.float32)
    fan_in = int(np.prod(shape[1:]))
    scale = 0.02 if name.startswith(("tokens", "positions")) else fan_in ** -0.5
    return np.asarray(scale * rng.standard_normal(shape), np.float32)


# Shapes of the weights --------------------------------------------------------------------------

def _chain_shapes(steps):
    return {"w": (), "b": ()}


def _mlp_shapes(widths, **_):
    shapes = {}
    for k in range(len(widths) - 1):
        shapes[f"{2 * k}.weight"] = (widths[k + 1], widths[k])
        shapes[f"{2 * k}.bias"] = (widths[k + 1],)
    return shapes


def _cnn_shapes(image, channels, hidden, classes, **_):
    a, b = channels
    flat = b * (image // 4) ** 2
    return {"0.weight": (a, 1, 3, 3), "0.bias": (a,), "3.weight": (b, a, 3, 3), "3.bias": (b,),
            "7.weight": (hidden, flat), "7.bias": (hidden,),
            "9.weight": (classes, hidden), "9.bias": (classes,)}


def _gpt_shapes(vocabulary, block, layers, width, **_):
    def linear(name, outputs, inputs):
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name):
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    shapes = {"tokens.weight": (vocabulary, width), "positions.weight": (block, width)}
    for k in range(layers):
        at = f"blocks.{k}"
        shapes |= (norm(f"{at}.norm1") | linear(f"{at}.attention.qkv", 3 * width, width)
                   | linear(f"{at}.attention.out", width, width) | norm(f"{at}.norm2")
                   | linear(f"{at}.mlp.0", 4 * width, width)
                   | linear(f"{at}.mlp.2", width, 4 * width))
    return shapes | norm("norm") | linear("head", vocabulary, width)


def _lstm_shapes(vocabulary, embed, hidden, **_):
    return {"embedding.weight": (vocabulary, embed),
            "lstm.weight_ih_l0": (4 * hidden, embed), "lstm.weight_hh_l0": (4 * hidden, hidden),
            "lstm.bias_ih_l0": (4 * hidden,), "lstm.bias_hh_l0": (4 * hidden,),
            "head.weight": (vocabulary, hidden), "head.bias": (vocabulary,)}


_SHAPES = {"chain": _chain_shapes, "mlp": _mlp_shapes, "cnn": _cnn_shapes, "gpt": _gpt_shapes,
           "lstm": _lstm_shapes, "elementwise": lambda n: {}}


# Batches ----------------------------------------------------------------------------------------

def _floats(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def _mlp_batch(rng, batch, widths, loss, **_):
    x = _floats(rng, batch, widths[0])
    if loss == "mse":
        return x, x[:, :1] * x[:, 1:2]
    return x, rng.integers(0, widths[-1], batch)


def _cnn_batch(rng, batch, image, classes, **_):
    return _floats(rng, batch, 1, image, image), rng.integers(0, classes, batch)


def _token_batch(rng, batch, block, vocabulary, **_):
    text = rng.integers(0, vocabulary, (batch, block + 1))
    return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])


_BATCH = {"chain": lambda rng, steps: (None, None), "mlp": _mlp_batch, "cnn": _cnn_batch,
          "gpt": _token_batch, "lstm": _token_batch,
          "elementwise": lambda rng, n: (_floats(rng, n), None)}


# FLOPs of the matrix products: (one forward pass, of these the first layer's) ---------------------

def _mlp_flops(batch, widths, **_):
    each = [2 * batch * i * o for i, o in zip(widths, widths[1:])]
    return sum(each), each[0]


def _cnn_flops(batch, image, channels, hidden, classes, **_):
    a, b = channels
    first = 2 * batch * 9 * a * image ** 2
    second = 2 * batch * 9 * a * b * (image // 2) ** 2
    dense = 2 * batch * hidden * (b * (image // 4) ** 2 + classes)
    return first + second + dense, first


def _gpt_flops(batch, vocabulary, block, layers, width, **_):
    tokens = batch * block
    linear = 2 * tokens * width * (12 * width * layers + vocabulary)
    attention = layers * 2 * tokens * block * width     # q k^T and p v, the causal half of each
    return linear + attention, 0


def _lstm_flops(batch, block, vocabulary, embed, hidden, **_):
    return 2 * batch * block * (4 * hidden * (embed + hidden) + hidden * vocabulary), 0


_FLOPS = {"chain": lambda steps: (0, 0), "mlp": _mlp_flops, "cnn": _cnn_flops,
          "gpt": _gpt_flops, "lstm": _lstm_flops, "elementwise": lambda n: (0, 0)}


# The table --------------------------------------------------------------------------------------

_DENSE = dict(widths=(784, 512, 256, 10), activation="relu", loss="cross_entropy")
ROWS = {row.name: row for row in (
    Row("chain", "scalar chain: 1,000 x `h*w+b`, eager", "chain", dict(steps=1000),
        dict(steps=5)),
    Row("tiny", "tiny MLP 2-16-16-1 tanh, batch 32, SGD", "mlp",
        dict(batch=32, widths=(2, 16, 16, 1), activation="tanh", loss="mse"),
        dict(batch=4, widths=(2, 3, 4, 1)), ("sgd", 0.05)),
    Row("mlp", "MLP 784-512-256-10 relu, batch 128, Adam", "mlp", dict(batch=128, **_DENSE),
        dict(batch=4, widths=(6, 5, 4, 3)), ("adam", 1e-3), "gemm"),
    Row("mlp1", "the same, batch 1, SGD", "mlp", dict(batch=1, **_DENSE),
        dict(widths=(6, 5, 4, 3)), ("sgd", 0.01)),
    Row("cnn", "CNN conv32-pool-conv64-pool-fc128-fc10, 3x3 pad 1, batch 64, 1x28x28, Adam", "cnn",
        dict(batch=64, image=28, channels=(32, 64), hidden=128, classes=10),
        dict(batch=2, image=8, channels=(2, 3), hidden=4, classes=3), ("adam", 1e-3), "gemm"),
    Row("gpt", "char GPT: 4 layers, width 128, 4 heads, T 128, batch 16, vocabulary 65, AdamW",
        "gpt", dict(batch=16, vocabulary=65, block=128, layers=4, width=128, heads=4),
        dict(batch=2, vocabulary=7, block=8, layers=2, width=8, heads=2), ("adamw", 1e-3), "gemm"),
    Row("lstm", "LSTM: embed 64, hidden 128, T 64, batch 32, vocabulary 65, Adam", "lstm",
        dict(batch=32, block=64, vocabulary=65, embed=64, hidden=128),
        dict(batch=2, block=5, vocabulary=7, embed=3, hidden=4), ("adam", 1e-3), "gemm"),
    Row("elementwise", "elementwise: d/dx of sum(tanh(x) sigmoid(x) + exp(-x^2)), 10M elements",
        "elementwise", dict(n=10_000_000), dict(n=1000), None, "stream"),
)}
