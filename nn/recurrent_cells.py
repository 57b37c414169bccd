"""RNNCell, LSTMCell and GRUCell: one step of a recurrence, for loops of one's own.

Invariant: a cell computes what its layer does in one step, on the same operation.
"""

import autodiff as ad

from .errors import ArgumentError, ShapeError, need_like, need_ndim, need_size, positive_int, where
from .module import Module
from .parameter import Parameter
from .recurrent import Recurrent


class RecurrentCell(Module):
    """What the three cells share: the weights of one step."""

    gates = 1

    def __init__(self, input_size, hidden_size, bias=True, *, dtype=None):
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.bias, rows = bias, self.gates * hidden_size
        self.weight_ih = Parameter(ad.empty((rows, input_size), dtype=dtype))
        self.weight_hh = Parameter(ad.empty((rows, hidden_size), dtype=dtype))
        for key in ("bias_ih", "bias_hh"):
            self.register_parameter(key, Parameter(ad.empty((rows,), dtype=dtype)) if bias
                                    else None)
        self.reset_parameters()

    reset_parameters = Recurrent.reset_parameters

    def _step(self, input, states, run):
        """The new states of run(sequence of one step, *states, *weights), batch axis or none."""
        name = type(self).__name__
        need_like(name, input, self.weight_ih)
        need_ndim(name, input, (1, 2), "(N, I) or (I,)")
        need_size(name, input, -1, self.input_size, "input_size")
        batched = input.ndim == 2
        x = input if batched else ad.expand_dims(input, 0)
        shape = (x.shape[0], self.hidden_size)
        if states[0] is None:
            states = [ad.zeros(shape, dtype=x.dtype)] * len(states)
        else:
            for s in states:
                need_like(name, s, self.weight_ih, "hx")
                if s.shape != (shape if batched else shape[1:]):
                    raise ShapeError(f"{name}: a state must have shape "
                                     f"{shape if batched else shape[1:]}, got {s.shape}{where()}")
            states = states if batched else [ad.expand_dims(s, 0) for s in states]
        new = run(ad.expand_dims(x, 0), *states, self.weight_ih, self.weight_hh, self.bias_ih,
                  self.bias_hh)
        return new if batched else [s[0] for s in new]

    def extra_repr(self):
        return (f"{self.input_size}, {self.hidden_size}"
                + ("" if self.bias else ", bias=False"))


class RNNCell(RecurrentCell):
    """h' = tanh(w_ih x + b_ih + w_hh h + b_hh), or relu; input (N, I) or (I,), hx (N, H)."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", *, dtype=None):
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', got "
                                f"{nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        def run(x, h, w_ih, w_hh, b_ih, b_hh):
            act = ad.tanh if self.nonlinearity == "tanh" else ad.relu
            return [act(ad.linear(x[0], w_ih, b_ih) + ad.linear(h, w_hh, b_hh))]
        return self._step(input, [hx], run)[0]

    def extra_repr(self):
        tail = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + tail


class LSTMCell(RecurrentCell):
    """One step of LSTM: input (N, I) or (I,), hx = (h, c); returns (h', c')."""

    gates = 4

    def forward(self, input, hx=None):
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise ArgumentError(f"LSTMCell: hx must be a pair (h_0, c_0), got "
                                f"{type(hx).__name__}{where()}")

        def run(*args):
            out, c = ad.lstm(*args)
            return [out[0], c]
        return tuple(self._step(input, list(hx or (None, None)), run))


class GRUCell(RecurrentCell):
    """One step of GRU: input (N, I) or (I,), hx (N, H); returns h'."""

    gates = 3

    def forward(self, input, hx=None):
        return self._step(input, [hx], lambda *args: [ad.gru(*args)[0]])[0]
