"""Short chains: the best of all schedules, found by search (A*) instead of a recurrence.

The recurrence of autodiff/rotor.py knows only schedules that keep a checkpoint until its block's
backward.  Now and then one that drops a checkpoint early, and makes it again, is faster, or fits
where no other does; no recurrence for these is known.  Invariant: states, seconds and bytes are
those of `schedule.simulate`, and no state is left out but those that cannot beat what is known.
"""

import heapq
import itertools
import math

from .schedule import BACKWARD, CHECKPOINT, DROP, FORWARD, RECORD, simulate

LONGEST = 8         # blocks; the states grow about fivefold with each further one


def fastest(chain, budget, seconds):
    """Operations of the fastest schedule in the budget; None unless it beats `seconds`."""
    return _search(chain, budget, seconds, least=False)


def smallest_peak(chain, known):
    """The lowest peak of any schedule; `known`, that of one, where none is lower."""
    if known == max(_while_in_backward(chain, t) for t in range(len(chain))):
        return known
    operations = _search(chain, known - 1, math.inf, least=True)
    return known if operations is None else simulate(chain, operations)[1]


def _while_in_backward(chain, t):
    """Bytes alive at the least in the backward of block t: its input, its saves, what it takes."""
    b, end = chain.blocks[t], t == len(chain) - 1
    return (chain.around(t) + (chain.blocks[t - 1].output if t else 0)
            + (b.recorded if end else b.saved) + b.backward_peak)


def _search(chain, budget, seconds, least):
    """Best first: by seconds, or by the peak so far where `least`.

    A state: bits of the kept inputs, of those among them that cost nothing (the output of a
    recorded block), of the recorded blocks; the block whose input is at hand; the next backward.
    """
    if chain.ending > budget:
        return None
    first = (1, 1, 0, 0, len(chain) - 1)
    order = itertools.count()
    heap = [(0, _rest(chain, first), next(order), 0.0, first, None)]
    done = set()
    while heap:
        peak, _, _, spent, state, path = heapq.heappop(heap)
        if state[-1] < 0:
            return _operations(path)
        if state in done:
            continue
        done.add(state)
        for added, needed, operations, after in _moves(chain, state):
            bound = spent + added + _rest(chain, after)
            if needed <= budget and bound < seconds and after not in done:
                heapq.heappush(heap, (max(peak, needed) if least else 0, bound, next(order),
                                      spent + added, after, (path, operations)))
    return None


def _operations(path):
    parts = []
    while path is not None:
        path, operations = path
        parts.append(operations)
    return [op for part in reversed(parts) for op in part]


def _rest(chain, state):
    """Seconds that are left at the least: each block is recorded once more, if it is not yet."""
    _, _, recorded, here, t = state
    ahead, total = t == len(chain) - 1, 0.0
    for j in range(t + 1):
        b = chain.blocks[j]
        total += b.backward
        if not recorded >> j & 1:
            total += min(b.record, b.deferred + b.again) if ahead and j >= here else b.again
    return total


def _moves(chain, state):
    """(seconds, bytes alive, operations, state after) of all that can be done next."""
    inputs, free, recorded, here, t = state
    blocks, end = chain.blocks, len(chain) - 1
    held = 0
    for j in range(t + 1):
        if inputs >> j & 1 and not free >> j & 1:
            held += blocks[j - 1].output
        if recorded >> j & 1:
            held += blocks[j].recorded if j < t or j == end else blocks[j].saved
    bit = 1 << t
    if recorded & bit:
        yield (blocks[t].backward, chain.around(t) + held + blocks[t].backward_peak,
               [(BACKWARD, t)], (inputs & ~bit, free & ~bit, recorded & ~bit, None, t - 1))
    for k in range(t + 1):
        bit = 1 << k
        kept = bool(inputs & bit)
        # The first pass runs each block once, in order; later, from what is kept or at hand.
        if recorded & bit or k != here and (t == end or not kept):
            continue
        output_alive = k > 0 and recorded >> k - 1 & 1
        own = 0 if kept or output_alive else blocks[k - 1].output
        around = chain.waiting(t) + held + own
        keep = (inputs | bit, free | bit if not kept and not own else free)
        forward, needed = chain.run(k, t), around + blocks[k].forward_peak
        yield forward, needed, [(FORWARD, k)], (inputs, free, recorded, k + 1, t)
        if not kept:
            yield forward, needed, [(CHECKPOINT, k)], (*keep, recorded, k + 1, t)
        elif k and t < end:
            # What is dropped is best dropped after its last use.
            yield (forward, needed, [(FORWARD, k), (DROP, k)],
                   (inputs & ~bit, free & ~bit, recorded, k + 1, t))
        yield (chain.recording(k, t), around + blocks[k].record_peak, [(RECORD, k)],
               (*keep, recorded | bit, k + 1, t))
