"""draw: what the picture says is what the tape holds; Graphviz lays it out."""

import os
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.errors import ArgumentError, GradientError, ReleasedTapeError
from autodiff.study import draw, layout
from autodiff.study.errors import LayoutEngineError, TooLargeError

ENGINES = layout.engines()
needs_graphviz = pytest.mark.skipif(not ENGINES, reason="no Graphviz: neither `dot` nor pygraphviz")


@pytest.fixture
def chain():
    """y = tanh(w x + b) w at w = 0.5, x = 2, b = -1."""
    w, b = (ad.tensor(v, requires_grad=True) for v in (0.5, -1.0))
    return ad.tanh(w * ad.tensor(2.0) + b) * w, w, b


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 3)),
                         nn.Linear(3, 1))


def test_before_backward(chain):
    y, w, b = chain
    dot = draw(y).dot
    assert dot.count("gradient: not computed yet") == 6
    assert "<b>w</b>" in dot and "<b>multiply = y</b>" in dot
    assert "saves out: 4 B" in dot
    assert w.grad is None


def test_gradients_for_the_picture_alone(chain):
    y, w, b = chain
    dot = draw(y, gradients=True).dot
    assert "not computed yet" not in dot
    assert "gradient: 1, the sum of 2" in dot              # w: x (1 - 0) w + tanh(0)
    assert "gradient: 0.5" in dot
    assert w.grad is None and b.grad is None
    assert "gradient" not in draw(y, gradients=False).dot


def test_after_backward(chain):
    y, w, b = chain
    y.backward(retain_graph=True)
    retained = draw(y).dot
    assert "not computed yet" not in retained and "gradient: 1, the sum of 2" in retained
    y.backward()
    dot = draw(y).dot
    assert dot.count("let go of by backward") == 4          # of the records
    assert "gradient: 2<" in dot                            # w.grad, of both
    assert "saves" not in dot
    with pytest.raises(ReleasedTapeError, match="retain_graph=True"):
        draw(y, gradients=True)


def test_modules_are_clusters(model):
    loss = model(ad.ones((4, 2))).sum()
    dot = draw(loss, model=model).dot
    for path in ("0", "1", "1.0", "1.1", "2"):
        assert f'subgraph "cluster {path}"' in dot
    assert "<b>1.1.weight</b>" in dot


def test_collapse(model):
    loss = model(ad.ones((4, 2))).sum()
    dot = draw(loss, collapse=1, model=model).dot
    assert "subgraph" not in dot
    assert "<b>1</b>" in dot and "12 parameters" in dot
    assert "saves 48 B in 1 array<" in draw(loss, collapse=["1"], model=model).dot
    assert '"g 0" -> "g 1" [label="[4, 3]"]' in dot
    nested = draw(loss, collapse=["1.1"], model=model).dot
    assert 'subgraph "cluster 1"' in nested and '"g 1.1" [label' in nested


def test_large_tapes_collapse_by_themselves():
    deep = nn.Sequential(*[nn.Linear(2, 2) for _ in range(50)])
    dot = draw(deep(ad.ones((1, 2))).sum()).dot
    assert dot.count("1 record<") == 50 and "subgraph" not in dot
    y = ad.tensor(1.0, requires_grad=True)
    for _ in range(700):
        y = y * 1.0
    with pytest.raises(TooLargeError, match="ad.scope.*ad.study.page"):
        draw(y)


def test_names_are_escaped():
    x = ad.tensor(1.0, requires_grad=True)
    with ad.scope('"evil" ]; <b>'):
        y = ad.exp(x)
    drawing = draw(y, names={"<script>&": x})
    assert "&lt;script&gt;&amp;" in drawing.dot
    assert r'cluster \"evil\" ]; <b>' in drawing.dot
    for engine in ENGINES:
        ElementTree.fromstring(layout.render(drawing.dot, "svg", engine))


@needs_graphviz
@pytest.mark.parametrize("engine", ENGINES)
def test_layout(chain, engine):
    svg = layout.render(draw(chain[0], gradients=True).dot, "svg", engine).decode()
    for said in ("gradient: 1, the sum of 2", "saves out: 4 B", "tanh"):
        assert said in svg, said


@needs_graphviz
def test_shows_and_saves(chain, tmp_path):
    drawing = draw(chain[0])
    assert drawing._repr_svg_().startswith("<svg")
    drawing.save(tmp_path / "tape.svg")
    drawing.save(str(tmp_path / "tape.png"))
    drawing.save(tmp_path / "tape.dot")
    assert (tmp_path / "tape.svg").read_text() == drawing.svg
    assert (tmp_path / "tape.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["tape.dot", "tape.png", "tape.svg"]
    with pytest.raises(ArgumentError, match=r"\.svg, \.png or \.dot"):
        drawing.save(tmp_path / "tape.jpg")
    with pytest.raises(ArgumentError, match="expected a file's path"):
        from autodiff.study.files import write_text
        write_text(3, "")


def test_no_engine(chain, monkeypatch):
    monkeypatch.setattr(layout, "engines", lambda: [])
    with pytest.raises(LayoutEngineError, match=r"pip install 'autodiff\[study\]'"):
        draw(chain[0]).svg  # noqa: B018


@needs_graphviz
@pytest.mark.parametrize("engine", ENGINES)
def test_a_failing_engine(engine):
    with pytest.raises(LayoutEngineError, match="failed"):
        layout.render("digraph {", "svg", engine)


def test_errors(chain):
    y, w, _ = chain
    with pytest.raises(GradientError, match="draw: this tensor is not on the tape"):
        draw(ad.tensor(1.0))
    with pytest.raises(ArgumentError, match="gradients must be True, False or None"):
        draw(y, gradients="yes")
    for wrong in (0, "encoder", 1.5, True):
        with pytest.raises(ArgumentError, match="collapse must be"):
            draw(y, collapse=wrong)
    with pytest.raises(ArgumentError, match="no module path 'encoder' on this tape"):
        draw(y, collapse=["encoder"])
    with pytest.raises(ArgumentError, match="tape must be a Tape"):
        draw(y, tape=3)


def test_arrays_are_shown_by_their_range():
    x = ad.tensor(np.arange(200.0), requires_grad=True)
    assert "in 0 .. 199" in draw((x * 2.0).sum()).dot
