"""Twins of the poolings: the windows of an image gathered as (N, C, OH, OW, taps).

x is (N, C, H, W), out (N, C, OH, OW); `place` is the number i * kw + j of a tap (i, j) of the
window.  Invariant: taps outside the image are never read; `inside` marks the others.
"""

import numpy as np


def _count(n, k, s, p, d, ceil_mode):
    """Windows along one axis; with ceil_mode the last may stick out but starts inside."""
    room = n + 2 * p - d * (k - 1) - 1
    m = (room + (s - 1 if ceil_mode else 0)) // s + 1
    return m - 1 if ceil_mode and (m - 1) * s >= n + p else m


def _windows(shape, kernel, stride, padding, dilation, out):
    """Rows and columns of each window's taps, (OH, OW, taps), and which are inside the image."""
    (oh, ow), (kh, kw) = out, kernel
    rows = np.arange(oh)[:, None] * stride[0] + np.arange(kh) * dilation[0] - padding[0]
    cols = np.arange(ow)[:, None] * stride[1] + np.arange(kw) * dilation[1] - padding[1]
    full = (oh, ow, kh, kw)
    rows = np.broadcast_to(rows[:, None, :, None], full).reshape(oh, ow, kh * kw)
    cols = np.broadcast_to(cols[None, :, None, :], full).reshape(oh, ow, kh * kw)
    inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    return np.where(inside, rows, 0), np.where(inside, cols, 0), inside


def _max_windows(shape, out, kh, kw, sh, sw, ph, pw, dh, dw):
    return _windows(shape, (kh, kw), (sh, sw), (ph, pw), (dh, dw), out)


def max_pool2d(x, kh, kw, sh, sw, ph, pw, dh, dw, ceil_mode):
    """(out, place): the largest tap, the first of equals, NaN above all; -inf without taps."""
    out = (_count(x.shape[2], kh, sh, ph, dh, ceil_mode),
           _count(x.shape[3], kw, sw, pw, dw, ceil_mode))
    rows, cols, inside = _max_windows(x.shape[2:], out, kh, kw, sh, sw, ph, pw, dh, dw)
    taps = np.where(inside, x[:, :, rows, cols], -np.inf).astype(x.dtype)
    place = taps.argmax(-1)
    chosen = np.take_along_axis(np.broadcast_to(inside, taps.shape), place[..., None], -1)[..., 0]
    place = np.where(chosen, place, inside.argmax(-1))      # all -inf: not the padding's
    small = np.uint8 if kh * kw <= 256 else np.int16 if kh * kw <= 32768 else np.int32
    return taps.max(-1, initial=-np.inf), place.astype(small)


def _chosen(rows, cols, inside, place):
    """Row, column and insideness of the tap `place` of each window, all (N, C, OH, OW)."""
    place = place.astype(np.int64)[..., None]
    return [np.take_along_axis(np.broadcast_to(a, (*place.shape[:-1], a.shape[-1])), place,
                               -1)[..., 0] for a in (rows, cols, inside)]


def max_pool2d_backward(g, place, kh, kw, sh, sw, ph, pw, dh, dw, ceil_mode, h, w):
    """gx (N, C, h, w): each g added where its window had the maximum."""
    n, c, *out = g.shape
    windows = _max_windows((h, w), out, kh, kw, sh, sw, ph, pw, dh, dw)
    rows, cols, inside = _chosen(*windows, place)
    gx = np.zeros((n, c, h, w), g.dtype)
    batch, channel = np.ogrid[:n, :c]
    np.add.at(gx, (batch[..., None, None], channel[..., None, None], rows, cols), g * inside)
    return gx


def max_pool2d_gather(x, place, kh, kw, sh, sw, ph, pw, dh, dw, ceil_mode):
    """out (N, C, OH, OW): the element of x at `place` in each window."""
    n, c, *out = place.shape
    windows = _max_windows(x.shape[2:], out, kh, kw, sh, sw, ph, pw, dh, dw)
    rows, cols, inside = _chosen(*windows, place)
    batch, channel = np.ogrid[:n, :c]
    return x[batch[..., None, None], channel[..., None, None], rows, cols] * inside


def _divisor(shape, out, kh, kw, sh, sw, ph, pw, include_pad):
    """Taps that each window's mean counts, (OH, OW)."""
    def along(n, m, k, s, p):
        start = np.arange(m) * s - p
        stop = np.minimum(start + k, n + p)
        if not include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        return stop - start
    return np.outer(along(shape[0], out[0], kh, sh, ph), along(shape[1], out[1], kw, sw, pw))


def avg_pool2d(x, kh, kw, sh, sw, ph, pw, ceil_mode, include_pad):
    """The mean of each window; padding counts as zeros, or not at all."""
    out = (_count(x.shape[2], kh, sh, ph, 1, ceil_mode),
           _count(x.shape[3], kw, sw, pw, 1, ceil_mode))
    rows, cols, inside = _windows(x.shape[2:], (kh, kw), (sh, sw), (ph, pw), (1, 1), out)
    total = np.where(inside, x[:, :, rows, cols], 0).sum(-1)
    return (total / _divisor(x.shape[2:], out, kh, kw, sh, sw, ph, pw,
                             include_pad)).astype(x.dtype)


def avg_pool2d_backward(g, kh, kw, sh, sw, ph, pw, ceil_mode, include_pad, h, w):
    """gx (N, C, h, w): each g / count added to every tap of its window."""
    n, c, *out = g.shape
    rows, cols, inside = _windows((h, w), (kh, kw), (sh, sw), (ph, pw), (1, 1), out)
    share = g / _divisor((h, w), out, kh, kw, sh, sw, ph, pw, include_pad)
    gx = np.zeros((n, c, h, w), g.dtype)
    batch, channel = np.ogrid[:n, :c]
    np.add.at(gx, (batch[..., None, None, None], channel[..., None, None, None], rows, cols),
              share[..., None] * inside)
    return gx
