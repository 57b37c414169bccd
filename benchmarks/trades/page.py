"""The report as a page of text: what `autodiff trades --out` writes beside the data and the plot.

Invariant: a function of the report's data, and Markdown that any viewer shows.
"""

from .. import machine
from . import checkpointing, small

TITLE = "# What can be traded for memory and time"


def markdown(report, plot=None):
    """The page; plot: the file name of the checkpointing plot, where there is one."""
    parts = [TITLE, f"Written by `autodiff trades` on {report['created'][:10]}; every figure is of "
                    "this run. Peaks are the ledger's bytes, times are of rounds in which all that "
                    "is compared takes turns.", _block(_state(report))]
    if "checkpointing" in report:
        parts.append("## Time for memory")
        if plot:
            parts.append(f"![Peak bytes against time: planned and measured]({plot})")
        parts.append(_block(checkpointing.text(report["checkpointing"])))
    if "small" in report:
        parts += ["## The other trades", _block(small.describe(small.read(report["small"])))]
    return "\n\n".join(parts) + "\n"


def _state(report):
    state, after = report["machine"], report.get("load_after")
    lines = [machine.describe(state), machine.busy(state),
             after is not None and f"load average {after} at the end, this run's own work included"]
    return "\n".join(filter(None, lines))


def _block(text):
    return f"```text\n{text.rstrip()}\n```"
