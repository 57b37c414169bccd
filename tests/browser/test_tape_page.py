"""The page that plays a tape, in a browser: buttons, keys, numbers, layout.

AUTODIFF_SCREENSHOTS=folder keeps the pictures that the documentation shows.
"""

import os
import pathlib

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import text

MODES = [("phone", False), ("phone", True), ("desktop", False), ("desktop", True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def chain(folder):
    """y = tanh(w x + b) w at w = 0.5, x = 2, b = -1: dy/db = 0.5, dy/dw = 1."""
    w, b = (ad.tensor(v, requires_grad=True) for v in (0.5, -1.0))
    x = ad.tensor(2.0)
    y = ad.tanh(w * x + b) * w
    return ad.study.page(y, folder / "chain.html"), y, w, b


@pytest.fixture(scope="module")
def model_page(folder):
    ad.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Sequential(nn.Linear(8, 8), nn.ReLU()),
                          nn.Linear(8, 1))
    x = ad.randn(16, 2)
    loss = nn.functional.mse_loss(model(x), x[:, :1] * x[:, 1:])
    path = ad.study.page(loss, folder / "model.html", title="Learning to multiply")
    loss.backward()
    return path, model


@pytest.fixture(scope="module")
def long_page(folder):
    y = w = ad.tensor(0.999, requires_grad=True)
    for k in range(1000):
        with ad.scope(f"block{k // 100}"):
            y = ad.tanh(y * w)
    return ad.study.page(y, folder / "long.html")


def place(browser):
    return browser.text("output.place")


def test_forward_then_backward(browser, chain):
    path, y, w, b = chain
    browser.open(path)
    assert place(browser) == "Step 0 of 11, start"
    browser.button("Step forward").click()
    assert place(browser) == "Step 1 of 11, forward"
    stage = browser.text(".stage")
    assert "multiply" in stage and "= 0.5 * 2 = 1" in stage
    assert browser.all(".tag.saved") == browser.all(".stage .tag")
    for _ in range(2):
        browser.button("Step forward").click()
    assert "1 - out^2" not in browser.text(".stage")
    for _ in range(3):
        browser.button("Step forward").click()
    assert place(browser) == "Step 6 of 11, backward"
    stage = browser.text(".stage")
    assert "d x = g * y = 1 * 0.5" in stage and "d y = g * x = 1 * 0" in stage
    assert "the first contribution; more will be added" in stage
    browser.button("Step forward").click()
    stage = browser.text(".stage")
    assert "tanh' = (cosh^2 - sinh^2) / cosh^2" in stage
    assert "0.5 (1 - 0^2)" in stage
    browser.button("Step forward").click()
    browser.button("Step forward").click()
    assert "added to what was there: now 1" in browser.text(".stage")
    browser.button("Last step").click()
    assert "gradient of w = 1" in browser.text(".stage")
    assert "the sum of 2 contributions" in browser.text(".stage")
    assert not browser.button("Step forward").is_enabled()
    assert w.grad is None


def test_numbers_are_those_of_grad(browser, model_page):
    path, model = model_page
    browser.open(path)
    browser.button("Last step").click()
    seen = {}
    for _ in model.parameters():
        name = browser.text(".stage h2")
        seen[name] = browser.text(".stage .formula")
        browser.button("Step back").click()
    assert seen == {name: f"gradient of {name} = {text.preview(p.grad.numpy())}"
                    for name, p in model.named_parameters()}


def test_keys(browser, chain):
    browser.open(chain[0])
    for key, expected in [
            ("ARROW_RIGHT", "Step 1 of 11, forward"), ("END", "Step 11 of 11, backward"),
            ("ARROW_LEFT", "Step 10 of 11, backward"), ("HOME", "Step 0 of 11, start"),
            ("ARROW_LEFT", "Step 0 of 11, start")]:
        browser.press(key)
        assert place(browser) == expected
    browser.press("SPACE")
    assert browser.all("button.primary")[0].text == "Pause"
    browser.press("SPACE")
    assert browser.all("button.primary")[0].text == "Play"
    browser.press("ARROW_RIGHT", "input[type=range]")
    assert place(browser) == "Step 1 of 11, forward"


def test_playing_moves_on(browser, chain):
    from selenium.webdriver.support.ui import WebDriverWait
    browser.open(chain[0])
    browser.button("Play").click()
    WebDriverWait(browser.driver, 10).until(lambda _: place(browser).startswith("Step 1"))
    browser.button("Pause").click()


def test_what_is_said_to_a_screen_reader(browser, chain):
    browser.open(chain[0])
    said = browser.one("[aria-live=polite]")
    assert "Nothing has run yet" in said.text
    browser.press("ARROW_RIGHT")
    assert "multiply computes" in said.text and "= 1." in said.text
    names = [b.accessible_name for b in browser.all("button")]
    assert all(names), names
    assert browser.one("input[type=range]").get_attribute("aria-valuetext") == place(browser)
    for _ in range(3):
        browser.press("TAB")
    focus = browser.run("const s = getComputedStyle(document.activeElement);"
                        "return [document.activeElement.tagName, s.outlineStyle, s.outlineWidth]")
    assert focus[0] in ("BUTTON", "INPUT") and focus[1:] == ["solid", "2px"]


def test_memory_of_training_beside_inference(browser, chain):
    browser.open(chain[0])

    def shown():
        return [e.text for e in browser.all(".meters .big")]

    assert shown() == ["0 B", "0 B"]
    browser.open(chain[0], fragment="#5")           # the turn
    training, inference = shown()
    assert training == "12 B"                       # the tanh's output, y, the gradient 1
    assert inference == "0 B"
    assert "done: nothing was kept" in browser.text(".memory")
    browser.open(chain[0], fragment="#7")           # tanh, backward: it lets go of its output
    assert "Freed after this step" in browser.text(".memory")
    assert browser.text(".stage .tag.freed").endswith("4 B")


def test_modules_fold(browser, model_page):
    browser.open(model_page[0])

    def rows():
        return [r.text.split("\n")[0] for r in browser.all(".row .text")]

    before = rows()
    assert "leaves" in before and "2" in before and "2.0" in before and "0.weight" in before
    browser.button("fold all").click()
    folded = rows()
    assert folded == ["leaves", "0", "1", "2", "3", [r for r in before if "mse" in r][0]]
    browser.press("END")                            # a step inside what is folded
    assert browser.all(".row.header.here")[0].text.startswith("▸\nleaves")
    header = next(b for b in browser.all(".row.header") if "\n2\n" in b.text)
    header.click()
    assert "2.0" in rows()
    browser.button("unfold all").click()
    assert rows() == before


def test_the_list_leads_to_a_step(browser, chain):
    browser.open(chain[0])
    next(r for r in browser.all(".row") if "tanh" in r.text).click()
    assert place(browser) == "Step 3 of 11, forward"
    browser.press("END")
    next(r for r in browser.all(".row") if "tanh" in r.text).click()
    assert place(browser) == "Step 7 of 11, backward"
    next(b for b in browser.all(".stage button") if "add" in b.text).click()
    assert place(browser) == "Step 8 of 11, backward"


def test_a_tape_of_2000_records(browser, long_page):
    browser.open(long_page, fragment="#1500")
    assert place(browser) == "Step 1500 of 4002, forward"
    assert len(browser.all(".rows li")) < 80        # only what is in view
    current = browser.seen(".row[aria-current=step]")
    assert "multiply" in current or "tanh" in current
    for _ in range(3):
        browser.press("PAGE_DOWN", ".window")
    assert len(browser.all(".rows li")) < 80
    browser.press("END")
    assert browser.seen(".row.here")                # the leaf, at the other end of the list
    assert browser.problems() == []


@pytest.mark.parametrize(("size", "dark"), MODES, ids=lambda v: str(v))
def test_layout(browser, model_page, size, dark):
    browser.open(model_page[0], size, dark)
    last = int(browser.one("input[type=range]").get_attribute("max"))
    for step in (0, 1, 3, last // 3, last // 2, last - 4, last):
        browser.open(model_page[0], size, dark, f"#{step}")
        assert place(browser).startswith(f"Step {step} of")
        assert browser.problems() == [], step


def test_names_are_shown_as_text(browser, folder):
    evil = "</script><img src=x onerror=document.title=1>"
    x = ad.tensor(np.ones(3), requires_grad=True)
    with ad.scope(evil):
        y = ad.exp(x).sum()
    browser.open(ad.study.page(y, folder / "evil.html", names={evil: x}, title=evil))
    browser.button("Last step").click()
    assert evil in browser.text(".stage h2") and evil in browser.text("h1")
    assert browser.all("img") == []
    assert browser.driver.title == evil


def test_pictures_for_the_documentation(browser, model_page):
    target = os.environ.get("AUTODIFF_SCREENSHOTS")
    if not target:
        pytest.skip("AUTODIFF_SCREENSHOTS names no folder")
    for size in ("phone", "desktop"):
        browser.open(model_page[0], size, fragment="#9")
        browser.picture(pathlib.Path(target) / f"tape-{size}.png",
                        whole=size == "desktop")
