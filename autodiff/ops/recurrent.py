"""A whole LSTM layer as one operation: the sequence in, the sequence of hidden states out.

One product takes all inputs to the gates, one loop runs over time, and one product gives each
weight gradient.  Invariant: what is kept for backward is the four gates and the cell state of
each step; tanh of the cell is recomputed.

Source: Hochreiter and Schmidhuber (1997), with PyTorch's order of the gates: i, f, g, o.
"""


from ..errors import ShapeError
from ..infer import need_fit, need_float, need_ndim
from ..op import Plan, op
from ..samples import Bad, Sample
from .norm import wanted
from .shape import stack

# Rows (steps times batch) that go through one product; kernels/lstm.pyx has the same.
ROWS = 512
PANEL = 32              # columns of packed weights that lie together, at most (kernels/panels.h)


def sizes(name, x, h0, c0, w_ih, w_hh):
    """(T, N, I, H) of a layer; ShapeError for what does not fit."""
    need_float(name, x=x, h0=h0, c0=c0, w_ih=w_ih, w_hh=w_hh)
    need_ndim(name, 3, x=x)
    need_ndim(name, 2, h0=h0, c0=c0, w_ih=w_ih, w_hh=w_hh)
    (steps, batch, inputs), hidden = x.shape, h0.shape[1]
    expected = {"h0": (h0, (batch, hidden)), "c0": (c0, (batch, hidden)),
                "w_ih": (w_ih, (4 * hidden, inputs)), "w_hh": (w_hh, (4 * hidden, hidden))}
    for arg, (array, shape) in expected.items():
        if array.shape != shape:
            raise ShapeError(f"{name}: {arg} must have shape {shape}, got {array.shape} "
                             f"(x is {x.shape}, h0 {h0.shape})")
    return steps, batch, inputs, hidden


def lstm_infer(x, h0, c0, w_ih, w_hh, b_ih, b_hh):
    steps, batch, _, hidden = sizes("lstm", x, h0, c0, w_ih, w_hh)
    for arg, b in (("b_ih", b_ih), ("b_hh", b_hh)):
        if b is not None and b.shape != (4 * hidden,):
            raise ShapeError(f"lstm: {arg} must have shape ({4 * hidden},), got {b.shape}")
    state = (steps, batch, hidden)
    return Plan([(state, x.dtype), ((batch, hidden), x.dtype),
                 ((steps, batch, 4 * hidden), x.dtype), (state, x.dtype)])


def lstm_backward_infer(g_out, g_cn, x, h0, c0, w_ih, w_hh, out, gates, cells, needs):
    steps, batch, inputs, hidden = sizes("lstm_backward", x, h0, c0, w_ih, w_hh)
    state, whole = (batch, hidden), (steps, batch, hidden)
    need_fit("lstm_backward", x.dtype, g_out=(g_out, whole), g_cn=(g_cn, state), out=(out, whole),
             gates=(gates, (steps, batch, 4 * hidden)), cells=(cells, whole))
    shapes = (x.shape, state, state, w_ih.shape, w_hh.shape, (4 * hidden,))
    return Plan(wanted(shapes, x.dtype, needs), ia=(int(needs),))


def lstm_vjp(g, needs, x, h0, c0, w_ih, w_hh, out, gates, cells):
    g_out, g_cn = g
    asked = needs & 31 | (32 if needs & 96 else 0)
    *grads, db = lstm_backward(g_out, g_cn, x, h0, c0, w_ih, w_hh, out, gates, cells, asked)
    grads = (*grads, db, db)
    return tuple(d if needs >> k & 1 else None for k, d in enumerate(grads))


def lstm_composite(x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None):
    hidden = h0.shape[1]
    z = x @ w_ih.T
    for b in (b_ih, b_hh):
        z = z if b is None else z + b
    h, c, out = h0, c0, []
    for t in range(x.shape[0]):
        a = z[t] + h @ w_hh.T
        i, f, g, o = (a[:, k * hidden:(k + 1) * hidden] for k in range(4))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        out.append(h)
    if not out:
        return z[:, :, :hidden] * 0.0, c
    return stack(out), c


def lstm_flops(plan, x, h0, *inputs, **attrs):
    (steps, batch, inputs_), hidden = x.shape, h0.shape[1]
    return steps * batch * hidden * (8 * (inputs_ + hidden) + 30)


