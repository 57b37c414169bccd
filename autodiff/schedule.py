"""Schedules of gradient checkpointing for a chain of blocks: what to run, what to keep, when.

Numbers in, numbers out: a `Chain` says what each block costs, a `Schedule` is a list of operations
(forward, checkpoint, record, drop, backward), and `simulate` adds up its seconds and its peak.
Invariant: whatever made a schedule, its figures come from `simulate`, so that strategies compare.

Source of the operations: Herrmann, Beaumont, Eyraud-Dubois, Hermann, Joly and Shilova, "Optimal
checkpointing for heterogeneous chains: how to train deep neural networks with limited memory",
2019 (rotor); every-k and sqrt(n): Chen, Xu, Zhang and Guestrin, 2016.
"""

import math
from dataclasses import dataclass, field

from . import text
from .errors import ArgumentError, AutodiffError, ValueRangeError

__all__ = ["Block", "Chain", "MemoryBudgetError", "Schedule", "every_k", "optimal", "pareto",
           "record_all", "schedule", "simulate", "smallest_budget", "sqrt_n"]

FORWARD, CHECKPOINT, RECORD, DROP, BACKWARD = ("forward", "checkpoint", "record", "drop",
                                               "backward")


class MemoryBudgetError(AutodiffError, ValueError):
    """No schedule fits the budget; `budget` and `smallest`, the least that can work, in bytes."""

    def __init__(self, budget, smallest):
        super().__init__(f"memory_budget: no schedule of this chain fits {budget} bytes "
                         f"({text.nbytes(budget)}); the smallest budget that can work is "
                         f"{smallest} bytes ({text.nbytes(smallest)})")
        self.budget, self.smallest = budget, smallest


@dataclass(frozen=True)
class Block:
    """What one block costs, in seconds and bytes; None stands for the value in parentheses.

    record: seconds of the forward pass while recording (forward); deferred: the same where the
    saves are let go, as in the first pass through a block that runs again (record); forward:
    when it runs again without recording; again: when it runs again and records (record);
    backward: of its backward pass.
    output: bytes of its output; saved: bytes that its records keep, its input apart; recorded: the
    same with the output alive (saved + output), an output that is saved counts once; gradients:
    bytes of its parameters' gradients, alive until backward ends.
    Peaks are bytes above what was alive before: forward_peak with its output (output),
    record_peak with its saves (recorded), backward_peak with the gradients of output, input and
    parameters, above the saves (their sum). carried: bytes that the sweep still holds when it
    enters the block before.
    """
    forward: float
    backward: float
    output: int
    saved: int = 0
    record: float = None
    deferred: float = None
    again: float = None
    recorded: int = None
    gradients: int = 0
    forward_peak: int = None
    record_peak: int = None
    backward_peak: int = None
    carried: int = 0


@dataclass(frozen=True)
class Chain:
    """Blocks in order, with what is around them.

    input_gradient: bytes of the gradient of the chain's input (0: none is wanted); the input
    itself is the caller's. last: bytes that handing over the finished gradients takes for a
    moment. Raises ArgumentError without blocks, ValueRangeError for costs below zero.
    """
    blocks: tuple
    input_gradient: int = 0
    last: int = 0

    def __post_init__(self):
        if not self.blocks:
            raise ArgumentError("Chain: expected at least one block")
        before, filled = self.input_gradient, []
        for k, b in enumerate(self.blocks):
            recorded = b.saved + b.output if b.recorded is None else b.recorded
            record = b.forward if b.record is None else b.record
            given = {"record": (b.record, record), "deferred": (b.deferred, record),
                     "again": (b.again, record), "recorded": (b.recorded, recorded),
                     "forward_peak": (b.forward_peak, b.output),
                     "record_peak": (b.record_peak, recorded),
                     "backward_peak": (b.backward_peak, b.output + before + b.gradients)}
            values = {**vars(b), **{name: default if value is None else value
                                    for name, (value, default) in given.items()}}
            for name, value in values.items():
                if not value >= 0:
                    raise ValueRangeError(f"Chain: {name} of block {k} must not be negative, got "
                                          f"{value}")
            filled.append(Block(**values))
            before = b.output
        object.__setattr__(self, "blocks", tuple(filled))

    def __len__(self):
        return len(self.blocks)

    def around(self, t):
        """Bytes alive outside the held blocks while backward has yet to enter block t.

        The chain's output (its caller has it), the gradients of the parameters of later blocks,
        what the sweep carries; nothing in the first pass (t the last block).
        """
        if t == len(self) - 1:
            return 0
        return (self.blocks[-1].output + self.blocks[t + 1].carried
                + sum(b.gradients for b in self.blocks[t + 1:]))

    def waiting(self, t):
        """`around`, and the gradient of the output of block t."""
        return self.around(t) + (0 if t == len(self) - 1 else self.blocks[t].output)

    def run(self, k, t):
        """Seconds of a run of block k that keeps nothing, before the backward of block t."""
        b = self.blocks[k]
        return b.deferred if t == len(self) - 1 else b.forward

    def recording(self, k, t):
        """Seconds of a run of block k that records, before the backward of block t."""
        b = self.blocks[k]
        return b.record if t == len(self) - 1 else b.again

    @property
    def ending(self):
        """Bytes when the gradients are handed over, after the last operation."""
        return (self.blocks[-1].output + sum(b.gradients for b in self.blocks)
                + self.input_gradient + self.last)


