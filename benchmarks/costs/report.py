"""CostReport: the report as an object that prints, saves and loads.

Invariant: inside is plain data of the schema; `load(save(...))` gives an equal report.
"""

import json
import os
from pathlib import Path

from ..report import finite
from . import assemble, schema
from .errors import CostError, ReportError


class CostReport:
    """What training a model costs over using it; made by `benchmarks.cost`.

    print(report), report["multiples"]["step"], report.to_dict(), report.save("cost.json"),
    report.plots("folder"), report.page("cost.html").
    """

    def __init__(self, data):
        data = finite(data)
        schema.check(data)
        self._data = data

    def __getitem__(self, field):
        return self._data[field]

    def __eq__(self, other):
        return isinstance(other, CostReport) and self._data == other._data

    __hash__ = None

    def to_dict(self):
        """The report as plain data; see benchmarks/costs/schema.py for its fields."""
        return json.loads(json.dumps(self._data))

    def save(self, path):
        """Write the report as JSON, whole or not at all; returns the path."""
        return write_json(self._data, path)

    @classmethod
    def load(cls, path):
        """The report in a file; ReportError where it is none, or of another version."""
        return cls(read_json(path))

    def plots(self, folder, form="png"):
        """Draw memory, layers and growth as files in `folder`; returns their paths."""
        from . import figures
        return figures.draw(self._data, folder, form)

    def page(self, path):
        """Write the report as one self-contained HTML page; returns the path."""
        from .page import page
        return page(self, path)

    def add(self, curve):
        """Add a growth curve (see `growth`) to the report; returns the report."""
        self._data["growth"].append(finite(dict(curve)))
        schema.check(self._data)
        return self

    def __str__(self):
        from . import tables
        return tables.text(self._data)

    __repr__ = __str__


def cost(model, batch, loss, optimizer=None, *, steps=None, seconds=2.0, name=None, tick=None):
    """What a training step of `model` costs over inference, as a CostReport.

    batch: (inputs, target), inputs what the model takes or a tuple of it, as Tensors or arrays;
    loss(output, target) -> scalar Tensor; optimizer: None for plain SGD.  steps: of the whole
    training run, to set it beside one prediction; seconds: for the timed rounds; name: for the
    report's head; tick(fraction): called between rounds.

    Copies are measured, with a learning rate of 0: model, optimizer, gradients and random states
    are afterwards what they were. Raises ModelError, BatchError, LossError, OptimizerError (all
    CostError) for what cannot be measured, and what the model raises.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise CostError(f"cost: seconds must be a number of at least 0, got {seconds!r}")
    if steps is not None and (isinstance(steps, bool) or not hasattr(steps, "__index__")
                              or steps < 1):
        raise CostError(f"cost: steps must be a whole number of at least 1 or None, got {steps!r}")
    return CostReport(assemble.report(model, batch, loss, optimizer, name=name, steps=steps,
                                      seconds=seconds, tick=tick))


def write_json(data, path):
    """Write plain data as JSON; ReportError where it cannot be written. Returns the path."""
    return write_text(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n", path)


def write_text(text, path):
    """Write a text file, whole or not at all; ReportError where it cannot be. Returns the path."""
    part = Path(f"{path}.part")
    try:
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from None
    return str(path)


def read_json(path):
    """The data in a JSON file; ReportError where there is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ReportError(f"{path}: not JSON: {error}") from None
