"""generate: tokens drawn one after the other from a language model.

Any model from ids (N, T) to logits (N, T, vocabulary) will do; one with `make_cache()` computes
each token once.  Invariant: the same seed gives the same tokens, and every token drawn is among
those that top_k and top_p leave.
"""

import numpy as np

import autodiff as ad

from .errors import ArgumentError, ValueRangeError, positive_int
from .inference import evaluating

__all__ = ["generate", "probabilities"]


def generate(model, prompt, count, *, temperature=1.0, top_k=None, top_p=None, seed=None,
             stop=None, block=None, cache=True):
    """`prompt` (T,) or (N, T), continued by `count` tokens: int64 (T + count,) or (N, T + count).

    temperature, top_k, top_p: see `probabilities`; temperature 0 takes the most likely token.
    seed: an integer or numpy.random.Generator (default: from the engine's random state). stop: a
    token after which a single text ends early. block: the most tokens the model takes (default:
    model.block); a longer text is continued from its last half block. cache=False computes all
    tokens again for each.
    """
    positive_int("generate", "count", count, 0)
    ids = np.asarray(prompt.numpy() if isinstance(prompt, ad.Tensor) else prompt)
    if ids.ndim not in (1, 2) or ids.size == 0 or ids.dtype.kind not in "iu":
        raise ArgumentError(f"generate: prompt must be token ids (T,) or (N, T), at least one, got "
                            f"{ids.dtype} of shape {ids.shape}; encode the text first")
    if stop is not None and ids.ndim == 2 and len(ids) > 1:
        raise ArgumentError("generate: stop is for one text at a time")
    rng = _generator(seed)
    out = np.atleast_2d(ids).astype(np.int64)
    with evaluating(model), ad.no_grad():
        steps = _next_logits(model, block or getattr(model, "block", None),
                             cache and hasattr(model, "make_cache"))
        next(steps)
        for _ in range(count):
            p = probabilities(steps.send(out), temperature, top_k, top_p)
            token = _draw(p, rng)
            out = np.concatenate([out, token[:, None]], axis=1)
            if stop is not None and token[0] == stop:
                break
    return out if ids.ndim == 2 else out[0]


def probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """softmax(logits / temperature) (..., V), float64, zero outside of top_k and top_p.

    top_k: only the k most likely tokens. top_p: of these, only the fewest whose probabilities sum
    to top_p (Holtzman et al., 2020). Ties go to the lower token. temperature 0: all on the first.
    """
    if not temperature >= 0:
        raise ValueRangeError(f"generate: temperature must be at least 0, got {temperature}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueRangeError(f"generate: top_p must be in (0, 1], got {top_p}")
    logits = np.asarray(logits, dtype=np.float64)
    if temperature == 0:
        return np.eye(logits.shape[-1])[logits.argmax(axis=-1)]
    p = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    p /= p.sum(axis=-1, keepdims=True)
    if top_k is None and top_p is None:
        return p
    order = np.argsort(-p, axis=-1, kind="stable")
    falling = np.take_along_axis(p, order, -1)
    keep = np.ones(falling.shape, bool)
    if top_k is not None:
        keep[..., positive_int("generate", "top_k", top_k):] = False
    if top_p is not None:
        falling = falling * keep / (falling * keep).sum(axis=-1, keepdims=True)
        keep &= falling.cumsum(axis=-1) - falling < top_p       # the sum before this one
    kept = np.zeros(p.shape)
    np.put_along_axis(kept, order, falling * keep, -1)
    return kept / kept.sum(axis=-1, keepdims=True)


def _next_logits(model, block, cached):
    """Coroutine: is sent all ids (N, T) so far, gives the logits (N, V) of the next token."""
    start, seen, cache = 0, 0, None
    ids = yield
    while True:
        length = ids.shape[1]
        if block is not None and length - start > block:
            start, cache = length - max(block // 2, 1), None
        if cached:
            if cache is None:
                cache, seen = model.make_cache(), start
            logits = model(ad.tensor(ids[:, seen:]), cache)
            seen = length
        else:
            logits = model(ad.tensor(ids[:, start:]))
        ids = yield logits.numpy()[:, -1]


def _draw(p, rng):
    """A token from each row of p: where the running sum passes a uniform number."""
    sums = p.cumsum(axis=-1)
    below = (sums <= rng.random(len(p))[:, None] * sums[:, -1:]).sum(axis=-1)
    last = p.shape[-1] - 1 - (p[:, ::-1] > 0).argmax(axis=-1)
    return np.minimum(below, last)


def _generator(seed):
    if seed is None:
        seed = int(ad.random_integers(0, 2 ** 32).item())
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