@dataclass(frozen=True)
class Schedule:
    """Operations for a chain with their predicted seconds and peak of bytes.

    operations: ((kind, block), ...); kind "forward" runs a block, "checkpoint" also keeps its
    input, "record" keeps what its backward needs, "backward" frees that, "drop" gives up a kept
    input. plain_seconds: of the schedule that records everything.
    """
    operations: tuple
    seconds: float
    peak_bytes: int
    plain_seconds: float
    strategy: str
    budget: int = field(default=None)

    @property
    def overhead(self):
        """Predicted extra time, as a fraction of the plain run."""
        return self.seconds / self.plain_seconds - 1 if self.plain_seconds else 0.0

    @property
    def first_pass(self):
        """What the forward pass does with each block, in order."""
        kinds = []
        for kind, _ in self.operations:
            if kind == BACKWARD:
                break
            kinds.append(kind)
        return tuple(kinds)

    @property
    def again(self):
        """How many blocks are computed again in backward, counted as often as they are."""
        runs = sum(kind not in (BACKWARD, DROP) for kind, _ in self.operations)
        return runs - len(self.first_pass)

    def __str__(self):
        marks = {FORWARD: ".", CHECKPOINT: "c", RECORD: "R"}
        return (f"{self.strategy}: peak {text.nbytes(self.peak_bytes)}, "
                f"{1e3 * self.seconds:.3f} ms ({100 * self.overhead:+.1f} %), {self.again} blocks "
                f"again; first pass {''.join(marks[k] for k in self.first_pass)}")


def simulate(chain, operations):
    """(seconds, peak bytes) of operations on a chain; ArgumentError where they cannot run.

    Kept are: an input from its checkpoint, and a record's saves and input, until the block's
    backward (an input alone: until it is dropped); the output of a recorded block until the next
    block's backward.
    """
    blocks, end = chain.blocks, len(chain)
    inputs, recorded = {0: 0}, set()    # block -> bytes of its kept input; blocks recorded
    here, t = None, end - 1             # block whose input is at hand; the next backward
    seconds, peak = 0.0, 0

    def held():
        return sum(inputs.values()) + sum(
            blocks[j].recorded if j < t or j == end - 1 else blocks[j].saved for j in recorded)

    for kind, k in operations:
        b = blocks[k]
        if kind == BACKWARD:
            if k != t or k not in recorded:
                raise ArgumentError(f"schedule: block {k} is not ready for backward")
            peak = max(peak, chain.around(t) + held() + b.backward_peak)
            seconds, t, here = seconds + b.backward, t - 1, None
            recorded.remove(k)
            del inputs[k]
            continue
        if kind == DROP:
            if k not in inputs or k in recorded or not 0 < k <= t:
                raise ArgumentError(f"schedule: the input of block {k} cannot be dropped")
            del inputs[k]
            continue
        if k > t or k in recorded or k != here and k not in inputs:
            raise ArgumentError(f"schedule: block {k} cannot run: its input is not at hand")
        if t == end - 1 and k != (here or 0):
            raise ArgumentError(f"schedule: block {k} runs twice before the first backward")
        own = 0 if k in inputs or k - 1 in recorded else blocks[k - 1].output
        if kind != FORWARD:
            inputs.setdefault(k, own)
            own = 0
        run = b.record_peak if kind == RECORD else b.forward_peak
        peak = max(peak, chain.waiting(t) + held() + own + run)
        seconds += chain.recording(k, t) if kind == RECORD else chain.run(k, t)
        if kind == RECORD:
            recorded.add(k)
        here = k + 1
    if t >= 0:
        raise ArgumentError(f"schedule: the operations end before the backward of block {t}")
    return seconds, max(peak, chain.ending)


def _made(chain, operations, strategy, budget=None):
    plain = sum(b.record + b.backward for b in chain.blocks)
    return Schedule(tuple(operations), *simulate(chain, operations), plain, strategy, budget)


def record_all(chain):
    """Record every block: the plain run, without checkpoints."""
    n = len(chain)
    return _made(chain, [(RECORD, k) for k in range(n)]
                 + [(BACKWARD, k) for k in reversed(range(n))], "none")


