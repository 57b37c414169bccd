"""A whole GRU layer as one operation: the sequence in, the sequence of hidden states out.

Built as `lstm` is.  Invariant: what is kept for backward is r, z, n of each step, and
m = h w_hn^T + b_hn, since it stands inside the reset gate's product.

Source: Cho et al. (2014), in the form of cuDNN and PyTorch: n = tanh(w_in x + b_in + r m).
"""

from ..errors import ShapeError
from ..infer import need_fit, need_float, need_ndim
from ..op import Plan, op
from ..samples import Bad, Sample
from .norm import wanted
from .shape import concat, stack

# Rows (steps times batch) that go through one product; kernels/gru.pyx has the same.
ROWS = 512


def sizes(name, x, h0, w_ih, w_hh):
    """(T, N, I, H) of a layer; ShapeError for what does not fit."""
    need_float(name, x=x, h0=h0, w_ih=w_ih, w_hh=w_hh)
    need_ndim(name, 3, x=x)
    need_ndim(name, 2, h0=h0, w_ih=w_ih, w_hh=w_hh)
    (steps, batch, inputs), hidden = x.shape, h0.shape[1]
    expected = {"h0": (h0, (batch, hidden)), "w_ih": (w_ih, (3 * hidden, inputs)),
                "w_hh": (w_hh, (3 * hidden, hidden))}
    for arg, (array, shape) in expected.items():
        if array.shape != shape:
            raise ShapeError(f"{name}: {arg} must have shape {shape}, got {array.shape} "
                             f"(x is {x.shape}, h0 {h0.shape})")
    return steps, batch, inputs, hidden


def gru_infer(x, h0, w_ih, w_hh, b_ih, b_hh):
    steps, batch, _, hidden = sizes("gru", x, h0, w_ih, w_hh)
    for arg, b in (("b_ih", b_ih), ("b_hh", b_hh)):
        if b is not None and b.shape != (3 * hidden,):
            raise ShapeError(f"gru: {arg} must have shape ({3 * hidden},), got {b.shape}")
    return Plan([((steps, batch, hidden), x.dtype), ((steps, batch, 4 * hidden), x.dtype)])


def gru_backward_infer(g, x, h0, w_ih, w_hh, out, gates, needs):
    steps, batch, inputs, hidden = sizes("gru_backward", x, h0, w_ih, w_hh)
    whole = (steps, batch, hidden)
    need_fit("gru_backward", x.dtype, g=(g, whole), out=(out, whole),
             gates=(gates, (steps, batch, 4 * hidden)))
    shapes = (x.shape, h0.shape, w_ih.shape, w_hh.shape, (4 * hidden,))
    return Plan(wanted(shapes, x.dtype, needs), ia=(int(needs),))


def gru_vjp(g, needs, x, h0, w_ih, w_hh, out, gates):
    asked = needs & 15 | (16 if needs & 48 else 0)
    *grads, db = gru_backward(g, x, h0, w_ih, w_hh, out, gates, asked)
    h = h0.shape[1]
    grads += [db[:3 * h] if needs & 16 else None,
              concat([db[:2 * h], db[3 * h:]]) if needs & 32 else None]
    return tuple(d if needs >> k & 1 else None for k, d in enumerate(grads))


def gru_composite(x, h0, w_ih, w_hh, b_ih=None, b_hh=None):
    hidden = h0.shape[1]
    a = x @ w_ih.T if b_ih is None else x @ w_ih.T + b_ih
    h, out = h0, []
    for t in range(x.shape[0]):
        b = h @ w_hh.T if b_hh is None else h @ w_hh.T + b_hh
        (r, z, n), (hr, hz, m) = ([s[:, k * hidden:(k + 1) * hidden] for k in range(3)]
                                  for s in (a[t], b))
        r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
        n = (n + r * m).tanh()
        h = n + z * (h - n)
        out.append(h)
    return stack(out) if out else a[:, :, :hidden] * 0.0


def gru_flops(plan, x, h0, *inputs, **attrs):
    (steps, batch, inputs_), hidden = x.shape, h0.shape[1]
    return steps * batch * hidden * (6 * (inputs_ + hidden) + 25)


