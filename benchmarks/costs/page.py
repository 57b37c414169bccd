"""The cost report as one HTML page: no network, charts to teach from.

The template (colours, type, timeline chart) is autodiff.study's; this adds its own sections.
Invariant: every figure and every sentence on the page is a function of the report's data.
"""

import pathlib

from autodiff.study import html_page, write_page

from ..tables import BYTES, FLOPS, TIMES, figure, quantity, times
from .errors import ReportError
from .observe import PHASES

FOLDER = pathlib.Path(__file__).with_name("html")
SCRIPTS = ("cost_charts.js", "cost.js")
KERNELS, ARRAYS = 40, 12            # shown of the roofline and of the saved arrays
FIELDS = ("created", "machine", "rates", "model", "phases", "multiples", "ledger", "layers",
          "growth", "sentences", "notes")


def page(report, path):
    """Write the page of a cost report (a CostReport or its data); returns the path as text.

    Written whole or not at all. Raises ReportError where it cannot be written.
    """
    data = report.to_dict() if hasattr(report, "to_dict") else dict(report)
    shown = {name: data[name] for name in FIELDS}
    shown["roofline"] = sorted(data["roofline"], key=lambda r: -(r["seconds"] or 0))[:KERNELS]
    shown["arrays"] = data["saved"]["arrays"][:ARRAYS]
    shown["texts"] = {name: text(data) for name, text in TEXTS.items()}
    shown["title"] = f"What training {data['model']['name']} costs over using it"
    found = html_page(shown["title"], shown, [_part("cost.css")], [_part(n) for n in SCRIPTS])
    try:
        return write_page(path, found)
    except OSError as error:
        raise ReportError(f"the page cannot be written to {path}: {error.strerror}") from error


def _part(name):
    return (FOLDER / name).read_text("utf-8")


# Two sentences for each chart -------------------------------------------------------------------

def memory(data):
    """What the stacked memory shows."""
    training, inference = (data["ledger"][k] for k in ("training", "inference"))
    at, total, events = training["at"], training["peak"]["total"], training["events"]
    saved = events["live"]["saved"][events["launch"].index(at["launch"])]
    place = at["op"] + (f" in {at['layer']}" if at["layer"] else "")
    less = inference["peak"]["total"]
    return [f"A training step holds at most {quantity(total, BYTES)}, at {place} in {at['phase']}; "
            f"{quantity(saved, BYTES)} of it are arrays that forward saved and backward still "
            "needs.",
            f"Inference on the same batch holds at most {quantity(less, BYTES)}, so training holds "
            f"{times(total / less)} as much: in inference an array goes as soon as the next "
            "operation has read it, for no backward will ask for it."]


def layers(data):
    """What the boxes of the modules show."""
    step = {r["path"]: sum(r[p]["seconds"] or 0 for p in PHASES) for r in data["layers"]}
    total = sum(step.values())
    first = "Each box is as wide as what its module uses, with the modules inside it below it; " \
            "inference stands under training at the same scale."
    if not total:
        return [first, "Kernels were not timed, so only arithmetic and bytes can be compared."]
    top = max(step, key=step.get)
    kinds = {path: kind for path, kind, _ in data["model"]["layers"]}
    name = f"{top} ({kinds[top]})" if top in kinds and top else top or "the model itself"
    return [first, f"Most time goes to {name}: {100 * step[top] / total:.0f} % of what a step "
                   "spends in kernels."]


def multiples(data):
    """What the table of multiples says."""
    many = data["multiples"]
    step = many["step"]
    return [f"A training step takes {times(step['seconds'])} the time of inference on the same "
            f"batch, {times(step['peak'])} its peak memory and {times(step['flops'])} its "
            "arithmetic.",
            f"Forward computes {times(many['forward']['flops'])} and backward "
            f"{times(many['backward']['flops'])}: where forward makes one product, backward makes "
            "two, one for the weights and one for the layer's input."]


def predicted(data):
    """How good the prediction is."""
    pairs = [(data["phases"][p], data["phases"][p]["predicted"]) for p in ("inference", *PHASES)]
    if any(found is None for _, found in pairs):
        return ["This model cannot run dry, so nothing was predicted.",
                "Its measured figures stand alone."]
    worst = max(abs(found["peak"]["total"] / p["peak"]["total"] - 1) for p, found in pairs)
    exact = all(found["flops"] == p["flops"] for p, found in pairs)
    seconds = sum(p["seconds"]["median"] for p, _ in pairs[1:])
    bound = sum(found["seconds"] for _, found in pairs[1:])
    off = f"off by at most {figure(100 * worst, 2)} %" if worst else "to the byte"
    return [f"Peak bytes are predicted from shapes alone, before anything runs: {off}; the "
            f"arithmetic is {'exactly' if exact else 'close to'} what was counted.",
            f"The predicted time is what the machine's rates allow, a lower bound: the step takes "
            f"{times(seconds / bound)} that long."]


def roofline(data):
    """Where the kernels stand under the roof."""
    share = {}
    for row in data["roofline"]:
        share[row["bound"]] = share.get(row["bound"], 0) + (row["seconds"] or 0)
    total = sum(share.values())
    second = "Kernels were not timed in this report." if not total else "Of the time in kernels, " \
        + ", ".join(f"{100 * s / total:.0f} % is bound by {name}" for name, s in
                    sorted(share.items(), key=lambda item: -item[1]) if name) + "."
    return ["Each dot is a kernel: further right it computes more on each byte that it moves, "
            "higher up it computes faster, and the line is as fast as this machine can.", second]


def growth(data):
    """How to read the curves."""
    if not data["growth"]:
        return []
    return ["Dots are counted (bytes and operations) or measured (time); lines are the laws fitted "
            "to them, and the slider moves along the laws, also beyond the last dot.",
            "What grows in training and not in inference is what backward needs kept."]


def kept(data):
    """What the list of saved arrays says."""
    saved = data["saved"]
    mine = [a for a in saved["arrays"] if a["category"] == "saved"]
    return [f"Forward leaves {quantity(saved['bytes'], BYTES)} for backward, in {len(mine)} arrays "
            "that exist for nothing else.",
            "Each is freed in the step of backward that uses it last; parameters and inputs that "
            "backward reads as well are there anyway and are not counted."]


def run(data):
    """The whole training run beside one prediction, where it is known."""
    found, model = data["multiples"]["run"], data["model"]
    prediction = data["phases"]["prediction"]
    if found is None or prediction is None:
        return []
    return [f"Training takes {model['steps']:,} steps: in all {times(found['seconds'])} the time "
            f"of one prediction ({quantity(prediction['seconds']['median'], TIMES)}) and "
            f"{times(found['flops'])} its arithmetic ({quantity(prediction['flops'], FLOPS)}).",
            "That is paid once, where there is power for it; what counts on a phone is the one "
            "prediction."]


TEXTS = {"memory": memory, "layers": layers, "multiples": multiples, "predicted": predicted,
         "roofline": roofline, "growth": growth, "kept": kept, "run": run}
