"""Every public name of nn takes PyTorch's arguments: same names, same places, same defaults.

Invariant: what PyTorch takes and nn does not is in nn/porting.py, so that its use is understood or
refused with a reason; a new argument in the wrong place fails here.
"""

import inspect

import pytest

import nn
import nn.data
from nn.porting import FOREIGN

torch = pytest.importorskip("torch")

# Ours alone; the first argument of RMSNorm.forward is called x in torch.
EXTRA = {"lengths", "seed", "prefetch", "count", "input", "optimizer"}
# PyTorch's default is another spelling of ours.
SAME = {("activation", "relu"), ("is_causal", False), ("tgt_is_causal", False), ("modules", ()),
        ("values", ()), ("shuffle", False), ("generator", None)}


def pairs():
    for name in nn.__all__:
        ours, theirs = getattr(nn, name), getattr(torch.nn, name, None)
        if inspect.isclass(ours) and issubclass(ours, nn.Module) and theirs and name != "Module":
            yield name, ours.__init__, theirs.__init__
            if ours.forward is not nn.Module.forward:
                yield f"{name}.forward", ours.forward, theirs.forward
    for ours, theirs in ((nn.functional, torch.nn.functional), (nn.init, torch.nn.init),
                         (nn.utils, torch.nn.utils), (nn.optim, torch.optim),
                         (nn.optim.lr_scheduler, torch.optim.lr_scheduler),
                         (nn.optim.swa_utils, torch.optim.swa_utils),
                         (nn.data, torch.utils.data)):
        for name in ours.__all__:
            a, b = getattr(ours, name), getattr(theirs, name, None)
            if callable(a) and callable(b):
                yield (name, *((f.__init__ if inspect.isclass(f) else f) for f in (a, b)))


def parameters(function):
    found = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found):
        raise ValueError("any arguments")
    return found


def checkable():
    for name, ours, theirs in pairs():
        try:
            yield pytest.param(parameters(ours), parameters(theirs), id=name)
        except ValueError:              # a builtin, or a signature that tells nothing
            pass


@pytest.mark.parametrize("ours,theirs", list(checkable()))
def test_signature(ours, theirs):
    known = {p.name: (k, p) for k, p in enumerate(theirs)}
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for k, p in enumerate(ours):
        if p.name not in known:
            assert p.name in EXTRA
            continue
        place, other = known[p.name]
        if p.kind in positional and other.kind in positional:
            assert k == place, f"{p.name} is argument {k}, in torch {place}"
        same = p.default == other.default or (p.name, p.default) in SAME
        assert same or other.default is inspect.Parameter.empty or (
            p.default is inspect.Parameter.empty), f"{p.name}: {p.default}, {other.default}"
    missing = set(known) - {p.name for p in ours} - FOREIGN.keys()
    assert missing <= {"x"}, missing


def test_there_are_many():
    assert len(list(checkable())) > 120
