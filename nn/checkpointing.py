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
from .errors import ArgumentError, need_tensor
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
    need_tensor("checkpoint_sequential", x)
    if schedule is not None and (memory_budget, every, strategy) != (None, None, None):
        raise ArgumentError("checkpoint_sequential: give either a schedule or one of "
                            "memory_budget, every, strategy")
    if not core.is_grad_enabled():
        return run_all(calls_of(model, blocks), x)
    if schedule is None:
        plans = _plans.setdefault(model, {}) if isinstance(model, Module) else {}
        schedule, costs = _plan(plans, model, blocks, x, (memory_budget, every, strategy), costs)
    return _execute(model, blocks, x, schedule, costs)


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
        need_tensor("Checkpointed", input)
        way = self.memory_budget, self.every, self.strategy
        self.schedule, self.costs = _plan(self._plans, self, blocks, input, way, None)
        return _execute(self, blocks, input, self.schedule, self.costs)

    def extra_repr(self):
        given = [("memory_budget", self.memory_budget), ("every", self.every),
                 ("strategy", self.strategy)]
        return ", ".join(f"{name}={value!r}" for name, value in given if value is not None)


def _execute(model, blocks, x, schedule, costs):
    calls = calls_of(model, blocks)
    groups = getattr(costs, "groups", ())
    if groups and len(schedule.first_pass) == len(groups):
        calls = [Several(calls[start:stop]) for start, stop in groups]
    return run_chain(calls, x, schedule)


_plans = weakref.WeakKeyDictionary()        # model -> {what it was planned for: (plan, costs)}


def _plan(plans, model, blocks, x, way, costs):
    """(schedule, costs) of one of memory_budget, every, strategy; made once for each of `plans`."""
    if costs is not None:
        return planning.schedule(costs, *way), costs
    measured, key = ("costs", _state(blocks, x)), (way, _state(blocks, x))
    if key not in plans:
        if way[0] is not None and measured not in plans:
            plans[measured] = measure_chain(model, x)
        costs = plans.get(measured) if way[0] is not None else None
        # Without a budget the costs do not matter.
        chain = costs or Chain((Block(forward=1.0, backward=2.0, output=1),) * len(blocks))
        plans[key] = planning.schedule(chain, *way), costs
    return plans[key]


def _state(blocks, x):
    """What the costs depend on: shapes, and what is trained."""
    modules = [m for b in blocks if isinstance(b, Module) for m in b.modules()]
    return (tuple(map(id, blocks)), x.shape, x.dtype, x.requires_grad,
            tuple(m.training for m in modules),
            tuple((p.shape, p.requires_grad) for b in blocks if isinstance(b, Module)
                  for p in b.parameters()))
