"""A subject is observed dry and for real, timed, and put together as the report's plain data.

Invariant: what is predicted comes from the dry run alone, what is measured from the run alone; the
two meet in the report and nowhere before.
"""

import datetime
import time

import autodiff as ad

from .. import machine, process
from . import events, observe, roofline, schema, sentences, timing
from .accounts import COLUMNS, Accounts, multiples, peaks, ratio
from .observe import PHASES
from .subject import Subject, protected

NOTHING = {"inference": None, "step": None}         # seconds of launches that were not timed


def report(model, batch, loss, optimizer=None, *, name=None, steps=None, seconds=2.0, tick=None):
    """The cost report of a model as a dict; see schema.py for the fields, `cost` for the arguments.
    """
    start = time.perf_counter()
    subject = Subject(model, batch, loss, optimizer)
    with protected():
        predicted, why = predict(subject)
        if predicted is None:
            subject.trainer().check()
        reconciled, measured = _measured(subject)
        rates = roofline.rates()
        times = timing.measure(subject, measured["inference"], seconds, tick)
        whole = with_input_gradient(subject, predicted)
    found = {
        "schema": schema.NAME,
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": machine.state(), "rates": rates,
        "model": _model(subject, name, steps), **_costs(predicted, measured, times, rates),
        "ledger": {"training": events.ledger(measured["step"], times),
                   "inference": events.ledger(measured["inference"], times),
                   "reconciled": reconciled},
        "saved": {"bytes": measured["step"].saved_bytes,
                  "predicted_bytes": predicted and predicted["step"].saved_bytes,
                  "arrays": measured["step"].saved},
        "undeclared": sorted({*measured["step"].undeclared, *measured["inference"].undeclared}),
        "growth": [], "notes": [] if why is None else [why]}
    found["multiples"] = _multiples(found, steps)
    found["first_layer"] = _first_layer(measured, whole)
    found["sentences"] = sentences.of(found)
    found["seconds"] = time.perf_counter() - start
    return found


def predict(subject):
    """(passes, None) of a dry run, or (None, why the model cannot be run dry)."""
    try:
        with ad.dry_run():
            subject.trainer().check()
            return _passes(subject), None
    except ad.DryRunError as error:
        return None, f"nothing is predicted: the model asks for values ({error})"


def with_input_gradient(subject, predicted):
    """A step in which the inputs want a gradient too, seen in a dry run; None where none can."""
    if predicted is None or not any(getattr(getattr(x, "dtype", None), "kind", "") == "f"
                                    for x in subject.inputs):
        return None
    with ad.dry_run():
        return observe.step(subject, input_gradient=True)


def _passes(subject):
    found = {"inference": observe.inference(subject), "step": observe.step(subject)}
    if timing.prediction(subject) is not None:
        found["prediction"] = observe.inference(subject, subject.one())
    return found


def _measured(subject):
    """The passes for real, and the tracked bytes beside the growth of the process."""
    ad.memory.trim()
    before, exact = process.resident(), process.reset_high_water()
    passes = _passes(subject)
    high, total = process.high_water(), passes["step"].peak["total"]
    try:
        at_end = ad.memory.reconcile()
    except OSError:
        return None, passes
    growth = None if before is None or not exact else high - before
    return {"resident": at_end.resident_bytes, "live": at_end.live_bytes,
            "slack": at_end.slack_bytes, "held": at_end.held_bytes,
            "residual": at_end.residual_bytes, "tracked_peak": total, "resident_growth": growth,
            "growth_residual": None if growth is None else growth - total}, passes


def _model(subject, name, steps):
    trained = [p for p in subject.parameters if p.requires_grad]
    return {"name": name or type(subject.model).__name__, "kind": type(subject.model).__name__,
            "parameters": sum(p.size for p in subject.parameters),
            "trained": sum(p.size for p in trained),
            "parameter_bytes": sum(p.nbytes for p in subject.parameters),
            "batch": subject.size, "inputs": [_described(x) for x in subject.inputs],
            "target": [_described(y) for y in subject.target], "loss": subject.loss_name(),
            "optimizer": subject.optimizer_name(), "steps": steps, "layers": _kinds(subject.model)}


def _described(x):
    if hasattr(x, "shape"):
        return {"shape": list(x.shape), "dtype": str(x.dtype)}
    return {"value": repr(x)}


def _kinds(model):
    """[[path, class, own parameters]] of the modules, in the order of the tree."""
    if not hasattr(model, "named_modules"):
        return [["", type(model).__name__, sum(p.size for p in model.parameters())]]
    return [[path, type(m).__name__, sum(p.size for p in m.parameters(recurse=False))]
            for path, m in model.named_modules()]


# Tables ---------------------------------------------------------------------------------------

