"""PyTorch's names for what is called otherwise: refused, with the name to write instead."""

import re

import pytest

import autodiff as ad
import nn
from autodiff import elsewhere

T = ad.ones((2, 3))


@pytest.mark.parametrize("name", sorted(elsewhere.METHODS.keys() - {"data"}))
def test_method(name):
    with pytest.raises(AttributeError) as caught:
        getattr(T, name)
    assert str(caught.value).endswith(f"for PyTorch's t.{name} write {elsewhere.METHODS[name]}")
    assert not hasattr(T, name) and name not in dir(T)


@pytest.mark.parametrize("name", sorted(elsewhere.FUNCTIONS))
def test_function(name):
    with pytest.raises(AttributeError, match=f"write {re.escape(elsewhere.FUNCTIONS[name])}"):
        getattr(ad, name)


def test_what_is_advised_exists():
    spaces = {"ad": ad, "nn": nn, "t": T}
    for advice in [*elsewhere.METHODS.values(), *elsewhere.FUNCTIONS.values()]:
        for space, path in re.findall(r"\b(ad|nn|t)((?:\.\w+)+)", advice):
            value = spaces[space]
            for part in path[1:].split("."):
                __import__("nn.data")
                value = getattr(value, part)


def test_keywords():
    for call in (lambda: T.sum(dim=1), lambda: ad.mean(T, 1, keepdim=True),
                 lambda: ad.relu(T, dims=0)):
        with pytest.raises(ad.ArgumentError, match=r"\(PyTorch's \w+ is \w+ here\); the signature"):
            call()


def test_unknown_names_stay_plain():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'$"):
        ad.nonsense  # noqa: B018
    assert dir(T) and "reshape" in dir(T) and "shape" in dir(T)
