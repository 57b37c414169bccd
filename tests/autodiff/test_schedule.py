"""Checkpointing schedules: the dynamic programme against brute force, and the simple strategies.

The brute force knows nothing of the recurrence: it searches all sequences of operations over the
states of the machine; on request, only those that keep a checkpoint until its block's backward.
Before the first backward each block runs once.
"""

import heapq
import itertools

import pytest

pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from autodiff import rotor  # noqa: E402
from autodiff import schedule as sched  # noqa: E402
from autodiff.errors import ArgumentError, ValueRangeError  # noqa: E402
from autodiff.schedule import Block, Chain, MemoryBudgetError  # noqa: E402

small = st.integers(0, 6)


@st.composite
def block(draw):
    output, saved, extra = draw(st.integers(1, 6)), draw(small), draw(small)
    recorded = max(saved, output) + draw(st.integers(0, min(saved, output)))
    return Block(forward=draw(st.integers(1, 9)), backward=draw(st.integers(0, 9)),
                 record=draw(st.integers(1, 9)), deferred=draw(st.integers(1, 9)),
                 again=draw(st.integers(1, 9)), output=output, saved=saved, recorded=recorded,
                 gradients=draw(st.integers(0, 2)), forward_peak=output + extra,
                 record_peak=recorded + extra, backward_peak=output + draw(small),
                 carried=draw(st.integers(0, 1)))


def chains(longest):
    return st.builds(Chain, st.lists(block(), min_size=1, max_size=longest).map(tuple),
                     input_gradient=small, last=small)


def brute_force(chain, budget, drops=True):
    """The least seconds of any sequence of operations within the budget; None if none is.

    drops: what is kept may be given up at any time.
    """
    b, n = chain.blocks, len(chain)
    if chain.ending > budget:
        return None
    tie = itertools.count()
    heap, seen = [(0, next(tie), (frozenset({(0, 0)}), frozenset(), 0, n - 1))], set()
    while heap:
        seconds, _, state = heapq.heappop(heap)
        inputs, recorded, here, t = state
        if t < 0:
            return seconds
        if state in seen:
            continue
        seen.add(state)
        kept = dict(inputs)
        around = 0 if t == n - 1 else (b[-1].output + sum(x.gradients for x in b[t + 1:])
                                       + b[t + 1].carried)
        held = sum(kept.values()) + sum(b[j].recorded if j < t or j == n - 1 else b[j].saved
                                        for j in recorded)
        found = []
        if drops:
            found += [(0, (inputs - {(k, own)}, recorded, here, t)) for k, own in inputs
                      if k and k not in recorded]
        if t in recorded and around + held + b[t].backward_peak <= budget:
            found.append((b[t].backward, (inputs - {(t, kept[t])}, recorded - {t}, None, t - 1)))
        gradient = 0 if t == n - 1 else b[t].output
        # Before the first backward each block runs once, in order.
        for k in {here or 0} - {n} if t == n - 1 else {*kept, here} - {None, t + 1}:
            if k in recorded:
                continue
            mine = 0 if k in kept or k - 1 in recorded else b[k - 1].output
            total = around + gradient + held + mine
            then = inputs if k in kept else inputs | {(k, mine)}
            if total + b[k].forward_peak <= budget:
                cost = b[k].deferred if t == n - 1 else b[k].forward
                found += [(cost, (inputs, recorded, k + 1, t)), (cost, (then, recorded, k + 1, t))]
            if total + b[k].record_peak <= budget:
                cost = b[k].record if t == n - 1 else b[k].again
                found.append((cost, (then, recorded | {k}, k + 1, t)))
        for cost, after in found:
            heapq.heappush(heap, (seconds + cost, next(tie), after))
    return None


def check(chain, part):
    low, top = sched.smallest_budget(chain), sched.record_all(chain).peak_bytes
    budget = low + round(part * (top - low))
    plan = sched.optimal(chain, budget)
    assert plan.peak_bytes <= budget
    assert plan.seconds == brute_force(chain, budget)
    assert brute_force(chain, low - 1) is None
    with pytest.raises(MemoryBudgetError) as error:
        sched.optimal(chain, low - 1)
    assert error.value.smallest == low and str(low) in str(error.value)


@given(chains(5), st.floats(0, 1))
def test_the_recurrence_is_equal_to_brute_force_without_drops(chain, part):
    """What longer chains are planned with; short ones are searched."""
    least = sched.simulate(chain, rotor.least(chain))[1]
    budget = least + round(part * (sched.record_all(chain).peak_bytes - least))
    operations = rotor.Table(chain, budget, slots=1000).operations(budget)
    seconds, peak = sched.simulate(chain, operations)
    assert peak <= budget and seconds == brute_force(chain, budget, drops=False)
    assert brute_force(chain, least - 1, drops=False) is None


@given(chains(5), st.floats(0, 1))
def test_equal_to_brute_force(chain, part):
    check(chain, part)


@settings(max_examples=4)
@given(st.builds(Chain, st.lists(block(), min_size=7, max_size=8).map(tuple)),
       st.sampled_from([0.0, 0.2, 0.5]))
