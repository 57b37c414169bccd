"""A bound on what backward keeps, for one's own tests: `ad.testing.max_saved_bytes`.

Invariant: the bytes are the ledger's, exact and the same on every machine, so that the bound may
stand in a test where a time never may.
"""

import contextlib

from . import core, memory, text
from .errors import ArgumentError, SavedBytesError
from .tapes import Tape

SHOWN = 12          # records in the message


class max_saved_bytes(contextlib.ContextDecorator):
    """Fail where the operations inside keep more than `limit` bytes for backward at any moment.

        with ad.testing.max_saved_bytes(3_000_000):
            loss = F.cross_entropy(model(x), y)

    Counts what is kept for backward alone, each array once: not parameters, not inputs, not what
    was saved before. Also a decorator, and the pytest fixture of the same name. `peak_bytes` is the
    most that was kept at once. Raises SavedBytesError, an AssertionError, that lists the records
    that saved most, with module path and line; ArgumentError for a limit that is no number of
    bytes. Records of this thread make it look; the count is the process's.
    """

    def __init__(self, limit):
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise ArgumentError(f"max_saved_bytes: expected a number of bytes, 0 or more, got "
                                f"{limit!r}")
        self.limit, self.peak_bytes, self._tape = limit, 0, None

    def _recreate_cm(self):
        return type(self)(self.limit)           # a decorated function may call itself

    def __enter__(self):
        self.peak_bytes = 0
        self._before = memory.stats()["live"]["saved"]
        self._tape = Tape()
        self._tape.__enter__()
        self._listener = self._look             # one object: listeners are told apart by identity
        core.listen_tape(self._listener)
        return self

    def __exit__(self, kind, *rest):
        core.unlisten_tape(self._listener)
        self._tape.__exit__(kind, *rest)
        if kind is None and self.peak_bytes > self.limit:
            raise SavedBytesError(self._message())

    def _look(self, record, outputs):
        """Bytes are saved where a record is made, and nowhere else."""
        kept = memory.stats()["live"]["saved"] - self._before
        self.peak_bytes = max(self.peak_bytes, kept)

    def _message(self):
        most = sorted(self._tape, key=lambda e: -e.saved_nbytes)[:SHOWN]
        rows = [(text.nbytes(e.saved_nbytes), ", ".join(e.saved), f"{e.op} #{e.serial}",
                 e.scope or "-", e.line.rpartition("/")[2]) for e in most if e.saved_nbytes]
        table = text.columns(("bytes", "saved", "by", "scope", "line"), rows, left=5)
        return (f"max_saved_bytes: expected at most {self.limit:,} bytes kept for backward, got "
                f"{self.peak_bytes:,} ({self.peak_bytes - self.limit:,} too many). Records inside "
                f"that save most (an array saved by two is listed with both):\n{table}\n"
                "Keep less: ad.no_grad() where no gradient is wanted, ad.checkpoint or "
                "nn.checkpoint_sequential to compute again, a smaller batch.")
