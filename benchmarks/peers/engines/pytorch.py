"""PyTorch, eager or compiled, with its fused optimizers and scaled_dot_product_attention.

Compiled: forward and loss go through torch.compile, which compiles their backward too; the
optimizer is PyTorch's fused one either way.
"""

import ctypes

import numpy as np


def setup(threads, compiled=False):
    global torch, F, COMPILED
    import torch
    import torch.nn.functional as F
    COMPILED = compiled
    torch.set_num_threads(threads)


def version():
    return torch.__version__


def numbers(result):
    parts = result if isinstance(result, tuple) else (result,)
    return np.concatenate([p.detach().numpy().ravel() for p in parts])


def pooled():
    """PyTorch's pool is the C heap: give its free pages back, so that nothing is held."""
    ctypes.CDLL(None).malloc_trim(0)
    return 0


def _maybe_compiled(f):
    return torch.compile(f) if COMPILED else f


def program(row, mode):
    if row.kind == "chain" and COMPILED:
        return None                     # the row is about eager calls
    return {"chain": _chain, "elementwise": _elementwise}.get(row.kind, _model)(row, mode)


def _chain(row, mode):
    weights = row.weights()
    w, b = (torch.tensor(weights[n], requires_grad=True) for n in "wb")
    one, steps = torch.tensor(1.0), row.sizes["steps"]

    def forward():
        h = one
        for _ in range(steps):
            h = h * w + b
        return h

    def infer():
        with torch.no_grad():
            return forward()

    def train():
        w.grad = b.grad = None
        forward().backward()
        return w.grad, b.grad
    return infer if mode == "infer" else train


def _elementwise(row, mode):
    x = torch.tensor(row.batch()[0], requires_grad=mode == "train")
    forward = _maybe_compiled(
        lambda x: (torch.tanh(x) * torch.sigmoid(x) + torch.exp(-x * x)).sum())

    def infer():
        with torch.no_grad():
            return forward(x)

    def train():
        x.grad = None
        forward(x).backward()
        return x.grad
    return infer if mode == "infer" else train


def _model(row, mode):
    model = {"mlp": _mlp, "cnn": _cnn, "gpt": _gpt, "lstm": _lstm}[row.kind](**row.sizes)
    model.load_state_dict({name: torch.from_numpy(w) for name, w in row.weights().items()})
    x, y = (torch.tensor(a) for a in row.batch())
    if mode == "infer":
        model.eval()
        forward = _maybe_compiled(model)

        def infer():
            with torch.no_grad():
                return forward(x)
        return infer

    @_maybe_compiled
    def loss_of(x, y):
        out = model(x)
        if y.is_floating_point():
            return F.mse_loss(out, y)
        return F.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1))
    name, lr = row.optimizer
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    optimizer = make(model.parameters(), lr=lr, fused=True)

    def train():
        loss = loss_of(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss
    return train


def _mlp(widths, activation, **_):
    nn, layers = torch.nn, []
    for i, o in zip(widths, widths[1:]):
        layers += [nn.Linear(i, o), nn.Tanh() if activation == "tanh" else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn(image, channels, hidden, classes, **_):
    nn, (a, b) = torch.nn, channels
    return nn.Sequential(
        nn.Conv2d(1, a, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(b * (image // 4) ** 2, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def _gpt(vocabulary, block, layers, width, heads, **_):
    nn = torch.nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            n, t, _ = x.shape
            q, k, v = (p.view(n, t, heads, -1).transpose(1, 2)
                       for p in self.qkv(x).split(width, dim=2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(y.transpose(1, 2).reshape(n, t, width))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(width), Attention()
            self.norm2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                     nn.Linear(4 * width, width))

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.positions = nn.Embedding(block, width)
            self.blocks = nn.ModuleList([Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

        def forward(self, ids):
            x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
            for part in self.blocks:
                x = part(x)
            return self.head(self.norm(x))
    return GPT()


def _lstm(vocabulary, embed, hidden, **_):
    nn = torch.nn

    class CharModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, embed)
            self.lstm = nn.LSTM(embed, hidden, batch_first=True)
            self.head = nn.Linear(hidden, vocabulary)

        def forward(self, ids):
            return self.head(self.lstm(self.embedding(ids))[0])
    return CharModel()