def test_equal_to_brute_force_on_eight_blocks(chain, part):
    check(chain, part)


@given(chains(12), st.floats(0, 1), st.integers(3, 40))
def test_rounding_never_exceeds_the_budget(chain, part, slots):
    low, top = sched.smallest_budget(chain), sched.record_all(chain).peak_bytes
    budget = low + round(part * (top - low))
    plan = sched.optimal(chain, budget, slots=slots)
    assert plan.peak_bytes <= budget
    assert plan.seconds >= sched.optimal(chain, budget).seconds


@given(chains(12))
def test_no_worse_than_the_simple_strategies(chain):
    for other in [sched.sqrt_n(chain), *(sched.every_k(chain, k)
                                         for k in range(1, len(chain) + 1))]:
        assert sched.optimal(chain, other.peak_bytes).seconds <= other.seconds


@given(chains(10))
def test_pareto_descends(chain):
    front = sched.pareto(chain, points=8)
    assert front[0].peak_bytes == sched.smallest_budget(chain)
    assert all(a.seconds > b.seconds for a, b in itertools.pairwise(front))
    assert all(plan.peak_bytes <= plan.budget for plan in front)


def dropping():
    """Four units for the output of block 0 are too much while block 2 is recorded again."""
    costs = [(9, 1, 13), (4, 5, 3), (3, 3, 6), (6, 4, 6), (4, 1, 8)]
    return Chain(tuple(Block(forward=f, backward=2 * f, output=o, saved=s) for f, o, s in costs))


def test_a_dropped_checkpoint_can_be_faster():
    chain, budget = dropping(), 20
    plan = sched.optimal(chain, budget)
    assert ("drop", 1) in plan.operations and plan.peak_bytes <= budget
    table = rotor.Table(chain, budget, slots=1000)
    assert sched.simulate(chain, table.operations(budget))[0] == 138 > plan.seconds == 120
    assert plan.again == 8


def uniform(n):
    return Chain((Block(forward=1.0, backward=2.0, output=10, saved=30),) * n)


def test_the_classical_figures():
    chain = uniform(64)
    plain, sqrt = sched.record_all(chain), sched.sqrt_n(chain)
    assert plain.peak_bytes == 64 * 40 + 20 and plain.overhead == 0
    assert sqrt.again == 56                                 # all but the last of eight
    assert sqrt.peak_bytes == 7 * 10 + 8 * 40 + 20          # checkpoints, one part, its gradients
    assert sched.every_k(chain, 1).again == 63
    better = sched.optimal(chain, sqrt.peak_bytes)
    assert better.seconds <= sqrt.seconds
    least = sched.optimal(chain, sched.smallest_budget(chain))
    assert least.peak_bytes < 0.25 * sqrt.peak_bytes
    assert "optimal" in str(least) and "R" in str(least)
    assert sched.optimal(chain, 10 ** 9).operations == plain.operations


def test_one_block():
    chain = uniform(1)
    assert sched.smallest_budget(chain) == sched.record_all(chain).peak_bytes
    assert sched.sqrt_n(chain).operations == (("record", 0), ("backward", 0))


def test_schedule_takes_one_way():
    chain = uniform(9)
    assert sched.schedule(chain, every=3).operations == sched.sqrt_n(chain).operations
    assert sched.schedule(chain, strategy="sqrt").strategy == "sqrt"
    assert sched.schedule(chain, strategy="none").again == 0
    assert sched.schedule(chain, memory_budget=200, strategy="optimal").peak_bytes <= 200
    for wrong in ({}, {"every": 2, "memory_budget": 100}, {"strategy": "optimal"},
                  {"strategy": "best"}, {"memory_budget": 1.5}, {"every": True}):
        with pytest.raises(ArgumentError):
            sched.schedule(chain, **wrong)
    for k in (0, 10):
        with pytest.raises(ValueRangeError, match="1 to 9"):
            sched.schedule(chain, every=k)


def test_wrong_chains_and_operations():
    with pytest.raises(ArgumentError, match="at least one block"):
        Chain(())
    with pytest.raises(ValueRangeError, match="saved of block 0"):
        Chain((Block(1.0, 1.0, 4, saved=-1),))
    chain = uniform(2)
    with pytest.raises(ArgumentError, match="block 1 cannot run"):
        sched.simulate(chain, [("record", 1)])
    with pytest.raises(ArgumentError, match="not ready"):
        sched.simulate(chain, [("forward", 0), ("backward", 1)])
    with pytest.raises(ArgumentError, match="block 0 runs twice"):
        sched.simulate(chain, [("forward", 0), ("forward", 0)])
    for wrong in ([("drop", 1)], [("checkpoint", 0), ("drop", 0)],
                  [("record", 0), ("record", 1), ("drop", 1)]):
        with pytest.raises(ArgumentError, match="cannot be dropped"):
            sched.simulate(chain, wrong)
    with pytest.raises(ArgumentError, match="before the backward of block 1"):
        sched.simulate(chain, [("record", 0), ("record", 1)])
