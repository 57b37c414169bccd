"""The documentation: every block of code runs and prints what its page shows, every link resolves,
every name is there.

The site itself is built by `make docs`, which checks the built pages as well.
"""

import functools
import importlib
import re
import sys
from pathlib import Path

import pytest

import autodiff as ad

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if "_tools" not in p.parts)]
LESSONS = [p for p in PAGES if p.parent.name == "lessons" and p.name != "index.md"]

sys.path.insert(0, str(DOCS / "_tools"))
blocks = importlib.import_module("blocks")
pytest.importorskip("pygments")
sources = importlib.import_module("sources")
reference = importlib.import_module("reference")
operations = importlib.import_module("operations")
directives = importlib.import_module("directives")

compiled = pytest.mark.skipif(ad.core.name == "plain", reason="pages show the compiled core")


def named(page):
    return str(page.relative_to(ROOT))


def runnable(page):
    return any(b.language in ("python", "sh") and not b.skipped
               for b in blocks.blocks(page.read_text(encoding="utf-8")))


@compiled
@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p)], ids=named)
def test_the_code_of_a_page_prints_what_it_shows(page):
    for package in ("safetensors", "matplotlib"):
        pytest.importorskip(package)
    passed, said = blocks.check(page)
    assert passed, said


# Links --------------------------------------------------------------------------------------------

@functools.cache
def anchors(page):
    """The anchors of a page of Markdown: its headings, and the ids that it gives itself."""
    text = directives.filled(page.read_text(encoding="utf-8"))
    found = set(re.findall(r"\{[^}\n]*#([\w.-]+)", text))
    for line in sources.without_code(text).split("\n"):
        if line.startswith("#"):
            plain = re.sub(r"[^\w\s-]", "", re.sub(r"\{.*\}$|`", "", line.lstrip("# ")))
            found.add(re.sub(r"[-\s]+", "-", plain.strip().lower()))
    return found


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md"], ids=named)
def test_every_link_resolves(page):
    links = sources.links_of(page.read_text(encoding="utf-8"))
    made = blocks.written(page, [target for target, _ in links])
    for target, name in links:
        if target in made or target.startswith(("http:", "https:", "mailto:")):
            continue
        path = (page.parent / target).resolve()
        assert path.exists(), f"{named(page)}: {target}"
        if not path.is_relative_to(DOCS):
            sources.resolve(target, name, page.parent.relative_to(ROOT))    # or BrokenLink
        elif name and path.suffix == ".md":
            assert name in anchors(path), f"{named(page)}: {target}#{name}"


def test_a_broken_link_is_noticed():
    for target, name in (("../../nn/nowhere.py", None), ("../../nn/module.py", "Nowhere")):
        with pytest.raises(sources.BrokenLink):
            sources.resolve(target, name, Path("docs/lessons"))


NAME = re.compile(r"`((?:ad|nn)(?:\.\w+)+)[^`]*`")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_name_in_the_text_exists(page):
    importlib.import_module("nn.data")
    for name in NAME.findall(page.read_text(encoding="utf-8")):
        first, *rest = name.split(".")
        found = importlib.import_module({"ad": "autodiff", "nn": "nn"}[first])
        for part in rest:
            assert hasattr(found, part), f"{named(page)}: there is no {name}"
            found = getattr(found, part)


# Lessons ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("lesson", LESSONS, ids=named)
def test_a_lesson_ends_in_an_exercise_with_a_hidden_answer_that_runs(lesson):
    text = lesson.read_text(encoding="utf-8")
    exercise = text.rpartition("\n## ")[2]
    assert exercise.startswith("Exercise\n")
    answer = re.search(r"<details markdown><summary>Answer</summary>\n(.*)</details>", exercise,
                       re.DOTALL)
    assert any(b.language == "python" and b.output for b in blocks.blocks(answer[1]))


def test_there_are_thirteen_lessons_in_order():
    assert [p.name[:2] for p in LESSONS] == [f"{k:02}" for k in range(13)]


def test_the_tape_in_60_lines_has_60_lines():
    page = blocks.blocks((DOCS / "lessons/02-the-tape-in-60-lines.md").read_text("utf-8"))
    tiny = next(b for b in page if b.title == "tiny.py")
    assert len(tiny.text.split("\n")) <= 60


# The reference ------------------------------------------------------------------------------------

MODULES = sorted({name for page in PAGES for name in
                  directives.DIRECTIVE.findall(page.read_text(encoding="utf-8"))
                  if name not in directives.PAGES and name != "autodiff.Tensor"})


@compiled
@pytest.mark.parametrize("name", MODULES)
def test_public_names_say_what_they_are(name):
    assert reference.undocumented(importlib.import_module(name)) == []


@compiled
def test_every_operation_has_its_place_on_the_page():
    text = "\n".join(operations.operations())
    for name in ad.registry:
        assert len(re.findall(rf"{{ #autodiff\.{name}[ }}]", text)) == 1, name


# The runner of pages ------------------------------------------------------------------------------

@pytest.mark.parametrize("page", PAGES, ids=named)
def test_code_fits_beside_the_side_bars(page):
    for block in blocks.blocks(page.read_text(encoding="utf-8")):
        long = [line for line in block.text.split("\n") if len(line) > 98]
        assert block.language not in ("python", "sh") or not long, long


@pytest.mark.parametrize("expected, got, same", [
    ("loss 0.18071", "loss 0.18070", True),         # one in the last place shown
    ("loss 0.18071", "loss 0.18090", False),
    ("3 records", "4 records", False),              # counts are exact
    ("1.2e-05", "1.3e-05", True),
    ("time ... ms\nend", "time 12.5 s, 4 ms\nend", True),
    ("x  1.00 | 2", "x 0.99  | 2", True),
    ("(3, 4)", "(3, 5)", False),
    ("a", "a\nb", False),
])
def test_outputs_agree(expected, got, same):
    assert blocks.agrees(expected, got) == same


def test_outputs_may_be_allowed_to_differ():
    assert blocks.agrees("0.90 of 100", "0.85 of 100", within=0.1)
    assert not blocks.agrees("0.90 of 100", "0.75 of 100", within=0.1)
    assert not blocks.agrees("0.90 of 100", "0.90 of 99", within=0.1)       # counts stay exact


def test_a_page_that_shows_something_else_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(2)\n```\n\n```output\n3\n```\n\n```python\n1 / 0\n```\n")
    passed, said = blocks.check(page)
    assert not passed and "what came is\n2" in said and "ZeroDivisionError" in said


def test_a_block_may_be_left_out_with_a_reason(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: for a reason -->\n```python\n1 / 0\n```\n")
    assert blocks.check(page) == (True, "")
