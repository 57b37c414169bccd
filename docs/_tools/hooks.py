"""What MkDocs calls while it builds the site: pages made from the source, links into it.

Invariant: nothing here is a list of what the project contains; pages follow from the files, from
docstrings and from `ad.registry`.
"""

import logging
import re
import sys
import tempfile
import textwrap
from pathlib import Path

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
import blocks  # noqa: E402
import directives  # noqa: E402
import sources  # noqa: E402

ERROR = re.compile(r"^\w+Error: .{90,}$", re.MULTILINE)     # a long message in an output block
log = logging.getLogger("mkdocs.hooks.autodiff")


def on_config(config):
    """Pages of results come and go: those that the navigation does not name go before the rest."""
    docs = Path(config.docs_dir)
    results = next(item["Results"] for item in config.nav if "Results" in item)
    pages = [p.relative_to(docs).as_posix() for p in (*docs.glob("*.md"), *docs.glob("cost/*.md"))]
    results[:0] = sorted(set(pages) - {"index.md", *results})
    return config


def on_files(files, config):
    """Add the pages of the source files, their index, and ARCHITECTURE.md."""
    made = {"source/index.md": sources.index(),
            "architecture.md": (sources.ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")}
    made |= {sources.page_of(path): sources.page(path) for path in sources.files()}
    for where, text in made.items():
        files.append(File.generated(config, where, content=text))
    for page in Path(config.docs_dir).rglob("*.md"):
        for where, content in _shown(page, Path(config.docs_dir)):
            files.append(File.generated(config, where, content=content))
    return files


def _shown(page, docs):
    """(place in the site, bytes) of the files that a page links to and its own code writes."""
    linked = [target for target, _ in sources.links_of(page.read_text(encoding="utf-8"))]
    names = dict.fromkeys(blocks.written(page, linked))
    if names:
        with tempfile.TemporaryDirectory() as folder:
            passed, said = blocks.check(page, folder=folder)
            if not passed:
                log.warning("%s: %s", page, said)
                return
            for name in names:
                yield ((page.parent / name).relative_to(docs).as_posix(),
                       Path(folder, name).read_bytes())


def on_page_markdown(markdown, page, config, files):
    """Fill in the reference; turn links to source files into links to their pages."""
    path = page.file.src_uri
    if path.startswith("source/"):
        return markdown
    folder = Path(".") if path == "architecture.md" else Path("docs", path).parent
    markdown = ERROR.sub(lambda m: textwrap.fill(m[0], 96, subsequent_indent="  "), markdown)
    try:
        return directives.filled(sources.rewritten(markdown, folder))
    except sources.BrokenLink as error:
        log.warning("%s: %s", path, error)
        return markdown
