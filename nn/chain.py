"""The blocks of a model that is a chain: each takes one Tensor and returns one.

Invariant: a block that runs again in backward has its path in the model, and leaves the buffers
(running statistics) as they were.
"""

import contextlib
import functools
import inspect
import itertools

import autodiff as ad
from autodiff import core
from autodiff.core import current_scope, pop_scope, push_scope

from .containers import ModuleList, Sequential
from .errors import AutodiffError
from .module import Module, _running


class ChainError(AutodiffError, TypeError):
    """The model is no chain of blocks, each of which takes one Tensor and returns one."""


def blocks_of(model):
    """The blocks in order; ChainError where there are none to see."""
    if isinstance(model, Module):
        runs = type(model).forward
        known = isinstance(model, ModuleList) or isinstance(model, Sequential) and (
            runs is Sequential.forward or getattr(model, "runs_a_chain", False))
        if not known:
            why = ("has a forward of its own" if isinstance(model, Sequential)
                   else "is not an nn.Sequential")
            raise ChainError(f"checkpoint_sequential: {type(model).__name__} is no chain of "
                             f"blocks: it {why}; pass nn.Sequential(...) of its blocks, or a list "
                             "of them")
        blocks = list(model)
    elif isinstance(model, (list, tuple)):
        blocks = list(model)
    else:
        raise ChainError("checkpoint_sequential: expected nn.Sequential, nn.ModuleList or a list "
                         f"of callables, got {type(model).__name__}")
    if not blocks:
        raise ChainError(f"checkpoint_sequential: {type(model).__name__} has no blocks")
    for k, block in enumerate(blocks):
        _need_one_input(k, block)
    return blocks


def _need_one_input(k, block):
    if not callable(block):
        raise ChainError(f"checkpoint_sequential: block {k} is not callable: "
                         f"{type(block).__name__}")
    module = isinstance(block, Module)
    if not _takes(type(block).forward if module else block, 2 if module else 1):
        raise ChainError(f"checkpoint_sequential: block {k} ({_name(block)}) does not take one "
                         "input; wrap it in a module that does")


@functools.lru_cache(maxsize=256)
def _takes(function, count):
    """Can the function be called with `count` arguments?"""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:          # a builtin that does not tell
        pass
    return True


def _name(block):
    return type(block).__name__ if isinstance(block, Module) else getattr(
        block, "__name__", type(block).__name__)


class Call:
    """One block with its path in the model, which holds when it runs again in backward."""

    def __init__(self, k, block, path):
        self.k, self.block, self.path = k, block, path

    def reads(self):
        """What must not change before the block runs again."""
        return list(self.block.parameters()) if isinstance(self.block, Module) else []

    def __call__(self, x):
        previous = push_scope(self.path)
        try:
            if core.current_phase() == "recompute" and isinstance(self.block, Module):
                with same_buffers(self.block):
                    y = self.block(x)
            else:
                y = self.block(x)
        finally:
            pop_scope(previous)
        if not isinstance(y, ad.Tensor):
            raise ChainError(f"checkpoint_sequential: block {self.k} ({_name(self.block)}) "
                             f"returned {type(y).__name__}, expected one Tensor")
        return y


class Several:
    """Blocks that run as one."""

    def __init__(self, calls):
        self.calls = calls

    def reads(self):
        return [t for call in self.calls for t in call.reads()]

    def __call__(self, x):
        return run_all(self.calls, x)


def run_all(calls, x):
    for call in calls:
        x = call(x)
    return x


def calls_of(model, blocks):
    base = current_scope()
    names = ([n for n, _ in model.named_children()] if isinstance(model, Module)
             else map(str, itertools.count()))
    running = _running.paths or {}
    start = base + "." if base else ""
    return [Call(k, block, running.get(id(block), start + name))
            for k, (block, name) in enumerate(zip(blocks, names, strict=False))]


@contextlib.contextmanager
def same_buffers(block):
    """Put back the buffers that change inside (running statistics move once a step)."""
    before = [(b, b.version, b.numpy().copy()) for b in block.buffers() if not b.is_dry]
    try:
        yield
    finally:
        for b, version, values in before:
            if b.version != version:
                with core.no_grad(), b.writable() as array:
                    array[...] = values
