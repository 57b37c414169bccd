"""The file that `autodiff trades --out` writes: `autodiff.trades/1`, its fields and a check.

Times are seconds, sizes bytes.  Invariant: a field is removed or changes its meaning only with a
higher number in NAME; fields may be added.
"""

from .. import schema
from .checkpointing import FIELDS as CHECKPOINTING

NAME = "autodiff.trades/1"

_ROW = {"label": (str, "the choice"), "seconds": (schema.NUMBER, "median; null where none"),
        "peak_bytes": (int, "parameters, gradients and optimizer state included"),
        "note": (str, "a figure of its own")}
FIELDS = {
    "schema": (str, f"always {NAME!r}"),
    "created": (str, "when, ISO 8601 with time zone"),
    "seconds": (float, "how long it took"),
    "machine": (dict, "processor, cpus, threads, BLAS kernel, versions, load"),
    "load_after?": (schema.NUMBER, "load average when all was done"),
    "checkpointing?": (CHECKPOINTING, "time for memory, by a schedule"),
    "small?": ([{"name": (str, "what is traded"), "sentence": (str, "what the figures say"),
                 "rows": ([_ROW], "the first is what others are compared with")}],
               "the other trades"),
}


def check(report):
    """Raise SchemaError unless `report` (parsed JSON) is of this schema."""
    if not isinstance(report, dict) or report.get("schema") != NAME:
        raise schema.SchemaError(f"not a file of {NAME}: expected the field schema = {NAME!r}")
    schema.check_fields(report, FIELDS)


def docs():
    """The schema as text, a field a line."""
    return schema.docs(FIELDS)