def packed(steps, batch, k, n):
    """Elements for recurrent weights (k, n) in the order in which the kernel reads them, where
    they are used often enough."""
    return -(-n // PANEL) * PANEL * k if steps > 2 and batch > 1 else 0


def lstm_scratch(plan, x, h0, *inputs, threads=1, **attrs):
    """The recurrent weights packed; gates of some steps at a time; the two biases' sum."""
    (steps, batch, _), hidden = x.shape, h0.shape[1]
    chunk = min(steps, ROWS // max(batch, 1) + 1)
    return ((chunk * batch + 1) * 4 * hidden
            + packed(steps, batch, hidden, 4 * hidden)) * x.dtype.itemsize


def lstm_backward_flops(plan, g_out, g_cn, x, h0, *inputs, **attrs):
    return 2 * lstm_flops(plan, x, h0)


def lstm_backward_scratch(plan, g_out, g_cn, x, h0, *inputs, threads=1, **attrs):
    """The recurrent weights packed; gradients of some steps' gates, and of the running state."""
    (steps, batch, _), hidden = x.shape, h0.shape[1]
    chunk = min(steps, ROWS // max(batch, 1) + 1)
    return ((chunk * batch * 4 + 2 * batch) * hidden
            + packed(steps, batch, 4 * hidden, hidden)) * x.dtype.itemsize


def layer(draw, steps, batch, inputs, hidden, biases=2):
    b = [draw.normal(4 * hidden) for _ in range(biases)]
    return (draw.normal(steps, batch, inputs), draw.normal(batch, hidden),
            draw.normal(batch, hidden), draw.normal(4 * hidden, inputs),
            draw.normal(4 * hidden, hidden), *b)


def lstm_samples(draw):
    return [Sample(*layer(draw, 3, 2, 3, 2)), Sample(*layer(draw, 1, 1, 2, 3, biases=1)),
            Sample(*layer(draw, 4, 3, 1, 1, biases=0)), Sample(*layer(draw, 0, 2, 3, 2)),
            Sample(*layer(draw, 2, 0, 3, 2))]


def lstm_bad(draw):
    x, h0, c0, w_ih, w_hh, b, _ = layer(draw, 3, 2, 3, 2)
    return [Bad(ShapeError, "x must have 3", x[0], h0, c0, w_ih, w_hh),
            Bad(ShapeError, "h0 must have shape", x, h0[:1], c0, w_ih, w_hh),
            Bad(ShapeError, "w_hh must have shape", x, h0, c0, w_ih, w_hh[:4]),
            Bad(ShapeError, "b_ih must have shape", x, h0, c0, w_ih, w_hh, b[:3])]


def lstm_backward_samples(draw):
    x, h0, c0, w_ih, w_hh = layer(draw, 3, 2, 3, 2, biases=0)
    state = [draw.normal(3, 2, 2), draw.uniform(0.1, 0.9, 3, 2, 8), draw.normal(3, 2, 2)]
    return [Sample(draw.normal(3, 2, 2), draw.normal(2, 2), x, h0, c0, w_ih, w_hh, *state,
                   check_grad=False),
            Sample(None, draw.normal(2, 2), x, h0, c0, w_ih, w_hh, *state, 24, check_grad=False)]


def lstm_backward_bad(draw):
    x, h0, c0, w_ih, w_hh = layer(draw, 3, 2, 3, 2, biases=0)
    state = [draw.normal(3, 2, 2), draw.uniform(0.1, 0.9, 3, 2, 8), draw.normal(3, 2, 2)]
    return [Bad(ShapeError, "g_out", draw.normal(2, 2), None, x, h0, c0, w_ih, w_hh, *state)]


KEPT = "x h0 c0 w_ih w_hh b_ih b_hh out gates cells"

lstm = op(
    "lstm", "x h0 c0 w_ih w_hh b_ih? b_hh?", "One LSTM layer over a sequence x (T, N, I) from "
    "states (N, H), weights (4H, I) and (4H, H); returns out (T, N, H) and the last cell state.",
    formula="c = sigmoid(f) * c + sigmoid(i) * tanh(g); h = sigmoid(o) * tanh(c)",
    outputs="out cn", residuals="gates cells", kernel="lstm", infer=lstm_infer, promote="float",
    saves={"x h0 c0 w_ih w_hh b_ih b_hh": KEPT}, vjp=lstm_vjp, composite=lstm_composite,
    method=False, flops=lstm_flops, scratch=lstm_scratch, samples=lstm_samples, bad=lstm_bad,
    source="Hochreiter and Schmidhuber, Long Short-Term Memory (1997)")

lstm_backward = op(
    "lstm_backward", "g_out? g_cn? x h0 c0 w_ih w_hh out gates cells",
    "Gradients of lstm; `needs` says which, in the order of the outputs.",
    formula="da = dgates * gate'; dw = da.T @ x; dx = da @ w", attrs={"needs": 63},
    outputs="dx dh0 dc0 dw_ih dw_hh db", kernel="lstm_backward", infer=lstm_backward_infer,
    method=False, flops=lstm_backward_flops, scratch=lstm_backward_scratch,
    samples=lstm_backward_samples, bad=lstm_backward_bad)
