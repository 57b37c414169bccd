"""Growth: what a step and a pass cost as one number of the model or the batch grows.

Bytes and operations come from dry runs and are exact; seconds are measured, all sizes in the same
rounds.  Invariant: the law fitted to a curve says how far it is off.
"""


from ..measure import interleave
from . import families, laws, observe
from .assemble import predict
from .errors import CostError
from .observe import PHASES
from .subject import Subject, protected

WORKING = ("input", "saved", "temporary")       # what is neither the model nor its training state
QUANTITIES = (
    ("seconds_training", "s", "Time of a training step"),
    ("seconds_inference", "s", "Time of an inference pass"),
    ("peak_training", "B", "Training memory"),
    ("peak_inference", "B", "Inference memory"),
    ("working_training", "B", "Training memory beside parameters, gradients and optimizer state"),
    ("working_inference", "B", "Inference memory beside parameters"),
    ("saved", "B", "Memory that forward leaves for backward"),
    ("flops_training", "FLOP", "Arithmetic of a training step"),
    ("flops_inference", "FLOP", "Arithmetic of an inference pass"),
)


def growth(build=None, over="batch", values=None, *, seconds=1.0, family=None):
    """Cost as one axis grows: a Growth (a dict of the schema's `growth`), which prints as a table.

    build: build(n) -> (model, batch, loss[, optimizer]), or None for a family of this package;
    over: batch, depth, width or length, what n is; values: at least 3 sizes; seconds: for the
    timed rounds, 0 for as few as there can be; family: what `build` makes, in words.
    Raises CostError for a wrong axis or values, and what `cost` raises.
    """
    families.need_axis(over)
    values = _checked(families.DEFAULTS[over] if values is None else values)
    if build is None:
        def build(n):
            return families.build(over, n)
        family = family or families.TITLES[over]
    with protected():
        subjects = [Subject(*_arguments(build, n)) for n in values]
        counts = [_counts(s) for s in subjects]
        times = _seconds(subjects, seconds)
    rows = [{**c, **t} for c, t in zip(counts, times, strict=True)]
    found = [_quantity(name, unit, title, over, values, [row[name] for row in rows])
             for name, unit, title in QUANTITIES]
    return Growth({"over": over, "family": family or getattr(build, "__name__", "a model"),
                   "values": values, "quantities": found,
                   "sentences": _headlines(over, {q["name"]: q for q in found})})


class Growth(dict):
    """One growth curve as the report holds it; prints as a table and its sentences."""

    def __str__(self):
        from . import tables
        return tables.growth_text(self)

    __repr__ = __str__


def of_batch(arguments, seconds=1.0, values=None, family=None):
    """Growth over the batch of a model given as the arguments of `cost`."""
    size = Subject(*arguments).size
    return growth(lambda n: families.with_batch(arguments, n), "batch",
                  values or families.batches_around(size), seconds=seconds, family=family)


def _checked(values):
    values = list(values)
    if any(isinstance(n, bool) or not hasattr(n, "__index__") or n < 1 for n in values):
        raise CostError(f"growth: values must be whole numbers of at least 1, got {values}")
    values = sorted({int(n) for n in values})
    if len(values) < 3:
        raise CostError(f"growth: a law needs at least 3 different values, got {values}")
    return values


def _arguments(build, n):
    found = build(n)
    if not isinstance(found, (tuple, list)) or len(found) not in (3, 4):
        got = f"{len(found)} values" if isinstance(found, (tuple, list)) else type(found).__name__
        raise CostError(f"growth: build({n}) must return (model, batch, loss) or (model, batch, "
                        f"loss, optimizer), got {got}")
    return found


def _counts(subject):
    """Bytes and operations from a dry run; from a real one where the model asks for values."""
    passes, _ = predict(subject)
    if passes is None:
        subject.trainer().check()
        passes = {"inference": observe.inference(subject), "step": observe.step(subject)}
    step, inference = passes["step"], passes["inference"]
    return {"peak_training": step.peak["total"], "peak_inference": inference.peak["total"],
            "working_training": max(sum(p[c] for c in WORKING) for p in step.peaks.values()),
            "working_inference": sum(inference.peak[c] for c in WORKING),
            "saved": step.saved_bytes, "flops_training": step.flops(),
            "flops_inference": inference.flops()}


def _seconds(subjects, budget):
    parts = {}
    for k, s in enumerate(subjects):
        trainer = s.trainer()
        parts["inference", k] = s.predictor().predict
        parts.update({(phase, k): getattr(trainer, phase) for phase in PHASES})
    found = interleave(parts, budget, least=3 if budget == 0 else 7, warmup=1)
    return [{"seconds_inference": found["inference", k].median,
             "seconds_training": sum(found[p, k].median for p in PHASES)}
            for k in range(len(subjects))]


def _quantity(name, unit, title, over, n, values):
    measured = unit == "s"
    law = laws.fit(n, values, measured)
    return {"name": name, "unit": unit, "title": title, "measured": measured, "values": values,
            "law": law, "sentence": laws.sentence(title, unit, over, law)}


def _headlines(over, found):
    """One sentence each on memory, arithmetic and time."""
    training, inference = found["working_training"], found["working_inference"]
    lines = []
    if laws.grows(training["law"]) and not laws.grows(inference["law"]):
        lines.append(f"Training memory grows with {over}, inference memory beside the parameters "
                     f"does not: what forward leaves for backward adds up, while in inference "
                     f"each result is freed when the next is made.")
    lines += [found[name]["sentence"] for name in (
        "saved", "working_training", "working_inference", "flops_training", "flops_inference",
        "seconds_training", "seconds_inference")]
    return lines