def _costs(predicted, measured, times, rates):
    """phases, layers, ops and roofline."""
    seen = Accounts(measured["inference"], measured["step"], times["launches"], rates)
    foreseen = predicted and Accounts(predicted["inference"], predicted["step"], NOTHING, rates)
    phases = {column: _phase(column, measured, times, seen.total(column),
                             foreseen and (predicted, foreseen.total(column)))
              for column in COLUMNS}
    phases["prediction"] = None
    if "prediction" in times["passes"]:
        def alone(found):
            return Accounts(found["prediction"], None, NOTHING, rates).total("inference")
        phases["prediction"] = _phase("prediction", measured, times, alone(measured),
                                      foreseen and (predicted, alone(predicted)))
    saved = {}
    for a in measured["step"].saved:
        if a["category"] == "saved":
            saved[a["layer"]] = saved.get(a["layer"], 0) + a["bytes"]
    layers = []
    for path, row in seen.by(lambda e: e.layer).items():
        inference, training = peaks(measured["inference"], measured["step"], path)
        layers.append({"path": path, "saved": saved.get(path, 0), "peak_inference": inference,
                       "peak_training": training, **row,
                       "multiples": {**multiples(row), "peak": ratio(training, inference)}})
    ops = [{"op": op, **row, "multiples": multiples(row)}
           for op, row in seen.by(lambda e: e.origin).items()]
    return {"phases": phases, "layers": layers, "ops": ops, "roofline": seen.roofline(),
            "faults": times["faults"], "yardstick": times["passes"]["yardstick"].to_dict()}


def _phase(name, measured, times, sums, foreseen):
    column = name if name in PHASES else "inference"
    seen = measured["step"] if name in PHASES else measured[name]
    found = {"seconds": times["passes"][name].to_dict(), "peak": seen.peaks[column],
             "flops": sums["flops"], "launches": sums["launches"], "moved": sums["moved"],
             "kernels": _kernels(name, measured, times), "bound": sums["bound"],
             "predicted": None}
    if foreseen:
        predicted, bound = foreseen
        source = predicted["step"] if name in PHASES else predicted[name]
        found["predicted"] = {"seconds": bound["bound_seconds"], "peak": source.peaks[column],
                              "flops": bound["flops"], "launches": bound["launches"]}
    return found


def _kernels(name, measured, times):
    """Seconds inside kernels in a phase; None where the launches were not timed."""
    if name == "prediction":
        return None
    which = "step" if name in PHASES else name
    seconds = times["launches"][which]
    launches = measured[which].launches
    if seconds is None or len(seconds) != len(launches):
        return None
    return sum(t for e, t in zip(launches, seconds, strict=True)
               if name not in PHASES or e.phase == name
               or (name == "backward" and e.phase == "recompute"))


def _multiples(found, steps):
    """Training over inference, measured and predicted; the run over one prediction."""
    phases = found["phases"]

    def step(pick):
        values = [pick(phases[p]) for p in PHASES]
        return None if None in values else values

    def all_of(seconds, peak, flops):
        one = phases["inference"]
        return {"seconds": ratio(sum(step(seconds)), seconds(one)),
                "peak": ratio(max(step(peak)), peak(one)),
                "flops": ratio(sum(step(flops)), flops(one))}

    result = {"step": all_of(lambda p: p["seconds"]["median"], lambda p: p["peak"]["total"],
                             lambda p: p["flops"]), "predicted": None, "run": None}
    for name in PHASES:
        result[name] = {
            "seconds": ratio(phases[name]["seconds"]["median"],
                             phases["inference"]["seconds"]["median"]),
            "flops": ratio(phases[name]["flops"], phases["inference"]["flops"])}
    if phases["inference"]["predicted"]:
        result["predicted"] = all_of(lambda p: p["predicted"]["seconds"],
                                     lambda p: p["predicted"]["peak"]["total"],
                                     lambda p: p["predicted"]["flops"])
    one = phases["prediction"]
    if steps is not None and one is not None:
        result["run"] = {
            "seconds": ratio(steps * sum(step(lambda p: p["seconds"]["median"])),
                             one["seconds"]["median"]),
            "peak": ratio(max(step(lambda p: p["peak"]["total"])), one["peak"]["total"]),
            "flops": ratio(steps * sum(step(lambda p: p["flops"])), one["flops"])}
    return result


def _first_layer(measured, whole):
    """What leaving out the gradient of the inputs saves: operations, and in which layers."""
    if whole is None:
        return None
    step, inference = measured["step"], measured["inference"].flops()

    def by_layer(seen):
        found = {}
        for e in seen.launches:
            if e.phase == "backward":
                found[e.layer] = found.get(e.layer, 0) + e.flops
        return found
    less, more = by_layer(step), by_layer(whole)
    return {"flops": whole.flops() - step.flops(),
            "layers": {path: n - less.get(path, 0) for path, n in more.items()
                       if n != less.get(path, 0)},
            "multiple": ratio(step.flops(), inference),
            "multiple_with": ratio(whole.flops(), inference)}
