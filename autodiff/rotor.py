"""The dynamic programme behind `schedule.optimal`: the fastest way through a chain in m bytes.

Let blocks s .. t be those that backward has yet to leave, with the input of s kept by someone, and
m the bytes at hand. Either s is recorded at once, and the rest is solved in what remains:
    m >= (record s),  C(s, t, m) = record(s) + C(s+1, t, m - recorded(s)) + backward(s);
or s .. i-1 run without recording up to the next checkpoint, the input of i, and run again later:
    C(s, t, m) = forward(s .. i-1) + C(i, t, m - output(i-1)) + C(s, i-1, m), the least over i.
Invariant: m counts units; what is taken away and what must be there are rounded up, m down.

Source: Herrmann et al. 2019, theorem 1; here with the gradients of parameters, which pile up, and
with each block's own peaks.
"""

import collections
import math

import numpy as np

from .schedule import BACKWARD, CHECKPOINT, FORWARD, RECORD

AT_ONCE = 0         # choice: record the first block; i > s: the next checkpoint is the input of i


def _thresholds(chain):
    """Bytes needed to record s and for its backward, as functions: need(s, t), back(s)."""
    blocks, end = chain.blocks, len(chain) - 1
    waiting = [chain.waiting(t) for t in range(end + 1)]
    around = [chain.around(t) for t in range(end + 1)]

    def need(s, t):
        return waiting[t] + blocks[s].record_peak

    def back(s):
        return around[s] + blocks[s].backward_peak + (
            blocks[s].recorded if s == end else blocks[s].saved)
    return waiting, need, back


def _runs(chain, s, t, waiting):
    """(i, bytes needed to run s .. i-1) for each place i of the next checkpoint."""
    blocks, most = chain.blocks, 0
    for i in range(s + 1, t + 1):
        before = blocks[i - 2].output if i - 1 > s else 0
        most = max(most, before + blocks[i - 1].forward_peak)
        yield i, waiting + most


def least(chain):
    """Operations of the schedule with the lowest peak; of equal ones the fastest met."""
    blocks, n = chain.blocks, len(chain)
    waiting, need, back = _thresholds(chain)
    best, choice = {}, {}           # (s, t) -> (bytes, seconds); what comes first
    for s in reversed(range(n)):
        seconds = chain.recording(s, s) + blocks[s].backward
        best[s, s], choice[s, s] = (max(need(s, s), back(s)), seconds), AT_ONCE
        for t in range(s + 1, n):
            after, seconds = best[s + 1, t], chain.recording(s, t) + blocks[s].backward
            found = (max(need(s, t), back(s), blocks[s].recorded + after[0]), after[1] + seconds)
            pick, run = AT_ONCE, 0.0
            for i, bytes_needed in _runs(chain, s, t, waiting[t]):
                run += chain.run(i - 1, t)
                right, left = best[i, t], best[s, i - 1]
                other = (max(bytes_needed, blocks[i - 1].output + right[0], left[0]),
                         run + right[1] + left[1])
                if other < found:
                    found, pick = other, i
            best[s, t], choice[s, t] = found, pick
    return _unfold(n, lambda s, t, m: choice[s, t], lambda s, i: 0)


def _unit(sizes, budget, slots):
    """Bytes of a unit: what the sizes share, else that which rounds them up the least."""
    shared = math.gcd(*sizes) or budget or 1
    if budget // shared <= slots:
        return shared
    counts = collections.Counter(sizes)
    smallest = -(-budget // slots)
    return min(range(smallest, 2 * smallest, -(-smallest // 1000)),
               key=lambda u: sum(-size % u * n for size, n in counts.items()) + u)


class Table:
    """C(s, t, m) for all s <= t and m up to a budget, with the choices that lead there."""

    def __init__(self, chain, budget, slots):
        self.chain, blocks, n = chain, chain.blocks, len(chain)
        sizes = [b.recorded for b in blocks] + [b.output for b in blocks[:-1]]
        self.unit = unit = _unit(sizes, budget, slots)
        self.top = top = budget // unit
        self.rest = rest = budget % unit        # at hand all the time: what is taken are units

        def units(nbytes):
            return -(-nbytes // unit)

        def at_least(nbytes):
            return units(max(nbytes - rest, 0))
        self.taken = [units(b.recorded) for b in blocks], [units(b.output) for b in blocks]
        recorded, output = self.taken
        waiting, need, back = _thresholds(chain)
        self.cost, self.choice = cost, choice = {}, {}
        for s in reversed(range(n)):
            for t in range(s, n):
                seconds = chain.recording(s, t) + blocks[s].backward
                best = np.full(top + 1, np.inf)
                pick = np.zeros(top + 1, np.int16 if n < 2 ** 15 else np.int32)
                low = at_least(max(need(s, t), back(s)))
                if s == t:
                    best[low:] = seconds
                else:
                    less = recorded[s]
                    low = max(low, less)
                    if low <= top:
                        best[low:] = seconds + cost[s + 1, t][low - less:top + 1 - less]
                run = 0.0
                for i, bytes_needed in _runs(chain, s, t, waiting[t]):
                    run += chain.run(i - 1, t)
                    less = output[i - 1]
                    low = max(at_least(bytes_needed), less)
                    if low > top:
                        continue
                    other = cost[i, t][low - less:top + 1 - less] + cost[s, i - 1][low:]
                    other += run
                    better = other < best[low:]
                    np.copyto(best[low:], other, where=better)
                    np.copyto(pick[low:], i, where=better, casting="unsafe")
                cost[s, t], choice[s, t] = best, pick

    def operations(self, budget):
        """Operations of the fastest schedule in `budget` bytes, None where rounding leaves none."""
        n, m = len(self.chain), min((budget - self.rest) // self.unit, self.top)
        if m < 0 or not np.isfinite(self.cost[0, n - 1][m]):
            return None
        recorded, output = self.taken

        def taken(s, i):
            return recorded[s] if i == AT_ONCE else output[i - 1]
        return _unfold(n, lambda s, t, m: int(self.choice[s, t][m]), taken, m)


def _unfold(n, choice, taken, m=0):
    """The operations that the choices spell; iterative, so long chains are no special case."""
    found, stack = [], [(0, n - 1, m)]
    while stack:
        item = stack.pop()
        if len(item) == 2:
            found.append(item)
            continue
        s, t, m = item
        i = choice(s, t, m)
        if i == AT_ONCE:
            found.append((RECORD, s))
            stack.append((BACKWARD, s))
            if s < t:
                stack.append((s + 1, t, m - taken(s, i)))
        else:
            found += [(CHECKPOINT if j == s else FORWARD, j) for j in range(s, i)]
            stack.append((s, i - 1, m))
            stack.append((i, t, m - taken(s, i)))
    return found