def gru_scratch(plan, x, h0, *inputs, threads=1, **attrs):
    """Gates of some steps at a time, where they are not kept; the two biases' sum."""
    (steps, batch, _), hidden = x.shape, h0.shape[1]
    chunk = min(steps, ROWS // max(batch, 1) + 1)
    return (chunk * batch + 1) * 4 * hidden * x.dtype.itemsize


def gru_backward_scratch(plan, g, x, h0, *inputs, threads=1, **attrs):
    """Gradients of some steps' gates, and that of the running hidden state."""
    (steps, batch, _), hidden = x.shape, h0.shape[1]
    chunk = min(steps, ROWS // max(batch, 1) + 1)
    return (chunk * batch * 4 + batch) * hidden * x.dtype.itemsize


def layer(draw, steps, batch, inputs, hidden, biases=2):
    b = [draw.normal(3 * hidden) for _ in range(biases)]
    return (draw.normal(steps, batch, inputs), draw.normal(batch, hidden),
            draw.normal(3 * hidden, inputs), draw.normal(3 * hidden, hidden), *b)


def gru_samples(draw):
    return [Sample(*layer(draw, 3, 2, 3, 2)), Sample(*layer(draw, 1, 1, 2, 3, biases=1)),
            Sample(*layer(draw, 4, 3, 1, 1, biases=0)), Sample(*layer(draw, 0, 2, 3, 2)),
            Sample(*layer(draw, 2, 0, 3, 2))]


def gru_bad(draw):
    x, h0, w_ih, w_hh, b, _ = layer(draw, 3, 2, 3, 2)
    return [Bad(ShapeError, "x must have 3", x[0], h0, w_ih, w_hh),
            Bad(ShapeError, "h0 must have shape", x, h0[:1], w_ih, w_hh),
            Bad(ShapeError, "w_hh must have shape", x, h0, w_ih, w_hh[:4]),
            Bad(ShapeError, "b_ih must have shape", x, h0, w_ih, w_hh, b[:3])]


def gru_backward_samples(draw):
    args = layer(draw, 3, 2, 3, 2, biases=0)
    state = [draw.normal(3, 2, 2), draw.uniform(0.1, 0.9, 3, 2, 8)]
    return [Sample(draw.normal(3, 2, 2), *args, *state, check_grad=False),
            Sample(draw.normal(3, 2, 2), *args, *state, 12, check_grad=False)]


def gru_backward_bad(draw):
    args = layer(draw, 3, 2, 3, 2, biases=0)
    state = [draw.normal(3, 2, 2), draw.uniform(0.1, 0.9, 3, 2, 8)]
    return [Bad(ShapeError, "g must have shape", draw.normal(2, 2), *args, *state)]


gru = op(
    "gru", "x h0 w_ih w_hh b_ih? b_hh?", "One GRU layer over a sequence x (T, N, I) from states "
    "(N, H), weights (3H, I) and (3H, H); returns out (T, N, H).",
    formula="n = tanh(a_n + r * m); h = (1 - z) * n + z * h", residuals="gates",
    kernel="gru", infer=gru_infer, promote="float",
    saves={"x h0 w_ih w_hh b_ih b_hh": "x h0 w_ih w_hh b_ih b_hh out gates"}, vjp=gru_vjp,
    composite=gru_composite, method=False, flops=gru_flops, scratch=gru_scratch,
    samples=gru_samples, bad=gru_bad,
    source="Cho et al., Learning Phrase Representations using RNN Encoder-Decoder (2014)")

gru_backward = op(
    "gru_backward", "g x h0 w_ih w_hh out gates",
    "Gradients of gru; `needs` says which, in the order of the outputs.",
    formula="da = dgates * gate'; dw = da.T @ x; dx = da @ w", attrs={"needs": 31},
    outputs="dx dh0 dw_ih dw_hh db", kernel="gru_backward", infer=gru_backward_infer,
    method=False, flops=lambda plan, g, *inputs, **attrs: 2 * gru_flops(plan, *inputs),
    scratch=gru_backward_scratch, samples=gru_backward_samples, bad=gru_backward_bad)
