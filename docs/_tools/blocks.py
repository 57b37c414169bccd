"""Runs the code of a page as its reader would, and holds what is printed against the page.

    python docs/_tools/blocks.py docs/lessons/*.md            # check
    python docs/_tools/blocks.py --write docs/lessons/*.md    # put what came into the page

In a page,
  ```python                 runs; all blocks of a page share one namespace, in order
  ```python title="a.py"    is written to the file a.py, in a working folder of the page's own
  ```sh                     runs in that folder, with this Python first on the path
  ```output                 is what the block before it prints; `...` stands for anything, and a
                            number may differ by one in its last place
  <!-- not run: why -->     on the line before a block leaves it alone
  <!-- within 10 %: why -->     before an output block allows its fractions that much
An exception is part of the output, as its last line `ShapeError: ...`, and fails where no output
block follows.  Invariant: each page runs in an interpreter of its own, so record numbers and
random draws are those of a reader who types it in.
"""

import argparse
import contextlib
import io
import linecache
import os
import re
import subprocess
import sys
import tempfile
import types
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)(`{3,})(\w+)?(.*)$")
REASON = re.compile(r"^\s*<!-- not run: (.+) -->\s*$")
WITHIN = re.compile(r"^\s*<!-- within (\d+) %: .+ -->\s*$")
NUMBER = r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"


@dataclass
class Block:
    """One fenced block: lines[start:end] of the page are its text, without the fences."""
    language: str
    title: str | None
    text: str
    start: int
    end: int
    indent: str
    skipped: str | None         # why it is not run
    output: "Block" = None      # the output block right after it
    within: float = 0.0         # of an output block: how far fractions may be off, relatively


def blocks(page):
    """The fenced blocks of a page's text, in order; output blocks hang on what they belong to."""
    lines, found, k = page.split("\n"), [], 0
    while k < len(lines):
        match = FENCE.match(lines[k])
        if not match:
            k += 1
            continue
        indent, fence, language, rest = match.groups()
        start = k + 1
        end = next((j for j in range(start, len(lines)) if lines[j].strip() == fence), None)
        if end is None:
            raise SystemExit(f"line {k + 1}: this block does not end")
        why = REASON.match(lines[k - 1]) if k else None
        title = re.search(r'title="([^"]+)"', rest)
        text = "\n".join(line[len(indent):] for line in lines[start:end])
        block = Block(language or "", title and title[1], text, start, end, indent,
                      why and why[1])
        if block.language == "output":
            between = [s for s in lines[found[-1].end + 1:k] if s.strip()] if found else ["?"]
            if between and WITHIN.match(between[-1]):
                block.within = int(WITHIN.match(between.pop())[1]) / 100
            if between:
                raise SystemExit(f"line {k + 1}: an output block needs its code right before it")
            found[-1].output = block
        else:
            found.append(block)
        k = end + 1
    return found


def agrees(expected, got, within=0.0):
    """Whether the output that a page shows is what came; within: see Block."""
    expected, got = _tidy(expected), _tidy(got)
    if expected == got:
        return True
    numbers, pattern = [], ""
    for word in re.split(rf"(\.\.\.|{NUMBER}| +)", expected):
        if word == "...":
            pattern += ".*?"
        elif re.fullmatch(NUMBER, word):
            numbers.append(word)
            pattern += f"({NUMBER})"
        elif word and not word.strip(" "):
            pattern += " +"                 # columns shift with their numbers
        else:
            pattern += re.escape(word)
    match = re.fullmatch(pattern, got, re.DOTALL)
    return match is not None and all(_close(a, b, within)
                                     for a, b in zip(numbers, match.groups(), strict=True))


def _tidy(text):
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))


def _close(shown, came, within):
    """Equal counts; equal fractions within one in the last place shown, or as far as allowed."""
    shown, came = shown.replace(",", ""), came.replace(",", "")
    digits, _, exponent = shown.partition("e")
    places = len(digits.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - places) if places else 0.0
    allowed = max(1.01 * unit, within * abs(float(shown)) if places else 0.0)
    return abs(float(shown) - float(came)) <= allowed


def run(page, folder, write=False):
    """Run one page in this interpreter; returns what disagrees, as text."""
    module = types.ModuleType("example")
    sys.modules["example"] = module
    sys.path.insert(0, str(folder))
    failures, shown, line = [], {}, 1
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.skipped:
            continue
        if block.language == "python" and block.title:
            (folder / block.title).write_text(block.text + "\n", encoding="utf-8")
            continue
        if block.language == "python":
            got, error = _python(block, module, line)
            line += block.text.count("\n") + 1
        elif block.language == "sh":
            got, error = _shell(block, folder)
        else:
            continue
        where = f"{page}:{block.start + 1}"
        if block.output is None:
            if error:
                failures.append(f"{where}: {error}\n{got}")
                break
            continue
        same = agrees(block.output.text, got, block.output.within)
        if write and "..." not in block.output.text:
            same = _tidy(block.output.text) == _tidy(got)       # the last places as well
        if not same:
            shown[block.output.start] = (block.output, got)
            failures.append(f"{where}: the page shows\n{block.output.text}\nwhat came is\n{got}")
    if write and shown:
        _write(page, shown)
        return [f for f in failures if "the page shows" not in f]
    return failures


def _python(block, module, line):
    """What a block prints, and the error that it ended with."""
    name = "example.py"
    source = "\n" * (line - 1) + block.text + "\n"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    printed, error = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(source, name, "exec"), module.__dict__)
        except Exception as raised:         # part of what the reader sees
            error = f"{type(raised).__name__}: {raised}"
            print(error)
    return printed.getvalue(), error


def _shell(block, folder):
    done = subprocess.run(["sh", "-e", "-c", block.text], cwd=folder, env=environment(folder),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    return done.stdout, f"exit status {done.returncode}" if done.returncode else None


def environment(folder):
    """That of a reader who activated the environment; two threads, wherever it runs.

    Where the package is not installed, `autodiff` is a script in the folder that runs this tree's.
    """
    own = Path(folder, ".bin", "autodiff")
    own.parent.mkdir(exist_ok=True)
    own.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys, autodiff_command as c; '
                   'sys.exit(c.main())" "$@"\n', encoding="utf-8")
    own.chmod(0o755)
    programs = [str(Path(sys.executable).parent), str(own.parent), os.environ["PATH"]]
    modules = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PATH": os.pathsep.join(programs), "PYTHONPATH": os.pathsep.join(filter(None, modules)),
        "MPLBACKEND": "agg", "AUTODIFF_NUM_THREADS": "2", "COLUMNS": "100"}


def _write(page, shown):
    lines = page.read_text(encoding="utf-8").split("\n")
    for start in sorted(shown, reverse=True):
        block, got = shown[start]
        lines[start:block.end] = [(block.indent + s).rstrip() for s in _tidy(got).split("\n")]
    page.write_text("\n".join(lines), encoding="utf-8")


def check(page, write=False, folder=None):
    """Run one page in a fresh interpreter; returns (passed, what it said).

    folder: where its code works and leaves its files; None for one that is gone afterwards.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as folder:
            return check(page, write, folder)
    flags = ["--inside", *(["--write"] if write else [])]
    done = subprocess.run([sys.executable, __file__, *flags, str(Path(page).resolve())],
                          cwd=folder, env=environment(folder), text=True, timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout


def written(page, linked):
    """Those of the linked files that the code of the page writes, so that none is kept here."""
    text = page.read_text(encoding="utf-8")
    return [name for name in linked
            if f'"{name}"' in text and not (page.parent / name).exists()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="put what came into the page")
    parser.add_argument("--inside", action="store_true", help="in this interpreter and folder")
    args = parser.parse_args()
    failed = 0
    for page in args.pages:
        if args.inside:
            failures = run(page, Path.cwd(), args.write)
            print("\n\n".join(failures), end="\n" if failures else "")
            failed += bool(failures)
        else:
            passed, said = check(page, args.write)
            print(f"{'ok    ' if passed else 'FAILED'} {page}\n{said}".rstrip())
            failed += not passed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
