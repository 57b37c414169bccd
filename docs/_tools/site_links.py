"""Checks the built site: every link resolves, and nothing is loaded from a network.

    python docs/_tools/site_links.py build/site

MkDocs checks links between pages of Markdown; this checks what came out, generated pages, anchors
of source lines and images included.  Invariant: works on the files alone.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")}


class Page(HTMLParser):
    """The ids that one page defines, and the addresses that it refers to."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                external = ("link", "canonical") == (tag, dict(attrs).get("rel"))
                if (tag, name) in LOADED and not external:
                    self.loads.append(value)
                self.links.append(value)


def broken(folder):
    """What is wrong, one line for each: page, address, why."""
    pages = {p.resolve(): Page(p.read_text(encoding="utf-8")) for p in folder.rglob("*.html")}
    for path, page in pages.items():
        where = path.relative_to(folder.resolve())
        for address in page.loads:
            if urlsplit(address).netloc:
                yield f"{where}: loads {address} from the network"
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            if where.name == "404.html":        # its links are from the root of the server
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{where}: {address} is not there"
            elif parts.fragment and target in pages:
                if unquote(parts.fragment) not in pages[target].ids | {"__toc", "__drawer"}:
                    yield f"{where}: {address} has no such anchor"


def main():
    found = sorted(set(broken(Path(sys.argv[1]))))
    print("\n".join(found) or "every link resolves, nothing is loaded from a network")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
