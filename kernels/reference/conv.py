"""Twins of the convolutions: a sum over the taps of the kernel of products over channels.

x is (N, C, H, W), weight (K, C / groups, KH, KW), out and g (N, K, OH, OW).  One tap (i, j) of the
kernel meets the strided view x[:, :, i*dh::sh, j*dw::sw] of the padded input.
"""

import numpy as np


def _padded(x, ph, pw):
    return np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))


def _tap(x, i, j, out, stride, dilation):
    """View (N, C, OH, OW) of the padded x that tap (i, j) meets."""
    top, left = i * dilation[0], j * dilation[1]
    return x[:, :, top:top + stride[0] * (out[0] - 1) + 1:stride[0],
             left:left + stride[1] * (out[1] - 1) + 1:stride[1]]


def _grouped(x, groups):
    """(N, C, H, W) as (N, groups, C / groups, H W)."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h * w)


def conv2d(x, weight, bias, sh, sw, ph, pw, dh, dw, groups):
    """out (N, K, OH, OW); bias (K,) may be None."""
    n, k, cg = x.shape[0], *weight.shape[:2]
    kernel = weight.shape[2:]
    oh = (x.shape[2] + 2 * ph - dh * (kernel[0] - 1) - 1) // sh + 1
    ow = (x.shape[3] + 2 * pw - dw * (kernel[1] - 1) - 1) // sw + 1
    x, w = _padded(x, ph, pw), weight.reshape(groups, k // groups, cg, *kernel)
    out = np.zeros((n, groups, k // groups, oh * ow), x.dtype)
    for i, j in np.ndindex(kernel):
        out += w[..., i, j] @ _grouped(_tap(x, i, j, (oh, ow), (sh, sw), (dh, dw)), groups)
    out = out.reshape(n, k, oh, ow)
    return out if bias is None else out + bias[:, None, None]


def conv2d_backward_input(g, weight, sh, sw, ph, pw, dh, dw, groups, h, w):
    """gx (N, C, H, W): each tap sends weight^T g back to where it read."""
    (n, k, *out), (cg, *kernel) = g.shape, weight.shape[1:]
    gx = np.zeros((n, cg * groups, h + 2 * ph, w + 2 * pw), g.dtype)
    wt = weight.reshape(groups, k // groups, cg, *kernel).swapaxes(1, 2)
    for i, j in np.ndindex(*kernel):
        tap = _tap(gx, i, j, out, (sh, sw), (dh, dw))
        tap += (wt[..., i, j] @ _grouped(g, groups)).reshape(tap.shape)
    return gx[:, :, ph:ph + h, pw:pw + w]


def conv2d_backward_weight(g, x, sh, sw, ph, pw, dh, dw, groups, kh, kw):
    """gweight (K, C / groups, KH, KW): each tap sums g x^T over places and batch."""
    k, out, cg = g.shape[1], g.shape[2:], x.shape[1] // groups
    x = _padded(x, ph, pw)
    gw = np.zeros((groups, k // groups, cg, kh, kw), g.dtype)
    for i, j in np.ndindex(kh, kw):
        tap = _grouped(_tap(x, i, j, out, (sh, sw), (dh, dw)), groups)
        gw[..., i, j] = (_grouped(g, groups) @ tap.swapaxes(2, 3)).sum(0)
    return gw.reshape(k, cg, kh, kw)
