"""nn.Module: the tree, its state, its paths in records and errors."""

import copy
import threading

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.core import current_scope


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1 = nn.Linear(3, 4)
        self.linear2 = nn.Linear(4, 3, bias=False)
        self.register_buffer("scale", ad.tensor(2.0))
        self.register_buffer("cache", ad.tensor([1.0]), persistent=False)

    def forward(self, x):
        return self.linear2(self.linear1(x).relu()) * self.scale


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleList([Block(), Block()])
        self.head = nn.Parameter(ad.ones((3,)))

    def forward(self, x):
        for block in self.encoder:
            x = block(x)
        return x * self.head


def values(module):
    return {k: v.numpy().copy() for k, v in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


# The tree

def test_names_and_order():
    m = Model()
    assert [n for n, _ in m.named_parameters()] == [
        "head", "encoder.0.linear1.weight", "encoder.0.linear1.bias", "encoder.0.linear2.weight",
        "encoder.1.linear1.weight", "encoder.1.linear1.bias", "encoder.1.linear2.weight"]
    assert [n for n, _ in m.named_buffers()] == [
        "encoder.0.scale", "encoder.0.cache", "encoder.1.scale", "encoder.1.cache"]
    assert "encoder.0.scale" in m.state_dict() and "encoder.0.cache" not in m.state_dict()
    assert [n for n, _ in m.named_modules()][:4] == ["", "encoder", "encoder.0",
                                                     "encoder.0.linear1"]
    assert [n for n, _ in m.named_children()] == ["encoder"]
    assert len(list(m.parameters())) == 7 and len(list(m.buffers())) == 4
    assert len(list(m.modules())) == 8 and len(list(m.children())) == 1
    assert m.get_submodule("encoder.1.linear2") is m.encoder[1].linear2
    assert m.get_parameter("encoder.0.linear1.bias") is m.encoder[0].linear1.bias


def test_categories():
    m = Model()
    assert {p.category for p in m.parameters()} == {"parameter"}
    assert {b.category for b in m.buffers()} == {"buffer"}
    assert all(p.requires_grad and p.is_leaf for p in m.parameters())


def test_tied_parameters_count_once():
    m = Model()
    m.encoder[1].linear1.weight = m.encoder[0].linear1.weight
    assert len(list(m.parameters())) == 6
    assert len(m.state_dict()) == 9
    twice = m.named_parameters(remove_duplicate=False)
    assert len(list(twice)) == 7


def test_assignment_rules():
    m = Block()
    m.linear2 = None
    assert [n for n, _ in m.named_children()] == ["linear1"]
    m.linear2 = nn.Linear(4, 3)
    m.extra = 5
    assert "extra" not in dict(m.named_parameters())
    with pytest.raises(nn.ModuleError, match="expected an nn.Parameter"):
        m.linear1.weight = ad.zeros((4, 3))
    with pytest.raises(nn.ModuleError, match="expected a Module"):
        m.linear1 = 3
    m.scale = ad.tensor(3.0)
    assert m.scale.category == "buffer" and "scale" in m.state_dict()
    del m.scale
    assert "scale" not in m.state_dict()
    with pytest.raises(nn.ModuleError, match="without '.'"):
        m.register_parameter("a.b", None)
    with pytest.raises(nn.ModuleError, match="exists already"):
        m.register_buffer("forward", None)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        m.nothing()
    with pytest.raises(nn.ModuleError, match="no 'x'"):
        m.get_submodule("linear1.x")


def test_forgotten_super_init():
    class Bad(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)
    with pytest.raises(nn.ModuleError, match=r"super\(\).__init__"):
        Bad()


def test_a_result_is_no_parameter():
    m = Block()
    m.halved = m.linear1.weight * 0.5
    assert "halved" not in dict(m.named_parameters())


def test_modes_apply_and_freeze():
    m, seen = Model(), []
    assert m.eval() is m and not any(x.training for x in m.modules())
    assert m.train() is m and all(x.training for x in m.modules())
    m.apply(lambda x: seen.append(type(x).__name__))
    assert seen[-1] == "Model" and len(seen) == 8
    m.requires_grad_(False)
    assert not any(p.requires_grad for p in m.parameters())
    assert len(list(m.parameters())) == 7
    with pytest.raises(ad.ArgumentError):
        m.train("yes")


def test_zero_grad():
    m = Model()
    m(ad.ones((2, 3))).sum().backward()
    assert all(p.grad is not None for p in m.parameters())
    m.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in m.parameters())
    m.zero_grad()
    assert all(p.grad is None for p in m.parameters())


