"""Ctrl-C, counted: a run can finish what it is at before it stops.

Invariant: the handler that was there before is there again afterwards.
"""

import signal
import threading

__all__ = ["Interrupts"]


class Interrupts:
    """Context: the first Ctrl-C inside is counted, the second raises KeyboardInterrupt.

    True once there was one. In another thread than the main one, which alone gets signals, it
    does nothing.
    """

    def __init__(self):
        self.count = 0

    def __bool__(self):
        return self.count > 0

    def __enter__(self):
        self.count, self._previous = 0, None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exc):
        if threading.current_thread() is threading.main_thread():
            previous = self._previous       # None: one that Python cannot put back
            signal.signal(signal.SIGINT, signal.SIG_DFL if previous is None else previous)

    def _interrupt(self, signum, frame):
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
