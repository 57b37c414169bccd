"""The project's own source files as pages of the site, and links to them.

A page links to a file as the repository lays it out, `[Module](../../nn/module.py#Module)`; here
that becomes the line of `class Module` on the page of the file.  Invariant: a link to a file or a
name that is not there raises, so what a page says of the source is true.
"""

import ast
import os
import re
import subprocess
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("autodiff", "nn", "kernels", "benchmarks", "examples")
LANGUAGES = {".py": "python", ".pyx": "cython", ".pxd": "cython", ".h": "c"}
LINK = re.compile(r"(\]\()([^)\s:#]*)(?:#([\w.]+))?(\))")
DEFINED = r"^[ \t]*(?:cdef |cpdef |async |static |inline |const )*(?:class|def|struct|[\w*]+) \**"


class BrokenLink(ValueError):
    """A page names a source file, or something in it, that is not there."""


def files():
    """Source files below FOLDERS, as paths from the root; those that git knows, where it can."""
    try:
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *FOLDERS],
                                cwd=ROOT, capture_output=True, text=True, check=True).stdout
        found = [Path(line) for line in listed.splitlines()]
    except (OSError, subprocess.CalledProcessError):        # an unpacked archive
        found = [p.relative_to(ROOT) for top in FOLDERS for p in (ROOT / top).rglob("*")
                 if "__pycache__" not in p.parts]
    return sorted(p for p in found if p.suffix in LANGUAGES and (ROOT / p).is_file())


def summary(path):
    """The first sentence that a file says of itself."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        match = re.search(r'"""(.+?)"""|/\*(.+?)\*/', text, re.DOTALL)
        said = (match[1] or match[2]).strip() if match else ""
    return " ".join(said.split("\n\n")[0].replace("*", "").split())


def page_of(path):
    """Where the page of a source file lies in the site."""
    return f"source/{path}.md"


def page(path):
    """The page of a source file: its code, in which line 12 has the anchor L-12."""
    text = (ROOT / path).read_text(encoding="utf-8")
    shape = HtmlFormatter(linenos="table", lineanchors="L", anchorlinenos=True, wrapcode=True)
    code = highlight(text, get_lexer_by_name(LANGUAGES[Path(path).suffix]), shape)
    return (f"---\ntitle: {path}\nsearch:\n  exclude: true\nhide: [toc]\n---\n\n# {path}\n\n"
            f"[All files](/source/index.md)\n\n{code}\n")


def index():
    """A page that lists all source files, with what each says of itself."""
    lines = ["---", "title: Source", "---", "", "# Source", "",
             "Every file, by its first sentence. The order to read them in: "
             "[a tour of the source](/lessons/12-the-source.md).", ""]
    folder = None
    for path in files():
        if path.parent != folder:
            folder = path.parent
            lines += ["", f"## {folder}/ {{ #{anchor(folder)} }}", "", "| file | |", "|---|---|"]
        said = summary(path).replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;")
        lines.append(f"| [`{path.name}`](/{page_of(path)}) | {escaped(said)} |")
    return "\n".join(lines) + "\n"


def anchor(folder):
    return str(folder).replace("/", "-")


def escaped(text):
    """Plain text as Markdown that shows just that; what stands in backticks stays code."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(p if p.startswith("`") and p.endswith("`") and len(p) > 1
                   else re.sub(r"([\\*_\[\]~^])", r"\\\1", p) for p in parts)


def line_of(path, name):
    """The line on which a file defines `name` (`Class` or `Class.method`)."""
    lines = (ROOT / path).read_text(encoding="utf-8").split("\n")
    at = 0
    for part in name.split("."):
        found = next((k for k in range(at, len(lines))
                      if re.match(rf"{DEFINED}{part}\b", lines[k])
                      or re.match(rf"[ \t]*{part}\b(: \w+)? = ", lines[k])), None)
        if found is None:
            raise BrokenLink(f"{path} does not define {name}")
        at = found
    return at + 1


def resolve(target, name, folder):
    """The link for `target` as written in a page that lies in `folder` (a path from the root).

    None where it stays as it is; raises BrokenLink where nothing is there.
    """
    path = Path(os.path.normpath(folder / target)) if target else None
    if path is None or path.parts[0] == "docs":
        return None
    if not (ROOT / path).exists():
        raise BrokenLink(f"there is no {path}")
    if path == Path("ARCHITECTURE.md"):
        return f"/architecture.md{'#' + name if name else ''}"
    if (ROOT / path).is_dir():
        return f"/source/index.md#{anchor(path)}"
    if path.suffix not in LANGUAGES or path.parts[0] not in FOLDERS:
        raise BrokenLink(f"{path} has no page in the site; name it without a link")
    return f"/{page_of(path)}" + (f"#L-{line_of(path, name)}" if name else "")


def links_of(markdown):
    """(target, fragment) of every relative link outside of code."""
    return [(m[2], m[3]) for m in LINK.finditer(without_code(markdown)) if m[2]]


def without_code(markdown):
    """The text with its code blanked out, so that nothing in it looks like a link."""
    blank = lambda m: re.sub(r"[^\n]", " ", m[0])       # noqa: E731
    return re.sub(r"^( *)(`{3,}).*?^\1\2 *$|`[^`\n]+`", blank, markdown,
                  flags=re.DOTALL | re.MULTILINE)


def rewritten(markdown, folder):
    """The page with its links to source files turned into links to their pages."""
    plain, parts, last = without_code(markdown), [], 0
    for match in LINK.finditer(plain):
        found = resolve(match[2], match[3], folder)
        if found is not None:
            parts += [markdown[last:match.start(2)], found, ")"]
            last = match.end()
    return "".join(parts) + markdown[last:]
