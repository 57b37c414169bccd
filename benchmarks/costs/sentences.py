"""What the figures of a report say, in sentences made from them.

Invariant: every number in a sentence is a field of the report or a ratio of two.
"""

from ..measure import CATEGORIES
from ..units import BYTES, FLOPS, TIMES, figure, quantity, times
from .observe import PHASES

WORD = {"saved": "saved activations", "temporary": "temporaries", "parameter": "parameters",
        "gradient": "gradients", "optimizer state": "optimizer state", "input": "inputs",
        "buffer": "buffers"}


def of(report):
    """The sentences of a cost report, in the order in which they are read."""
    found = [multiple(report), first_layer(report), peak(report), kept(report), where_time(report)]
    return [s for s in found if s]


def multiple(report):
    """How the multiple of operations is made up."""
    many, phases = report["multiples"], report["phases"]
    parts = ", ".join(f"{name} {times(many[name]['flops'])}" for name in PHASES)
    return (f"A training step computes {times(many['step']['flops'])} what inference does on the "
            f"same batch ({quantity(phases['inference']['flops'], FLOPS)}): {parts}.")


def first_layer(report):
    """Why backward is a little under twice forward."""
    first = report["first_layer"]
    rule = ("For each matrix product or convolution of the forward pass backward computes two, one "
            "for the weights and one for the layer's input")
    if first is None:
        return (f"{rule}; the model's inputs are integers, so there is no gradient of them to "
                "leave out.")
    if first["flops"] <= 0:
        return f"{rule}; here no layer gets by without the second."
    layers = max(first["layers"], key=first["layers"].get)
    kinds = {path: kind for path, kind, _ in report["model"]["layers"]}
    name = f"{layers} ({kinds[layers]})" if layers and layers in kinds else layers or "the model"
    return (f"{rule}. The first layer, {name}, needs no gradient of its input: that leaves out "
            f"{quantity(first['flops'], FLOPS)}, and makes the multiple "
            f"{figure(first['multiple'])} rather than {figure(first['multiple_with'])}.")


def peak(report):
    """Where the peak is and what it consists of."""
    training, inference = (report["ledger"][k] for k in ("training", "inference"))
    at = training["at"]
    where = f"{at['op']} in {at['layer']}" if at["layer"] else at["op"]
    parts = sorted(((training["peak"][c], c) for c in CATEGORIES), reverse=True)
    shown = ", ".join(f"{quantity(n, BYTES)} {WORD[c]}" for n, c in parts[:4] if n)
    return (f"Training holds {quantity(training['peak']['total'], BYTES)} at its peak, at {where} "
            f"in {at['phase']}: {shown}. Inference holds "
            f"{quantity(inference['peak']['total'], BYTES)} at its peak.")


def kept(report):
    """What backward needs kept."""
    saved = report["saved"]
    arrays = [a for a in saved["arrays"] if a["category"] == "saved"]
    if not arrays:
        return None
    top = max(arrays, key=lambda a: a["bytes"])
    freed = top["freed_by"]
    said = ("as predicted from shapes alone" if saved["bytes"] == saved["predicted_bytes"] else
            "nothing was predicted" if saved["predicted_bytes"] is None else
            f"predicted: {saved['predicted_bytes']:,}")
    return (f"Forward leaves {saved['bytes']:,} bytes for backward in {len(arrays)} arrays "
            f"({said}); the largest, {quantity(top['bytes'], BYTES)}, is `{top['name']}` of "
            f"{top['op']} in {top['layer'] or 'the model'}, freed by step {freed['turn']} of "
            f"{freed['of']} of backward.")


def where_time(report):
    """Measured time beside what the machine's rates allow."""
    phases = [report["phases"][p] for p in PHASES]
    if any(p["predicted"] is None or p["kernels"] is None for p in phases):
        return None
    seconds = sum(p["seconds"]["median"] for p in phases)
    bound = sum(p["predicted"]["seconds"] for p in phases)
    kernels = sum(p["kernels"] for p in phases)
    return (f"A step takes {quantity(seconds, TIMES)}, {100 * kernels / seconds:.0f} % of it in "
            f"kernels; the machine's rates allow {quantity(bound, TIMES)} "
            f"({100 * bound / seconds:.0f} % of the measured).")
