"""Twins of a whole LSTM layer, forward and backward, a loop over time.

Invariant: the gates lie in PyTorch's order, input, forget, cell, output, along the last axis;
`gates` holds them after their nonlinearity, `cells` the cell state after each step.
"""

import numpy as np


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h0, c0, w_ih, w_hh, b_ih, b_hh):
    """(out, cn, gates, cells): c = f c + i g, h = o tanh(c)."""
    steps, batch, hidden = x.shape[0], x.shape[1], h0.shape[1]
    z = x @ w_ih.T
    for b in (b_ih, b_hh):
        z = z if b is None else z + b
    out = np.empty((steps, batch, hidden), x.dtype)
    cells = np.empty_like(out)
    gates = np.empty((steps, batch, 4 * hidden), x.dtype)
    h, c = h0, c0
    for t in range(steps):
        i, f, g, o = np.split(z[t] + h @ w_hh.T, 4, axis=1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        gates[t] = np.concatenate([i, f, g, o], axis=1)
        c = f * c + i * g
        h = o * np.tanh(c)
        cells[t], out[t] = c, h
    return out, c.copy(), gates, cells


def lstm_backward(g_out, g_cn, x, h0, c0, w_ih, w_hh, out, gates, cells, needs):
    """(dx, dh0, dc0, dw_ih, dw_hh, db); `needs` says which, in this order."""
    steps, _, inputs = x.shape
    hidden = h0.shape[1]
    da = np.empty_like(gates)
    dh = np.zeros_like(h0)
    dc = np.zeros_like(c0) if g_cn is None else g_cn.copy()
    for t in reversed(range(steps)):
        i, f, g, o = np.split(gates[t], 4, axis=1)
        before = cells[t - 1] if t else c0
        tc = np.tanh(cells[t])
        if g_out is not None:
            dh = dh + g_out[t]
        dc = dc + dh * o * (1 - tc * tc)
        da[t] = np.concatenate([dc * g * i * (1 - i), dc * before * f * (1 - f),
                                dc * i * (1 - g * g), dh * tc * o * (1 - o)], axis=1)
        dc = dc * f
        dh = da[t] @ w_hh
    before = np.concatenate([h0[None], out[:-1]])[:steps]
    flat = da.reshape(-1, 4 * hidden)
    grads = (da @ w_ih, dh, dc, flat.T @ x.reshape(-1, inputs),
             flat.T @ before.reshape(-1, hidden), flat.sum(axis=0))
    none = np.empty(0, x.dtype)
    return tuple(g if needs >> k & 1 else none for k, g in enumerate(grads))
