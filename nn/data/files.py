"""Reading data files: IDX arrays and plain text, gzipped or not.

Nothing in a file is believed: a header allocates nothing by itself, memory grows only with bytes
that are really there, and sizes must agree exactly. What is wrong raises `DataFileError`.
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from contextlib import contextmanager

import numpy as np

from .errors import ChecksumError, DataError, DataFileError, DataNotFoundError

MAX_BYTES = 1 << 30      # default limit of the uncompressed size
_CHUNK = 1 << 20
_MAX_DEFLATE_RATIO = 1032  # deflate can't expand further: zlib's documentation
_MAX_NDIM = 8
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path, sha256=None, max_bytes=MAX_BYTES):
    """The array in an IDX file (the format of MNIST), gzipped or not, in native byte order.

    Header: two zero bytes, a dtype code, the number of dimensions, then each dimension as a
    big-endian uint32; the values follow, big-endian, C order, and nothing after them.
    `sha256` is of the uncompressed file. Format: http://yann.lecun.com/exdb/mnist/

    Raises DataFileError (wrong magic, truncated, too long, damaged, larger than `max_bytes`),
    ChecksumError, DataNotFoundError.
    """
    _check_limits(max_bytes, sha256)
    with _opened(path) as (stream, limit):
        head = stream.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_DTYPES:
            raise DataFileError(
                f"{path}: expected an IDX file (bytes 00 00, a dtype code of "
                f"{sorted(_IDX_DTYPES)}, a rank), got {head.hex(' ') or 'an empty file'}")
        dtype, ndim = np.dtype(_IDX_DTYPES[head[2]]), head[3]
        if not 1 <= ndim <= _MAX_NDIM:
            raise DataFileError(f"{path}: expected 1 to {_MAX_NDIM} dimensions, got {ndim}")
        dims = stream.read(4 * ndim)
        if len(dims) < 4 * ndim:
            raise DataFileError(f"{path}: truncated: the header ends within its {ndim} dimensions")
        shape = struct.unpack(f">{ndim}I", dims)
        _refuse_size(path, math.prod(n for n in shape if n) * dtype.itemsize, max_bytes,
                     f"the header claims shape {shape} of {dtype.name}")
        expected = math.prod(shape) * dtype.itemsize
        if expected > limit:
            raise DataFileError(
                f"{path}: truncated or hostile: the header claims shape {shape} of {dtype.name}, "
                f"{expected} bytes, more than the file can hold")
        body = _read_upto(stream, expected + 1)
    if len(body) != expected:
        got = "more" if len(body) > expected else f"{len(body)}"
        raise DataFileError(f"{path}: expected {expected} bytes of values for shape {shape} of "
                            f"{dtype.name}, got {got}; fetch the file again")
    _verify(path, sha256, head, dims, body)
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_text(path, encoding="utf-8", sha256=None, max_bytes=MAX_BYTES):
    """The text of a file, gzipped or not; line ends are left as they are.

    `sha256` is of the uncompressed bytes. Raises DataFileError (damaged, not in `encoding`, larger
    than `max_bytes`), ChecksumError, DataNotFoundError.
    """
    _check_limits(max_bytes, sha256)
    with _opened(path) as (stream, _):
        content = _read_upto(stream, max_bytes + 1)
    _refuse_size(path, len(content), max_bytes, "the content")
    _verify(path, sha256, content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as e:
        raise DataFileError(f"{path}: expected {encoding} text, got a bad byte at {e.start}") from e
    except (LookupError, TypeError) as e:
        raise DataFileError(f"{encoding!r} is not an encoding: {e}; try 'utf-8'") from e


@contextmanager
def _opened(path):
    """The uncompressed stream of a file, and the most bytes it can possibly hold."""
    if not isinstance(path, (str, os.PathLike)):        # open() takes a number for a descriptor
        raise DataFileError(f"expected the path of a file, got {path!r}")
    try:
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                yield raw, size
                return
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream, size * _MAX_DEFLATE_RATIO
    except FileNotFoundError as e:
        raise DataNotFoundError(f"{path}: no such file") from e
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise DataFileError(f"{path}: truncated or damaged gzip: {e}; fetch the file again") from e
    except (OSError, ValueError) as e:
        if isinstance(e, DataError):
            raise
        raise DataFileError(f"{path!r} cannot be read: {e}") from e


def _read_upto(stream, count):
    body = bytearray()
    while len(body) < count and (chunk := stream.read(min(_CHUNK, count - len(body)))):
        body += chunk
    return body


def _check_limits(max_bytes, sha256):
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, (int, np.integer)):
        raise DataFileError(f"max_bytes must be an integer, got {max_bytes!r}")
    if sha256 is not None and not isinstance(sha256, str):
        raise DataFileError(f"sha256 must be a string of hexadecimal digits, got {sha256!r}")


def _refuse_size(path, size, max_bytes, what):
    if size > max_bytes:
        raise DataFileError(f"{path}: {what} is larger than max_bytes = {max_bytes}; "
                            "pass a larger max_bytes if you trust the file")


def _verify(path, sha256, *parts):
    if sha256 is None:
        return
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    if digest.hexdigest() != sha256:
        raise ChecksumError(f"{path}: expected content with SHA-256 {sha256}, got "
                            f"{digest.hexdigest()}; the file was changed: install it again")