def test_conversion_keeps_ties_and_kinds():
    m = Model()
    m.encoder[1].linear1.weight = m.encoder[0].linear1.weight
    m.head.requires_grad = False
    before = values(m)
    m.double()
    assert all(p.dtype == np.float64 and p.category == "parameter" for p in m.parameters())
    assert m.encoder[1].linear1.weight is m.encoder[0].linear1.weight
    assert not m.head.requires_grad and m.encoder[0].linear1.bias.requires_grad
    assert m(ad.ones((1, 3), dtype=ad.float64)).dtype == np.float64
    m.float()
    assert same(before, values(m))
    with pytest.raises(ad.DtypeError):
        m.to(ad.int64)


def test_deepcopy_is_independent():
    m = Model()
    m.encoder[1].linear1.weight = m.encoder[0].linear1.weight
    c = copy.deepcopy(m)
    assert same(values(m), values(c))
    assert c.encoder[1].linear1.weight is c.encoder[0].linear1.weight
    assert c.head is not m.head and c.head.category == "parameter" and c.head.requires_grad
    with ad.no_grad():
        c.head.copy_(5.0)
    assert m.head.numpy()[0] == 1


def test_repr():
    m = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Dropout(0.1)))
    assert repr(m) == """Sequential(
  (0): Linear(in_features=2, out_features=3, bias=True)
  (1): Sequential(
    (0): ReLU()
    (1): Dropout(p=0.1, inplace=False)
  )
)"""


# State dicts

def test_state_dict_round_trip():
    a, b = Model(), Model()
    assert not same(values(a), values(b))
    assert b.load_state_dict(a.state_dict()) == ([], [])
    assert same(values(a), values(b))
    with ad.no_grad():
        a.head.fill_(3.0)
    assert b.head.numpy()[0] == 1                       # copied, not shared
    assert a.state_dict()["head"].numpy()[0] == 3       # the dict shares


def test_load_names_every_problem_and_changes_nothing():
    m = Model()
    before, state = values(m), m.state_dict()
    state["head"] = ad.zeros((4,))
    state["encoder.0.linear1.bias"] = ad.zeros((4,), dtype=ad.int64)
    del state["encoder.1.linear1.weight"]
    state["decoder.weight"] = ad.zeros((1,))
    state["encoder.0.linear1.weight"] = ad.zeros((4, 3))
    with pytest.raises(nn.StateDictError) as e:
        m.load_state_dict(state)
    for part in ("head: expected shape (3,), got (4,)", "missing keys: encoder.1.linear1.weight",
                 "unexpected keys: decoder.weight", "encoder.0.linear1.bias: expected float32"):
        assert part in str(e.value)
    assert same(before, values(m))
    with pytest.raises(nn.StateDictError, match="head"):
        m.load_state_dict(state, strict=False)
    assert same(before, values(m))


def test_load_not_strict():
    m = Model()
    keys = m.load_state_dict({"head": np.full(3, 7.0), "x": np.zeros(1)}, strict=False)
    assert keys.unexpected_keys == ["x"] and "encoder.0.scale" in keys.missing_keys
    assert m.head.numpy().tolist() == [7, 7, 7] and m.head.dtype == np.float32
    with pytest.raises(ad.ArgumentError, match="nn.load"):
        m.load_state_dict("model.safetensors")


# Paths

class Spy(nn.Module):
    def forward(self, x):
        self.seen = current_scope()
        return x


