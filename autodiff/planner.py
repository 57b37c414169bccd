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


class _Shelf:
    """Offsets for blocks with lifetimes: large ones where they fit, small ones by free lists."""

    def __init__(self):
        self.end = 0

    def place(self, blocks):
        """{key: offset} of {key: (nbytes, first, last)}, lifetimes in steps, both included."""
        found, large = {}, []
        for key, (nbytes, first, last) in sorted(
                blocks.items(), key=lambda b: (-b[1][0], b[1][1])):
            size = _round(nbytes)
            if size <= SMALL:
                continue
            at = 0
            for start, stop, begin, end in sorted(large):
                if begin <= last and first <= end:
                    if start >= at + size:
                        break
                    at = max(at, stop)
            large.append((at, at + size, first, last))
            self.end = max(self.end, at + size)
            found[key] = at
        free, ends = defaultdict(list), []
        small = sorted((b for b in blocks.items() if _round(b[1][0]) <= SMALL),
                       key=lambda b: b[1][1])
        for key, (nbytes, first, last) in small:
            size = _round(nbytes)
            while ends and ends[0][0] < first:
                _, was, offset = heappop(ends)
                free[was].append(offset)
            if free[size]:
                found[key] = free[size].pop()
            else:
                found[key], self.end = self.end, self.end + size
            heappush(ends, (last, size, found[key]))
        return found


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


def laid_out(order, workspace_slots, threads, sum_region):
    """A Layout: `order` with the places of scratch and of the slots in `workspace_slots`."""
    blocks, touched = {}, defaultdict(set)
    reach = defaultdict(int)
    for k, item in enumerate(order):
        for m in item.members if isinstance(item, Group) else [item]:
            for v in m.views:
                if v is not None and v.slot in workspace_slots:
                    touched[v.slot].add(k)
                    reach[v.slot] = max(reach[v.slot], v.offset + v.reach)
    plans = {}
    for k, item in enumerate(order):
        if isinstance(item, Group):
            written = set().union(*(m.writes for m in item.steps))
            private = {s for s, ks in touched.items() if ks == {k} and s in written} - {
                v.slot for m in item.sums for v in m.views[:1]}
            place, width = _locals(item, private)
            chunk = CHUNK_BYTES // max(v.itemsize for m in item.steps for v in m.views)
            chunk = max(chunk // LANES, 1) * LANES
            plans[k] = place, chunk, _round(width * chunk)
            blocks["scratch", k] = plans[k][2] * threads, k, k
        elif item.work:
            blocks["scratch", k] = item.work, k, k
    local = set().union(*(place for place, _, _ in plans.values()))
    for slot, ks in touched.items():
        if slot not in local:
            blocks["slot", slot] = reach[slot], min(ks), max(ks)
    shelf = _Shelf()
    found = shelf.place(blocks)
    items = []
    for k, item in enumerate(order):
        scratch = found.get(("scratch", k), 0)
        if not isinstance(item, Group):
            refs = [v and (v.slot, FLAT, v.offset) for v in item.views]
            items.append(([(item.launch, refs, scratch)], None))
            continue
        place, chunk, room = plans[k]
        members = []
        for m in item.members:
            refs = []
            for v in m.views:
                if v.slot in place:
                    refs.append((-1, LOCAL, place[v.slot] * chunk))
                else:
                    refs.append((v.slot, SINGLE if v.layout == SINGLE else FLAT, v.offset))
            members.append((m.launch, refs, 0))
        region = sum_region(item.n) if item.sums else chunk
        items.append((members, (item.n, chunk, region, room, scratch, len(item.sums))))
    offsets = {slot: at for (kind, slot), at in found.items() if kind == "slot"}
    return Layout(items, offsets, shelf.end, order)
