"""The HTML page that study tools and reports share: one file, no network, data as JSON inside.

`html_page` puts a title, data, styles and scripts into html/base.html; the look (colours for light
and dark, type, buttons, charts) is base.css and base.js.  Invariant: data cannot become markup or
script: it is escaped JSON, scripts build text nodes only, and the page's policy runs no other code.
"""

import base64
import hashlib
import html
import json
import pathlib
import re

from ..errors import ArgumentError
from .files import write_text

__all__ = ["html_page", "json_text", "shared_text", "write_page"]

FOLDER = pathlib.Path(__file__).with_name("html")
BASE_STYLES, BASE_SCRIPTS = ("base.css",), ("base.js", "charts.js")


def html_page(title, data, styles=(), scripts=()):
    """A self-contained HTML page as text.

    data: anything JSON can hold (no NaN or infinity), which the scripts read with `page.data`;
    styles, scripts: CSS and JavaScript as text, after the shared ones. Raises ArgumentError for
    data that is no JSON and for code that would end its own element.
    """
    style = "\n".join([*map(shared_text, BASE_STYLES), *styles])
    script = "\n".join([*map(shared_text, BASE_SCRIPTS), *scripts])
    for name, code in (("style", style), ("script", script)):
        if f"</{name}" in code.lower():
            raise ArgumentError(f"html_page: a {name} holds </{name}, which would end it; write "
                                f"it as <\\/{name}")
    parts = {"title": html.escape(title), "style": style, "script": script,
             "data": json_text(data), "style_hash": _hash(style), "script_hash": _hash(script)}
    # One pass, so that nothing in the data is taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], shared_text("base.html"))


def write_page(path, page):
    """Write a page, whole or not at all; returns the path as text."""
    return write_text(path, page)


def json_text(data):
    """JSON that is safe inside a script element."""
    try:
        found = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"html_page: the data is no JSON: {error}") from None
    for unsafe in "<>&\u2028\u2029":
        found = found.replace(unsafe, f"\\u{ord(unsafe):04x}")
    return found.encode("utf-8", "replace").decode()


def shared_text(name):
    """A file of the template's folder, as text."""
    return (FOLDER / name).read_text("utf-8")


def _hash(code):
    digest = hashlib.sha256(code.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()
