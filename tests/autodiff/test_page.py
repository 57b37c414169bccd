"""page: its steps are the engine's records, its numbers `.grad`, its bytes the ledger's."""

import gc
import json
import os
import re

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import text
from autodiff.errors import ArgumentError, GradientError, ReleasedTapeError
from autodiff.study import html_page, page
from autodiff.study.lifetimes import Lifetimes
from autodiff.study.page import page_data
from autodiff.study.sweep import watch
from autodiff.study.trace import Trace
from autodiff.tapes import Tape

F = nn.functional


@pytest.fixture
def chain():
    """y = tanh(w x + b) w at w = 0.5, x = 2, b = -1: dy/db = 0.5, dy/dw = 0 + 1."""
    w, b = (ad.tensor(v, requires_grad=True) for v in (0.5, -1.0))
    return ad.tanh(w * ad.tensor(2.0) + b) * w, w, b


def data_in(path):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>',
                      path.read_text("utf-8"), re.S)
    return json.loads(found[1])


def test_steps_and_numbers(chain, tmp_path):
    y, w, b = chain
    written = page(y, tmp_path / "tape.html", names={"w": w, "b": b, "y": y})
    assert written == str(tmp_path / "tape.html")
    data = data_in(tmp_path / "tape.html")
    records = [n for n in data["nodes"] if not n.get("leaf")]
    assert [n["serial"] for n in records] == [e.serial for e in Tape.of(y)]
    assert [n["op"] for n in records] == ["multiply", "add", "tanh", "multiply"]
    assert [n["worked"] for n in records] == ["0.5 * 2", "1 + (-1)", "(e^0 - e^-0) / (e^0 + e^-0)",
                                              "0 * 0.5"]
    visited = [data["nodes"][s["node"]]["serial"] for s in data["steps"]]
    assert visited == sorted(visited, reverse=True)
    assert len(visited) == 6
    last, *_, at_w = data["steps"]
    assert [r["worked"] for r in last["results"]] == ["1 * 0.5", "1 * 0"]
    assert at_w["gradients"] == ["1"]
    product = next(s for s in data["steps"] if data["nodes"][s["node"]] is records[0])
    assert (product["results"][0]["added"], product["results"][0]["total"]) == (True, "1")
    assert w.grad is None and b.grad is None
    y.backward()
    assert (w.grad.item(), b.grad.item()) == (1.0, 0.5)


def test_gradients_are_those_of_backward():
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    loss = F.cross_entropy(model(ad.randn(4, 5)), ad.tensor([0, 2, 1, 1]))
    trace = Trace("page", loss, model=model, names={})
    finished = {s.node.serial: s.gradients[0] for s in watch(trace) if s.node.is_leaf}
    shown = {data["name"]: step["gradients"][0] for data, step in _leaf_steps(page_data(trace))}
    loss.backward()
    for name, p in model.named_parameters():
        value, grad = finished[p.node.serial], p.grad.numpy()
        assert value.text == text.preview(grad) == shown[name]
        if value.array is not None:
            np.testing.assert_array_equal(value.array, grad)


def _leaf_steps(data):
    return [(data["nodes"][s["node"]], s) for s in data["steps"]
            if data["nodes"][s["node"]].get("leaf")]


def test_grad_and_saves_stay(chain, tmp_path):
    y, w, b = chain
    y.backward(retain_graph=True)
    before = w.grad.item()
    page(y, tmp_path / "tape.html")
    assert w.grad.item() == before
    y.backward()                                # the saves are still there
    assert w.grad.item() == 2 * before


def workloads():
    images = ad.tensor(np.random.default_rng(0).standard_normal((4, 1, 8, 8)))
    classes = ad.tensor([1, 2, 3, 0])
    ids = ad.tensor(np.zeros((2, 8), np.int64))
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    cnn = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(64, 10))
    gpt = nn.GPT(10, 8, 2, 16, 2)
    first, last = nn.Sequential(nn.Flatten(), nn.Linear(64, 32)), nn.Linear(32, 10)
    part = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.Sigmoid())
    whole = nn.Sequential(first, part, last).to(ad.float64)
    return {"checkpoint": (whole, lambda: F.cross_entropy(last(ad.checkpoint(part, first(images))),
                                                          classes)),
            "mlp": (mlp.to(ad.float64), lambda: F.cross_entropy(mlp(images), classes)),
            "cnn": (cnn.to(ad.float64), lambda: F.cross_entropy(cnn(images), classes)),
            "gpt": (gpt, lambda: F.cross_entropy(gpt(ids).reshape((-1, 10)),
                                                 ad.zeros((16,), dtype=ad.int64)))}


@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt", "checkpoint"])
def test_bytes_are_the_ledgers(name):
    """At the turn, at the end of backward and of inference: what the ledger counts."""
    model, run = workloads()[name]
    run()
    gc.collect()
    start = ad.memory.stats()["live_bytes"]
    with ad.no_grad():
        inferred = run()
    inference = ad.memory.stats()["live_bytes"] - start
    del inferred
    loss = run()
    turn = ad.memory.stats()["live_bytes"] - start
    trace = Trace("page", loss, names={}, model=model)
    times = Lifetimes(trace, watch(trace))
    del trace.values, trace
    loss.backward()
    end = ad.memory.stats()["live_bytes"] - start
    kept = times.training["saved"][times.turn - 1] + loss.nbytes
    # Integer inputs made inside the model (positions, targets) count as inputs, there all the time.
    made = turn - kept if name == "gpt" else 0
    assert made <= 3 * 8 * 16
    assert kept + made == turn
    assert times.training_bytes[-1] == end
    assert inference == loss.nbytes
    assert times.inference[-1] >= loss.nbytes
    assert max(times.inference) <= max(times.training_bytes)


