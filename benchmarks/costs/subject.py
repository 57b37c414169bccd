"""What is to be measured: a model, a batch, a loss and an optimizer, checked once.

Everything runs on copies.  Invariant: after `protected`, the random states of the engine, of NumPy
and of Python are what they were, and nothing that the caller gave has been written to.
"""

import contextlib
import copy
import gc
import random

import numpy as np

import autodiff as ad
import nn
from autodiff.errors import AutodiffError

from .errors import BatchError, LossError, ModelError, OptimizerError

LOSS = "(loss)"                 # the scope in which the loss runs
DEFAULT_LR = 1e-3


class Subject:
    """The checked arguments of `cost`; `trainer()` and `predictor()` give runs on copies.

    inputs, target: tuples as the model and the loss take them, arrays for whatever has a shape;
    size: samples in the batch (the length of the first array's first axis).
    """

    def __init__(self, model, batch, loss, optimizer=None):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.parameters = _parameters(model)
        self.inputs, self.target, self.size = _batch(batch)
        if not callable(loss):
            raise LossError(f"cost: loss must be a function of (output, target), got "
                            f"{type(loss).__name__}; for instance nn.functional.cross_entropy")
        _check_optimizer(optimizer, self.parameters)

    def one(self):
        """The inputs of a batch of one sample: the first along the first axis of each array."""
        return tuple(x[:1] if isinstance(x, np.ndarray) and x.ndim and len(x) == self.size else x
                     for x in self.inputs)

    def optimizer_name(self):
        """Class of the optimizer, and a note where none was given."""
        return "SGD, as none was given" if self.optimizer is None else type(self.optimizer).__name__

    def loss_name(self):
        """What the loss calls itself."""
        return getattr(self.loss, "__name__", type(self.loss).__name__)

    def trainer(self, input_gradient=False):
        """A TrainingRun on new copies."""
        return TrainingRun(self, input_gradient)

    def predictor(self, inputs=None):
        """An InferenceRun on a new copy; on the batch, or on `inputs` (see `one`)."""
        return InferenceRun(self, self.inputs if inputs is None else inputs)


class InferenceRun:
    """A copy of the model in eval mode and its inputs: nothing else is alive for it."""

    def __init__(self, subject, inputs):
        self.inputs = tuple(map(_tensor, inputs))
        self.model = copy.deepcopy(subject.model)
        for p in _trainable(self.model):
            p.grad = None
        if callable(getattr(self.model, "eval", None)):
            self.model.eval()

    def predict(self):
        """The model under no_grad."""
        with ad.no_grad():
            return self.model(*self.inputs)


