"""Every bad sample raises the named error, at the call, and says what it should."""

import re

import pytest

from autodiff import core
from autodiff.errors import AutodiffError
from autodiff.op import registry
from autodiff.samples import Draw

BAD = [(block, bad, k) for block in registry.values() if block.bad is not None
       for k, bad in enumerate(block.bad(Draw(0)))]


@pytest.mark.parametrize("block, bad, number", BAD, ids=[f"{b.name}-{k}" for b, _, k in BAD])
def test_bad_sample(block, bad, number):
    assert issubclass(bad.error, AutodiffError), "errors raised on purpose have names"
    with core.no_grad(), pytest.raises(bad.error) as caught:
        block.call(*bad.args, **bad.kwargs)
    text = str(caught.value)
    assert bad.match in text or re.search(bad.match, text), f"{bad.match!r} is not in {text!r}"


@pytest.mark.parametrize("block", [b for b in registry.values() if b.inputs and b.method],
                         ids=lambda b: b.name)
def test_unknown_keyword(block):
    from autodiff.errors import ArgumentError
    with pytest.raises(ArgumentError, match=block.name):
        block.call(no_such_argument=1)
