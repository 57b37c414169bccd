"""HIPS autograd: NumPy code and its gradient; no convolution, so no CNN."""

import numpy as np


def setup(threads):
    global anp, grad, value_and_grad
    import autograd.numpy as anp
    from autograd import grad, value_and_grad


def version():
    from importlib import metadata
    return metadata.version("autograd")


def numbers(result):
    parts = result if isinstance(result, tuple) else (result,)
    return np.concatenate([np.ravel(p) for p in parts])


def program(row, mode):
    if row.kind == "chain":
        return _chain(row, mode)
    if row.kind == "elementwise":
        return _elementwise(row, mode)
    makers = {"mlp": _mlp, "gpt": _gpt, "lstm": _lstm}
    if row.kind not in makers:
        return None
    model = makers[row.kind](**row.sizes)
    p = {name: w.copy() for name, w in row.weights().items()}
    x, y = row.batch()
    if mode == "infer":
        return lambda: model(p, x)

    def loss_of(p):
        out = model(p, x)
        if y.dtype == out.dtype:
            return anp.mean((out - y) ** 2)
        out, chosen = anp.reshape(out, (-1, out.shape[-1])), y.ravel()
        top = out - anp.max(out, axis=1, keepdims=True)
        log_sum = anp.log(anp.sum(anp.exp(top), axis=1))
        return anp.mean(log_sum - top[np.arange(len(chosen)), chosen])
    gradient, update = value_and_grad(loss_of), _optimizer(p, *row.optimizer)

    def train():
        loss, g = gradient(p)
        update(g)
        return loss
    return train


def _chain(row, mode):
    w, b = row.weights()["w"], row.weights()["b"]

    def forward(w, b):
        h = np.float32(1.0)
        for _ in range(row.sizes["steps"]):
            h = h * w + b
        return h
    both = grad(forward, (0, 1))
    return (lambda: forward(w, b)) if mode == "infer" else (lambda: both(w, b))


def _elementwise(row, mode):
    x = row.batch()[0]

    def value(x):
        return anp.sum(anp.tanh(x) / (1 + anp.exp(-x)) + anp.exp(-x * x))
    slope = grad(value)
    return (lambda: value(x)) if mode == "infer" else (lambda: slope(x))


def _optimizer(p, name, lr, b1=0.9, b2=0.999, eps=1e-8):
    if name == "sgd":
        def update(g):
            for key, w in p.items():
                w -= lr * g[key]
        return update
    m = {key: np.zeros_like(w) for key, w in p.items()}
    v = {key: np.zeros_like(w) for key, w in p.items()}
    decay, count = {"adam": 0.0, "adamw": 0.01}[name], [0]

    def update(g):
        count[0] += 1
        c1, c2 = 1 - b1 ** count[0], 1 - b2 ** count[0]
        for key, w in p.items():
            m[key] += (1 - b1) * (g[key] - m[key])
            v[key] += (1 - b2) * (g[key] ** 2 - v[key])
            w *= 1 - lr * decay
            w -= lr / c1 * m[key] / (np.sqrt(v[key] / c2) + eps)
    return update


def _linear(p, name, x):
    return anp.dot(x, p[f"{name}.weight"].T) + p[f"{name}.bias"]


def _sigmoid(x):
    return 0.5 * (anp.tanh(0.5 * x) + 1)


def _mlp(widths, activation, **_):
    last = len(widths) - 2

    def model(p, x):
        for k in range(last + 1):
            x = _linear(p, str(2 * k), x)
            if k < last:
                x = anp.tanh(x) if activation == "tanh" else anp.maximum(x, 0)
        return x
    return model


def _gpt(layers, width, heads, block, **_):
    from autograd.scipy.special import erf
    hidden = np.triu(np.full((block, block), -np.inf, np.float32), 1)
    scale = np.float32((width // heads) ** -0.5)

    def norm(p, name, x):
        x = x - anp.mean(x, axis=-1, keepdims=True)
        x = x / anp.sqrt(anp.mean(x * x, axis=-1, keepdims=True) + np.float32(1e-5))
        return x * p[f"{name}.weight"] + p[f"{name}.bias"]

    def attention(p, at, x):
        n, t, _ = x.shape
        qkv = anp.reshape(_linear(p, f"{at}.qkv", x), (n, t, 3, heads, -1))
        q, k, v = anp.transpose(qkv, (2, 0, 3, 1, 4))
        score = anp.matmul(q, anp.transpose(k, (0, 1, 3, 2))) * scale + hidden
        e = anp.exp(score - anp.max(score, axis=-1, keepdims=True))
        y = anp.matmul(e / anp.sum(e, axis=-1, keepdims=True), v)
        return _linear(p, f"{at}.out", anp.reshape(anp.transpose(y, (0, 2, 1, 3)), (n, t, width)))

    def model(p, ids):
        x = p["tokens.weight"][ids] + p["positions.weight"]
        for k in range(layers):
            at = f"blocks.{k}"
            x = x + attention(p, f"{at}.attention", norm(p, f"{at}.norm1", x))
            h = _linear(p, f"{at}.mlp.0", norm(p, f"{at}.norm2", x))
            h = h * (1 + erf(h * np.float32(0.5 ** 0.5))) * np.float32(0.5)
            x = x + _linear(p, f"{at}.mlp.2", h)
        return _linear(p, "head", norm(p, "norm", x))
    return model


def _lstm(hidden, **_):
    def model(p, ids):
        x = p["embedding.weight"][ids]
        gates = anp.dot(x, p["lstm.weight_ih_l0"].T) + p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"]
        h = c = np.zeros((ids.shape[0], hidden), np.float32)
        outs = []
        for t in range(ids.shape[1]):
            i, f, g, o = anp.split(gates[:, t] + anp.dot(h, p["lstm.weight_hh_l0"].T), 4, axis=1)
            c = _sigmoid(f) * c + _sigmoid(i) * anp.tanh(g)
            h = _sigmoid(o) * anp.tanh(c)
            outs.append(h)
        return _linear(p, "head", anp.stack(outs, axis=1))
    return model
