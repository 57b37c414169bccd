"""The phone table: one image classifier at five widths, what using it costs and what training did.

Quality against the cost of use: accuracy, batch-1 latency on one thread (median and 99th
percentile), bytes of the file, peak bytes of a prediction; beside them what training cost.
Invariant: the figures of use are those of the frozen model, the one that would be shipped.
"""

import json
import os
import tempfile
import textwrap
import time

import autodiff as ad
import nn

from . import machine, measure
from .cli import UsageError
from .train import fit
from .units import BYTES, FLOPS, TIMES, figure, quantity

SCHEMA = "autodiff.phone/1"
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
CHANNELS, HIDDEN = (16, 32), 64         # at width 1
EPOCHS = {"cnn": 12, "fashion": 2}      # so that the widest trains for minutes, not for hours
WORDS = """\
Energy is not measured; floating-point operations and bytes moved stand in for it, and latency on \
one thread is this machine's, not a phone's. Training runs elsewhere: on a server or a GPU, once, \
where memory for activations, gradients and optimizer state is at hand and a plug feeds it. The \
phone gets the file. It never sees a gradient; what it pays, again and again, is one forward pass: \
so only inference must be efficient there, and the width is chosen by what a prediction costs, not \
by what training did."""


def add_arguments(parser):
    """Options of `phone`."""
    parser.add_argument("--full", action="store_true",
                        help="on Fashion-MNIST (where installed) rather than the digits")
    parser.add_argument("--epochs", type=int, metavar="N",
                        help="passes over the training images (default: {cnn}, with --full "
                             "{fashion})".format(**EPOCHS))
    parser.add_argument("--repetitions", type=int, default=2000, metavar="N",
                        help="predictions timed at each width (default: 2000)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")


def run(args):
    """Train, freeze, measure, print; returns 0."""
    from .progress import Bar
    from .workloads import WORKLOADS
    if args.repetitions < 100:
        raise UsageError(f"--repetitions {args.repetitions}: a 99th percentile needs at least 100")
    name = "fashion" if args.full else "cnn"
    epochs = EPOCHS[name] if args.epochs is None else args.epochs
    if epochs < 1:
        raise UsageError(f"--epochs {epochs}: at least one pass over the training images")
    state = machine.state()
    with Bar() as bar:
        found = measure_widths(WORKLOADS[name], CHANNELS, HIDDEN, repetitions=args.repetitions,
                               progress=bar, epochs=epochs)
    report = {"schema": SCHEMA, "machine": state, "workload": name, "epochs": epochs,
              "images": len(WORKLOADS[name]().dataset()), "data": WORKLOADS[name].data_name,
              "rows": found}
    print(describe(report))
    if args.json:
        with open(args.json, "w") as f:
            json.dump(report, f, indent=1)
    return 0


def measure_widths(workload, channels, hidden, widths=WIDTHS, repetitions=2000, progress=None,
                   **options):
    """One row for each width: a list of dicts; `options` override the workload's own.

    Seconds, bytes and counts without scaling; "latency" holds p50 and p99 in seconds.
    progress: `progress(fraction done, what is going on)`.
    """
    rows, frozen = [], []
    for width in widths:
        sizes = {"channels": tuple(max(1, round(c * width)) for c in channels),
                 "hidden": max(1, round(hidden * width))}
        row, model = _train(workload(**sizes, **options), width, progress)
        rows.append({"width": width, **sizes, **row})
        frozen.append(model)
    x = next(iter(workload(**options).loader(seed=0)))[0][:1]
    threads = ad.get_num_threads()
    ad.set_num_threads(1)           # for the bytes too: a kernel's scratch grows with the threads
    try:
        for row, model in zip(rows, frozen, strict=True):
            row.update(_use(model, x))
        for row, seconds in zip(rows, _latencies(frozen, x, repetitions), strict=True):
            row["latency"] = seconds
    finally:
        ad.set_num_threads(threads)
    return rows


