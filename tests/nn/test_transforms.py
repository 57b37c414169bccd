"""nn.data.transforms: what they compute, and that it depends on seed, epoch and index alone."""

import numpy as np
import pytest

from nn import data
from nn.data import transforms as T


def images(n=12, shape=(2, 5, 6)):
    return np.arange(n * np.prod(shape), dtype=np.float32).reshape(n, *shape)


def test_draws_are_uniform_and_of_their_sample_alone():
    draws = T.Draws(np.arange(20000), seed=1, epoch=2)
    first, second = draws.uniform(), draws.uniform()
    assert 0 <= first.min() and first.max() < 1 and abs(first.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03
    some = T.Draws(np.array([7, 3]), seed=1, epoch=2)
    assert some.uniform().tolist() == first[[7, 3]].tolist()
    assert (T.Draws(np.arange(9), 1, 3).uniform() != first[:9]).all()
    assert (T.Draws(np.arange(9), -2, 2).uniform() != first[:9]).all()
    assert np.bincount(T.Draws(np.arange(3000)).integers(3)).min() > 900


def test_each_transform():
    x = images()
    draws = T.Draws(np.arange(12), seed=1)
    flip = T.Draws(np.arange(12), seed=1).uniform() < 0.5
    flipped = T.RandomHorizontalFlip()(x, draws)
    assert flip.any() and not flip.all() and (x == images()).all()
    for k in range(12):
        assert (flipped[k] == (x[k, ..., ::-1] if flip[k] else x[k])).all()
    draws = T.Draws(np.arange(12))
    rows, columns = draws.integers(4), draws.integers(6)
    crops = T.RandomCrop((4, 3), padding=1)(x, T.Draws(np.arange(12)))
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    for k, (r, c) in enumerate(zip(rows, columns, strict=True)):
        assert (crops[k] == padded[k, :, r:r + 4, c:c + 3]).all()
    some = T.RandomApply(lambda x, draws: -x, 0.5)(x, T.Draws(np.arange(12), seed=1))
    assert (some == np.where(flip[:, None, None, None], -x, x)).all()
    assert (T.CenterCrop(3)(x) == x[..., 1:4, 1:4]).all()
    normal = T.Normalize([1, 2], [2, 4])(x)
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal[:, 1], (x[:, 1] - 2) / 4, rtol=1e-6)
    assert T.Normalize(0.5, 0.5)(np.ones((2, 4, 4), np.uint8)).dtype == np.float32
    both = T.Compose([T.CenterCrop(3), T.Normalize(0, 2)])(x)
    assert (both == x[..., 1:4, 1:4] / 2).all()


def make(**options):
    set_ = data.TensorDataset(images(), np.arange(12))
    return T.Transformed(set_, T.Compose([T.RandomCrop(4, 1), T.RandomHorizontalFlip()]), **options)


def by_label(loader):
    return {int(y): x.tolist() for xs, ys in loader
            for x, y in zip(np.asarray(xs), np.asarray(ys), strict=True)}


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_sample_depends_on_seed_epoch_and_index_alone(prefetch):
    one = data.DataLoader(make(), batch_size=4, shuffle=True, seed=0, prefetch=prefetch)
    two = data.DataLoader(make(), batch_size=5, collate_fn=data.default_collate)
    first, second = by_label(one), by_label(one)
    assert first == by_label(two) and second == by_label(two) and first != second
    assert by_label(data.DataLoader(make(seed=1))) != first
    halves = data.Subset(make(), list(range(12)))
    third = data.DataLoader(halves, batch_size=3)
    assert by_label(third) == first and by_label(third) == second
    assert by_label(data.DataLoader(data.ConcatDataset([make()]), batch_size=12)) == first


def test_loader_state_carries_the_epoch():
    a = data.DataLoader(make(), batch_size=4, shuffle=True, seed=0)
    by_label(a)
    for _ in a:
        state = a.state_dict()
        break
    rest = by_label(a)                      # the third epoch
    b = data.DataLoader(make(), batch_size=4, shuffle=True, seed=5)
    b.load_state_dict(state)
    assert b.state_dict() == state and state["epoch"] == 1
    assert len(by_label(b)) == 8 and by_label(b).keys() == rest.keys()


def test_index_and_errors():
    set_ = make()
    x, y = set_[-1]
    assert y == 11 and (x == set_[11][0]).all() and len(set_) == 12
    with pytest.raises(IndexError):
        set_[12]
    alone = T.Transformed(images(), T.CenterCrop(2))
    assert alone[0].shape == (2, 2, 2) and alone.gather(np.arange(3)).shape == (3, 2, 2, 2)
    with pytest.raises(T.TransformError, match=r"window of \(9, 9\) does not fit"):
        T.RandomCrop(9)(images(), T.Draws(np.arange(12)))
    with pytest.raises(T.TransformError, match="3 channels do not fit"):
        T.Normalize([1, 2, 3], 1)(images())
    with pytest.raises(T.TransformError, match="std > 0"):
        T.Normalize(0, 0)
