"""The report file `bench.json`: its version, its fields, and a check of them.

Invariant: a field is removed or changes its meaning only with a higher VERSION; fields may be
added.  Times are seconds, sizes bytes, counts numbers.  `docs()` prints this as a list.
"""

NAME, VERSION = "autodiff-bench", 1

_PEAK = {c: (int, f"bytes of category {c} at that moment") for c in (
    "parameter", "buffer", "optimizer state", "gradient", "input", "saved", "temporary")}
_TIMING = {"median": (float, "median of the rounds"), "q1": (float, "first quartile"),
           "q3": (float, "third quartile"), "rounds": (int, "number of rounds")}
_PHASE = {"seconds": (_TIMING, "time of one pass"),
          "peak": ({"total": (int, "most tracked bytes alive at one moment"), **_PEAK},
                   "memory of one pass"),
          "flops": (int, "floating-point operations, counted from shapes")}
_NUMBER = (float, int, type(None))

_WORKLOAD = {
    "name": (str, "as on the command line"),
    "title": (str, "model and data"),
    "batch": (int, "samples in a training step and in `inference`"),
    "parameters": (int, "trained numbers"),
    "sample": ((str, type(None)), "generated text of language models"),
    "training": ({
        "steps": (int, "steps of one run"),
        "seconds": (float, "time of one run (median of the runs), data loading included"),
        "flops": (int, "operations of one run: steps x those of a step"),
        "runs": (list, "of each seed: seed, seconds, metrics"),
        "metrics": (dict, "metric: mean over the runs, on data not trained on"),
        "goal": ((dict, type(None)), "metric, at (least or most), value, met"),
        "curve": (list, "[step, mean training loss since the last point] of the first run"),
    }, "training for real"),
    "phases": ({
        "inference": (_PHASE, "the model under no_grad in eval mode, on one batch"),
        "forward": (_PHASE, "model and loss under recording, on the same batch"),
        "backward": (_PHASE, "the reverse sweep"),
        "update": (_PHASE, "the optimizer's step, gradients dropped"),
        "prediction": (_PHASE, "inference on one sample"),
    }, "cost of a step's parts"),
    "multiples": ({
        "step": ({"seconds": (_NUMBER, "sum of the phases' medians / inference"),
                  "peak": (_NUMBER, "highest phase / inference"),
                  "flops": (_NUMBER, "sum of the phases / inference")}, "per step"),
        "run": ({"seconds": (_NUMBER, "the whole training run / one prediction"),
                 "flops": (_NUMBER, "the same in operations")}, "per run"),
    }, "training / inference"),
}

FIELDS = {
    "schema": (str, f"always {NAME!r}"),
    "version": (int, f"of this schema: {VERSION}"),
    "created": (str, "when, ISO 8601 with time zone"),
    "seconds": (float, "how long the whole job took"),
    "machine": (dict, "processor, cpus, threads, BLAS kernel, versions, load; see machine.py"),
    "load_after": (_NUMBER, "load average at the end"),
    "options": (dict, "full, seeds, only"),
    "workloads": ([_WORKLOAD], "one of each that ran"),
    "skipped": (list, "[name, why] of each that could not run"),
    "chain": ((dict, type(None)), "1,000 x h * w + b on 0-d tensors; see chain.py"),
    "resident": ((dict, type(None)), "tracked peak against resident growth; see resident.py"),
}


class SchemaError(ValueError):
    """A report file that is not what the schema says; the message names the field."""


def check(report):
    """Raise SchemaError unless `report` (parsed JSON) has every field with its type."""
    if not isinstance(report, dict) or report.get("schema") != NAME:
        raise SchemaError(f"not a report of {NAME}: no field schema = {NAME!r}")
    if report.get("version") != VERSION:
        raise SchemaError(f"version: expected {VERSION}, got {report.get('version')!r}; it was "
                          "written by another version of the benchmarks")
    _check(report, FIELDS, "")


def _check(value, fields, path):
    for name, (kind, _) in fields.items():
        here = f"{path}.{name}" if path else name
        if name not in value:
            raise SchemaError(f"{here}: missing")
        _check_value(value[name], kind, here)


def _check_value(value, kind, here):
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            raise SchemaError(f"{here}: expected an object, got {type(value).__name__}")
        _check(value, kind, here)
    elif isinstance(kind, list):
        if not isinstance(value, list):
            raise SchemaError(f"{here}: expected a list, got {type(value).__name__}")
        for k, item in enumerate(value):
            _check_value(item, kind[0], f"{here}[{k}]")
    elif not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
        raise SchemaError(f"{here}: expected {kind}, got {type(value).__name__}")


def docs():
    """The schema as text, a field a line."""
    return "\n".join(_docs(FIELDS, ""))


def _docs(fields, path):
    for name, (kind, text) in fields.items():
        many = isinstance(kind, list)
        here = path + name + ("[]" if many else "")
        yield f"{here}: {text}"
        inner = kind[0] if many else kind
        if isinstance(inner, dict):
            yield from _docs(inner, here + ".")