def _train(workload, width, progress):
    """What training cost, how good it got, and the frozen model."""
    tick = progress and (lambda step: progress(step / workload.total_steps,
                                               f"{workload.name}: training width {width:g}"))
    model, seconds, _ = fit(workload, 0, tick)
    quality = workload.evaluate(model)["accuracy"]
    baseline = {c: n for c, n in measure.live_bytes().items()}
    x, y = (t.numpy() for t in next(iter(workload.loader(seed=0))))
    own = {c: sum(p.nbytes for p in model.parameters()) if c == "parameter" else 0
           for c in baseline}
    step = measure.Step(workload, model, workload.optimizer(model), x, y)
    step.train_mode()
    step.run()              # from here on the optimizer has its state
    without = {c: baseline[c] - own[c] for c in baseline}
    peak = measure.peak_bytes(step.run, without)["total"]
    flops = sum(measure.flops(step.run).values()) * workload.total_steps
    return {"accuracy": quality, "parameters": sum(p.size for p in model.parameters()),
            "training": {"seconds": seconds, "steps": workload.total_steps, "flops": flops,
                         "peak_bytes": peak}}, nn.freeze(model)


def _use(model, x):
    """File bytes, peak bytes (parameters and input too) and operations of one prediction."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        nn.save(model, path)
        file_bytes = os.path.getsize(path)

    def predict():
        with ad.no_grad():
            return model(x)
    predict()
    before = measure.live_bytes()
    peak = measure.peak_bytes(predict, before)["total"]     # what the call adds
    parameters = sum(t.nbytes for t in model.state_dict().values())
    return {"file_bytes": file_bytes, "peak_bytes": parameters + x.nbytes + peak,
            "flops": sum(measure.flops(predict).values())}


def _latencies(models, x, repetitions):
    """[{"p50", "p99"}] in seconds: every model in turn, one image at a time."""
    seconds = [[] for _ in models]
    clock = time.perf_counter
    with ad.no_grad():
        for k in range(repetitions + 20):
            for model, times in zip(models, seconds, strict=True):
                start = clock()
                model(x)
                spent = clock() - start
                if k >= 20:                                 # the first ones warm up
                    times.append(spent)
    return [{"p50": _percentile(s, 0.50), "p99": _percentile(s, 0.99)} for s in seconds]


def _percentile(values, part):
    """The smallest value that `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(100 * part) // 100) - 1)]


def describe(report):
    """The table, the balance in one sentence, and what is not measured: text of 100 columns."""
    head = (f"{'width':>5} {'accuracy':>8} {'param':>9} | {'p50':>8} {'p99':>8} {'file':>8} "
            f"{'peak':>8} {'FLOP':>5} | {'train':>7} {'steps':>6} {'FLOP':>5} {'peak':>8}")
    epochs = report["epochs"]
    lines = [machine.describe(report["machine"]), "",
             f"{report['data']}, {report['images']:,} training images, {epochs} "
             f"epoch{'s' * (epochs != 1)}:",
             "one prediction, one thread, frozen model (middle); training it (right)", head,
             "-" * len(head)]
    for r in report["rows"]:
        t = r["training"]
        lines.append(
            f"{r['width']:5g} {100 * r['accuracy']:6.1f} % {r['parameters']:9,d} | "
            f"{_short(r['latency']['p50'], TIMES):>8} {_short(r['latency']['p99'], TIMES):>8} "
            f"{_short(r['file_bytes'], BYTES):>8} {_short(r['peak_bytes'], BYTES):>8} "
            f"{_letter(r['flops']):>5} | {_short(t['seconds'], TIMES):>7} {t['steps']:6,d} "
            f"{_letter(t['flops']):>5} {_short(t['peak_bytes'], BYTES):>8}")
    return "\n".join([*lines, "", textwrap.fill(_balance(report["rows"]), 100), "",
                      textwrap.fill(WORDS, 100)])


def _short(value, units):
    number, unit = quantity(value, units).split(" ")
    return f"{number} {unit}"


def _letter(count):
    """Operations with the unit's letter alone: '1.2M'."""
    number, unit = quantity(count, FLOPS).split(" ")
    return number + unit.removesuffix("FLOP")


def _balance(rows):
    """What the widest model buys over the narrowest, and for how much."""
    a, b = rows[0], rows[-1]
    gained = 100 * (b["accuracy"] - a["accuracy"])

    def ratio(key):
        return figure(b[key] / a[key])
    return (f"From width {a['width']:g} to {b['width']:g}: {gained:+.1f} points of accuracy for "
            f"{figure(b['latency']['p50'] / a['latency']['p50'])} times the latency, "
            f"{ratio('file_bytes')} times the file and {ratio('peak_bytes')} times the memory of a "
            f"prediction; training took {figure(b['training']['flops'] / a['training']['flops'])} "
            "times the arithmetic, once.")
