"""The lab: train a workload for real, then measure what a training step costs over inference.

Invariant: the result is plain data (see schema.py), all of it from this run; seconds, bytes and
counts without scaling.
"""

import gc
import statistics

import autodiff as ad

from . import measure
from .train import fit

STEP = ("forward", "backward", "update")


def run(workload, seeds=None, budget=2.0, progress=None):
    """Train with seeds 0, 1, ..., judge each model, then measure the first: a dict, one workload.

    seeds: number of training runs (the workload's own where None); budget: seconds for the timed
    rounds; progress: `progress(fraction done, what is going on)`.
    """
    progress = progress or (lambda fraction, what: None)
    gc.collect()
    ad.manual_seed(0)       # so that the random state is there before, and not taken as the model's
    baseline = measure.live_bytes()
    model, training = _train(workload, seeds or workload.seeds, progress)
    sample = workload.sample(model, seed=0)
    parameters = sum(p.size for p in model.parameters())
    phases = _measure(workload, model, baseline, budget,
                      lambda done: progress(done, f"{workload.name}: measuring a step"))
    training["flops"] = training["steps"] * sum(phases[p]["flops"] for p in STEP)
    return {"name": workload.name, "title": workload.title, "batch": workload.batch_size,
            "parameters": parameters, "training": training, "sample": sample,
            "phases": phases, "multiples": _multiples(phases, training)}


def _train(workload, seeds, progress):
    first, runs, curve = None, [], None
    total = workload.total_steps
    for seed in range(seeds):
        what = f"{workload.name}: training" + (f", seed {seed + 1} of {seeds}" if seeds > 1 else "")
        model, seconds, points = fit(workload, seed,
                                     lambda step, what=what: progress(step / total, what))
        runs.append({"seed": seed, "seconds": seconds, "metrics": workload.evaluate(model)})
        if first is None:
            first, curve = model, points
    metrics = {key: statistics.fmean(r["metrics"][key] for r in runs)
               for key in runs[0]["metrics"]}
    return first, {"steps": total, "seconds": statistics.median(r["seconds"] for r in runs),
                   "runs": runs, "metrics": metrics, "goal": _goal(workload, metrics),
                   "curve": curve}


def _goal(workload, metrics):
    goal = workload.goal
    if goal is None:
        return None
    return {"metric": goal.metric, "at": "least" if goal.least else "most", "value": goal.value,
            "met": bool(goal.met(metrics))}


def _measure(workload, model, baseline, budget, tick):
    """{phase: {"seconds", "peak", "flops"}} of inference, one prediction, and a step's phases."""
    x, y = (t.numpy() for t in next(iter(workload.loader(seed=0))))
    model.zero_grad()
    model.eval()
    peak = {"inference": _inference_peak(model, x, baseline),
            "prediction": _inference_peak(model, x[:1], baseline)}
    step = measure.Step(workload, model, workload.optimizer(model), x, y)
    count = {"inference": measure.flops(step.predict)["forward"],
             "prediction": measure.flops(step.predict_one)["forward"]}
    step.train_mode()
    step.run()              # from here on the optimizer has its state
    step.first = None       # held beside a training step it would count as its input
    peak.update((p, measure.peak_bytes(getattr(step, p), baseline)) for p in STEP)
    counted = measure.flops(step.run)
    count.update((p, counted.get(p, 0)) for p in STEP)
    step.first = ad.tensor(x[:1])
    timing = measure.interleave(step.parts(), budget, tick=tick)
    return {p: {"seconds": timing[p].to_dict(), "peak": peak[p], "flops": count[p]}
            for p in ("inference", *STEP, "prediction")}


def _inference_peak(model, x, baseline):
    """Peak bytes with nothing alive but the model and its input."""
    x = ad.tensor(x)

    def predict():
        with ad.no_grad():
            return model(x)
    predict()
    return measure.peak_bytes(predict, baseline)


def _multiples(phases, training):
    """Training over inference: a step over one pass on the same batch, the run over a prediction.
    """
    inference, one = phases["inference"], phases["prediction"]

    def ratio(a, b):
        return a / b if b else None
    seconds = sum(phases[p]["seconds"]["median"] for p in STEP)
    return {
        "step": {
            "seconds": ratio(seconds, inference["seconds"]["median"]),
            "peak": ratio(max(phases[p]["peak"]["total"] for p in STEP),
                          inference["peak"]["total"]),
            "flops": ratio(sum(phases[p]["flops"] for p in STEP), inference["flops"])},
        "run": {"seconds": ratio(training["seconds"], one["seconds"]["median"]),
                "flops": ratio(training["flops"], one["flops"])}}
