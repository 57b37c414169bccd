"""The report as Markdown, which reads as well in a terminal.

Invariant: every figure is a function of the report's data, so a stored report prints the same.
"""

from ..costs import roofline
from ..machine import describe
from .engines import ENGINES
from .rows import INFER, MODES, ROWS, TRAIN

OURS = [name for name, engine in ENGINES.items() if engine.ours]
NAMES = {INFER: "inference", TRAIN: "a training step"}
COUNTED, RESIDENT = "counted", "resident"       # a peer's peak is set beside ours of the same kind


def markdown(report):
    """A table of all workloads for each mode, then one of each workload."""
    rows = report["rows"]
    parts = [f"**{name}**\n\n{_overview(rows, mode)}" for mode, name in NAMES.items()]
    parts += [_details(name, row) for name, row in rows.items()]
    parts.append(_machine(rows))
    return "\n\n".join(parts)


def _fastest(row, mode, ours):
    """(engine, median seconds) of the fastest engine of ours, or of the others; None for none."""
    found = [(n, e[mode]["median"]) for n, e in row["engines"].items()
             if (n in OURS) is ours and mode in e]
    return min(found, key=lambda pair: pair[1]) if found else None


def best_peer(row, mode):
    """(engine, median seconds) of the fastest other engine, or None."""
    return _fastest(row, mode, False)


def ratios(row, mode):
    """{engine of ours: best peer's time over its}: above 1 it is ahead."""
    peer = best_peer(row, mode)
    return {name: peer[1] / row["engines"][name][mode]["median"] for name in OURS
            if peer and mode in row["engines"].get(name, {})}


def memory_pairs(row, mode):
    """[(peer, kind, its bytes, bytes of our fastest)] for each peer whose memory is known."""
    best = _fastest(row, mode, True)
    ours = row["engines"][best[0]].get("memory", {}).get(mode) or {} if best else {}
    pairs = []
    for name, engine in row["engines"].items():
        theirs = engine.get("memory", {}).get(mode) or {}
        kind = COUNTED if COUNTED in theirs else RESIDENT
        if name not in OURS and theirs.get(kind) is not None and kind in ours:
            pairs.append((name, kind, theirs[kind], ours[kind]))
    return pairs


def limit(name, rows, mode):
    """Seconds that the products or the streamed bytes alone take; None where calls are the bound.

    At the best rates that the machine showed while the report was made: a bound is not noise.
    """
    if ROWS[name].bound is None:
        return None
    flops, moved = ROWS[name].work(mode)
    rates = [row["rates"] for row in rows.values()]
    return max(flops / max(r["product"]["float32"] for r in rates),
               moved / max(roofline.stream_rate(r, moved) for r in rates))


def _overview(rows, mode):
    ours = [name for name in OURS if any(mode in row["engines"].get(name, {})
                                         for row in rows.values())]
    titles = " / ".join(ENGINES[name].title.removeprefix("autodiff").strip() or "eager"
                        for name in ours)
    head = ["workload", f"ours ms: {titles}", "best peer ms", "ahead", "limit ms", "best ÷ limit",
            "peak MB, counted: ours / JAX", "resident: ours / PyTorch"]
    lines = []
    for name, row in rows.items():
        best, peer = _fastest(row, mode, True), best_peer(row, mode)
        bound, ahead = limit(name, rows, mode), ratios(row, mode)
        pairs = {pair[0]: pair for pair in memory_pairs(row, mode)}
        medians = [row["engines"].get(n, {}).get(mode) for n in ours]
        lines.append([
            name, " / ".join(_ms(m and m["median"]) for m in medians),
            f"{_ms(peer[1])} {ENGINES[peer[0]].title}" if peer else "-",
            " / ".join(f"{ahead[n]:.2f}x" if n in ahead else "-" for n in ours), _ms(bound),
            f"{best[1] / bound:.2f}" if bound and best else "-",
            *(f"{_mb(pairs[p][3])} / {_mb(pairs[p][2])}" if p in pairs else "-"
              for p in ("jax", "eager"))])
    return _table(head, lines)


def _details(name, row):
    head = ["engine", "inference ms", "quartiles", "÷ ours", "training ms", "quartiles", "÷ ours",
            "first result s", "page faults", "waited %", "peak MB"]
    lines = []
    ours = row["engines"].get(OURS[0], {})
    for key, engine in row["engines"].items():
        cells = [f"{ENGINES[key].title} {engine['version']}"]
        for mode in MODES:
            t = engine.get(mode)
            cells += [_ms(t["median"]), f"{_ms(t['q1'])} - {_ms(t['q3'])}",
                      f"{t['median'] / ours[mode]['median']:.2f}" if mode in ours else "-"] \
                if t else ["-", "", ""]
        first, steady = engine["first"], engine.get(TRAIN) or engine.get(INFER)
        cells += [f"{first['seconds']:.2f}" + ("" if first["mode"] == TRAIN else " (inference)"),
                  f"{steady['faults']:.3g}" if steady else "-",
                  ", ".join(f"{100 * engine[m]['waited']:.0f}" for m in MODES if m in engine),
                  "; ".join(_peaks(engine, kind) for kind in (COUNTED, RESIDENT)
                            if _peaks(engine, kind)) or "-"]
        lines.append(cells)
    text = f"**{name}**: {ROWS[name].title}\n\n{_table(head, lines)}"
    if row["missing"]:
        text += f"\n\nNot installed: {', '.join(row['missing'])}."
    return "\n\n".join([text, *row["notes"]])


def _peaks(engine, kind):
    """'counted 3.1, 9.5': of inference and of training."""
    found = [m[kind] for m in engine.get("memory", {}).values() if m and m.get(kind) is not None]
    return f"{kind} {', '.join(map(_mb, found))}" if found else ""


def _machine(rows):
    """Machine and limits once for each run that the report holds."""
    said = []
    for name, row in rows.items():
        m, rates = row["machine"], row["rates"]
        product, stream = rates["product"]["float32"], rates["stream"][-1][1]
        text = (f"{row['created']}, {name}: load {m['load']} before, {row['load_after']} after; "
                f"{row['threads']} threads{', a busy process beside' * row.get('loaded', False)}; "
                f"products {product / 1e9:.0f} GFLOP/s, stream "
                f"{stream / 1e9:.1f} GB/s; governor {m['governor'] or 'not readable'}; "
                f"took {row['took']:.0f} s")
        said.append(text)
    return describe(m) + "\n\n" + "\n".join(said) if said else ""


def _ms(seconds):
    return "-" if seconds is None else f"{seconds * 1e3:.3g}" if seconds < 1 else \
        f"{seconds * 1e3:.0f}"


def _mb(size):
    return f"{size / 1e6:.3g}"


def _table(head, lines):
    widths = [max(len(str(line[k])) for line in [head, *lines]) for k in range(len(head))]

    def row(cells):
        return "| " + " | ".join(str(c).ljust(w) for c, w in zip(cells, widths)) + " |"
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([row(head), rule, *map(row, lines)])
