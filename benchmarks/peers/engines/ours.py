"""This engine, written with `nn` as a user would: eager, captured, or for inference the captured
call of a frozen model."""

import numpy as np


def setup(threads, captured=False, frozen=False):
    global ad, nn, F, CAPTURED, FROZEN
    import autodiff as ad
    import nn
    import nn.functional as F
    ad.set_num_threads(threads)
    CAPTURED, FROZEN = captured, frozen


def version():
    from benchmarks import machine
    return machine.version("autodiff") or "from source"


def numbers(result):
    parts = result if isinstance(result, tuple) else (result,)
    return np.concatenate([p.numpy().ravel() for p in parts])


def pooled():
    ad.memory.trim()
    return ad.memory.stats()["held_bytes"]


def live():
    return ad.memory.stats()["live_bytes"]


def reset_peak():
    ad.memory.reset_peak()


def peak():
    return ad.memory.peak()


def prepare(run):
    """The calls that run the function itself and trace it, which repetitions do not."""
    for _ in range(3 if CAPTURED else 0):
        run()
    ad.memory.trim()


def program(row, mode):
    if FROZEN and (mode == "train" or row.kind in ("chain", "elementwise")):
        return None
    function = {"chain": _chain, "elementwise": _elementwise}.get(row.kind, _model)(row, mode)
    return ad.capture(function) if CAPTURED else function


def _chain(row, mode):
    weights = row.weights()
    w = ad.tensor(weights["w"], requires_grad=True)
    b = ad.tensor(weights["b"], requires_grad=True)
    one, steps = ad.tensor(np.float32(1.0)), row.sizes["steps"]

    def forward():
        h = one
        for _ in range(steps):
            h = h * w + b
        return h

    def infer():
        with ad.no_grad():
            return forward()

    def train():
        w.grad = b.grad = None
        forward().backward()
        return w.grad, b.grad
    return infer if mode == "infer" else train


def _elementwise(row, mode):
    x = ad.tensor(row.batch()[0], requires_grad=mode == "train")

    def forward():
        return (ad.tanh(x) * ad.sigmoid(x) + ad.exp(-x * x)).sum()

    def infer():
        with ad.no_grad():
            return forward()

    def train():
        x.grad = None
        forward().backward()
        return x.grad
    return infer if mode == "infer" else train


def _model(row, mode):
    model = {"mlp": _mlp, "cnn": _cnn, "gpt": _gpt, "lstm": _lstm}[row.kind](**row.sizes)
    model.load_state_dict({name: ad.from_numpy(w) for name, w in row.weights().items()})
    x, y = (ad.tensor(a) for a in row.batch())
    if FROZEN:
        predictor = nn.freeze(model)
        return lambda: predictor(x)
    if mode == "infer":
        model.eval()

        def infer():
            with ad.no_grad():
                return model(x)
        return infer
    name, lr = row.optimizer
    optimizer = {"sgd": nn.optim.SGD, "adam": nn.optim.Adam, "adamw": nn.optim.AdamW}[name](
        model.parameters(), lr=lr)

    def train():
        out = model(x)
        if y.dtype == out.dtype:
            loss = F.mse_loss(out, y)
        else:
            loss = F.cross_entropy(out.reshape((-1, out.shape[-1])), y.reshape((-1,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss
    return train


def _mlp(widths, activation, **_):
    layers = []
    for i, o in zip(widths, widths[1:]):
        layers += [nn.Linear(i, o), nn.Tanh() if activation == "tanh" else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn(image, channels, hidden, classes, **_):
    a, b = channels
    return nn.Sequential(
        nn.Conv2d(1, a, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(b * (image // 4) ** 2, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def _gpt(vocabulary, block, layers, width, heads, **_):
    return nn.GPT(vocabulary, block, layers, width, heads)


def _lstm(vocabulary, embed, hidden, **_):
    from benchmarks.workloads.lstm import CharModel
    return CharModel(vocabulary, embed, hidden)
