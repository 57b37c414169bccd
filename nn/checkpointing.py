"""Gradient checkpointing of a chain of blocks: state the bytes, get the fastest schedule that fits.

`measure_chain` runs each block alone and counts what it takes; autodiff/schedule.py plans with
these numbers, autodiff/chain.py runs the plan.  Invariant: values, gradients, buffers and random
numbers are bit for bit those of the plain run.
"""

import weakref

from autodiff import core
from autodiff import schedule as planning
from autodiff.chain import run_chain
from autodiff.schedule import Block, Chain, MemoryBudgetError

from .chain import ChainError, Several, blocks_of, calls_of, run_all
from .containers import Sequential
from .errors import ArgumentError
from .measuring import MeasuredChain, measure_chain
from .module import Module

__all__ = ["ChainError", "Checkpointed", "MeasuredChain", "MemoryBudgetError",
           "checkpoint_sequential", "measure_chain"]


def checkpoint_sequential(model, x, *, memory_budget=None, every=None, strategy=None,
                          schedule=None, costs=None):
    """model(x), keeping less for backward: what was not kept is computed again.

    model: nn.Sequential, nn.ModuleList or a list of callables, each a block.
    memory_budget: the bytes that the chain may add, at the most, to what is alive when it is
    called, until its backward is done: activations, temporaries, gradients of its parameters and
    of x and of the output (leave room apart for the loss); every: keep the input of every k-th
    block; strategy: "none" or "sqrt"; schedule: a Schedule made before. costs: from
    measure_chain; else a memory_budget measures the chain first, once for each shape of x.
    Raises MemoryBudgetError, which names the least that can work, and ChainError where the model
    is no chain of blocks. The bytes hold for one backward without retain_graph.
    """
    blocks = blocks_of(model)
    if not core.is_grad_enabled():
        return run_all(calls_of(model, blocks), x)
    if memory_budget is not None and costs is None:
        costs = _known_costs(model, blocks, x)
    return _execute(model, blocks, x, memory_budget, every, strategy, schedule, costs)


class Checkpointed(Sequential):
    """The blocks of a chain, run as checkpoint_sequential does; the modules are shared.

    Names, parameters and state_dict keys are those of the nn.Sequential. `schedule` is the plan
    of the last training run, `costs` what was measured for it.
    """

    runs_a_chain = True

    def __init__(self, model, *, memory_budget=None, every=None, strategy=None):
        super().__init__()
        blocks_of(model)
        if not isinstance(model, Module):
            model = Sequential(*model)
        for name, block in model.named_children():
            self.add_module(name, block)
        self.memory_budget, self.every, self.strategy = memory_budget, every, strategy
        self.schedule = self.costs = None
        self._plans = {}

    def forward(self, input):
        blocks = list(self)
        if not core.is_grad_enabled():
            return run_all(calls_of(self, blocks), input)
        key = _state(blocks, input)
        if key not in self._plans:
            costs = measure_chain(self, input) if self.memory_budget is not None else None
            chain = costs or _unmeasured(blocks)
            self._plans[key] = costs, planning.schedule(chain, self.memory_budget, self.every,
                                                        self.strategy)
        self.costs, self.schedule = self._plans[key]
        return _execute(self, blocks, input, None, None, None, self.schedule, self.costs)

    def extra_repr(self):
        given = [("memory_budget", self.memory_budget), ("every", self.every),
                 ("strategy", self.strategy)]
        return ", ".join(f"{name}={value!r}" for name, value in given if value is not None)


def _execute(model, blocks, x, memory_budget, every, strategy, schedule, costs):
    chain = costs or _unmeasured(blocks)
    ways = sum(w is not None for w in (memory_budget, every, strategy))
    if schedule is None or ways:
        if schedule is not None:
            raise ArgumentError("checkpoint_sequential: give either a schedule or one of "
                                   "memory_budget, every, strategy")
        schedule = planning.schedule(chain, memory_budget, every, strategy)
    calls = calls_of(model, blocks)
    groups = getattr(chain, "groups", ())
    if groups and len(schedule.first_pass) == len(groups):
        calls = [Several(calls[start:stop]) for start, stop in groups]
    return run_chain(calls, x, schedule)


def _unmeasured(blocks):
    """A chain for strategies that need no costs."""
    return Chain((Block(forward=1.0, backward=2.0, output=1, saved=1),) * len(blocks))


_costs = weakref.WeakKeyDictionary()        # model -> {what it was measured for: its costs}


def _known_costs(model, blocks, x):
    if not isinstance(model, Module):
        return measure_chain(model, x)
    known, key = _costs.setdefault(model, {}), _state(blocks, x)
    if key not in known:
        known[key] = measure_chain(model, x)
    return known[key]


def _state(blocks, x):
    """What the costs depend on: shapes, and what is trained."""
    modules = [m for b in blocks if isinstance(b, Module) for m in b.modules()]
    return (tuple(map(id, blocks)), x.shape, x.dtype, x.requires_grad,
            tuple(m.training for m in modules),
            tuple(p.requires_grad for b in blocks if isinstance(b, Module)
                  for p in b.parameters()))