def test_paths_in_the_outermost_module():
    spy = Spy()
    inner = nn.Sequential(nn.Identity(), spy)
    outer = nn.Sequential(nn.ModuleDict({"a": inner})["a"])
    outer(1)
    assert spy.seen == "0.1" and current_scope() == ""
    inner(1)
    assert spy.seen == "1"
    spy(1)
    assert spy.seen == ""
    outer.add_module("late", nn.Sequential(spy))        # the first path of a shared module counts
    outer(1)
    assert spy.seen == "0.1"
    outer[0][1] = nn.Identity()
    outer(1)
    assert spy.seen == "late.0"


def test_path_inside_a_scope():
    scope = pytest.importorskip("autodiff.scope").scope
    spy = Spy()
    model = nn.Sequential(spy)
    with scope("teacher"):
        model(1)
    assert spy.seen == "teacher.0"
    model(1)
    assert spy.seen == "0"


def test_errors_carry_the_path_and_leave_it():
    m = Model()
    m.encoder[1].linear1 = nn.Linear(5, 4)
    with pytest.raises(ad.ShapeError, match=r"in encoder\.1\.linear1$"):
        m(ad.ones((2, 3)))
    assert current_scope() == ""
    with pytest.raises(ad.DtypeError, match=r"\.astype\(ad\.float32\).*in encoder\.0\.linear1$"):
        m(ad.ones((2, 3), dtype=ad.float64))
    with pytest.raises(ad.ArgumentError, match="must be a Tensor, got list; .*linear1"):
        m([1.0])


def test_records_carry_the_path():
    m = Model()
    y = m(ad.ones((2, 3)))
    assert y.node.scope == "" and y.node.parents[0].scope == "encoder.1"


def test_threads_have_paths_of_their_own():
    spies = [Spy(), Spy()]
    barrier = threading.Barrier(2)

    class Wait(nn.Module):
        def forward(self, x):
            barrier.wait()
            return x

    def run(spy, depth):
        m = spy
        for _ in range(depth):
            m = nn.Sequential(Wait() if m is spy else nn.Identity(), m)
        m(1)
    threads = [threading.Thread(target=run, args=(s, d))
               for s, d in zip(spies, (1, 3), strict=True)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [s.seen for s in spies] == ["1", "1.1.1"]


# Containers

def test_sequential():
    a, b, c = nn.Identity(), nn.ReLU(), nn.Tanh()
    s = nn.Sequential(a, b)
    assert s.append(c) is s and len(s) == 3 and s[-1] is c and list(s[1:]) == [b, c]
    assert [n for n, _ in s[1:].named_children()] == ["1", "2"]
    s.insert(0, nn.GELU())
    assert [n for n, _ in s.named_children()] == ["0", "1", "2", "3"] and s[1] is a
    del s[0]
    assert list(s) == [a, b, c]
    named = nn.Sequential({"first": a, "act": b})
    assert named.act is b and named(ad.tensor([-1.0, 2.0])).tolist() == [0, 2]
    with pytest.raises(nn.ModuleError, match="argument 1 must be a Module"):
        nn.Sequential(a, 3)
    with pytest.raises(IndexError):
        s[3]


def test_module_list_and_dict():
    layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(3))
    assert [n for n, _ in layers.named_parameters()][:2] == ["0.weight", "0.bias"]
    layers[1] = nn.Identity()
    assert len(list(layers.parameters())) == 4
    d = nn.ModuleDict({"x": nn.ReLU()})
    d["y"] = nn.Tanh()
    assert list(d) == ["x", "y"] and len(d) == 2 and "y" in d and [k for k, _ in d.items()] == [
        "x", "y"]
    del d["x"]
    with pytest.raises(KeyError, match="no key 'x'"):
        d["x"]
    with pytest.raises(NotImplementedError):
        d(1)


def test_flatten_unflatten():
    x = ad.zeros((2, 3, 4, 5))
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(0, 1)(x).shape == (6, 4, 5)
    assert nn.Unflatten(1, (3, -1))(ad.zeros((2, 12))).shape == (2, 3, 4)
    with pytest.raises(ad.ShapeError, match="does not split"):
        nn.Unflatten(1, (5, -1))(ad.zeros((2, 12)))
    with pytest.raises(ad.ShapeError, match="out of range"):
        nn.Flatten(5)(x)
