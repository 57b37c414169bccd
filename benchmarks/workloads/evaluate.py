"""Metrics over a whole data set, computed under no_grad in batches of bounded size.

Invariant: every sample counts once, also those of the last, shorter batch.
"""

import numpy as np

import autodiff as ad
import nn.data
import nn.functional as F


def outputs(model, dataset, batch_size=500):
    """The model's outputs and the targets, as two arrays over the whole data set."""
    found, targets = [], []
    with ad.no_grad():
        for x, y in nn.data.DataLoader(dataset, batch_size=batch_size):
            found.append(model(x).numpy())
            targets.append(y.numpy())
    return np.concatenate(found), np.concatenate(targets)


def accuracy(model, dataset):
    """Share of samples whose largest output is at the target class."""
    logits, y = outputs(model, dataset)
    return float((logits.argmax(axis=1) == y).mean())


def char_loss(model, tokens, block, batch_size=64):
    """Mean cross-entropy in nats a character, over every character of `tokens` but the first.

    Disjoint windows of `block` characters, the last one shorter, each with no memory of the one
    before: so the first characters of a window are predicted from little.
    """
    windows = (len(tokens) - 1) // block
    cut = windows * block
    x, y = tokens[:cut].reshape(windows, block), tokens[1:cut + 1].reshape(windows, block)
    parts = [(x[k:k + batch_size], y[k:k + batch_size]) for k in range(0, windows, batch_size)]
    if cut < len(tokens) - 1:
        parts.append((tokens[None, cut:-1], tokens[None, cut + 1:]))
    total = 0.0
    with ad.no_grad():
        for a, b in parts:
            logits = model(ad.tensor(a))
            total += b.size * F.cross_entropy(
                logits.reshape((b.size, logits.shape[-1])), ad.tensor(b.reshape(-1))).item()
    return total / (len(tokens) - 1)
