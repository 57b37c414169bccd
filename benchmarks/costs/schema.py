"""The cost report as JSON: `autodiff.cost/1`, its fields and a check of them.

Times are seconds, sizes bytes, `flops` floating-point operations (a multiply-add is two).  Phases
of a training step: forward (model and loss, recorded), backward, update; `inference` is the model
alone in eval mode under no_grad on the same batch, `prediction` the same on its first sample.
Layers are module paths: "" is the model itself, "(loss)" the loss, "(optimizer)" what belongs to no
parameter.  What was alive before the measured copies were made is taken off every count of bytes.
Invariant: a field is removed or changes its meaning only with a higher number in NAME; fields may
be added.  `docs()` prints this as a list.
"""

from ..schema import NUMBER, PEAK, TIMING, check_fields
from ..schema import docs as docs_of
from .errors import ReportError

NAME = "autodiff.cost/1"
GROWTH_NAME = "autodiff.growth/1"       # {"schema", "growth"}: curves without a report
FAMILY = NAME.partition("/")[0]

_BYTES = {"total": (int, "most tracked bytes alive at one moment"), **PEAK}
_MAYBE = (dict, type(None))
_RATIOS = {"seconds": (NUMBER, "of time"), "flops": (NUMBER, "of operations")}
_SUMS = {
    "launches": (int, "kernels run"),
    "seconds": (NUMBER, "in kernels, and `rates.overhead` for each launch; null: not timed"),
    "flops": (int, "floating-point operations"),
    "moved": (int, "bytes read and written, each array of a launch once"),
    "bound_seconds": (NUMBER, "the least that the machine's rates allow"),
    "bound": ((str, type(None)), "what bounds most of it: compute, bandwidth or overhead"),
    "share": (NUMBER, "bound_seconds / seconds"),
}
_ROW = {name: (_SUMS, f"in {name}") for name in ("inference", "forward", "backward", "update")}
_PHASE = {
    "seconds": (TIMING, "of the whole pass, nothing observed"),
    "kernels": (NUMBER, "seconds of it in kernels"),
    "peak": (_BYTES, "memory at the phase's peak"),
    "flops": (int, "floating-point operations"), "launches": (int, "kernels run"),
    "moved": (int, "bytes read and written"),
    "bound": ((str, type(None)), "compute, bandwidth or overhead"),
    "predicted": (_MAYBE, "from a dry run and the rates: seconds, peak, flops, launches"),
}
_LEDGER = {
    "peak": (_BYTES, "bytes by category at the moment of the peak"),
    "slack": (int, "bytes that the pool's size classes add at that moment"),
    "launches": (int, "of the pass; events holds at most 300 of them"),
    "at": ({"launch": (int, "its number, from 0"), "phase": (str, ""), "layer": (str, ""),
            "op": (str, ""), "bytes": (int, "alive at it")}, "the launch at the peak"),
    "events": ({"launch": (list, "numbers, from 0"),
                "seconds": (list, "since the start of the pass"),
                "phase": (list, ""), "layer": (list, ""), "op": (list, ""),
                "live": (dict, "category -> list of bytes")},
               "the highest during each launch, columns of equal length"),
}

GROWTH = {
    "over": (str, "batch, depth, width or length"),
    "family": (str, "the model that grows"),
    "values": (list, "of `over`"),
    "quantities": ([{"name": (str, "for instance peak_training"), "unit": (str, "s, B or FLOP"),
                     "title": (str, "in words"), "measured": (bool, "false: from dry runs, exact"),
                     "values": (list, "one for each of `values`"),
                     "law": (_MAYBE, "value ~ sum of c n^p: terms [[c, p], ...], error (largest "
                                     "relative deviation), exponent (log-log slope)"),
                     "sentence": (str, "the law in words")}], "what grows"),
    "sentences": (list, "the laws found"),
}

