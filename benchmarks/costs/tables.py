"""The cost report and growth curves as text of at most 100 columns.

Invariant: a function of the report's data alone, so that a stored report prints the same again;
nothing is needed to print it but this library.
"""

import textwrap

from autodiff.text import columns

from ..machine import describe
from ..measure import CATEGORIES
from ..units import BYTES, FLOPS, TIMES, quantity, times
from .observe import PHASES

WIDTH = 100
NAME, ROWS = 17, 24         # of the tables by layer, operation, kernel and array
SHORT = {"inference": "infer", "forward": "forward", "backward": "back", "update": "update"}
LIMIT = {"compute": "comp", "bandwidth": "band", "overhead": "over", None: ""}


def text(report):
    """The whole report."""
    parts = [head(report), _titled("a training step beside inference on the same batch",
                                   phases(report)), multiples(report),
             _titled("bytes at the peak, by category", memory(report)), reconciled(report),
             _titled("kept for backward, the largest first", saved(report)),
             _titled("by layer", by_layer(report)),
             _titled("by operation of the model, its gradients included", by_op(report)),
             _titled("kernels beside what bounds them on this machine", kernels(report)),
             rates(report), *(growth_text(curve) for curve in report["growth"]),
             *map(_wrapped, report["sentences"]), *(_wrapped(f"note: {n}") for n in
                                                    report["notes"])]
    return "\n\n".join(part for part in parts if part)


def head(report):
    """What was measured, and on what."""
    m = report["model"]
    inputs = ", ".join(_described(x) for x in m["inputs"])
    lines = [f"{m['name']}: {m['parameters']:,} parameters, {quantity(m['parameter_bytes'], BYTES)}"
             f"; batch of {m['batch']}: {inputs}; loss {m['loss']}; optimizer {m['optimizer']}",
             describe(report["machine"])]
    return "\n".join(_wrapped(line) for block in lines for line in block.splitlines())


def phases(report):
    """Time, peak and operations of each pass, measured beside predicted."""
    rows = []
    found = report["phases"]
    for name in ("inference", *PHASES):
        rows.append(_phase_row(name, found[name]))
    step = {"seconds": {"median": sum(found[p]["seconds"]["median"] for p in PHASES)},
            "peak": max((found[p]["peak"] for p in PHASES), key=lambda p: p["total"]),
            "flops": sum(found[p]["flops"] for p in PHASES),
            "launches": sum(found[p]["launches"] for p in PHASES), "predicted": None}
    if all(found[p]["predicted"] for p in PHASES):
        predicted = [found[p]["predicted"] for p in PHASES]
        step["predicted"] = {"seconds": sum(p["seconds"] for p in predicted),
                             "peak": max((p["peak"] for p in predicted),
                                         key=lambda p: p["total"]),
                             "flops": sum(p["flops"] for p in predicted)}
    rows.append(_phase_row("training step", step))
    many, guess = report["multiples"]["step"], report["multiples"]["predicted"] or {}
    rows.append(["÷ inference", times(many["seconds"]), times(guess.get("seconds")), "",
                 times(many["peak"]), times(guess.get("peak")), times(many["flops"]),
                 times(guess.get("flops")), ""])
    if found["prediction"]:
        rows.append(_phase_row("one prediction", found["prediction"]))
    return columns(("", "time", "bound", "IQR %", "peak", "predicted", "operations", "predicted",
                    "launches"), rows)


def _phase_row(name, phase):
    seconds, guess = phase["seconds"], phase["predicted"] or {}
    spread = (f"{100 * (seconds['q3'] - seconds['q1']) / seconds['median']:.0f}"
              if "q1" in seconds and seconds["median"] else "")
    return [name, _time(seconds["median"]), _time(guess.get("seconds")), spread,
            quantity(phase["peak"]["total"], BYTES), _bytes(guess.get("peak", {}).get("total")),
            _flops(phase["flops"]), _flops(guess.get("flops")), phase["launches"]]


def multiples(report):
    """The whole training run beside one prediction."""
    run, steps = report["multiples"]["run"], report["model"]["steps"]
    if run is None:
        return None
    return _wrapped(f"The training run of {steps:,} steps ÷ one prediction: time "
                    f"{times(run['seconds'])}, operations {times(run['flops'])}, peak bytes "
                    f"{times(run['peak'])}.")


