"""LSTM: layers of long short-term memory over sequences.

Each layer and direction is one operation over the whole sequence.  Invariant: names, gate order
(i, f, g, o) and shapes are PyTorch's, so its weights load.
"""

import math

import autodiff as ad

from . import functional as F
from . import init
from .errors import (
    ArgumentError,
    ShapeError,
    need_like,
    need_ndim,
    need_size,
    positive_int,
    probability,
    where,
)
from .module import Module
from .parameter import Parameter


class LSTM(Module):
    """c = sigmoid(f) c + sigmoid(i) tanh(g); h = sigmoid(o) tanh(c), for each step.

    input (L, N, I), or (N, L, I) with batch_first, or (L, I); returns output (L, N, D H) and
    (h_n, c_n), each (D num_layers, N, H), D = 2 if bidirectional. Weights start uniform within
    1 / sqrt(hidden_size). Dropout acts between layers. Hochreiter and Schmidhuber (1997).
    """

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
                 dropout=0.0, bidirectional=False, dtype=None):
        super().__init__()
        self.input_size = positive_int("LSTM", "input_size", input_size)
        self.hidden_size = positive_int("LSTM", "hidden_size", hidden_size)
        self.num_layers = positive_int("LSTM", "num_layers", num_layers)
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = probability("LSTM", dropout)
        directions = 2 if bidirectional else 1
        self._names = []            # of each layer and direction: w_ih, w_hh, and the biases
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * directions
            for direction in range(directions):
                end = f"_l{layer}" + ("_reverse" if direction else "")
                shapes = {"weight_ih": (4 * hidden_size, inputs),
                          "weight_hh": (4 * hidden_size, hidden_size)}
                if bias:
                    shapes.update(bias_ih=(4 * hidden_size,), bias_hh=(4 * hidden_size,))
                for name, shape in shapes.items():
                    setattr(self, name + end, Parameter(ad.empty(shape, dtype=dtype)))
                self._names.append([name + end for name in shapes])
        self.reset_parameters()

    def reset_parameters(self, generator=None):
        """Draw all weights anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound, generator)

    def forward(self, input, hx=None):
        weight = self.weight_ih_l0
        if getattr(input, "dtype", None) != weight.dtype:
            need_like("LSTM", input, weight)
        form = "(N, L, I) or (L, I)" if self.batch_first else "(L, N, I) or (L, I)"
        need_ndim("LSTM", input, (2, 3), form)
        need_size("LSTM", input, -1, self.input_size, "input_size")
        batched = input.ndim == 3
        x = input if batched else ad.expand_dims(input, 1)
        if batched and self.batch_first:
            x = ad.permute_dims(x, (1, 0, 2))
        h0, c0 = self._states(hx, x.shape[1], batched, weight.dtype)
        x, hn, cn = self._layers(x, h0, c0)
        hn, cn = ad.stack(hn), ad.stack(cn)
        if not batched:
            return x[:, 0], (hn[:, 0], cn[:, 0])
        return ad.permute_dims(x, (1, 0, 2)) if self.batch_first else x, (hn, cn)

    def _layers(self, x, h0, c0):
        directions = 2 if self.bidirectional else 1
        hn, cn = [], []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = F.dropout(x, self.dropout)
            outs = []
            for direction in range(directions):
                k = layer * directions + direction
                weights = [self.__dict__[n] for n in self._names[k]]
                seq = ad.flip(x, axis=0) if direction else x
                out, c = ad.lstm(seq, h0[k], c0[k], *weights)
                hn.append(out[-1] if out.shape[0] else h0[k])
                cn.append(c)
                outs.append(ad.flip(out, axis=0) if direction else out)
            x = outs[0] if directions == 1 else ad.concat(outs, axis=-1)
        return x, hn, cn

    def _states(self, hx, batch, batched, dtype):
        count = self.num_layers * (2 if self.bidirectional else 1)
        if hx is None:
            zero = ad.zeros((batch, self.hidden_size), dtype=dtype)
            return [zero] * count, [zero] * count
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise ArgumentError(f"LSTM: hx must be a pair (h_0, c_0), got {type(hx).__name__}"
                                f"{where()}")
        shape = (count, batch, self.hidden_size) if batched else (count, self.hidden_size)
        for name, s in zip(("h_0", "c_0"), hx, strict=True):
            need_like("LSTM", s, self.weight_ih_l0, name)
            if s.shape != shape:
                raise ShapeError(f"LSTM: {name} must have shape {shape}, got {s.shape}{where()}")
        pick = (lambda s, k: s[k]) if batched else (lambda s, k: s[k:k + 1])
        return tuple([pick(s, k) for k in range(count)] for s in hx)

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("batch_first", False),
                              ("dropout", 0.0), ("bidirectional", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text
