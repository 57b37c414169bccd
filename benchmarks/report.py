"""The output folder of a run: bench.json and the plots.

Invariant: a file appears whole or not at all; what goes to bench.json has passed the schema.
"""

import json
import math
import os
from pathlib import Path

from . import schema
from .cli import UsageError


def open_folder(path):
    """Make the output folder, before anything long runs; UsageError where it can't be."""
    folder = Path(path)
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if new:                 # results of a run are not for version control
            (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise UsageError(f"cannot make the output folder {folder}: {error.strerror}; choose "
                         "another with --out") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write into {folder}; choose another folder with --out")
    return folder


def write(report, path):
    """Check `report` against the schema and write it as JSON; numbers that are not finite: null."""
    report = finite(report)
    schema.check(report)
    part = Path(f"{path}.part")
    try:
        part.write_text(json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
                        encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path):
    """The report in a file; SchemaError where it is not one."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise schema.SchemaError(f"{path}: not JSON: {error}") from None
    schema.check(report)
    return report


def finite(value):
    """`value` with tuples as lists and NaN and infinities, which JSON lacks, as None."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
