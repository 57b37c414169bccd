"""The cost report as a page, in a browser: its figures, charts that answer, layout.

AUTODIFF_SCREENSHOTS=folder keeps the pictures that the documentation shows.
"""

import os
import pathlib

import pytest

import autodiff as ad
import benchmarks
import nn
from benchmarks.costs.growth import growth
from benchmarks.costs.page import page

MODES = [("phone", False), ("phone", True), ("desktop", False), ("desktop", True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def report():
    """A small network, few rounds: what is checked is the page, not the times."""
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Sequential(nn.Linear(16, 16), nn.ReLU()),
                          nn.Linear(16, 4))
    found = benchmarks.cost(model, (ad.randn(16, 8), ad.tensor([0, 1, 2, 3] * 4)),
                            nn.functional.cross_entropy, seconds=0, steps=100, name="small")
    for over, values in (("batch", [8, 16, 32]), ("depth", [1, 2, 4])):
        found.add(growth(over=over, values=values, seconds=0))
    return found


@pytest.fixture(scope="module")
def written(report, folder):
    return page(report, folder / "cost.html")


def section(browser, title):
    return next(s for s in browser.all("section.panel")
                if s.find_element("css selector", "h2").text == title)


def within(node, selector):
    return node.find_elements("css selector", selector)


def press(node, label):
    next(b for b in within(node, "button") if b.text == label).click()


def slide(browser, slider, value):
    browser.run("arguments[0].value = arguments[1];"
                "arguments[0].dispatchEvent(new Event('input'))", slider, value)


def test_every_chart_has_two_sentences(browser, written):
    browser.open(written)
    for title in ("What memory does over a step", "Which layers it goes to",
                  "Training over inference", "Predicted beside measured",
                  "What backward needs kept", "How close each kernel is to the machine's limits",
                  "How it grows", "The whole run beside one prediction"):
        said = browser.run("return [...arguments[0].children].filter(c => c.tagName === 'P')"
                           ".map(p => p.textContent)", section(browser, title))
        assert len(said) == 2 and all(s.endswith(".") for s in said), title
    assert "In short" in browser.text()


def test_figures_are_those_of_the_report(browser, written, report):
    browser.open(written)
    shown = [e.text for e in browser.all(".figures .big")]
    step = report["multiples"]["step"]
    for text, value in zip(shown, (step["seconds"], step["peak"], step["flops"]), strict=False):
        assert float(text.rstrip("x")) == pytest.approx(value, rel=0.01)
    rows = within(section(browser, "Predicted beside measured"), "tbody tr")
    assert [r.text.split()[0] for r in rows] == ["inference", "forward", "backward", "update"]
    assert all(r.text.endswith("0 %") for r in rows)        # peaks are predicted to the byte


def test_memory_answers_a_click(browser, written, report):
    browser.open(written)
    memory = section(browser, "What memory does over a step")
    readout = within(memory, ".readout")[0]
    at = report["ledger"]["training"]["at"]
    assert f"during {at['op']}" in readout.text and at["phase"] in readout.text
    browser.run("arguments[0].scrollIntoView({block: 'center'})", memory)
    within(memory, "svg.chart")[1].click()                  # of inference
    assert ", inference, launch" in readout.text


def test_layers_by_another_measure(browser, written, report):
    browser.open(written)
    layers = section(browser, "Which layers it goes to")
    press(layers, "operations")
    training, inference = [h.text for h in within(layers, ".flame h3")]
    flops = sum(r[p]["flops"] for r in report["layers"] for p in ("forward", "backward", "update"))
    assert float(training.split(": ")[1].split()[0]) == pytest.approx(flops / 1e3, rel=0.01)
    assert inference.startswith("Inference: ")
    box = next(b for b in within(layers, ".flame button") if "2 Sequential" in b.accessible_name)
    box.click()
    assert "2 Sequential" in within(layers, ".readout")[0].text
    press(layers, "bytes kept")
    assert [h.text for h in within(layers, ".flame h3")][1] == "Inference: 0 B"


def test_sliders_follow_the_laws(browser, written, report):
    browser.open(written)
    grows = section(browser, "How it grows")
    for curve, block in zip(report["growth"], within(grows, ".growth"), strict=True):
        slider = within(block, "input[type=range]")[0]
        press(block, "arithmetic")
        law = next(q["law"] for q in curve["quantities"] if q["name"] == "flops_training")
        slide(browser, slider, 200)
        n = 4 * curve["values"][-1]
        assert within(block, "output")[0].text == str(n)
        said = within(block, ".readout")[0].text
        assert f"At {curve['over']} {n}: training" in said and "beyond the sizes" in said
        value, unit = said.split("training ")[1].split(", ")[0].split()
        scale = {"kFLOP": 1e3, "MFLOP": 1e6, "GFLOP": 1e9}[unit]
        expected = sum(c * n ** p for c, p in law["terms"])
        assert float(value) * scale == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("size", "dark"), MODES, ids=lambda v: str(v))
def test_layout(browser, written, size, dark):
    browser.open(written, size, dark)
    assert browser.problems() == []
    for label in ("operations", "bytes kept"):
        press(section(browser, "Which layers it goes to"), label)
    press(section(browser, "Predicted beside measured"), "time")
    press(section(browser, "How it grows"), "time")
    assert browser.problems() == []


def test_a_report_of_little(browser, report, folder):
    """Nothing timed, predicted, grown or run: the page says so, and stands."""
    data = report.to_dict()
    data["growth"], data["notes"] = [], ["</script><b>a note</b>"]
    data["multiples"].update(run=None, predicted=None)
    data["phases"]["prediction"] = None
    for phase in ("inference", "forward", "backward", "update"):
        data["phases"][phase]["predicted"] = None
        for row in (*data["layers"], *data["ops"]):
            row[phase].update(seconds=None, share=None)
    for row in data["roofline"]:
        row.update(seconds=None, share=None, bound=None)
    browser.open(page(data, folder / "little.html"))
    said = browser.text()
    assert "nothing was predicted" in said and "were not timed" in said
    assert "How it grows" not in said and "<b>a note</b>" in said
    assert browser.problems() == []


def test_pictures_for_the_documentation(browser, folder):
    target = os.environ.get("AUTODIFF_SCREENSHOTS")
    source = os.environ.get("AUTODIFF_COST_REPORT")
    if not (target and source):
        pytest.skip("AUTODIFF_SCREENSHOTS and AUTODIFF_COST_REPORT name no folder and report")
    from benchmarks.costs import CostReport
    path = page(CostReport.load(source), folder / "picture.html")
    for size in ("phone", "desktop"):
        browser.open(path, size)
        browser.picture(pathlib.Path(target) / f"cost-{size}.png", whole=False)
