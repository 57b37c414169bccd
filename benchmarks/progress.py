"""A progress bar for a person at a terminal, a line a task for a log; both on standard error.

Invariant: nothing runs in the background: the bar is drawn only when told of progress, and at most
five times a second, so that it does not disturb what is timed.
"""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Bar:
    """`with Bar() as bar: bar(fraction, what)`: shows how far the present task is."""

    def __init__(self, console=None):
        self.console = console or Console(stderr=True)
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn(
            "{task.percentage:>3.0f} %"), TimeElapsedColumn(), console=self.console,
            auto_refresh=False, transient=True)
        self.what, self.task, self.drawn = None, None, 0.0

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *exc):
        self.bar.stop()

    def __call__(self, fraction, what):
        if what != self.what:
            self._next(what)
        now = time.monotonic()
        if now - self.drawn >= 0.2 and self.console.is_terminal:
            self.bar.update(self.task, completed=fraction)
            self.bar.refresh()
            self.drawn = now

    def _next(self, what):
        self.what = what
        if not self.console.is_terminal:
            self.console.print(what, highlight=False)
            return
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.bar.add_task(what, total=1.0)
        self.bar.refresh()
