"""JAX: one jitted function a repetition, its result awaited; the optimizer is part of the step.

Weights are (inputs, outputs) and images channels-last, as its users have them; weights and
optimizer state are donated to the step, so that they are updated in place.
"""

import functools

import numpy as np


def setup(threads):
    # JAX takes a thread for each processor that the process may use: worker.py sets that.
    global jax, jnp
    import jax
    import jax.numpy as jnp


def version():
    return jax.__version__


def numbers(result):
    return np.concatenate([np.asarray(p).ravel() for p in jax.tree.leaves(result)])


def program(row, mode):
    if row.kind == "chain":
        return None                     # the row is about eager calls
    step, arguments = _compiled(row, mode)
    if mode == "infer":
        return lambda: step(*arguments).block_until_ready()
    if row.kind == "elementwise":
        return lambda: step(*arguments).block_until_ready()
    state = list(arguments[:2])

    def train():
        loss, *state[:] = step(*state, *arguments[2:])
        jax.block_until_ready(state)
        return loss
    return train


def analysed(row, mode):
    """Peak bytes by JAX's own analysis: arguments, results that are not arguments, temporaries."""
    if row.kind == "chain":
        return None
    step, arguments = _compiled(row, mode)
    m = step.lower(*arguments).compile().memory_analysis()
    return (m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
            + m.temp_size_in_bytes)


def _compiled(row, mode):
    """(jitted function, its arguments)."""
    if row.kind == "elementwise":
        def value(x):
            return (jnp.tanh(x) * jax.nn.sigmoid(x) + jnp.exp(-x * x)).sum()
        return jax.jit(value if mode == "infer" else jax.grad(value)), (
            jnp.array(row.batch()[0]),)
    model = {"mlp": _mlp, "cnn": _cnn, "gpt": _gpt, "lstm": _lstm}[row.kind](**row.sizes)
    weights = {name: jnp.array(w.T if _of_product(name, w) else w)
               for name, w in row.weights().items()}
    x, y = row.batch()
    if row.kind == "cnn":
        weights = _channels_last(weights, row.sizes)
        x = x.transpose(0, 2, 3, 1)
    x, y = jnp.array(x), jnp.array(y)
    if mode == "infer":
        return jax.jit(model), (weights, x)

    def loss_of(p, x, y):
        out = model(p, x)
        if jnp.issubdtype(y.dtype, jnp.floating):
            return ((out - y) ** 2).mean()
        chosen = jnp.take_along_axis(jax.nn.log_softmax(out), y[..., None], axis=-1)
        return -chosen.mean()
    name, lr = row.optimizer
    update = {"sgd": _sgd, "adam": _adam, "adamw": functools.partial(_adam, decay=0.01)}[name]

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(p, state, x, y):
        loss, g = jax.value_and_grad(loss_of)(p, x, y)
        return loss, *update(p, g, state, lr)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = () if name == "sgd" else (zeros, jax.tree.map(jnp.zeros_like, weights), jnp.int32(0))
    return step, (weights, state, x, y)


def _sgd(p, g, state, lr):
    return jax.tree.map(lambda p, g: p - lr * g, p, g), state


def _adam(p, g, state, lr, decay=0.0, b1=0.9, b2=0.999, eps=1e-8):
    m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, g)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
    c1, c2 = 1 - b1 ** t.astype(jnp.float32), 1 - b2 ** t.astype(jnp.float32)
    p = jax.tree.map(lambda p, m, v: p * (1 - lr * decay)
                     - lr * (m / c1) / (jnp.sqrt(v / c2) + eps), p, m, v)
    return p, (m, v, t)


def _of_product(name, w):
    return w.ndim == 2 and not name.startswith(("tokens", "positions", "embedding"))


def _linear(p, name, x):
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def _mlp(widths, activation, **_):
    act, last = {"tanh": jnp.tanh, "relu": jax.nn.relu}[activation], len(widths) - 2

    def model(p, x):
        for k in range(last + 1):
            x = _linear(p, str(2 * k), x)
            x = act(x) if k < last else x
        return x
    return model


def _channels_last(weights, sizes):
    b, edge = sizes["channels"][1], sizes["image"] // 4
    flat = weights["7.weight"].reshape(b, edge, edge, -1).transpose(1, 2, 0, 3)
    return {**weights, "0.weight": weights["0.weight"].transpose(2, 3, 1, 0),
            "3.weight": weights["3.weight"].transpose(2, 3, 1, 0),
            "7.weight": flat.reshape(weights["7.weight"].shape)}


def _cnn(**_):
    def conv_pool(p, name, x):
        x = jax.lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), "SAME",
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + p[f"{name}.bias"])
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def model(p, x):
        x = conv_pool(p, "3", conv_pool(p, "0", x)).reshape(x.shape[0], -1)
        return _linear(p, "9", jax.nn.relu(_linear(p, "7", x)))
    return model


def _gpt(layers, width, heads, **_):
    def norm(p, name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        return x * p[f"{name}.weight"] + p[f"{name}.bias"]

    def attention(p, at, x):
        n, t, _ = x.shape
        q, k, v = (a.reshape(n, t, heads, -1)
                   for a in jnp.split(_linear(p, f"{at}.qkv", x), 3, axis=-1))
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return _linear(p, f"{at}.out", y.reshape(n, t, width))

    def model(p, ids):
        x = p["tokens.weight"][ids] + p["positions.weight"][:ids.shape[1]]
        for k in range(layers):
            at = f"blocks.{k}"
            x = x + attention(p, f"{at}.attention", norm(p, f"{at}.norm1", x))
            h = jax.nn.gelu(_linear(p, f"{at}.mlp.0", norm(p, f"{at}.norm2", x)),
                            approximate=False)
            x = x + _linear(p, f"{at}.mlp.2", h)
        return _linear(p, "head", norm(p, "norm", x))
    return model


def _lstm(hidden, **_):
    def model(p, ids):
        x = p["embedding.weight"][ids].swapaxes(0, 1)
        gates = (x @ p["lstm.weight_ih_l0"] + p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"])

        def cell(state, gate):
            h, c = state
            i, f, g, o = jnp.split(gate + h @ p["lstm.weight_hh_l0"], 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h
        zero = jnp.zeros((ids.shape[0], hidden))
        out = jax.lax.scan(cell, (zero, zero), gates)[1]
        return _linear(p, "head", out.swapaxes(0, 1))
    return model
