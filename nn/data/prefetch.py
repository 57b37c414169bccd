"""Prefetching: an iterator run by a background thread, a bounded number of items ahead.

Order and exceptions are those of the plain iterator; when the consumer stops, for whatever reason,
the thread has ended before control returns to it.
"""

import queue
import threading

_END = object()


def prefetch(source, ahead):
    """Yield the items of iterator `source`, made up to `ahead` items early by one thread.

    An exception in `source` is raised where its item would have come. Closing this generator (by
    `break`, an exception, `del`) waits for the item being made, then ends the thread.
    """
    items = queue.Queue(maxsize=ahead)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(source, items, stop), daemon=True,
                              name="nn.data prefetch")
    thread.start()
    try:
        while True:
            item, error = items.get()
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # its traceback holds this frame: no cycle
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        # The producer looks at `stop` before each item, so at most one more item and an end mark
        # come after this: keep the queue empty until the thread has gone.
        while thread.is_alive():
            try:
                items.get(timeout=0.01)
            except queue.Empty:
                pass
        thread.join()


def _produce(source, items, stop):
    try:
        for item in source:
            if stop.is_set():
                return
            items.put((item, None))
        items.put((_END, None))
    except BaseException as error:  # the consumer's to handle, whatever it is
        items.put((None, error))
