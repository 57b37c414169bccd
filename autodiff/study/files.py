"""Files written whole or not at all: a temporary one beside the target, then renamed.

Invariant: a reader of the path sees the old file or the new one, never a part.
"""

import os

from ..errors import ArgumentError

__all__ = ["write_bytes", "write_text"]


def write_text(path, content):
    """Write text as UTF-8; returns the path as text."""
    return write_bytes(path, content.encode())


def write_bytes(path, content):
    """Write bytes; returns the path as text.

    Raises ArgumentError for what is no path, OSError where it cannot be written.
    """
    try:
        path = os.fspath(path)
    except TypeError:
        raise ArgumentError(f"expected a file's path, got {type(path).__name__}") from None
    import tempfile  # not needed to import the library
    folder, name = os.path.split(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path