FIELDS = {
    "schema": (str, f"always {NAME!r}"),
    "created": (str, "when, ISO 8601 with time zone"),
    "seconds": (float, "how long the report took"),
    "machine": (dict, "processor, cpus, threads, BLAS kernel, versions, load"),
    "rates": ({"threads": (int, "of the kernels"), "product": (dict, "dtype -> operations / s"),
               "stream": (list, "[bytes, bytes / s] of a copy, from cache to memory"),
               "overhead": (dict, "phase -> seconds a launch on one number"),
               "fault": (float, "bytes / s of memory touched for the first time")},
              "what the machine measured of itself"),
    "model": ({"name": (str, ""), "kind": (str, "its class"), "parameters": (int, "numbers"),
               "trained": (int, "those that require a gradient"),
               "parameter_bytes": (int, ""), "batch": (int, "samples"),
               "inputs": (list, "shape and dtype of each, or value"), "target": (list, "the same"),
               "loss": (str, ""), "optimizer": (str, ""),
               "steps": ((int, type(None)), "of the whole training run, where given"),
               "layers": (list, "[path, class, own parameters] of each module")}, "the subject"),
    "phases": ({**{n: (_PHASE, "") for n in ("inference", "forward", "backward", "update")},
                "prediction": (_MAYBE, "as the others; null: takes no batch of one")}, "passes"),
    "yardstick": (TIMING, "of a fixed piece of work, timed in the same rounds: the machine's pace"),
    "multiples": ({
        "step": ({**_RATIOS, "peak": (NUMBER, "of peak bytes")}, "a step / inference, measured"),
        "predicted": (_MAYBE, "the same from the dry run"),
        **{p: (_RATIOS, f"{p} / inference") for p in ("forward", "backward", "update")},
        "run": (_MAYBE, "the training run / one prediction, where `steps` is known")},
        "training / inference"),
    "first_layer": (_MAYBE, "flops that no gradient of the inputs leaves out, by layer in layers; "
                            "multiple: of operations, multiple_with: were it computed"),
    "ledger": ({"training": (_LEDGER, "a step"), "inference": (_LEDGER, "a pass"),
                "reconciled": (_MAYBE, "resident = live + slack + held + residual at the end; "
                                       "tracked_peak beside resident_growth")}, "bytes"),
    "saved": ({"bytes": (int, "that forward leaves in category saved"),
               "predicted_bytes": ((int, type(None)), "the same from the dry run"),
               "arrays": ([{"bytes": (int, ""), "shape": (list, ""), "dtype": (str, ""),
                            "category": (str, "saved; parameter, input: alive anyway"),
                            "op": (str, "that saved it first"), "name": (str, "in the op"),
                            "layer": (str, ""), "line": ((str, type(None)), "of the user's code"),
                            "shared_with": (list, "op.name of others that keep it"),
                            "freed_by": ({"op": (str, ""), "layer": (str, ""),
                                          "turn": (int, "step of backward"),
                                          "of": (int, "steps")}, "the record whose end frees it")}],
                          "largest first")}, "what backward needs kept"),
    "layers": ([{"path": (str, ""), "saved": (int, "bytes in category saved, of its operations"),
                 "peak_inference": (NUMBER, "most bytes alive while a launch of it ran"),
                 "peak_training": (NUMBER, "the same in training"), **_ROW,
                 "multiples": ({**_RATIOS, "peak": (NUMBER, "")}, "training / inference")}],
               "in the order of their first launch"),
    "ops": ([{"op": (str, "that the model called; its gradients count as backward"), **_ROW,
              "multiples": (_RATIOS, "training / inference")}], "the same by operation"),
    "roofline": ([{"op": (str, "the kernel launched"), "phase": (str, ""), **_SUMS}],
                 "each kernel beside its bound, the slowest first"),
    "faults": (int, "pages touched for the first time in a step and a pass, once warm"),
    "undeclared": (list, "operations that declare no arithmetic: they move bytes"),
    "growth": ([GROWTH], "curves, where asked for"),
    "sentences": (list, "what the figures say"),
    "notes": (list, "what could not be done, and why"),
}


def check(report):
    """Raise ReportError unless `report` (parsed JSON) is of this schema."""
    name = report.get("schema") if isinstance(report, dict) else None
    if not isinstance(name, str) or name.partition("/")[0] != FAMILY:
        raise ReportError(f"not a cost report: expected the field schema = {NAME!r}, got {name!r}")
    if name != NAME:
        raise ReportError(f"schema {name}: expected {NAME}; it was written by another version, so "
                          "measure again")
    check_fields(report, FIELDS, error=ReportError)


def docs():
    """The schema as text, a field a line."""
    return docs_of(FIELDS)
