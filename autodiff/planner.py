"""Plans what a capture runs: which launches are needed, which run together, where arrays lie.

A chain of elementwise launches over arrays of one size becomes a group: all of them on one chunk,
which stays in the cache, before the next chunk; what nobody else reads never reaches memory.
Everything here is plain data about launches.  Invariant: two launches that touch the same bytes,
one of them writing, keep their order.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from . import dtypes

FLAT, SINGLE, STRIDED = range(3)    # a buffer: in order without gaps; one element; anything else
LOCAL = 2                           # in a group: in the scratch of a thread (kernels/chunks.pxd)
CHUNK_BYTES = 1 << 12               # of one array of a group: ten of them fit the L1 cache
LEAST = 1 << 14                     # elements; smaller arrays stay in the cache anyway
SMALL = 1 << 16                     # bytes; what writes no more may move past a group
LANES = 32                          # a chunk is a multiple of what a sum adds up side by side
ALIGN = 64
MOST, MOST_SUMS, MOST_BUFS = 40, 4, 4       # of a group: launches, sums; buffers of a launch


class View(NamedTuple):
    """A buffer of a launch: where it starts in its slot, and what it covers."""
    slot: int
    offset: int
    reach: int              # bytes from there to the end of the last element
    n: int
    dtype: int
    layout: int

    @property
    def itemsize(self):
        return dtypes.ALL[self.dtype].itemsize


@dataclass(eq=False)
class Step:
    """One launch: outputs first in `views` (None where a buffer is absent), then inputs."""
    block: object
    launch: object
    views: list
    nout: int
    work: int                           # bytes of scratch
    phase: str = "forward"
    reads: set = field(init=False)      # slots
    writes: set = field(init=False)

    def __post_init__(self):
        written = [*self.views[:self.nout]]
        inputs = self.views[self.nout:]
        if self.block.writes:
            written += [inputs[self.block.inputs.index(name)] for name in self.block.writes]
        self.reads = {v.slot for v in inputs if v is not None}
        self.writes = {v.slot for v in written if v is not None}

    def clashes(self, other):
        """True if the order of the two matters."""
        return bool(self.writes & (other.reads | other.writes) or self.reads & other.writes)


@dataclass(eq=False)
class Group:
    """Elementwise steps over n elements each, then full sums of what they make."""
    n: int
    steps: list
    sums: list = field(default_factory=list)

    @property
    def members(self):
        return self.steps + self.sums


def needed(steps, kept):
    """The steps whose results somebody sees: those that write to `kept`, and what these read."""
    found = []
    live = set(kept)
    for step in reversed(steps):
        if step.writes & live:
            live |= step.reads
            found.append(step)
    return found[::-1]


def early(steps):
    """The steps, updates as early as may be: while the gradient is in the cache."""
    order = []
    for step in steps:
        at = len(order)
        if step.phase == "update":
            while at and not step.clashes(order[at - 1]):
                at -= 1
        order.insert(at, step)
    return order


# Grouping ---------------------------------------------------------------------------------------

def _size(step):
    """Elements of a step that may join a group; 0 for any other."""
    out, block = step.views[0] if step.views else None, step.block
    if (step.nout != 1 or out is None or out.layout != FLAT or out.n < LEAST or step.work
            or len(step.views) > MOST_BUFS or block.writes or None in step.views
            or not (block.elementwise and block.layout == "strided" or block.kernel == "copy")):
        return 0
    if all(v.layout == SINGLE or v.layout == FLAT and v.n == out.n for v in step.views[1:]):
        return out.n
    return 0


def _summed(step):
    """Elements of a full sum or mean of floats; 0 for any other step."""
    if step.block.name not in ("sum", "mean"):
        return 0
    out, x = step.views
    whole = x.layout == FLAT and out.n == 1 and out.dtype == x.dtype
    return x.n if whole and dtypes.is_float(dtypes.ALL[x.dtype]) else 0


def _aligned(group, step):
    """True if all members see a slot that one of them writes at the same elements."""
    steps = [*group.steps, step]
    written = set().union(*(m.writes for m in steps))
    seen = {}
    return all(seen.setdefault(v.slot, (v.offset, v.dtype, v.layout))
               == (v.offset, v.dtype, v.layout)
               for m in [*steps, *group.sums] for v in m.views if v.slot in written)


def grouped(steps):
    """Steps and Groups in an order that gives the same results."""
    done, group, after = [], None, []

    def close():
        nonlocal group
        if group is not None:
            done.append(group if len(group.members) > 1 else group.steps[0])
            done.extend(after)
            after.clear()
        group = None

    for step in steps:
        n, total = _size(step), _summed(step)
        if group is not None:
            free = not any(step.clashes(a) for a in after)
            if n == group.n and free and len(group.steps) < MOST and _aligned(group, step) and not (
                    any(step.clashes(s) for s in group.sums)):
                group.steps.append(step)
                continue
            if total == group.n and free and len(group.sums) < MOST_SUMS and any(
                    step.reads & m.writes for m in group.steps):
                group.sums.append(step)
                continue
            if sum(v.reach for v in step.views[:step.nout] if v is not None) <= SMALL and n == 0:
                if free and not any(step.clashes(m) for m in group.members):
                    done.append(step)           # as well before the group
                else:
                    after.append(step)
                continue
            close()
        if n:
            group = Group(n, [step])
        else:
            done.append(step)
    close()
    return done


# Places -----------------------------------------------------------------------------------------

def _round(nbytes):
    return -(-max(nbytes, 1) // ALIGN) * ALIGN


def placed(blocks):
    """({key: offset}, end) of {key: (nbytes, first, last)}: lifetimes in items, both included.

    Large blocks go where they fit, the largest first; small ones from free lists by size.
    """
    found, end = {}, 0
    large, small = [], []
    for key, (nbytes, first, last) in blocks.items():
        size = _round(nbytes)
        (large if size > SMALL else small).append((size, first, last, key))
    taken = []                              # (begin, end, first, last)
    for size, first, last, key in sorted(large, key=lambda b: (-b[0], b[1])):
        at = 0
        for begin, stop, since, until in sorted(taken):
            if since <= last and first <= until:
                if begin >= at + size:
                    break
                at = max(at, stop)
        taken.append((at, at + size, first, last))
        found[key], end = at, max(end, at + size)
    free, ends = defaultdict(list), []      # offsets by size; what is in use, by its end
    for size, first, last, key in sorted(small, key=lambda b: b[1]):
        while ends and ends[0][0] < first:
            _, was, offset = heappop(ends)
            free[was].append(offset)
        if free[size]:
            found[key] = free[size].pop()
        else:
            found[key], end = end, end + size
        heappush(ends, (last, size, found[key]))
    return found, end


def _locals(group, private):
    """{slot: place} of what lives inside a group alone, in bytes for each element of a chunk, and
    the end of the places."""
    first, last = {}, {}
    for k, m in enumerate(group.members):
        for v in m.views:
            if v.slot in private and v.n > 1:
                first.setdefault(v.slot, k)
                last[v.slot] = k
    place, free, end = {}, defaultdict(list), 0
    for k, m in enumerate(group.members):
        for slot in sorted(s for s in first if first[s] == k):
            size = next(v.itemsize for v in m.views if v.slot == slot)
            if free[size]:
                place[slot] = free[size].pop()
            else:
                place[slot], end = end, end + size
        for slot in sorted(s for s in last if last[s] == k):
            free[next(v.itemsize for v in m.views if v.slot == slot)].append(place[slot])
    return place, end


@dataclass
class Layout:
    """What a Program is built from (see replay.pyx), and what a report shows."""
    items: list             # (members, None or the numbers of a group)
    offsets: dict           # slot -> place in the workspace
    workspace: int
    order: list             # Steps and Groups


def laid_out(order, inside, threads, sum_region):
    """A Layout: `order`, with places for scratch and for the slots in `inside`.

    sum_region(n): elements that one partial sum of a full sum of n takes.
    """
    touched, reach = defaultdict(set), defaultdict(int)
    for k, item in enumerate(order):
        for m in item.members if isinstance(item, Group) else [item]:
            for v in m.views:
                if v is not None and v.slot in inside:
                    touched[v.slot].add(k)
                    reach[v.slot] = max(reach[v.slot], v.offset + v.reach)
    groups, blocks, local = {}, {}, set()
    for k, item in enumerate(order):
        work = 0
        if isinstance(item, Group):
            written = set().union(*(m.writes for m in item.steps))
            private = {s for s in written if touched.get(s) == {k}}
            place, width = _locals(item, private)
            chunk = CHUNK_BYTES // max(v.itemsize for m in item.steps for v in m.views)
            chunk = max(chunk // LANES, 1) * LANES
            groups[k] = place, chunk, _round(width * chunk)
            local |= place.keys()
            work = groups[k][2] * threads
        elif item.work:
            work = item.work
        if work:
            blocks["scratch", k] = work, k, k
    blocks |= {("slot", s): (reach[s], min(ks), max(ks)) for s, ks in touched.items()
               if s not in local}
    found, end = placed(blocks)
    items = []
    for k, item in enumerate(order):
        scratch = found.get(("scratch", k), 0)
        if k in groups:
            items.append(_members(item, *groups[k], scratch, sum_region))
        else:
            refs = [v and (v.slot, FLAT, v.offset) for v in item.views]
            items.append(([(item.launch, refs, scratch)], None))
    offsets = {slot: at for (kind, slot), at in found.items() if kind == "slot"}
    return Layout(items, offsets, end, order)


def _members(group, place, chunk, room, scratch, sum_region):
    """The item of a group."""
    members = []
    for m in group.members:
        refs = [(-1, LOCAL, place[v.slot] * chunk) if v.slot in place
                else (v.slot, SINGLE if v.layout == SINGLE else FLAT, v.offset) for v in m.views]
        members.append((m.launch, refs, 0))
    region = sum_region(group.n) if group.sums else chunk
    return members, (group.n, chunk, region, room, scratch, len(group.sums))