def test_a_borrowed_gradient_counts_once():
    """x + c hands its gradient on as it is: the same 800 bytes are the gradient of both."""
    x = ad.tensor(np.ones(100), requires_grad=True)
    s = x + 1.0
    loss = (s * 3.0).sum()
    trace = Trace("page", loss, names={"x": x, "s": s})
    times = Lifetimes(trace, watch(trace))
    assert [a.nbytes for a in times.arrays if a.name == "gradient of s, x"] == [800]
    assert times.training["gradient"][-1] == 800


def test_inference_keeps_nothing(chain):
    y, *_ = chain
    trace = Trace("page", y)
    times = Lifetimes(trace, watch(trace))
    assert len(times.inference) == times.turn
    assert max(times.inference) == 8            # an input and an output at a time
    assert all(a.inference is None or a.inference < times.turn for a in times.arrays)


def test_text_cannot_become_markup(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>\u2028&amp;{{data}}"
    x = ad.tensor(1.0, requires_grad=True)
    with ad.scope(evil):
        y = ad.exp(x)
    page(y, tmp_path / "tape.html", names={evil: x}, title=evil)
    found = (tmp_path / "tape.html").read_text("utf-8")
    assert "<img" not in found
    assert found.count("</script>") == 2
    assert f"<title>{'&lt;/script&gt;&lt;img'}" in found
    data = data_in(tmp_path / "tape.html")
    assert data["nodes"][0]["name"] == data["nodes"][1]["path"] == data["title"] == evil


def test_it_is_self_contained(chain, tmp_path):
    page(chain[0], tmp_path / "tape.html")
    found = (tmp_path / "tape.html").read_text("utf-8")
    addresses = set(re.findall(r"\bhttps?://[^\s\"'`)]+", found))
    assert addresses <= {"http://www.w3.org/2000/svg"}          # the name of SVG, never fetched
    assert "default-src 'none'" in found and "unsafe" not in found
    assert not re.search(r"<(link|img|iframe|script)[^>]+(src|href)=\"(?!data:)", found)


def test_written_whole_or_not_at_all(chain, tmp_path, monkeypatch):
    target = tmp_path / "tape.html"
    target.write_text("old")

    def fail(*args):
        raise OSError("no room")
    with monkeypatch.context() as m:
        m.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no room"):
            page(chain[0], target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["tape.html"]
    with pytest.raises(FileNotFoundError):
        page(chain[0], tmp_path / "nowhere" / "tape.html")


def test_checkpoints_slices_and_functions(tmp_path):
    class Double(ad.Function):
        """Twice x."""

        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            return g * 2.0
    x = ad.tensor(np.arange(1.0, 4.0), requires_grad=True)
    a, b = ad.split(x, [1, 2], 0)
    loss = ad.checkpoint(ad.tanh, Double.apply(x[1:])).sum() + a.sum() * b.sum()
    page(loss, tmp_path / "tape.html")
    data = data_in(tmp_path / "tape.html")
    assert any(n.get("deferred") for n in data["nodes"])
    loss.backward()
    (leaf, step), = _leaf_steps(data)
    assert leaf["name"] == "x" and step["gradients"] == [text.preview(x.grad.numpy())]


def test_a_long_tape(tmp_path):
    y = w = ad.tensor(0.999, requires_grad=True)
    for _ in range(1000):
        y = ad.tanh(y * w)
    page(y, tmp_path / "tape.html")
    assert data_in(tmp_path / "tape.html")["records"] == 2000
    y.backward()


def test_errors(chain, tmp_path):
    y, w, _ = chain
    path = tmp_path / "tape.html"
    with pytest.raises(ArgumentError, match="page: expected a Tensor, got int"):
        page(3, path)
    with pytest.raises(GradientError, match="page: this tensor is not on the tape"):
        page(ad.tensor(1.0), path)
    with pytest.raises(GradientError, match=r"shape \(2,\), not one element; reduce it"):
        page(ad.tensor([1.0, 2.0], requires_grad=True) * 2.0, path)
    with pytest.raises(ArgumentError, match="expected a file's path"):
        page(y, 3)
    y.backward()
    with pytest.raises(ReleasedTapeError, match="retain_graph=True"):
        page(y, path)
    assert not path.exists()


def test_the_template_refuses_what_would_break_it():
    with pytest.raises(ArgumentError, match="the data is no JSON"):
        html_page("t", {"x": float("nan")})
    with pytest.raises(ArgumentError, match="the data is no JSON"):
        html_page("t", {"x": object()})
    with pytest.raises(ArgumentError, match="holds </script"):
        html_page("t", {}, scripts=["'</script>'"])
    with pytest.raises(ArgumentError, match="holds </style"):
        html_page("t", {}, styles=["</STYLE>"])
    assert "\ud800".encode("utf-8", "replace").decode() in html_page("t", {"x": "\ud800"})
