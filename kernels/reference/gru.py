"""Twins of a whole GRU layer, forward and backward, a loop over time.

Invariant: the gates lie in PyTorch's order, reset, update, new, along the last axis; `gates` holds
them after their nonlinearity, and then m = h w_hn^T + b_hn, which the reset gate scales.
"""

import numpy as np


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(x, h0, w_ih, w_hh, b_ih, b_hh):
    """(out, gates): n = tanh(x w_in^T + b_in + r m), h = (1 - z) n + z h."""
    steps, batch, hidden = x.shape[0], x.shape[1], h0.shape[1]
    a = x @ w_ih.T
    a = a if b_ih is None else a + b_ih
    out = np.empty((steps, batch, hidden), x.dtype)
    gates = np.empty((steps, batch, 4 * hidden), x.dtype)
    h = h0
    for t in range(steps):
        b = h @ w_hh.T
        b = b if b_hh is None else b + b_hh
        (r, z, n), (hr, hz, m) = np.split(a[t], 3, axis=1), np.split(b, 3, axis=1)
        r, z = _sigmoid(r + hr), _sigmoid(z + hz)
        n = np.tanh(n + r * m)
        h = n + z * (h - n)
        out[t], gates[t] = h, np.concatenate([r, z, n, m], axis=1)
    return out, gates


def gru_backward(g, x, h0, w_ih, w_hh, out, gates, needs):
    """(dx, dh0, dw_ih, dw_hh, db); db of r, z, n, m; `needs` says which, in this order."""
    steps, _, inputs = x.shape
    hidden = h0.shape[1]
    da = np.empty_like(gates)
    dh = np.zeros_like(h0)
    ih, hh = np.r_[:3 * hidden], np.r_[:2 * hidden, 3 * hidden:4 * hidden]
    for t in reversed(range(steps)):
        r, z, n, m = np.split(gates[t], 4, axis=1)
        before = out[t - 1] if t else h0
        dh = dh + g[t]
        dn = dh * (1 - z) * (1 - n * n)
        da[t] = np.concatenate([dn * m * r * (1 - r), dh * (before - n) * z * (1 - z), dn, dn * r],
                               axis=1)
        dh = dh * z + da[t][:, hh] @ w_hh
    before = np.concatenate([h0[None], out[:-1]])[:steps].reshape(-1, hidden)
    flat = da.reshape(-1, 4 * hidden)
    grads = (da[..., ih] @ w_ih, dh, flat[:, ih].T @ x.reshape(-1, inputs),
             flat[:, hh].T @ before, flat.sum(axis=0))
    none = np.empty(0, x.dtype)
    return tuple(d if needs >> k & 1 else none for k, d in enumerate(grads))
