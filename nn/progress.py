"""Progress of a training run on the terminal: a bar where there is one, a line an epoch elsewhere.

Uses `rich` for the bar if it is installed.  Invariant: it only prints; nothing depends on it.
"""

import sys
import time

__all__ = ["Progress"]

WIDTH = 24


class Progress:
    """Bar with loss, learning rate, batches a second and time left, then one line an epoch;
    `shown=False` is mute."""

    def __init__(self, shown=True, file=None):
        self.file = sys.stdout if file is None else file
        self.shown, self._bar = shown, None
        self.live = shown and self.file.isatty()

    def begin(self, epoch, epochs, total, done):
        """An epoch begins at batch `done` of `total` (None: not known)."""
        self._title, self._total, self._first = f"epoch {epoch}/{epochs}", total, done
        self._start, self._drawn = time.monotonic(), 0.0
        if self.live:
            self._bar = _rich_bar(self.file, self._title, total, done)

    def update(self, done, loss, lr):
        """Batch `done` is done; draws at most ten times a second."""
        now = time.monotonic()
        if not self.live or now - self._drawn < 0.1:
            return
        self._drawn = now
        speed = (done - self._first) / max(now - self._start, 1e-9)
        numbers = f"loss {loss:.4g}  lr {lr:.3g}  {speed:.3g}/s"
        if self._bar is not None:
            self._bar.update(0, completed=done, numbers=numbers)
            return
        left, bar = "", f"{done} batches"
        if self._total:
            full = WIDTH * done // self._total
            bar = f"[{'#' * full}{'.' * (WIDTH - full)}] {done}/{self._total}"
            left = f"  {seconds((self._total - done) / max(speed, 1e-9))} left"
        self.file.write(f"\r{self._title} {bar}  {numbers}{left}\x1b[K")
        self.file.flush()

    def clear(self):
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif self.live:
            self.file.write("\r\x1b[K")

    def line(self, text):
        """A line that stays."""
        if self.shown:
            self.clear()
            print(text, file=self.file, flush=True)

    def epoch(self, entry):
        """The line of a finished epoch, from its entry in the history."""
        numbers = [f"{k} {v:.4g}" for k, v in entry.items()
                   if isinstance(v, (int, float)) and k not in ("epoch", "seconds", "steps")]
        self.line(f"{self._title}  {'  '.join(numbers)}  {seconds(entry['seconds'])}")


def seconds(s):
    """A duration for people: 95 -> '1:35'."""
    s = int(s + 0.5) if s >= 10 else s
    if s < 10:
        return f"{s:.1f} s"
    if s < 60:
        return f"{s} s"
    return f"{s // 3600}:{s // 60 % 60:02}:{s % 60:02}" if s >= 3600 else f"{s // 60}:{s % 60:02}"


def _rich_bar(file, title, total, done):
    try:
        from rich import console, progress
    except ImportError:
        return None
    bar = progress.Progress(
        progress.TextColumn("{task.description}"), progress.BarColumn(WIDTH),
        progress.MofNCompleteColumn(), progress.TextColumn("{task.fields[numbers]}"),
        progress.TimeRemainingColumn(), console=console.Console(file=file), transient=True)
    bar.add_task(title, total=total, completed=done, numbers="")
    bar.start()
    return bar