def memory(report):
    """Bytes by category at the peak of a step and of a pass."""
    training, inference = (report["ledger"][k] for k in ("training", "inference"))
    rows = [(c, _bytes(training["peak"][c]), _bytes(inference["peak"][c])) for c in CATEGORIES
            if training["peak"][c] or inference["peak"][c]]
    rows.append(("total", *(quantity(x["peak"]["total"], BYTES) for x in (training, inference))))
    rows.append(("pool slack", *(_bytes(x["slack"]) for x in (training, inference))))
    table = columns(("category", "training", "inference"), rows)
    at = f"peak of training {_place(training)}; of inference {_place(inference)}"
    return f"{table}\n{_wrapped(at)}"


def _place(ledger):
    at = ledger["at"]
    layer = f" in {at['layer']}" if at["layer"] else ""
    return f"at launch {at['launch'] + 1} of {ledger['launches']}, {at['op']}{layer}"


def reconciled(report):
    """Tracked bytes beside the resident size of the process."""
    r = report["ledger"]["reconciled"]
    if r is None:
        return None
    line = (f"The process: resident {_bytes(r['resident'])} = live {_bytes(r['live'])} + slack "
            f"{_bytes(r['slack'])} + held by the pool {_bytes(r['held'])} + the rest "
            f"{_bytes(r['residual'])} (Python, libraries, arrays of NumPy).")
    if r["resident_growth"] is not None:
        line += (f" While the passes ran it grew by {_bytes(r['resident_growth'])}; tracked peak "
                 f"{_bytes(r['tracked_peak'])}, residual {_bytes(r['growth_residual'])} (the pool "
                 "takes 2 MiB at a time, and reuses what it has).")
    return _wrapped(line)


def saved(report):
    """Arrays that backward needs, and when each is freed."""
    arrays = report["saved"]["arrays"]
    rows = []
    for a in arrays[:ROWS]:
        line = (a["line"] or "-").rpartition("/")[2]
        freed = a["freed_by"]
        shape = "x".join(map(str, a["shape"])) or "()"
        rows.append((quantity(a["bytes"], BYTES), _short(shape, 13), a["category"],
                     _short(f"{a['op']}.{a['name']}", 19), _short(a["layer"] or "-", 17),
                     _short(line, 16), f"{freed['turn']}/{freed['of']}"))
    if not rows:
        return None
    table = columns(("bytes", "shape", "counts as", "saved by", "layer", "line", "freed"), rows,
                    left=7)
    more = f"{len(arrays) - ROWS} more; " if len(arrays) > ROWS else ""
    guess = report["saved"]["predicted_bytes"]
    return (f"{table}\n{more}{report['saved']['bytes']:,} bytes in category saved, predicted "
            f"{'-' if guess is None else f'{guess:,}'}; freed: at which step of backward")


def by_layer(report):
    """A row for each module with operations of its own."""
    rows = [(_short(r["path"] or "(model)", NAME), r,
             (times(r["multiples"]["peak"]), _bytes(r["saved"]))) for r in report["layers"]]
    return _costs("layer", rows, ("x peak", "saved"))


def by_op(report):
    """A row for each operation that the model called."""
    return _costs("operation", [(_short(r["op"], NAME), r, ()) for r in report["ops"]], ())


def _costs(title, rows, more):
    """Time by phase, the multiples of time and operations, and how near a step is to its limit."""
    def weight(row):
        sums = [row[1][p] for p in ("inference", *PHASES)]
        return sum(s["seconds"] or s["bound_seconds"] for s in sums)
    heavy = sorted(map(weight, rows), reverse=True)[:ROWS]
    cells = []
    for row in rows:
        if weight(row) < heavy[-1]:
            continue
        name, r, extra = row
        phases_ = [r[p] for p in PHASES if r[p]["launches"]]
        seconds = sum(s["seconds"] or 0.0 for s in phases_)
        bound = sum(s["bound_seconds"] for s in phases_)
        limit = max(phases_, key=lambda s: s["bound_seconds"])["bound"] if phases_ else None
        cells.append((name, *(_time(r[p]["seconds"]) if r[p]["launches"] else "" for p in SHORT),
                      times(r["multiples"]["seconds"]), times(r["multiples"]["flops"]), *extra,
                      _share(bound / seconds if seconds else None, LIMIT[limit])))
    table = columns((title, *SHORT.values(), "x time", "x ops", *more, "% limit"), cells)
    left_out = len(rows) - len(cells)
    return table + (f"\n{left_out} more, each of less time" if left_out else "")


