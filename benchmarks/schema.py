"""The report file `bench.json`: its version, its fields, and a check of them.

Invariant: a field is removed or changes its meaning only with a higher VERSION; fields may be
added.  Times are seconds, sizes bytes, counts numbers.  `docs()` prints this as a list.
"""

NAME, VERSION = "autodiff-bench", 1

PEAK = {c: (int, f"bytes of category {c} at that moment") for c in (
    "parameter", "buffer", "optimizer state", "gradient", "input", "saved", "temporary")}
TIMING = {"median": (float, "median of the rounds"), "q1": (float, "first quartile"),
           "q3": (float, "third quartile"), "rounds": (int, "number of rounds"),
           "blocks?": ((list, tuple), "medians of four consecutive parts of the rounds")}
_PHASE = {"seconds": (TIMING, "time of one pass"),
          "peak": ({"total": (int, "most tracked bytes alive at one moment"), **PEAK},
                   "memory of one pass"),
          "flops": (int, "floating-point operations, counted from shapes")}
NUMBER = (float, int, type(None))

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
        "step": ({"seconds": (NUMBER, "sum of the phases' medians / inference"),
                  "peak": (NUMBER, "highest phase / inference"),
                  "flops": (NUMBER, "sum of the phases / inference")}, "per step"),
        "run": ({"seconds": (NUMBER, "the whole training run / one prediction"),
                 "flops": (NUMBER, "the same in operations")}, "per run"),
    }, "training / inference"),
}

FIELDS = {
    "schema": (str, f"always {NAME!r}"),
    "version": (int, f"of this schema: {VERSION}"),
    "created": (str, "when, ISO 8601 with time zone"),
    "seconds": (float, "how long the whole job took"),
    "machine": (dict, "processor, cpus, threads, BLAS kernel, versions, load; see machine.py"),
    "load_after": (NUMBER, "load average at the end"),
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
    check_fields(report, FIELDS)


def check_fields(value, fields, path="", error=SchemaError):
    """Raise `error` unless `value` has each of `fields`, {name: (kind, meaning)}, with its kind.

    kind: a type or several, a dict of fields, or [kind] for a list; `name?` may be absent.
    """
    for name, (kind, _) in fields.items():
        optional, name = name.endswith("?"), name.removesuffix("?")
        here = f"{path}.{name}" if path else name
        if name in value:
            _check_value(value[name], kind, here, error)
        elif not optional:
            raise error(f"{here}: missing")


def _check_value(value, kind, here, error):
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            raise error(f"{here}: expected an object, got {type(value).__name__}")
        check_fields(value, kind, here, error)
    elif isinstance(kind, list):
        if not isinstance(value, list):
            raise error(f"{here}: expected a list, got {type(value).__name__}")
        for k, item in enumerate(value):
            _check_value(item, kind[0], f"{here}[{k}]", error)
    elif not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
        raise error(f"{here}: expected {kind}, got {type(value).__name__}")


def docs(fields=None):
    """The schema as text, a field a line."""
    return "\n".join(_docs(FIELDS if fields is None else fields, ""))


def _docs(fields, path):
    for name, (kind, text) in fields.items():
        many = isinstance(kind, list)
        here = path + name + ("[]" if many else "")
        yield f"{here}: {text}"
        inner = kind[0] if many else kind
        if isinstance(inner, dict):
            yield from _docs(inner, here + ".")
