"""The ledger of the plain core: live and peak bytes by category.

Same answers as the compiled core's, from Python counters.  Invariant: the categories' bytes add up
to the total at every moment, whichever thread counts and whenever garbage is collected.  NumPy owns
the memory here, so there is no pool to hold or to trim.
"""

import struct
import threading

CATEGORIES = ("temporary", "saved", "input", "gradient", "optimizer state", "buffer", "parameter")


class _Ledger:
    def __init__(self):
        self.live = self.at_high = dict.fromkeys(CATEGORIES, 0)
        self.blocks = self.total = self.peak = self.dry = 0
        self.at_peak = dict(self.live)
        self.high = 0           # the peak since the last `mark`
        self.lock = threading.RLock()

    def count(self, category, nbytes, blocks=0, dry=False):
        """Add `nbytes` (below zero: take away) to a category."""
        with self.lock:
            self.live[category] += nbytes
            self.total += nbytes
            self.blocks += blocks
            self.dry += nbytes if dry else 0
            self._note()

    def move(self, old, new, nbytes):
        """Bytes that count as `new` from now on."""
        with self.lock:
            self.live[old] -= nbytes
            self.live[new] += nbytes
            self._note()

    def _note(self):
        # A new dict may set off the collection of garbage, which counts too: hence it comes first.
        live = dict(self.live)
        if self.total >= self.peak:
            self.peak, self.at_peak = self.total, live
        if self.total >= self.high:
            self.high, self.at_high = self.total, live


ledger = _Ledger()


def memory_stats():
    """Live and peak bytes by category; there is no pool, so nothing beside them."""
    with ledger.lock:
        live, peak, blocks, dry = dict(ledger.live), ledger.at_peak, ledger.blocks, ledger.dry
    total = sum(live.values())
    return {"live": live, "live_bytes": total, "live_blocks": blocks, "dry_bytes": dry,
            "peak_bytes": sum(peak.values()), "peak": dict(peak), "slack_bytes": 0,
            "held_bytes": 0, "reserved_bytes": total - dry}


def reset_peak():
    """Start a new peak from the bytes that are live now."""
    with ledger.lock:
        ledger.peak = 0
        ledger.count("temporary", 0)


def watch(change):
    """Start (1) or stop (-1) keeping the highest bytes between two calls of `mark`."""
    mark()


def mark():
    """Live bytes by category and their total; the same at the highest since the last mark.

    As the bytes of 16 integers, as the compiled core gives them.
    """
    with ledger.lock:
        live, high = dict(ledger.live), ledger.at_high
        ledger.high, ledger.at_high = sum(live.values()), live
    return struct.pack("16q", *live.values(), sum(live.values()), *high.values(),
                       sum(high.values()))


def trim():
    """Give free memory back to the system: nothing to give here; returns 0."""
    return 0
