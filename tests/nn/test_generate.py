"""nn.generate and nn.GPT: the cache changes nothing, sampling follows its formulas."""

import numpy as np
import pytest

import autodiff as ad
import nn
from nn.generate import probabilities


def gpt(block=16, **options):
    ad.manual_seed(0)
    model = nn.GPT(11, block, 2, 16, 2, **options)
    for p in model.parameters():            # far from uniform logits
        nn.init.normal_(p, 0.0, 0.4)
    return model


def test_the_cache_changes_nothing():
    model, ids = gpt().eval(), np.arange(12).reshape(2, 6) % 11
    whole = model(ad.tensor(ids)).numpy()
    for pieces in ([1] * 6, [2, 3, 1], [6], [4, 2]):
        cache, parts, at = model.make_cache(), [], 0
        with ad.no_grad():
            for n in pieces:
                parts.append(model(ad.tensor(ids[:, at:at + n]), cache).numpy())
                at += n
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=2e-4, atol=2e-4)
        assert cache.length == 6


def test_positions_see_no_later_ones():
    model, ids = gpt().eval(), np.arange(8)[None]
    first = model(ad.tensor(ids)).numpy()
    other = ids.copy()
    other[0, 5:] = 0
    np.testing.assert_allclose(model(ad.tensor(other)).numpy()[:, :5], first[:, :5], rtol=1e-5,
                               atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_k": 3},
                                     {"top_p": 0.8, "temperature": 1.3}])
def test_generated_with_and_without_cache(options):
    model = gpt(dropout=0.5)                # also beyond the block, and with dropout off
    for prompt in ([1, 2, 3], [[1, 2], [3, 4]], list(range(11)) * 2):
        a = nn.generate(model, prompt, 30, seed=1, **options)
        b = nn.generate(model, prompt, 30, seed=1, cache=False, **options)
        assert (a == b).all() and a.shape[-1] == np.shape(prompt)[-1] + 30
        assert (a[..., :np.shape(prompt)[-1]] == prompt).all()
    assert model.training


def test_seeds_and_stop():
    model = gpt()
    a, b, c = (nn.generate(model, [1], 20, seed=s).tolist() for s in (1, 1, 2))
    assert a == b != c
    ad.manual_seed(5)
    d = nn.generate(model, [1], 20).tolist()
    ad.manual_seed(5)
    assert nn.generate(model, [1], 20).tolist() == d
    stop = a[6]
    assert nn.generate(model, [1], 20, seed=1, stop=stop).tolist() == a[:a.index(stop, 1) + 1]
    assert nn.generate(model, [1], 0).tolist() == [1]
    frozen = nn.freeze(model)
    assert nn.generate(frozen, [1], 20, seed=1).tolist() == a


def test_probabilities():
    logits = np.log([0.5, 0.2, 0.2, 0.1])
    np.testing.assert_allclose(probabilities(logits), [0.5, 0.2, 0.2, 0.1])
    np.testing.assert_allclose(probabilities(logits, 0.5), np.array([25, 4, 4, 1]) / 34)
    assert probabilities(logits, 0).tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(probabilities(logits, top_k=2), np.array([5, 2, 0, 0]) / 7)
    np.testing.assert_allclose(probabilities(logits, top_p=0.49), [1, 0, 0, 0])
    np.testing.assert_allclose(probabilities(logits, top_p=0.6), np.array([5, 2, 0, 0]) / 7)
    np.testing.assert_allclose(probabilities(logits, top_p=1.0), [0.5, 0.2, 0.2, 0.1])
    np.testing.assert_allclose(probabilities(logits, top_k=3, top_p=0.7),
                               np.array([5, 2, 0, 0]) / 7)
    assert probabilities(logits, top_k=99).shape == (4,)
    assert probabilities([-np.inf, 1e6, 0], 1e-9).tolist() == [0, 1, 0]


def test_frequencies_of_drawn_tokens():
    class Fixed(nn.Module):
        def forward(self, ids):
            n, t = ids.shape
            return ad.tensor(np.broadcast_to(np.log([0.6, 0.3, 0.1]), (n, t, 3)).copy())
    out = nn.generate(Fixed(), np.zeros((4000, 1), int), 1, seed=0)[:, 1]
    np.testing.assert_allclose(np.bincount(out) / 4000, [0.6, 0.3, 0.1], atol=0.03)
    kept = nn.generate(Fixed(), np.zeros((500, 1), int), 4, seed=0, top_k=2)
    assert kept.max() == 1


def test_errors():
    model = gpt()
    for prompt in ([], [0.5], [[[1]]]):
        with pytest.raises(ad.ArgumentError, match="prompt must be token ids"):
            nn.generate(model, prompt, 1)
    with pytest.raises(ad.ValueRangeError, match="temperature"):
        nn.generate(model, [1], 1, temperature=-1)
    with pytest.raises(ad.ValueRangeError, match="top_p"):
        nn.generate(model, [1], 1, top_p=0)
    with pytest.raises(ad.ValueRangeError, match="top_k"):
        nn.generate(model, [1], 1, top_k=0)
    with pytest.raises(ad.IndexRangeError):
        nn.generate(model, [11], 1)
    with pytest.raises(ad.ShapeError, match="17 tokens are more than block=16"):
        model(ad.tensor(np.zeros((1, 17), int)))
    with pytest.raises(ad.ValueRangeError, match="multiple of heads"):
        nn.GPT(5, 4, 1, 10, 3)


def test_gpt_trains():
    ad.manual_seed(0)
    model = nn.GPT(5, 8, 1, 16, 2, dropout=0.1)
    ids = np.arange(64).reshape(8, 8) % 5
    data = nn.data.TensorDataset(ids, (ids + 1) % 5)
    t = nn.Trainer(model, lambda out, y: nn.functional.cross_entropy(
                       out.reshape((-1, 5)), y.reshape((-1,))),
                   nn.optim.AdamW(model.parameters(), lr=0.01), progress=False,
                   metrics=[nn.metrics.Accuracy(), nn.metrics.Perplexity()])
    h = t.fit(nn.data.DataLoader(data, batch_size=8), epochs=60)
    assert h["accuracy"][-1] > 0.9 and h["perplexity"][-1] < 1.6
    assert nn.generate(model, [0, 1], 5, temperature=0).tolist() == [0, 1, 2, 3, 4, 0, 1]
