"""audit.js finds what it is there to find, and nothing on a page without faults."""

import pytest

from autodiff.study import html_page, write_page

BODY = "const app = document.getElementById('app'); const { el } = page;"
FINE = "app.append(el('h1', {}, 'A title'), el('p', {}, 'Text.'));"
FAULTS = {
    "wide in a window": "const p = el('p', {}, 'wide'); p.style.width = '3000px'; "
                        "p.style.maxWidth = 'none'; app.append(p);",
    "is cut off by": "const p = el('p', {}, 'a long line of text in a short box'); "
                     "p.style.height = '8px'; p.style.overflow = 'hidden'; app.append(p);",
    "runs out of the window": "const p = el('p', {}, 'out'); p.style.position = 'absolute'; "
                              "p.style.left = '-20px'; app.append(p);",
    "has a contrast of": "const p = el('p', {}, 'faint'); p.style.color = '#999'; "
                         "app.append(p);",
    "overlap": "const p = el('p', {}, 'above'); p.style.marginTop = '-24px'; app.append(p);",
}


def written(folder, script):
    return write_page(folder / "page.html", html_page("t", {}, scripts=[BODY + script]))


@pytest.mark.parametrize("dark", [False, True])
def test_no_fault(browser, tmp_path, dark):
    browser.open(written(tmp_path, FINE), dark=dark)
    assert browser.text("h1") == "A title"
    assert browser.problems() == []


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(browser, tmp_path, fault):
    browser.open(written(tmp_path, FINE + FAULTS[fault]))
    assert any(fault in p for p in browser.problems()), browser.problems()


def test_other_code_does_not_run(browser, tmp_path):
    """The page's policy runs its own script alone, and fetches nothing."""
    path = written(tmp_path, FINE)
    with open(path, "a", encoding="utf-8") as file:
        file.write("<script>document.title = 'other'</script>"
                   "<img src='https://example.org/x.png'>")
    browser.open(path)
    assert browser.driver.title == "t"
    assert all("Content Security Policy" in e for e in browser.errors())
