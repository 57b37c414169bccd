"""What a sweep is asked for: outputs, their seeds and the inputs wanted, checked for both cores.

Invariant: what reaches a core's `sweep` are Tensors, as many seeds as outputs, and inputs that are
on the tape.
"""

from . import core, tapes  # core is still being imported: it is used in calls alone
from .errors import ArgumentError, DryRunError, GradientError
from .op import registry


def backward(roots, seeds, retain_graph=False, create_graph=False):
    """Accumulate d roots / d leaf into `.grad` of every leaf."""
    roots, seeds = list(roots), list(seeds)
    _refuse_dry("backward", roots)
    retain = retain_graph or create_graph or tapes.keeps(roots)
    core.sweep(roots, seeds, None, retain, create_graph)


def gradients(outputs, inputs, seeds=None, retain_graph=None, create_graph=False,
              allow_unused=False):
    """Gradients of outputs with respect to inputs, as a list; `.grad` stays untouched."""
    outputs, inputs = list(outputs), list(inputs)
    seeds = [None] * len(outputs) if seeds is None else list(seeds)
    if len(seeds) != len(outputs):
        raise ArgumentError(f"gradients: {len(outputs)} outputs but {len(seeds)} cotangents")
    for x in (*outputs, *inputs, *(s for s in seeds if s is not None)):
        if not isinstance(x, core.Tensor):
            raise ArgumentError(f"gradients: expected Tensors, got {type(x).__name__}")
    for k, x in enumerate(inputs):
        if x.node is None:
            raise GradientError(f"gradients: input {k} does not require a gradient; make it with "
                                "requires_grad=True before it is used")
    seeds = [seed(o) if s is None else s for o, s in zip(outputs, seeds)]
    _refuse_dry("gradients", outputs)
    keep = create_graph if retain_graph is None else retain_graph
    found = core.sweep(outputs, seeds, inputs, keep or tapes.keeps(outputs), create_graph)
    for k, g in enumerate(found):
        if g is None and not allow_unused:
            raise GradientError(f"gradients: input {k} is not used in computing the outputs; pass "
                                "allow_unused=True to get None for it")
    return found


def _refuse_dry(name, outputs):
    """DryRunError for a tape that was recorded in a dry run, outside of one."""
    for out in outputs:
        if out.is_dry and not core.dry_runs():
            raise DryRunError(f"{name}: the output was computed in a dry run; differentiate it "
                              "inside, or compute it again outside")


def seed(out):
    """The gradient of a one-element output by itself: ones."""
    if out.size != 1:
        raise GradientError(f"backward: the output has shape {out.shape}, not one element; reduce "
                            "it to a scalar (for instance with .sum()), or pass its gradient")
    previous = core.set_phase("backward")
    try:
        return registry["full"].call(out.shape, 1.0, out.dtype)
    finally:
        core.set_phase(previous)