class TrainingRun:
    """A copy of model and optimizer and a batch: `forward`, `backward`, `update`.

    The learning rate is 0, so that however many steps are taken, the model measured is the one
    that was given.  input_gradient: as if a layer before the model wanted its gradient.
    """

    def __init__(self, subject, input_gradient=False):
        self.inputs = tuple(_tensor(x, input_gradient) for x in subject.inputs)
        self.target = tuple(map(_tensor, subject.target))
        self.outside = {p.node.serial for p in subject.parameters if p.node is not None}
        own = _owner(subject.loss)
        self.model, self.optimizer, own = copy.deepcopy((subject.model, subject.optimizer, own))
        self.call_loss = subject.loss if own is None else _method(subject.loss, own)
        self.loss = None
        if self.optimizer is None:
            self.optimizer = nn.optim.SGD(list(_trainable(self.model)), lr=DEFAULT_LR)
        for group in getattr(self.optimizer, "param_groups", ()):
            if "lr" in group:
                group["lr"] = 0.0
        for p in _trainable(self.model):
            p.grad = None
        if not getattr(self.model, "training", True):
            self.model.train()

    def forward(self):
        """Model and loss, recorded."""
        output = self.model(*self.inputs)
        with ad.scope(LOSS):
            target = self.target
            self.loss = self.call_loss(output, target[0] if len(target) == 1 else target)

    def backward(self):
        """The sweep; the tape is freed."""
        with ad.scope(LOSS):            # for the seed, which belongs to no record
            self.loss.backward()
        self.loss = None

    def update(self):
        """The optimizer's step; the gradients are dropped."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        for x in self.inputs:
            if isinstance(x, ad.Tensor) and x.requires_grad:
                x.grad = None

    def step(self):
        """A whole training step."""
        self.forward()
        self.backward()
        self.update()

    def check(self):
        """Run forward once, and name what keeps it from being the start of a step."""
        try:
            self.forward()
        except TypeError as error:
            if isinstance(error, AutodiffError):
                raise
            raise BatchError(f"cost: the model or the loss does not take this batch: {error}; the "
                             "model is called with each of the inputs, the loss with (output, "
                             "target)") from error
        loss, self.loss = self.loss, None
        if not isinstance(loss, ad.Tensor) or loss.shape != ():
            got = f"shape {loss.shape}" if isinstance(loss, ad.Tensor) else type(loss).__name__
            raise LossError(f"cost: the loss must be a scalar Tensor, of shape (), got {got}; "
                            "take its mean or its sum")
        if not loss.requires_grad:
            raise LossError("cost: the loss has no gradient: it depends on no parameter that "
                            "requires one (are they frozen, or is the output detached, or made "
                            "under no_grad?)")
        leaves = {serial for entry in ad.Tape.of(loss) for serial in entry.leaves}
        if leaves & self.outside:
            raise LossError("cost: the loss or the model reaches the model's parameters from "
                            "outside (a closure, a global), but it is a copy that is measured: "
                            "let the model return what the loss needs, or make the loss an "
                            "nn.Module that holds the model")


@contextlib.contextmanager
def protected():
    """Inside, recording is on and the garbage collector off (what it frees on its way would be
    missing from the counts); afterwards the random states are as before."""
    engine = np.array(ad.random_state().numpy())
    numpys, pythons = np.random.get_state(), random.getstate()
    collects = gc.isenabled()
    gc.disable()
    try:
        with ad.enable_grad():
            yield
    finally:
        if collects:
            gc.enable()
        with ad.no_grad(), ad.random_state().writable() as state:
            state[...] = engine
        np.random.set_state(numpys)
        random.setstate(pythons)


def _parameters(model):
    if not callable(model):
        raise ModelError(f"cost: model must be callable, got {type(model).__name__}; pass an "
                         "nn.Module")
    if not callable(getattr(model, "parameters", None)):
        name = getattr(model, "__name__", type(model).__name__)
        raise ModelError(f"cost: {name} has no parameters(): make the model an nn.Module, so that "
                         "it can be copied and its parameters found")
    found = list(model.parameters())
    if not found:
        raise ModelError(f"cost: {type(model).__name__} has no parameters: there is nothing to "
                         "train")
    if not any(p.requires_grad for p in found):
        raise ModelError(f"cost: no parameter of {type(model).__name__} requires a gradient (a "
                         "frozen model?): there is nothing to train")
    return found


def _trainable(model):
    return (p for p in model.parameters() if p.requires_grad)


def _batch(batch):
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        got = (f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list))
               else type(batch).__name__)
        raise BatchError(f"cost: batch must be a pair (inputs, target), inputs being what the "
                         f"model takes or a tuple of it; got {got}")
    inputs, target = (tuple(map(_array, part if isinstance(part, tuple) else (part,)))
                      for part in batch)
    arrays = [x for x in inputs if isinstance(x, np.ndarray)]
    if not arrays:
        raise BatchError("cost: the batch's inputs hold no array; expected Tensors or ndarrays, "
                         f"got {', '.join(type(x).__name__ for x in inputs) or 'nothing'}")
    for x in (*arrays, *(y for y in target if isinstance(y, np.ndarray))):
        if x.size == 0:
            raise BatchError(f"cost: the batch is empty: an array of shape {x.shape}")
    return inputs, target, len(arrays[0]) if arrays[0].ndim else 1


def _array(x):
    """A host copy of whatever has a shape; other values are passed on as they are."""
    if isinstance(x, ad.Tensor):
        return np.array(x.numpy())
    if isinstance(x, list) or hasattr(x, "__array__"):
        try:
            return np.array(x)
        except ValueError as error:
            raise BatchError(f"cost: a part of the batch is no array: {error}") from None
    return x


def _tensor(x, requires_grad=False):
    if not isinstance(x, np.ndarray):
        return x
    return ad.tensor(x, requires_grad=requires_grad and x.dtype.kind == "f")


def _check_optimizer(optimizer, parameters):
    if optimizer is None:
        return
    for name in ("step", "zero_grad"):
        if not callable(getattr(optimizer, name, None)):
            raise OptimizerError(f"cost: the optimizer has no {name}(), got "
                                 f"{type(optimizer).__name__}; pass one of nn.optim, or None for "
                                 "plain SGD")
    groups = getattr(optimizer, "param_groups", None)
    if groups is not None:
        mine = set(map(id, parameters))
        if not any(id(p) in mine for g in groups for p in g["params"]):
            raise OptimizerError(f"cost: {type(optimizer).__name__} updates none of the model's "
                                 "parameters; make it with model.parameters()")


def _owner(loss):
    """The module that a loss is, or is a method of: it is copied with the model."""
    owner = loss if isinstance(loss, nn.Module) else getattr(loss, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def _method(loss, owner):
    """The loss of a copied owner."""
    return owner if isinstance(loss, nn.Module) else loss.__func__.__get__(owner)