def every_k(chain, k):
    """Keep the input of every k-th block, and record k blocks at a time; the last k at once."""
    if isinstance(k, bool) or not hasattr(k, "__index__"):
        raise ArgumentError(f"every: expected an integer, got {k!r}")
    if not 1 <= k <= len(chain):
        raise ValueRangeError(f"every: expected 1 to {len(chain)}, the number of blocks, got {k}")
    starts = range(0, len(chain), k)
    first, later = [], []
    for start in starts:
        part = range(start, min(start + k, len(chain)))
        run = [(RECORD, j) for j in part]
        if start == starts[-1]:
            first += run
            run = []
        else:
            first += [(FORWARD if j > start else CHECKPOINT, j) for j in part]
        later.append(run + [(BACKWARD, j) for j in reversed(part)])
    return _made(chain, first + [op for part in reversed(later) for op in part], f"every {k}")


def sqrt_n(chain):
    """`every_k` with k = ceil(sqrt(n)): about 2 sqrt(n) blocks' worth of memory."""
    found = every_k(chain, math.isqrt(len(chain) - 1) + 1)
    return Schedule(**{**vars(found), "strategy": "sqrt"})


def optimal(chain, memory_budget, slots=1000, table=None):
    """The fastest schedule whose peak fits `memory_budget` bytes.

    Up to 8 blocks: the optimum among all schedules whose first pass runs each block once. Longer
    chains: among those that keep a checkpoint until its block's backward (over which no way but
    trying all is known; on random chains of 8 blocks, one of twenty budgets has a faster schedule,
    by 7 % in the mean); exact where the sizes share a unit of which the budget has at most
    `slots`, else sizes are rounded up to about budget / slots: never over the budget, perhaps a
    little slower. At least as fast as `record_all` and any `every_k` that fits. Time
    O(n^3 slots), unless a `table` (rotor.Table) made for a budget at least as large is given.
    Raises MemoryBudgetError. Source: Herrmann et al. 2019.
    """
    from . import rotor, search
    plain = record_all(chain)
    if plain.peak_bytes <= memory_budget and all(b.record <= b.deferred + b.again
                                                 for b in chain.blocks):
        return Schedule(**{**vars(plain), "strategy": "optimal", "budget": memory_budget})
    table = table or rotor.Table(chain, memory_budget, slots)
    found = [rotor.least(chain), table.operations(memory_budget),
             *(every_k(chain, k).operations for k in range(1, len(chain) + 1))]
    made = [_made(chain, ops, "optimal", memory_budget) for ops in found if ops is not None]
    fitting = [s for s in made if s.peak_bytes <= memory_budget]
    best = min(fitting, key=lambda s: (s.seconds, s.peak_bytes), default=None)
    if len(chain) <= search.LONGEST:
        better = search.fastest(chain, memory_budget, best.seconds if best else math.inf)
        if better is not None:
            best = _made(chain, better, "optimal", memory_budget)
    if best is None:
        raise MemoryBudgetError(memory_budget, smallest_budget(chain))
    return best


def smallest_budget(chain):
    """The least bytes for which `optimal` finds a schedule, exact."""
    from . import rotor, search
    found = simulate(chain, rotor.least(chain))[1]
    if len(chain) <= search.LONGEST:
        found = search.smallest_peak(chain, found)
    return found


def pareto(chain, points=24, slots=1000):
    """Optimal schedules for `points` budgets from the smallest to the plain run's peak.

    One table serves them all. A schedule that is no faster than the one before is left out.
    """
    from . import rotor
    low, top = smallest_budget(chain), record_all(chain).peak_bytes
    table = rotor.Table(chain, top, slots)
    found = [optimal(chain, low, table=table)]
    for p in range(1, points):
        made = optimal(chain, low + (top - low) * p // max(points - 1, 1), table=table)
        if made.seconds < found[-1].seconds:
            found.append(made)
    return found


def schedule(chain, memory_budget=None, every=None, strategy=None):
    """A Schedule by one of: `memory_budget` bytes, every=k, strategy "none", "sqrt" or "optimal".

    "optimal" takes a memory_budget. Raises ArgumentError unless exactly one way is named, and
    MemoryBudgetError where no schedule fits.
    """
    if strategy not in (None, "none", "sqrt", "optimal"):
        raise ArgumentError(f'schedule: strategy must be "none", "sqrt" or "optimal", got '
                            f"{strategy!r}")
    if strategy == "optimal" and memory_budget is None:
        raise ArgumentError('schedule: strategy "optimal" needs a memory_budget')
    named = [memory_budget, every, None if strategy == "optimal" else strategy]
    if sum(x is not None for x in named) != 1:
        raise ArgumentError("schedule: give exactly one of memory_budget, every, strategy")
    if every is not None:
        return every_k(chain, every)
    if memory_budget is not None:
        if isinstance(memory_budget, bool) or not hasattr(memory_budget, "__index__"):
            raise ArgumentError("schedule: memory_budget must be an integer, the bytes, got "
                                f"{memory_budget!r}")
        return optimal(chain, memory_budget.__index__())
    return record_all(chain) if strategy == "none" else sqrt_n(chain)