def kernels(report):
    """Every kernel launched, by phase: what bounds it, and how near it comes."""
    rows = [(_short(r["op"], 21), r["phase"], r["launches"], _time(r["seconds"]),
             _time(r["bound_seconds"]), _share(r["share"], LIMIT[r["bound"]]), _flops(r["flops"]),
             _bytes(r["moved"]), _rate(r["flops"], r["seconds"]), _rate(r["moved"], r["seconds"]))
            for r in report["roofline"][:ROWS]]
    return columns(("kernel", "phase", "calls", "time", "bound", "% limit", "ops", "moved",
                    "GFLOP/s", "GB/s"), rows, left=2)


def rates(report):
    """What the machine measured of itself."""
    r = report["rates"]
    small, large = r["stream"][2], r["stream"][-1]
    overhead = ", ".join(f"{1e6 * r['overhead'][p]:.2f} {p}" for p in ("inference", "forward",
                                                                      "backward"))
    blas = report["machine"]["blas_kernel"]
    return _wrapped(
        f"This machine, {r['threads']} threads{f', BLAS kernel {blas}' if blas else ''}: products "
        f"{r['product']['float32'] / 1e9:.0f} GFLOP/s in float32, "
        f"{r['product']['float64'] / 1e9:.0f} in float64; copies {small[1] / 1e9:.0f} GB/s at "
        f"{quantity(small[0], BYTES)}, {large[1] / 1e9:.0f} at {quantity(large[0], BYTES)}; first "
        f"touch of memory {r['fault'] / 1e9:.1f} GB/s ({report['faults']} pages in a warm step); a "
        f"launch on one number {overhead} µs. Bound of a launch: its overhead + the larger of "
        f"operations / product rate and bytes / copy rate. Times here are those of kernels, with "
        f"that overhead for each launch; limits: comp(ute), band(width), over(head). No "
        f"arithmetic declared: "
        f"{', '.join(report['undeclared']) or 'none'}.")


def growth_text(curve):
    """One growth curve: a row for each size, then the laws."""
    by = {q["name"]: q for q in curve["quantities"]}
    shown = (("seconds_inference", "infer"), ("seconds_training", "step"),
             ("peak_inference", "infer peak"), ("peak_training", "step peak"), ("saved", "saved"),
             ("flops_inference", "infer ops"), ("flops_training", "step ops"))
    form = {"s": _time, "B": _bytes, "FLOP": _flops}
    rows = [(n, *(form[by[name]["unit"]](by[name]["values"][k]) for name, _ in shown))
            for k, n in enumerate(curve["values"])]
    slopes = [by[name]["law"] for name, _ in shown]
    rows.append(("n^", *("-" if law is None else f"{law['exponent']:.2f}" for law in slopes)))
    table = columns((curve["over"], *(title for _, title in shown)), rows)
    laws = "\n".join(_wrapped(s, "  ") for s in curve["sentences"])
    return f"{_wrapped('growth over ' + curve['over'] + ': ' + curve['family'])}\n{table}\n{laws}"


# Cells ----------------------------------------------------------------------------------------

def _titled(title, table):
    return f"{title}\n{table}" if table else None


def _wrapped(line, indent=""):
    return textwrap.fill(line, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ",
                         break_long_words=True, break_on_hyphens=False)


def _time(seconds):
    if seconds is None:
        return "-"
    return f"{1e6 * seconds:.2f} µs" if seconds < 1e-6 else quantity(seconds, TIMES)


def _bytes(n):
    if n is None:
        return "-"
    return f"-{quantity(-n, BYTES)}" if n < 0 else quantity(n, BYTES)


def _flops(n):
    return "-" if n is None else quantity(n, FLOPS).replace("FLOP", "").strip()


def _rate(n, seconds):
    return f"{n / seconds / 1e9:.1f}" if seconds else "-"


def _share(share, limit):
    return f"{'-' if share is None else f'{100 * share:.0f}'} {limit}".rstrip()


def _short(name, most):
    """The name, its middle left out where it is longer than `most`."""
    if len(name) <= most:
        return name
    keep = most - 2
    return f"{name[:keep // 2]}..{name[len(name) - (keep - keep // 2):]}"


def _described(x):
    if "value" in x:
        return x["value"]
    return f"{x['dtype']}[{', '.join(map(str, x['shape']))}]"
