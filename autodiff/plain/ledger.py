"""The ledger of the plain core: live and peak bytes by category.

Same answers as the compiled core's, from Python counters.  Invariant: the categories' bytes add up
to the total at every moment.  NumPy owns the memory here, so there is no pool to hold or to trim.
"""

CATEGORIES = ("temporary", "saved", "input", "gradient", "optimizer state", "buffer", "parameter")


class _Ledger:
    def __init__(self):
        self.live = self.at_high = dict.fromkeys(CATEGORIES, 0)
        self.blocks = self.total = self.peak = self.dry = 0
        self.at_peak = dict(self.live)
        self.high = 0           # the peak since the last `mark`

    def count(self, category, nbytes, blocks=0):
        """Add `nbytes` (below zero: take away) to a category."""
        self.live[category] += nbytes
        self.total += nbytes
        self.blocks += blocks
        if self.total > self.peak:
            self.peak, self.at_peak = self.total, dict(self.live)
        if self.total > self.high:
            self.high, self.at_high = self.total, dict(self.live)

    def move(self, old, new, nbytes):
        """Bytes that count as `new` from now on."""
        self.live[old] -= nbytes
        self.live[new] += nbytes
        if self.total == self.peak:
            self.at_peak = dict(self.live)
        if self.total == self.high:
            self.at_high = dict(self.live)


ledger = _Ledger()


def memory_stats():
    """Live and peak bytes by category; there is no pool, so nothing beside them."""
    return {"live": dict(ledger.live), "live_bytes": ledger.total, "live_blocks": ledger.blocks,
            "dry_bytes": ledger.dry, "peak_bytes": ledger.peak, "peak": dict(ledger.at_peak),
            "slack_bytes": 0, "held_bytes": 0, "reserved_bytes": ledger.total - ledger.dry}


def reset_peak():
    """Start a new peak from the bytes that are live now."""
    ledger.peak, ledger.at_peak = ledger.total, dict(ledger.live)


def watch(change):
    """Start (1) or stop (-1) keeping the highest bytes between two calls of `mark`."""
    mark()


def mark():
    """Live bytes by category and their total; the same at the highest since the last mark."""
    found = (tuple(ledger.live.values()), ledger.total, tuple(ledger.at_high.values()),
             ledger.high)
    ledger.high, ledger.at_high = ledger.total, dict(ledger.live)
    return found


def trim():
    """Give free memory back to the system: nothing to give here; returns 0."""
    return 0
