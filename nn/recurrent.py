"""RNN, LSTM and GRU: layers of recurrent cells over sequences.

Each layer and direction of LSTM and GRU is one operation over the whole sequence.  Invariant:
names, gate order and shapes are PyTorch's, so its weights load; `lengths` stands in for its packed
sequences, with the same results.
"""

import math

import numpy as np

import autodiff as ad
from autodiff.dry import guessed

from . import functional as F
from . import init
from .errors import (
    ArgumentError,
    DtypeError,
    ShapeError,
    ValueRangeError,
    need_like,
    need_ndim,
    need_size,
    positive_int,
    probability,
    where,
)
from .module import Module
from .parameter import Parameter


class Recurrent(Module):
    """What RNN, LSTM and GRU share; a subclass defines `gates` and `_run`."""

    gates = 1                   # rows of a weight matrix, in units of hidden_size
    states = ("h_0",)           # what hx holds

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
                 dropout=0.0, bidirectional=False, *, dtype=None):
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.num_layers = positive_int(name, "num_layers", num_layers)
        if self.num_layers > 1000:
            raise ValueRangeError(f"{name}: num_layers must be at most 1000, got {num_layers}")
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = probability(name, dropout)
        directions, rows = 2 if bidirectional else 1, self.gates * hidden_size
        self._names = []            # of each layer and direction: w_ih, w_hh, and the biases
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * directions
            for direction in range(directions):
                end = f"_l{layer}" + ("_reverse" if direction else "")
                shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes.update(bias_ih=(rows,), bias_hh=(rows,))
                for key, shape in shapes.items():
                    setattr(self, key + end, Parameter(ad.empty(shape, dtype=dtype)))
                self._names.append([key + end for key in shapes])
        self.reset_parameters()

    def reset_parameters(self, generator=None):
        """Draw all weights anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound, generator)

    def forward(self, input, hx=None, lengths=None):
        weight, name = self.weight_ih_l0, type(self).__name__
        if getattr(input, "dtype", None) != weight.dtype:
            need_like(name, input, weight)
        form = "(N, L, I) or (L, I)" if self.batch_first else "(L, N, I) or (L, I)"
        need_ndim(name, input, (2, 3), form)
        need_size(name, input, -1, self.input_size, "input_size")
        batched = input.ndim == 3
        x = input if batched else ad.expand_dims(input, 1)
        if batched and self.batch_first:
            x = ad.permute_dims(x, (1, 0, 2))
        padding = None if lengths is None else Padding(name, lengths, *x.shape[:2])
        state = self._states(hx, x.shape[1], batched, weight.dtype)
        x, last = self._layers(x, state, padding)
        last = [ad.stack(s) if batched else ad.stack(s)[:, 0] for s in last]
        last = tuple(last) if len(last) > 1 else last[0]
        if not batched:
            return x[:, 0], last
        return ad.permute_dims(x, (1, 0, 2)) if self.batch_first else x, last

    def _layers(self, x, state, padding):
        directions = 2 if self.bidirectional else 1
        last = [[] for _ in self.states]
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = F.dropout(x, self.dropout)
            outs = []
            for direction in range(directions):
                k = layer * directions + direction
                weights = [self.__dict__[n] for n in self._names[k]]
                seq = _reversed(x, padding) if direction else x
                out, *final = self._run(seq, [s[k] for s in state], weights, padding)
                for kept, s in zip(last, final, strict=True):
                    kept.append(s)
                outs.append(_reversed(out, padding) if direction else out)
            x = outs[0] if directions == 1 else ad.concat(outs, axis=-1)
        return x, last

    def _run(self, x, state, weights, padding):
        """(out, final states) of one layer in one direction."""
        raise NotImplementedError

    def _states(self, hx, batch, batched, dtype):
        count, names = self.num_layers * (2 if self.bidirectional else 1), self.states
        if hx is None:
            zero = ad.zeros((batch, self.hidden_size), dtype=dtype)
            return [[zero] * count for _ in names]
        if len(names) == 1:
            hx = (hx,)
        elif not isinstance(hx, (tuple, list)) or len(hx) != len(names):
            raise ArgumentError(f"{type(self).__name__}: hx must be a pair (h_0, c_0), got "
                                f"{type(hx).__name__}{where()}")
        shape = (count, batch, self.hidden_size) if batched else (count, self.hidden_size)
        for name, s in zip(names, hx, strict=True):
            need_like(type(self).__name__, s, self.weight_ih_l0, name)
            if s.shape != shape:
                raise ShapeError(f"{type(self).__name__}: {name} must have shape {shape}, got "
                                 f"{s.shape}{where()}")
        pick = (lambda s, k: s[k]) if batched else (lambda s, k: s[k:k + 1])
        return [[pick(s, k) for k in range(count)] for s in hx]

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("batch_first", False),
                              ("dropout", 0.0), ("bidirectional", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(Recurrent):
    """h = tanh(w_ih x + b_ih + w_hh h + b_hh), or relu; for each step.

    input (L, N, I), or (N, L, I) with batch_first, or (L, I); returns output (L, N, D H) and
    h_n (D num_layers, N, H), D = 2 if bidirectional. lengths (N,): steps of each sequence; output
    beyond them is zero and h_n is taken at the last of them. Weights start uniform within
    1 / sqrt(hidden_size). Dropout acts between layers. Elman (1990).
    """

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
                 batch_first=False, dropout=0.0, bidirectional=False, *, dtype=None):
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNN: nonlinearity must be 'tanh' or 'relu', got "
                                f"{nonlinearity!r}")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, dtype=dtype)
        self.nonlinearity = nonlinearity

    def _run(self, x, state, weights, padding):
        w_ih, w_hh, *biases = weights
        act = ad.tanh if self.nonlinearity == "tanh" else ad.relu
        x = x if padding is None else padding.zeroed(x)
        z = ad.linear(x, w_ih, biases[0] + biases[1] if biases else None)
        h, outs = state[0], []
        for t in range(z.shape[0]):
            new = act(z[t] + h @ w_hh.T)
            h = new if padding is None else ad.where(padding.valid[t], new, h)
            outs.append(h)
        out = ad.stack(outs) if outs else z
        return (out if padding is None else padding.zeroed(out)), h


class LSTM(Recurrent):
    """c = sigmoid(f) c + sigmoid(i) tanh(g); h = sigmoid(o) tanh(c), for each step.

    input (L, N, I), or (N, L, I) with batch_first, or (L, I); returns output (L, N, D H) and
    (h_n, c_n), each (D num_layers, N, H), D = 2 if bidirectional. lengths (N,): steps of each
    sequence; output beyond them is zero and the states are taken at the last of them. Weights
    start uniform within 1 / sqrt(hidden_size). Dropout acts between layers. Hochreiter and
    Schmidhuber (1997).
    """

    gates = 4
    states = ("h_0", "c_0")

    def _run(self, x, state, weights, padding):
        if padding is None:
            out, c = ad.lstm(x, *state, *weights)
            return out, out[-1] if out.shape[0] else state[0], c
        # Beyond the end the input and output gates are shut and the forget gate is open.
        x, w = padding.gated(x, weights[0], (-1, 1, 0, -1))
        out, c = ad.lstm(x, *state, w, *weights[1:])
        return out, padding.last(out), c


class GRU(Recurrent):
    """n = tanh(w_in x + b_in + r (w_hn h + b_hn)); h = (1 - z) n + z h, for each step, with
    r and z the sigmoid of such sums.

    input (L, N, I), or (N, L, I) with batch_first, or (L, I); returns output (L, N, D H) and
    h_n (D num_layers, N, H), D = 2 if bidirectional. lengths (N,): steps of each sequence; output
    beyond them is zero and h_n is taken at the last of them. Weights start uniform within
    1 / sqrt(hidden_size). Dropout acts between layers. Cho et al. (2014).
    """

    gates = 3

    def _run(self, x, state, weights, padding):
        if padding is None:
            out = ad.gru(x, *state, *weights)
            return out, out[-1] if out.shape[0] else state[0]
        x, w = padding.gated(x, weights[0], (0, 1, 0))      # z = 1 beyond the end: h stays
        out = ad.gru(x, *state, w, *weights[1:])
        return padding.zeroed(out), out[-1]


class Padding:
    """Which steps of a padded batch are real; beyond them states stand still."""

    def __init__(self, name, lengths, steps, batch):
        if not isinstance(lengths, ad.Tensor):
            lengths = ad.tensor(lengths)
        if lengths.dtype.kind not in "iu":
            raise DtypeError(f"{name}: lengths must hold integers, got {lengths.dtype}{where()}")
        if lengths.shape != (batch,):
            raise ShapeError(f"{name}: lengths must have shape {(batch,)}, one for each sequence, "
                             f"got {lengths.shape}{where()}")
        n = (np.full(batch, steps) if guessed(f"{name} with lengths", lengths)
             else lengths.numpy().astype(np.int64))
        t = np.arange(steps)[:, None]
        if batch and not (1 <= n.min() and n.max() <= steps):
            raise ValueRangeError(f"{name}: lengths must be in [1, {steps}], got {n.min()} .. "
                                  f"{n.max()}{where()}")
        self.valid = ad.tensor((t < n)[:, :, None])
        self.rows = ad.arange(batch)
        self.ends = ad.tensor(n - 1)
        self.backwards = ad.tensor(np.where(t < n, n - 1 - t, t))

    def zeroed(self, x):
        """x (L, N, ...) with zeros beyond each end, whatever stood there."""
        return ad.where(self.valid, x, 0.0)

    def last(self, x):
        """x at each sequence's last step."""
        return x[self.ends, self.rows]

    def reversed(self, x):
        """Each sequence from its end to its start, the padding left in place."""
        return x[self.backwards, self.rows]

    def gated(self, x, w_ih, gates):
        """x with one more input, 1 beyond the ends, and w_ih with weights for it that drive each
        gate to 0 (-1), to 1 (1), or leave it (0): exact, since the sigmoid saturates."""
        flag = ad.astype(ad.logical_not(self.valid), x.dtype)
        column = np.repeat(np.array(gates, x.dtype), w_ih.shape[0] // len(gates)) * 1e4
        return (ad.concat([self.zeroed(x), flag], axis=-1),
                ad.concat([w_ih, ad.tensor(column[:, None])], axis=1))


def _reversed(x, padding):
    return ad.flip(x, axis=0) if padding is None else padding.reversed(x)
