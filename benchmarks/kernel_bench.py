"""Each kernel beside its NumPy twin and beside what the machine can do, forward and backward.

Every operation of the registry is called, and differentiated, on arguments that fill a level of
the memory; each launch heard on the way is run again alone.  Its time is set beside its twin's
(kernels/reference) and the least that its operations and bytes take at the machine's own rates.
"""

import json
import re
import time
from pathlib import Path

import numpy as np

import autodiff as ad
from autodiff.samples import Draw

from .cli import UsageError
from .kernel_sizes import arguments

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL = {"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}
MOST_L3, MEMORY = 16 << 20, 128 << 20       # a shared cache is not ours alone; beyond every cache
COLUMNS = ("operation", "phase", "level", "shapes", "µs", "GFLOP/s", "GB/s", "% of limit", "twin ÷")


def add_arguments(parser):
    """Options of `kernels`."""
    parser.add_argument("--only", action="append", metavar="OPERATION",
                        help="only this operation (may be given more than once)")
    parser.add_argument("--levels", default="L1,L2,L3,memory", metavar="A,B",
                        help="working sets: L1,L2,L3,memory")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="(default: 2)")
    parser.add_argument("--seconds", type=float, default=0.02, metavar="S",
                        help="for the repetitions of one kernel at one level (default: 0.02)")
    parser.add_argument("--no-twins", dest="twins", action="store_false",
                        help="leave the NumPy twins out")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")


def run(args):
    """Measure and print."""
    from . import machine
    from .costs import roofline
    if ad.core.name != "compiled":
        raise UsageError("the plain core has no kernels of its own: unset AUTODIFF_CORE")
    for name in args.only or ():
        if name not in ad.registry:
            raise UsageError(f"--only {name}: no such operation")
    sizes = levels()
    for level in args.levels.split(","):
        if level not in sizes:
            raise UsageError(f"--levels {level}: there are {', '.join(sizes)}")
    ad.set_num_threads(args.threads)
    state, rates = machine.state(), roofline.rates()
    print(machine.describe(state))
    print(f"products {rates['product']['float32'] / 1e9:.0f} GFLOP/s, stream "
          + ", ".join(f"{r / 1e9:.0f} GB/s at {_size(n)}" for n, r in rates["stream"]) + "\n")
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    rows, unknown = [], []
    for level in args.levels.split(","):
        found, unknown = measure(sizes[level], args.only, args.seconds, args.twins)
        for row in found:
            row["level"], row["bytes"] = level, sizes[level]
            row["limit"] = limit(rates, row)
            print("| " + " | ".join(cells(row)) + " |", flush=True)
        rows += found
    if unknown:
        print(f"\nno arguments known for: {', '.join(unknown)}")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": state, "rates": rates, "rows": rows}, f, indent=1)
    return 0


def levels():
    """{level: bytes of a working set that fits it}: half of each cache, and memory."""
    found = dict(USUAL)
    for index in CACHES.glob("index*") if CACHES.exists() else ():
        if (index / "type").read_text().strip() != "Instruction":
            number, unit = re.match(r"(\d+)(K|M)", (index / "size").read_text()).groups()
            found["L" + (index / "level").read_text().strip()] = \
                int(number) << {"K": 10, "M": 20}[unit]
    half = {level: size // 2 for level, size in found.items() if level in USUAL}
    return {**half, "L3": min(half["L3"], MOST_L3), "memory": MEMORY}


def measure(nbytes, only=None, seconds=0.02, twins=True):
    """(rows, names without arguments): every kernel of the registry at a working set of `nbytes`.

    Operations that another one launches in its backward pass are measured there.
    """
    rows, unknown, seen = [], [], set()
    blocks = [b for b in ad.registry.values() if b.kernel]
    for block in sorted(blocks, key=lambda b: not b.differentiable):
        if only and block.name not in only or block.name in seen:
            continue
        launches = heard(block, nbytes)
        if launches is None:
            unknown.append(block.name)
            continue
        for k, (event, flops, moved) in enumerate(launches):
            if k and (event.op.name in seen or event.op is block):
                continue
            seen.add(event.op.name)
            rows.append({"operation": event.op.name, "phase": event.phase, "of": block.name,
                         "shapes": [list(t.shape) for t in event.inputs if t is not None],
                         "flops": flops, "moved": moved,
                         "dtype": next((str(t.dtype) for t in event.outputs), "float32"),
                         "seconds": least(event.launch.replay, seconds),
                         "twin": least(twin(event), seconds) if twins else None})
    return rows, unknown


def heard(block, nbytes):
    """[(event, flops, bytes)] of the launches of one call and its backward.

    None where no arguments are known, or those that are do not fit each other.
    """
    found = arguments(block, Draw(0, np.float32), nbytes)
    if found is None:
        return None
    args, attributes = found
    writes = block.into is not None or block.writes
    args = [_tensor(a, block.differentiable and not writes) for a in args]
    events = []
    with ad.profile.profile() as p:
        ad.core.listen(events.append)
        try:
            out = block.call(*args, **attributes)
            _backward(out)
        except ad.AutodiffError:
            return None
        finally:
            ad.core.unlisten(events.append)
    return [(event, e.flops, e.nbytes) for event, e in zip(events, p.events, strict=True)]


def _backward(out):
    """Backward from the first output that has a gradient; its seed is written unheard."""
    for t in out if isinstance(out, (tuple, list)) else (out,):
        if getattr(t, "node", None) is not None:
            t.backward(ad.from_numpy(np.ones(t.shape, t.dtype)))
            return


def _tensor(a, differentiable):
    if isinstance(a, list):
        return [_tensor(x, differentiable) for x in a]
    if isinstance(a, np.ndarray):
        return ad.tensor(a, requires_grad=differentiable and a.dtype.kind == "f")
    return a


def twin(event):
    """The NumPy twin on the arrays of a launch, ready to run."""
    import kernels.reference
    arrays = [None if t is None else t.numpy().copy() for t in event.inputs]
    function = getattr(kernels.reference, event.op.kernel)

    def call():
        with np.errstate(all="ignore"):
            return function(*arrays, *event.plan.ia, *event.plan.fa)
    return call


def least(function, seconds):
    """Median seconds of a call, repeated for `seconds`, after a first one that is not counted."""
    function()
    found, clock = [], time.perf_counter
    end = clock() + seconds
    while not found or clock() < end:
        start = clock()
        function()
        found.append(clock() - start)
    return float(np.median(found))


def limit(rates, row):
    """Least seconds of a row: its operations or its bytes at the machine's rates."""
    from .costs import roofline
    product = rates["product"].get(row["dtype"], rates["product"]["float32"])
    return max(row["flops"] / product, row["moved"] / roofline.stream_rate(rates, row["moved"]))


def cells(row):
    """A row of the table as text."""
    s = row["seconds"]
    shapes = " ".join("x".join(map(str, shape)) or "()" for shape in row["shapes"][:3])
    return (row["operation"], row["phase"], row["level"], shapes, f"{s * 1e6:.3g}",
            f"{row['flops'] / s / 1e9:.3g}", f"{row['moved'] / s / 1e9:.3g}",
            f"{100 * row['limit'] / s:.0f}", f"{row['twin'] / s:.1f}" if row["twin"] else "-")


def _size(n):
    return f"{n >> 20} MiB" if n >> 20 else f"{n >> 10} KiB"
