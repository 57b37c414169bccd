"""Optimizer: parameter groups, their state, and what all optimizers share.

`group["lr"]` is a number that anyone may set; each group also keeps it in a 0-d tensor, which the
update reads, so that a recorded step can be replayed.  Invariant: a step writes parameters and
state in place, outside the tape; a parameter without a gradient is left alone.
"""

import copy
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

import autodiff as ad
from autodiff.capture import each_call
from autodiff.core import set_phase

from ..errors import ArgumentError, ShapeError, StateDictError, ValueRangeError
from ..module import Module, clear_grad


class Optimizer:
    """Base class: `params` is an iterable of parameters, of (name, parameter), or of groups
    {"params": ..., "lr": ...}; `defaults` fills in what a group leaves out.

    state[p] holds tensors like p, and its step count where the method needs one.

    One of your own says how a parameter's state starts and how one is updated, in place:

        class SignSGD(nn.optim.Optimizer):
            def __init__(self, params, lr=1e-3, momentum=0.9):
                super().__init__(params, {"lr": lr, "momentum": momentum})

            def _start(self, p, group, count):
                return {"buffer": ad.zeros_like(p)}

            def _update(self, p, g, state, lr, group):
                state["buffer"] *= group["momentum"]
                state["buffer"] += g
                p -= ad.sign(state["buffer"]) * group["lr"]

    or overrides `step`, as in PyTorch, and keeps what it likes in state[p].
    """

    def __init__(self, params, defaults):
        if isinstance(params, ad.Tensor):
            raise ArgumentError(f"{type(self).__name__}: params must be an iterable of parameters, "
                                "got one Tensor; put it into a list")
        if isinstance(params, (Module, Mapping)):
            raise ArgumentError(f"{type(self).__name__}: params must be an iterable of parameters, "
                                f"got a {type(params).__name__}; pass model.parameters()")
        self.defaults, self.param_groups, self.state = dict(defaults), [], defaultdict(dict)
        self._rates = []        # of each group: [the number last written, its 0-d tensor]
        groups = list(params)
        if not groups:
            raise ArgumentError(f"{type(self).__name__}: got no parameters; a model finds its own "
                                "in attributes and in nn.ModuleList, not in lists, and an "
                                "iterator such as model.parameters() gives them once")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group):
        """Add parameters with settings of their own."""
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            raise ArgumentError(f"{name}: a parameter group must be a dict with 'params'")
        group, params, names = dict(group), group["params"], []
        params = [params] if isinstance(params, ad.Tensor) else list(params)
        if params and isinstance(params[0], tuple):
            names, params = map(list, zip(*params, strict=True))
            group["param_names"] = names
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for k, p in enumerate(params):
            label = names[k] if names else f"parameter {k}"
            if not isinstance(p, ad.Tensor) or not p.is_leaf:
                what = "the result of an operation" if isinstance(p, ad.Tensor) else type(p)
                raise ArgumentError(f"{name}: {label} must be a leaf Tensor, got {what}")
            if p.dtype.kind != "f":
                raise ArgumentError(f"{name}: {label} is {p.dtype}; only float32 and float64 can "
                                    "be trained")
            if id(p) in known:
                raise ArgumentError(f"{name}: {label} appears twice; list each parameter once")
            known.add(id(p))
        group["params"] = params
        unknown = set(group) - set(self.defaults) - {"params", "param_names", "initial_lr"}
        if unknown:
            raise ArgumentError(f"{name}: unknown option {sorted(unknown)[0]!r} in a parameter "
                                f"group; the options are {sorted(self.defaults)}")
        for key, value in self.defaults.items():
            group.setdefault(key, value)
        self._check(group)
        self.param_groups.append(group)
        self._rates.append([None, number(0.0, np.float64)])

    def _check(self, group):
        """Raise the named error for settings out of range; subclasses add theirs."""
        at_least(self, group, **{name: 0.0 for name in ("lr", "weight_decay") if name in group})

    def zero_grad(self, set_to_none=True):
        """Forget the gradients of all parameters (or set them to zero)."""
        for group in self.param_groups:
            for p in group["params"]:
                clear_grad(p, set_to_none)

    def step(self, closure=None):
        """Update every parameter that has a gradient; returns what `closure` returned.

        closure: computes the loss and its gradients again, and returns the loss.
        """
        loss = None
        if closure is not None:
            if not callable(closure):
                raise ArgumentError(f"{type(self).__name__}.step: closure must be a function that "
                                    f"returns the loss, got {type(closure).__name__}")
            with ad.enable_grad():
                loss = closure()
        previous, grad = set_phase("update"), ad.set_grad_enabled(False)
        try:
            each_call(self.write_rates)
            for group, rate in zip(self.param_groups, self._rates, strict=True):
                self._step_group(group, rate)
        finally:
            set_phase(previous)
            ad.set_grad_enabled(grad)
        return loss

    def _step_group(self, group, rate):
        states, work, count = self.state, [], None
        for p in group["params"]:
            g = p.grad
            if g is None:
                continue
            state = states.get(p)
            if state is None:
                count = number(0, np.float32) if count is None else count
                state = states[p] = self._start(p, group, count)
            work.append((p, g, state))
        if not work:
            return
        counted = [state for _, _, state in work if "step" in state]
        if counted:
            self._count(group, counted)
        lr = self._rate(group, rate)
        for p, g, state in work:
            self._update(p, g, state, lr, group)

    def _start(self, p, group, count):
        """The state of a parameter before its first step; `count` is the 0-d tensor of steps that
        it shares with others of its group that start now."""
        return {}

    def _update(self, p, g, state, lr, group):
        """Write the new values of p and its state; `lr` is a 0-d tensor."""
        raise NotImplementedError(f"{type(self).__name__} must define _update")

    def _rate(self, group, rate):
        """The group's learning rate as the 0-d tensor that the update reads."""
        lr = group["lr"]
        if isinstance(lr, ad.Tensor):
            return lr
        if lr != rate[0]:
            rate[1].fill_(lr)
            rate[0] = lr
        return rate[1]

    def write_rates(self):
        """Bring the learning-rate tensors up to the numbers in the groups; `step` does it too.

        For whoever replays recorded steps and changes `group["lr"]` in between.
        """
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            self._rate(group, rate)

    def _count(self, group, moving):
        """Add 1 to the step count in each of the states `moving`.

        Parameters of a group that have always stepped together share one count: one launch.
        """
        counts = {}
        for state in moving:
            counts.setdefault(id(state["step"]), []).append(state)
        behind = set()
        if len(moving) < len(group["params"]):      # counts that others still hold
            steps = {id(state) for state in moving}
            rest = (self.state.get(p, {}) for p in group["params"])
            behind = {id(s["step"]) for s in rest if "step" in s and id(s) not in steps}
        for key, states in counts.items():
            t = states[0]["step"]
            if key in behind:
                t = as_state(ad.copy(t))
                for state in states:
                    state["step"] = t
            ad.increment_(t)

    # Saving

    def state_dict(self):
        """{"state": {index: {...}}, "param_groups": [...]}, as PyTorch's; tensors share memory."""
        index = {}
        for group in self.param_groups:
            for p in group["params"]:
                index[p] = len(index)
        groups = [{k: v for k, v in g.items() if k != "params"} |
                  {"params": [index[p] for p in g["params"]]} for g in self.param_groups]
        state = {index[p]: {k: v.detach() if isinstance(v, ad.Tensor) else v
                            for k, v in s.items()} for p, s in self.state.items()}
        return {"state": state, "param_groups": copy.deepcopy(groups)}

    def load_state_dict(self, state_dict):
        """Take up a state that `state_dict` gave; StateDictError, with nothing changed, where the
        groups or the shapes do not fit."""
        name = type(self).__name__
        if not isinstance(state_dict, dict) or {"state", "param_groups"} - set(state_dict):
            raise StateDictError(f"{name}: expected a dict with 'state' and 'param_groups'")
        saved = state_dict["param_groups"]
        sizes, own = ([len(g["params"]) for g in gs] for gs in (saved, self.param_groups))
        if sizes != own:
            raise StateDictError(f"{name}: the state has groups of {sizes} parameters, this "
                                 f"optimizer has {own}")
        of_index = {k: p for s, g in zip(saved, self.param_groups, strict=True)
                    for k, p in zip(s["params"], g["params"], strict=True)}
        groups = [{**self.defaults, **s, "params": g["params"]}
                  for s, g in zip(saved, self.param_groups, strict=True)]
        for group in groups:
            self._check(group)
        state = self._taken(state_dict["state"], of_index, groups)
        for group, new in zip(self.param_groups, groups, strict=True):
            group.update(new)
        self.state = state

    def _taken(self, saved, of_index, groups):
        """The saved state as own copies, by parameter, step counts shared again."""
        state, steps = defaultdict(dict), {}
        group_of = {p: k for k, g in enumerate(groups) for p in g["params"]}
        for k, entries in saved.items():
            if k not in of_index:
                raise StateDictError(f"{type(self).__name__}: state for unknown parameter {k!r}")
            p = of_index[k]
            k_group = group_of[p]
            expected = set(self._start(p, groups[k_group], None))
            if missing := expected - set(entries) - {"step"}:
                raise StateDictError(f"{type(self).__name__}: the state of parameter {k} has no "
                                     f"{sorted(missing)[0]!r}")
            if type(self)._start is Optimizer._start:       # one that keeps what it likes
                state[p] = {name: as_state(ad.tensor(v)) if hasattr(v, "shape") else v
                            for name, v in entries.items()}
                continue
            state[p] = {}
            for name in sorted(expected):
                value = entries.get(name, 1)
                if name == "step":
                    count = float(value.item() if hasattr(value, "item") else value)
                    if (k_group, count) not in steps:
                        steps[k_group, count] = number(count, np.float32)
                    state[p][name] = steps[k_group, count]
                    continue
                if tuple(value.shape) != p.shape:
                    raise StateDictError(f"{type(self).__name__}: {name} of parameter {k} has "
                                         f"shape {tuple(value.shape)}, the parameter {p.shape}")
                state[p][name] = as_state(ad.tensor(value, dtype=p.dtype))
        return state

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group)
                      if key not in ("params", "param_names")]
        return "\n".join(lines) + "\n)"


def as_state(t):
    """Count the bytes of `t` as optimizer state."""
    t.category = "optimizer state"
    return t


def zeros_like(p):
    """State of the shape and dtype of `p`, zero."""
    return as_state(ad.zeros(p.shape, dtype=p.dtype))


def at_least(optimizer, group, **limits):
    """ValueRangeError unless each named number of `group` is at least its limit."""
    for name, limit in limits.items():
        value = group[name]
        if isinstance(value, ad.Tensor):
            if value.shape != ():
                raise ShapeError(f"{type(optimizer).__name__}: {name} must be a number or a 0-d "
                                 f"tensor, got shape {value.shape}")
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise ArgumentError(f"{type(optimizer).__name__}: {name} must be a number, got "
                                f"{value!r}")
        if not value >= limit:
            raise ValueRangeError(f"{type(optimizer).__name__}: {name} must be at least {limit}, "
                                  f"got {value}")


def number(value, dtype):
    """A 0-d tensor of optimizer state."""
    return as_state(ad.tensor(np.asarray(value, dtype)))
