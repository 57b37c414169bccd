"""summary: what each layer of a model gives, holds, computes and keeps for backward.

Everything is measured on one run of the model itself.  Invariant: the model, its buffers and the
random state are afterwards as before.
"""

import copy
from typing import NamedTuple

import numpy as np

import autodiff as ad
from autodiff import text

from .errors import ArgumentError
from .freeze import Frozen

__all__ = ["Layer", "Summary", "summary"]


class Layer(NamedTuple):
    """One module: path, class, shape of what it returned last, its own parameters, flops of its own
    operations forward, and the bytes that they keep for backward, in training and in inference."""
    path: str
    kind: str
    shape: tuple
    parameters: int
    flops: int
    saved_training: int
    saved_inference: int


class Summary(list):
    """A list of Layer, in the order of the tree, that prints as a table.

    parameters, trainable; flops_training (forward and backward), flops_inference (forward);
    peak_training, peak_inference: most bytes at once above parameters and input.
    """

    def __init__(self, layers, **totals):
        super().__init__(layers)
        self.__dict__.update(totals)

    @property
    def saved_training(self):
        """Bytes kept for backward; what is alive anyway (parameters, inputs) does not count."""
        return sum(row.saved_training for row in self)

    @property
    def saved_inference(self):
        return sum(row.saved_inference for row in self)

    def __str__(self):
        rows = []
        for row in self:
            depth = row.path.count(".") + 1 if row.path else 0
            name = row.path.rpartition(".")[2]
            rows.append(("  " * depth + (f"{name}: {row.kind}" if name else row.kind),
                         _shape(row.shape), f"{row.parameters:,}" if row.parameters else "-",
                         text.count(row.flops) if row.flops else "-",
                         text.nbytes(row.saved_training), text.nbytes(row.saved_inference)))
        rows.append(("total", "", f"{self.parameters:,}", text.count(self.flops_inference),
                     text.nbytes(self.saved_training), text.nbytes(self.saved_inference)))
        table = text.columns(("layer", "output", "parameters", "flops", "saved, training",
                              "saved, inference"), rows, left=2)
        held = self.parameters - self.trainable
        return (f"{table}\n{self.trainable:,} trainable parameters"
                + (f", {held:,} frozen" if held else "") +
                f"; peak above parameters and input: {text.nbytes(self.peak_training)} in "
                f"training, {text.nbytes(self.peak_inference)} in inference; "
                f"{text.count(self.flops_training)} flops forward and backward")

    __repr__ = __str__


def summary(model, *inputs):
    """Run a copy of `model` on `inputs` (tensors or arrays) in both modes and tell of each layer.

    Its flops are those that the operations declare; "saved" is what the records hold after a
    forward pass in training mode, each array once, under the layer that saved it first.
    """
    if not inputs:
        raise ArgumentError("summary: expected an input, as the model takes it; for instance "
                            "nn.summary(model, ad.zeros((1, 3, 32, 32)))")
    for x in inputs:
        if isinstance(x, tuple) and all(isinstance(n, int) for n in x):
            raise ArgumentError(f"summary: {x} looks like a shape; pass an input of that shape, "
                                f"such as ad.zeros({x})")
    inputs = [ad.tensor(x) for x in inputs]         # copies, which count as inputs
    random = np.array(ad.random_state().numpy())
    try:
        with ad.enable_grad():
            return _measure(copy.deepcopy(model), inputs)
    finally:
        with ad.random_state().writable() as state:
            state[...] = random


def _measure(model, inputs):
    modules = list(model.named_modules())
    shapes = {}
    for path, m in modules:
        m.__dict__["forward"] = _noting(shapes, path, m.forward)
    try:
        return _run(model, inputs, modules, shapes)
    finally:
        for _, m in modules:                        # a frozen model is its own copy
            del m.__dict__["forward"]


def _run(model, inputs, modules, shapes):
    model.eval()
    with ad.no_grad(), ad.memory.track() as inference, ad.profile.profile() as forward:
        out = model(*inputs)
    kept = _saved(out)
    del out
    if not isinstance(model, Frozen):
        model.train()
    with ad.memory.track() as training, ad.profile.profile() as both:
        out = model(*inputs)
        saved = _saved(out)
        _backward(out)
    del out
    flops = {row.key: row.flops for row in forward.by_scope()}
    own = {path: sum(p.size for p in m.parameters(recurse=False)) for path, m in modules}
    paths = {path for path, _ in modules}
    for found in (flops, saved, kept):              # scopes of the user's own, inside a module
        for scope in [s for s in found if s not in paths]:
            near = scope
            while near not in paths:
                near = near.rpartition(".")[0]
            found[near] = found.get(near, 0) + found.pop(scope)
    layers = [Layer(path, type(m).__name__, shapes.get(path), own[path], flops.get(path, 0),
                    saved.get(path, 0), kept.get(path, 0)) for path, m in modules]
    unique = list(model.parameters())
    return Summary(layers, parameters=sum(p.size for p in unique),
                   trainable=sum(p.size for p in unique if p.requires_grad),
                   flops_inference=sum(e.flops for e in forward.events),
                   flops_training=sum(e.flops for e in both.events),
                   peak_inference=inference.added_bytes, peak_training=training.added_bytes)


def _noting(shapes, path, forward):
    def run(*args, **kwargs):
        out = forward(*args, **kwargs)
        shapes[path] = _shapes_of(out)
        return out
    return run


def _tensors(out):
    if isinstance(out, ad.Tensor):
        return [out]
    if isinstance(out, dict):
        out = list(out.values())
    return [t for part in out for t in _tensors(part)] if isinstance(out, (tuple, list)) else []


def _shapes_of(out):
    if isinstance(out, ad.Tensor):
        return out.shape
    if isinstance(out, dict):
        out = list(out.values())
    return [_shapes_of(part) for part in out] if isinstance(out, (tuple, list)) else None


def _saved(out):
    """Bytes by scope that the outputs keep for backward beyond what is alive anyway."""
    found = {}
    recorded = [t for t in _tensors(out) if t.requires_grad]
    for a in ad.memory.saved_report(*recorded) if recorded else ():
        if a.category == "temporary":
            found[a.scope or ""] = found.get(a.scope or "", 0) + a.nbytes
    return found


def _backward(out):
    recorded = [t for t in _tensors(out) if t.requires_grad]
    if recorded:
        total = recorded[0].sum()
        for t in recorded[1:]:
            total = total + t.sum()
        total.backward()


def _shape(shape):
    if isinstance(shape, list):
        return ", ".join(_shape(s) for s in shape)
    return "-" if shape is None else f"({', '.join(map(str, shape))})"
